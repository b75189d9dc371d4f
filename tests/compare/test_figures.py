"""The figures show what the tables say, and nothing of them is cut off."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_runs import epochs_of, run
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from handwriting.compare import Comparison, compare, curves, differences, draw_figures, time_to_target
from handwriting.drawing import COLORS

LONG = {
    "words": "a network with a name, batch_size=128, optimizer.learning_rate=0.00031622776",
    "letters": "x" * 130,
    "formula": "$^_{",
}


def made(arms: dict[str, str], seeds: int = 8, **more: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return runs of arms that get better from the first to the last, and their three epochs."""
    rng = np.random.default_rng(0)
    runs, values = [], {}
    for place, arm in enumerate(arms):
        for seed in range(seeds):
            accuracy = 0.97 + 0.01 * place + rng.normal(0, 0.004)
            runs.append(run("adam", seed, accuracy, params__model=arm, tags__arm=str(place), **more))
            values[str(runs[-1]["run_id"])] = [accuracy - 0.05, accuracy - 0.01, accuracy]
            if arms[arm]:
                runs[-1]["tags.mlflow.runColor"] = arms[arm]
    return pd.DataFrame(runs), epochs_of(**values)


@pytest.fixture(scope="module")
def epochs() -> pd.DataFrame:
    return TWO[1]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(*TWO)


TWO = made({"cnn": "", "mlp": ""})


def lines(axes: Axes) -> list[Any]:
    return list(axes.get_lines())


def test_the_bold_line_is_the_mean_over_seeds(comparison: Comparison, epochs: pd.DataFrame) -> None:
    axes: Any = curves(comparison, epochs).axes[0]
    arm = comparison.runs[comparison.runs["arm"] == "mlp"]["run_id"]
    own = epochs[epochs["run_id"].isin(arm)]
    line = next(line for line in axes.get_lines() if line.get_label() == "mlp (n = 8)")
    np.testing.assert_allclose(line.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(line.get_ydata(), 100 * own.groupby("epoch")["val_accuracy"].mean())
    assert [len(lines.get_segments()) for lines in axes.collections[::2]] == [8, 8]


def test_arms_differ_in_more_than_colour(comparison: Comparison, epochs: pd.DataFrame) -> None:
    styles = [line.get_linestyle() for line in lines(curves(comparison, epochs).axes[0])]
    assert len(set(styles)) == len(styles) == 2


@pytest.mark.parametrize(
    ("stored", "drawn"),
    [
        (("", ""), COLORS[:2]),
        (("#00ff00", "#0000ff"), ("#00ff00", "#0000ff")),
        (("#00ff00", ""), COLORS[:2]),
        (("#00ff00", "#00ff00"), COLORS[:2]),
        (("#00ff00", "mud"), COLORS[:2]),
    ],
)
def test_colours_are_mlflows_where_they_tell_the_arms_apart_else_by_the_arms_place(
    stored: tuple[str, str], drawn: tuple[str, str]
) -> None:
    runs, epochs = made(dict(zip(("cnn", "mlp"), stored, strict=True)), seeds=2)
    axes = curves(compare(runs, epochs), epochs).axes[0]
    assert [to_hex(line.get_color()) for line in lines(axes)] == [color.lower() for color in drawn]


def test_an_arm_that_has_two_colours_has_none() -> None:
    runs, epochs = made({"cnn": "#00ff00", "mlp": "#0000ff"}, seeds=2)
    runs.loc[0, "tags.mlflow.runColor"] = "#ff0000"
    runs.loc[runs["params.model"] == "mlp", "status"] = "FAILED"
    axes = curves(compare(runs, epochs), epochs).axes[0]
    assert [to_hex(line.get_color()) for line in lines(axes)] == [COLORS[0].lower()]


def test_the_curves_are_of_the_compared_metrics_validation_twin() -> None:
    runs, epochs = TWO[0].assign(**{"metrics.test_f1": 0.5, "tags.better.f1": "more"}), TWO[1]
    own = epochs.assign(val_f1=0.25)
    for metric, label, value in (
        ("test_f1", "validation f1", 0.25),
        ("test_accuracy", "validation accuracy (%)", None),
        ("test_loss", "validation accuracy (%)", None),
        ("training_seconds", "validation accuracy (%)", None),
    ):
        first, second = curves(compare(runs, own, metric=metric), own).axes
        assert first.get_ylabel() == label
        assert second.get_ylabel() == "validation loss (cross-entropy, nats)"
        assert value is None or set(lines(first)[0].get_ydata()) == {value}
    without = curves(compare(runs, epochs, metric="test_f1"), epochs)
    assert without.axes[0].get_ylabel() == "validation accuracy (%)"


def test_each_seeds_difference_and_the_interval_are_drawn(comparison: Comparison) -> None:
    axes = differences(comparison).axes[0]
    _, seeds, mean, interval = lines(axes)
    pair = comparison.pairs.iloc[0]
    assert len(seeds.get_xdata()) == 8
    assert mean.get_xdata()[0] == pytest.approx(100 * pair["difference"])
    assert interval.get_xdata() == pytest.approx([100 * pair["low"], 100 * pair["high"]])
    assert axes.get_xlabel().startswith("difference in test_accuracy, percentage points\n")
    assert axes.get_yticklabels()[0].get_text().startswith("mlp \N{MINUS SIGN} cnn\n")
    loss = differences(compare(*TWO, metric="test_loss")).axes[0]
    assert loss.get_xlabel().startswith("difference in test_loss, cross-entropy, nats\n")


def test_the_step_ends_at_the_share_that_reached_the_target(comparison: Comparison) -> None:
    figure = time_to_target(comparison)
    rows = comparison.targets.set_index(["target", "arm"])
    assert 0 < rows["reached"].sum() < rows["n"].sum()
    for axes, target in zip(figure.axes[:3], (0.98, 0.985, 0.99), strict=True):
        for line in lines(axes):
            row = rows.loc[(target, line.get_label())]
            assert line.get_ydata()[-1] == pytest.approx(row["reached"] / row["n"])


def test_seconds_are_drawn_as_far_as_they_are_known() -> None:
    runs, epochs = made({"cnn": "", "mlp": ""}, seeds=2)
    result = compare(runs, epochs.assign(epoch_seconds=np.nan))
    assert draw_figures(result, epochs)["time_to_target"]


def test_one_seed_or_one_arm_is_drawn_as_far_as_it_goes(epochs: pd.DataFrame) -> None:
    runs = TWO[0]
    one_seed, one_arm = runs[runs["params.seed"] == "0"], runs[runs["params.model"] == "cnn"]
    assert set(draw_figures(compare(one_seed, epochs), epochs)) >= {"curves", "differences"}
    assert "differences" not in draw_figures(compare(one_arm, epochs), epochs)


def test_without_targets_there_is_no_time_to_target() -> None:
    runs, epochs = made({"cnn": "", "mlp": ""}, seeds=2, params__data__targets="None")
    assert set(draw_figures(compare(runs, epochs), epochs)) == {"curves", "differences"}


def test_a_figure_says_how_many_arms_and_pairs_it_leaves_out() -> None:
    for count, words in (
        (12, ["", "15 of 66 pairs of arms"]),
        (13, ["12 of 13 arms", "15 of 78 pairs of arms"]),
    ):
        runs, epochs = made({f"arm{place:02}": "" for place in range(count)}, seeds=2)
        comparison = compare(runs, epochs)
        arms, pairs = (f"the first {part}; the tables have all of them" if part else "" for part in words)
        assert curves(comparison, epochs).get_supxlabel() == arms
        assert time_to_target(comparison).get_supxlabel() == arms
        assert differences(comparison).get_supxlabel() == pairs


@pytest.mark.parametrize(("kind", "count"), [("words", 2), ("words", 12), ("letters", 12), ("formula", 2)])
def test_no_label_is_cut_off_or_lies_on_a_panel(kind: str, count: int) -> None:
    runs, epochs = made({f"{LONG[kind]}{place:02}": "" for place in range(count)}, seeds=2)
    for name, figure in draw_figures(compare(runs, epochs), epochs).items():
        FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
        panels: list[Any] = figure.axes
        width, height = figure.get_size_inches() * figure.dpi
        box = figure.get_tightbbox().padded(-0.01)
        assert 0 <= box.x0 < box.x1 <= width / figure.dpi, name
        assert 0 <= box.y0 < box.y1 <= height / figure.dpi, name
        for legend in figure.legends:
            top = max(axes.get_tightbbox().y1 for axes in panels)
            assert legend.get_window_extent().y0 >= top - 3, name
