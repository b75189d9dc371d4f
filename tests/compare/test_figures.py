"""The figures show what the tables say, and nothing of them is cut off."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_runs import epochs_of, run
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from handwriting.compare import Comparison, compare
from handwriting.compare.figures import (
    curves,
    differences,
    draw_figures,
    heat_map,
    over,
    ranking,
    time_to_target,
)
from handwriting.drawing import COLORS, GREY

Frames = tuple[pd.DataFrame, pd.DataFrame]
Arms = Sequence[tuple[Mapping[str, object], float]]
LONG = {
    "short": "net",
    "words": "a network with a name, units 128, learning_rate 0.00031",
    "letters": "x" * 60,
    "formula": "$^_{",
}


def frames(arms: Arms, seeds: int) -> Frames:
    """Return runs of each arm, given as its settings and its accuracy, and their three epochs."""
    rng = np.random.default_rng(0)
    runs, values = [], {}
    for place, (settings, level) in enumerate(arms):
        for seed in range(seeds):
            accuracy = level + rng.normal(0, 0.004)
            runs.append(run("adam", seed, accuracy, **{"tags__arm": str(place), **settings}))
            values[str(runs[-1]["run_id"])] = [accuracy - 0.05, accuracy - 0.01, accuracy]
    return pd.DataFrame(runs), epochs_of(**values)


def made(names: list[str], seeds: int = 8, **more: object) -> Frames:
    """Return runs of networks that get better from the first to the last."""
    step = 0.01 if len(names) <= 6 else 0.0005
    return frames([({"params__model": name, **more}, 0.97 + step * i) for i, name in enumerate(names)], seeds)


def rates(
    *values: float, optimizers: tuple[str, ...] = ("adam", "sgd"), units: tuple[int, ...] = ()
) -> Frames:
    """Return runs whose accuracy is best at a rate of 0.001 and with the most units, SGD's a bit worse."""
    return frames(
        [
            (
                {"params__optimizer": name, "params__optimizer__learning_rate": str(rate)}
                | ({"params__model__units": str(number)} if units else {}),
                0.97 - 0.01 * abs(np.log10(rate) + 3) - 0.005 * (name == "sgd") + number / 1e5,
            )
            for name in optimizers
            for rate in values
            for number in units or (0,)
        ],
        seeds=3,
    )


TWO = made(["cnn", "mlp"])
MANY = made([f"net {place:02}" for place in range(20)], seeds=2)


@pytest.fixture(scope="module")
def epochs() -> pd.DataFrame:
    return TWO[1]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(*TWO)


@pytest.fixture(scope="module")
def many() -> Comparison:
    return compare(*MANY)


def lines(axes: Axes) -> list[Any]:
    return list(axes.get_lines())


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        (TWO, ["differences", "curves", "time_to_target"]),
        (MANY, ["ranking", "differences", "curves", "time_to_target"]),
        (rates(1e-4, 1e-3, 1e-2), ["over", "differences", "curves", "time_to_target"]),
        (rates(*(1e-4 * 2**i for i in range(7))), ["over", "curves", "time_to_target"]),
        (rates(1e-3, 1e-2, units=(32, 64)), ["heat_map", "curves", "time_to_target"]),
    ],
)
def test_each_kind_of_question_has_its_figures_the_answer_first(runs: Frames, names: list[str]) -> None:
    assert list(draw_figures(compare(*runs), runs[1])) == names


def test_the_bold_line_is_the_mean_over_seeds(comparison: Comparison, epochs: pd.DataFrame) -> None:
    axes = curves(comparison, epochs).axes[0]
    arm = comparison.runs[comparison.runs["arm"] == "mlp"]["run_id"]
    own = epochs[epochs["run_id"].isin(arm)]
    line = next(line for line in lines(axes) if line.get_label() == "mlp (n = 8)")
    np.testing.assert_allclose(line.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(line.get_ydata(), 100 * own.groupby("epoch")["val_accuracy"].mean())
    thin = [found for found in axes.collections if isinstance(found, LineCollection)]
    assert [len(found.get_segments()) for found in thin] == [8, 8, 0]


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
    runs, epochs = made(["cnn", "mlp"], seeds=2)
    runs["tags.mlflow.runColor"] = runs["params.model"].map(dict(zip(("cnn", "mlp"), stored, strict=True)))
    axes = curves(compare(runs, epochs), epochs).axes[0]
    assert [to_hex(line.get_color()) for line in lines(axes)] == list(drawn)


def test_an_arm_that_has_two_colours_has_none() -> None:
    runs, epochs = made(["cnn", "mlp"], seeds=2)
    runs["tags.mlflow.runColor"] = ["#ff0000", "#00ff00", "#0000ff", "#0000ff"]
    runs.loc[runs["params.model"] == "mlp", "status"] = "FAILED"
    axes = curves(compare(runs, epochs), epochs).axes[0]
    assert [to_hex(line.get_color()) for line in lines(axes)] == [COLORS[0]]


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
        assert second.get_ylabel() == "validation loss\n(cross-entropy, nats)"
        assert value is None or set(lines(first)[0].get_ydata()) == {value}
    without = curves(compare(runs, epochs, metric="test_f1"), epochs)
    assert without.axes[0].get_ylabel() == "validation accuracy (%)"


def test_of_many_arms_the_best_and_the_baseline_are_in_colour_and_the_others_named_as_grey(
    many: Comparison,
) -> None:
    for figure, n in ((curves(many, MANY[1]), ", n = 2"), (time_to_target(many), "")):
        told = {f"net 00 (baseline{n})": COLORS[1], f"net 19 (best{n})": COLORS[0], "18 other arms": GREY}
        assert set(legend(figure)) == set(told)
        labels = {line.get_label(): to_hex(line.get_color()) for line in lines(figure.axes[0])}
        assert labels == told
        grey: Any = [found for found in figure.axes[0].collections if isinstance(found, LineCollection)][-1]
        assert len(grey.get_segments()) == 18
        assert to_hex(grey.get_color()[0]) == GREY


def test_the_curves_of_a_number_are_coloured_by_group_or_else_in_the_order_of_its_values() -> None:
    both, one = rates(1e-4, 1e-3, 1e-2), rates(1e-4, 1e-3, 1e-2, optimizers=("adam",))
    found = [lines(curves(compare(*runs), runs[1]).axes[0]) for runs in (both, one)]
    assert [to_hex(line.get_color()) for line in found[0]] == [COLORS[0]] * 3 + [COLORS[1]] * 3
    assert len({line.get_linestyle() for line in found[0][:3]}) == 3
    blue = [int(to_hex(line.get_color())[5:], 16) for line in found[1]]
    assert blue == sorted(blue, reverse=True)
    assert len(set(blue)) == 3


def test_each_seeds_difference_and_the_interval_are_drawn(comparison: Comparison) -> None:
    axes = differences(comparison).axes[0]
    _, seeds, mean = lines(axes)
    pair = comparison.pairs.iloc[0]
    assert len(seeds.get_xdata()) == 8
    assert mean.get_xdata()[0] == pytest.approx(100 * pair["difference"])
    ((low, high),) = (segment[:, 0] for segment in intervals(axes))
    assert [low, high] == pytest.approx([100 * pair["low"], 100 * pair["high"]])
    assert axes.get_xlabel() == "difference in test_accuracy, percentage points"
    assert texts(axes) == ["mlp \N{MINUS SIGN} cnn", "mlp is better"]
    loss = differences(compare(*TWO, metric="test_loss")).axes[0]
    assert loss.get_xlabel() == "difference in test_loss, cross-entropy, nats"


def intervals(axes: Axes) -> list[Any]:
    return [found for found in axes.collections if isinstance(found, LineCollection)][-1].get_segments()


def test_of_several_arms_each_is_drawn_against_the_baseline_with_its_own_verdict() -> None:
    runs = frames(
        [({"params__model": name}, level) for name, level in (("b", 0.9), ("a", 0.7), ("c", 0.99))], 8
    )
    comparison = compare(*runs)
    assert comparison.baseline == "b"
    axes = differences(comparison).axes[0]
    assert texts(axes) == ["c", "a", "better", "worse"], "from top to bottom: labels, then verdicts"
    assert axes.get_xlabel() == "difference in test_accuracy to b, percentage points"
    seen = comparison.pairs.set_index(["first", "second"])["difference"]
    drawn = lines(axes)[-1]
    assert drawn.get_xdata() == pytest.approx([100 * seen["b", "c"], 100 * seen["b", "a"]])
    assert drawn.get_ydata()[0] > drawn.get_ydata()[1]


def test_without_a_run_of_the_baseline_the_arms_are_drawn_against_the_best() -> None:
    runs, epochs = made(["a", "b", "c"])
    runs.loc[runs["params.model"] == "a", "status"] = "FAILED"
    assert texts(differences(compare(runs, epochs)).axes[0]) == ["b", "worse"]


def test_where_no_arm_shares_a_seed_with_the_baseline_no_differences_are_drawn() -> None:
    runs, epochs = made(["a", "b", "c"], seeds=2)
    runs.loc[runs["params.model"] == "a", "params.seed"] = ["8", "9"]
    comparison = compare(runs, epochs)
    assert comparison.pairs["n"].any(), "b and c do"
    assert list(draw_figures(comparison, epochs)) == ["ranking", "curves", "time_to_target"]


def test_the_ranking_has_every_seed_mean_and_interval_of_both_metrics_best_on_top() -> None:
    runs, epochs = made(["a", "b", "c"], seeds=4)
    runs["metrics.val_accuracy"] = 1.9 - runs["metrics.test_accuracy"]  # so the first is the best to choose
    comparison = compare(runs, epochs)
    figure = ranking(comparison)
    assert [axes.get_title() for axes in figure.axes] == ["choose by this", "judge by this"]
    assert texts(figure.axes[0]) == ["a (best, baseline)", "b", "c"]
    for axes, name in zip(figure.axes, ("val_accuracy", "test_accuracy"), strict=True):
        means = {line.get_ydata()[0]: line.get_xdata()[0] for line in lines(axes)[1::2]}
        drawn = [means[y] for y in sorted(means, reverse=True)]
        assert drawn == pytest.approx(list(100 * comparison.arms[name]))
        assert [len(line.get_xdata()) for line in lines(axes)[::2]] == [4, 4, 4]
        (low, _), (high, _) = intervals(axes)[0]
        sd = comparison.arms[f"{name}_sd"].iloc[-1]
        assert (high - low) / 2 == pytest.approx(100 * 3.182446 * sd / 2), "Student's t, 3 degrees"


def test_where_what_is_chosen_by_is_what_is_compared_there_is_one_panel() -> None:
    runs, epochs = made(["a", "b", "c"], seeds=2)
    assert len(ranking(compare(runs, epochs, metric="val_accuracy")).axes) == 1


def test_over_a_number_a_line_for_each_group_has_the_means_and_a_star_the_best() -> None:
    comparison = compare(*rates(1e-4, 1e-3, 1e-2))
    figure = over(comparison)
    for axes, name in zip(figure.axes, ("val_accuracy", "test_accuracy"), strict=True):
        assert axes.get_xscale() == "log"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0.0001", "0.001", "0.01"]
        means = 100 * comparison.arms[name]
        for place, group in enumerate(("adam", "sgd")):
            line, seeds, star = lines(axes)[3 * place : 3 * place + 3]
            assert line.get_label() == f"{group} (n = 3)"
            np.testing.assert_allclose(line.get_xdata(), [1e-4, 1e-3, 1e-2])
            np.testing.assert_allclose(line.get_ydata(), means[3 * place : 3 * place + 3])
            assert len(seeds.get_xdata()) == 9
            best = comparison.choice.by_group[group]
            assert (star.get_xdata()[0], star.get_ydata()[0]) == pytest.approx((1e-3, means[best]))
    assert legend(figure) == ["adam (n = 3)", "sgd (n = 3)", "the best by val_accuracy"]


@pytest.mark.parametrize(
    ("values", "scale"), [((0.1, 0.5, 0.9), "linear"), ((0, 0.001, 1), "linear"), ((1, 5, 10), "log")]
)
def test_the_axis_is_logarithmic_from_a_factor_of_ten_where_no_value_is_0(
    values: tuple[float, ...], scale: str
) -> None:
    arms = [({"params__model__dropout": str(value)}, 0.9) for value in values]
    assert over(compare(*frames(arms, 2))).axes[0].get_xscale() == scale


@pytest.mark.parametrize(("metric", "map_"), [("test_accuracy", "viridis"), ("test_loss", "viridis_r")])
def test_a_heat_map_has_each_mean_in_its_cell_and_the_best_outlined(metric: str, map_: str) -> None:
    comparison = compare(*rates(1e-4, 1e-3, 1e-2, units=(32, 64)), metric=metric)
    figure = heat_map(comparison)
    choice, values = comparison.choice, comparison.values
    for axes, group in zip(figure.axes[:2], ("adam", "sgd"), strict=True):
        assert axes.get_title() == group
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "units")
        across, up = (
            [label.get_text() for label in found]
            for found in (axes.get_xticklabels(), axes.get_yticklabels())
        )
        assert (across, up) == (["0.0001", "0.001", "0.01"], ["32", "64"])
        shown = {
            (round(x), round(y)): text.get_text() for text in axes.texts for x, y in [text.get_position()]
        }
        for arm, row in values[values["group"] == group].iterrows():
            at = (across.index(f"{row['optimizer.learning_rate']:g}"), up.index(f"{row['model.units']:g}"))
            assert shown.pop(at) == choice.metric.shown(comparison.arms.loc[arm, choice.metric.name])
            outlined = {tuple(np.add(patch.get_xy(), 0.5)) for patch in axes.patches}  # type: ignore[attr-defined]
            assert (arm == choice.by_group[group]) == (at in outlined)
        assert not shown
        assert axes.images[0].get_cmap().name == map_, "brighter is better"


def test_an_arm_that_is_far_off_does_not_squeeze_the_others_and_is_named() -> None:
    arms = [({"params__model": f"net{i}"}, 0.1 if i == 2 else 0.97 + 0.001 * i) for i in range(5)]
    runs = frames(arms, 4)
    comparison = compare(*runs)
    figure = ranking(comparison)
    shown = comparison.metric.shown(comparison.arms.loc["net2", "test_accuracy"])
    for axes in figure.axes:
        assert axes.get_xlim()[0] > 90
        assert f"← {shown}" in texts(axes)
    assert "out of view" in figure.get_supxlabel()
    forest = differences(comparison)
    assert forest.axes[0].get_xlim()[0] > -5
    assert sum("←" in text for text in texts(forest.axes[0])) == 1
    drawn = curves(comparison, runs[1])
    assert drawn.axes[0].get_ylim()[0] > 80
    assert drawn.get_supxlabel() == "out of view: net2"


def test_a_rate_that_is_far_off_is_marked_at_the_edge() -> None:
    runs, epochs = rates(1e-4, 1e-3, 1e-2, optimizers=("adam",))
    far = runs["params.optimizer.learning_rate"] == "0.01"
    for name in ("test", "val"):
        runs.loc[far, f"metrics.{name}_accuracy"] -= 0.8
    figure = over(compare(runs, epochs))
    for axes in figure.axes:
        assert axes.get_ylim()[0] > 90
        assert len(texts(axes)) == 1
        assert np.isnan(lines(axes)[0].get_ydata()[-1]), "the line breaks off"
    assert "triangles: means out of view" in figure.get_supxlabel()


def test_the_step_ends_at_the_share_that_reached_the_target(comparison: Comparison) -> None:
    figure = time_to_target(comparison)
    rows = comparison.targets.set_index(["target", "arm"])
    assert 0 < rows["reached"].sum() < rows["n"].sum()
    levels = rows.index.levels[0]
    assert len(figure.axes) == 2 * len(levels)
    for axes, target in zip(figure.axes[: len(levels)], levels, strict=True):
        for line in lines(axes):
            row = rows.loc[(target, line.get_label())]
            assert line.get_ydata()[-1] == pytest.approx(row["reached"] / row["n"])


def test_what_nobody_knows_or_reached_has_no_panel() -> None:
    runs, epochs = made(["cnn", "mlp"], seeds=2)
    times = time_to_target(compare(runs, epochs, targets=[0.5, 0.9999]))
    assert [axes.get_xlabel() for axes in times.axes] == ["epochs", "seconds"]
    times = time_to_target(compare(runs, epochs.assign(epoch_seconds=np.nan), targets=[0.5]))
    assert [axes.get_xlabel() for axes in times.axes] == ["epochs"]
    assert "time_to_target" not in draw_figures(compare(runs, epochs, targets=[0.9999]), epochs)
    without = curves(compare(runs, epochs), epochs.assign(val_loss=np.nan))
    assert [axes.get_ylabel() for axes in without.axes] == ["validation accuracy (%)"]
    nothing = epochs.assign(val_loss=np.nan, val_accuracy=np.nan)
    assert set(draw_figures(compare(runs, nothing), nothing)) == {"differences"}


def test_one_seed_or_one_arm_is_drawn_as_far_as_it_goes(epochs: pd.DataFrame) -> None:
    runs = TWO[0]
    one_seed, one_arm = runs[runs["params.seed"] == "0"], runs[runs["params.model"] == "cnn"]
    assert set(draw_figures(compare(one_seed, epochs), epochs)) >= {"curves", "differences"}
    assert "differences" not in draw_figures(compare(one_arm, epochs), epochs)


def test_above_forty_arms_a_figure_says_how_many_it_leaves_out_and_keeps_best_and_baseline() -> None:
    for count, said in ((40, ""), (45, "the best 40 of 45 arms; the tables have all of them")):
        runs, epochs = made([f"net {place:02}" for place in range(count)], seeds=2)
        comparison = compare(runs, epochs)
        best = comparison.choice.best
        assert curves(comparison, epochs).get_supxlabel() == said
        assert time_to_target(comparison).get_supxlabel() == said
        for figure, first, rows in (
            (ranking(comparison), f"{best} (best)", 40),
            (differences(comparison), best, 78),
        ):
            assert figure.get_supxlabel().replace("\n", " ").endswith(said)
            found = texts(figure.axes[0])
            assert (found[0], len([text for text in found if text])) == (first, rows)
        assert "net 00 (baseline)" in texts(ranking(comparison).axes[0])


@pytest.mark.parametrize(
    ("count", "kind"),
    [
        (2, "short"), (2, "words"), (2, "letters"), (2, "formula"), (3, "words"), (3, "letters"),
        (6, "words"), (6, "letters"), (40, "short"), (40, "words"), (40, "letters"),
    ],
)  # fmt: skip
def test_no_text_is_cut_off_and_no_label_lies_on_another_or_on_a_panel(count: int, kind: str) -> None:
    runs, epochs = made([f"{LONG[kind]} {place:02}" for place in range(count)], seeds=2)
    for name, figure in draw_figures(compare(runs, epochs), epochs).items():
        assert_readable(name, figure)


@pytest.mark.parametrize("units", [(), (32, 64, 128, 256, 512)])
def test_no_text_of_a_number_is_cut_off_or_lies_on_another(units: tuple[int, ...]) -> None:
    runs, epochs = rates(1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, optimizers=("adam", "o" * 60), units=units)
    runs.loc[runs["params.optimizer.learning_rate"] == "0.03", "metrics.val_accuracy"] -= 0.8
    comparison = compare(runs, epochs, metric="test_loss" if units else "test_accuracy")
    for name, figure in draw_figures(comparison, epochs).items():
        assert_readable(name, figure)


def assert_readable(name: str, figure: Figure) -> None:
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    panels: list[Any] = figure.axes
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox().padded(-0.01)  # of every text and line that is drawn
    assert 0 <= box.x0 < box.x1 <= width, name
    assert 0 <= box.y0 < box.y1 <= height, name
    for axes in panels:
        assert axes.bbox.width > figure.bbox.width / 6 or axes.get_label() == "<colorbar>", (
            name,
            "a panel is squeezed",
        )
        shown = [text.get_window_extent() for text in axes.texts]
        low, high = axes.get_xlim()
        ticks = [
            label.get_window_extent()
            for at, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
            if low <= at <= high
        ]
        for boxes in (shown, ticks):
            assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]), name
    for found in figure.legends:
        top = max(axes.get_tightbbox().y1 for axes in panels)
        assert found.get_window_extent().y0 >= top - 3, name
