"""The report: what is read from a real store, what is written, and what is said when there is nothing."""

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from mlflow.entities import Experiment
from sqlalchemy import create_engine, text

from handwriting.analysis import read as reading
from handwriting.analysis.compare import Comparison, compare
from handwriting.analysis.figures import curves, differences, figures, mistakes, time_to_target
from handwriting.analysis.read import read
from handwriting.analysis.server import read_server
from handwriting.analysis.stored import PER_EPOCH, Stored
from handwriting.bench.synthetic import CURVE, SWEEP, fill
from handwriting.errors import UserError
from handwriting.report import report
from handwriting.store import ROOT

RUNS = 16


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a store with 16 synthetic runs, eight pairs."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('filled')}/mlflow.db"
    fill(uri, RUNS)
    return uri


@pytest.fixture(scope="module")
def stored(filled: str) -> Stored:
    return read(filled)


@pytest.fixture(scope="module")
def comparison(stored: Stored) -> Comparison:
    return compare(stored.runs, stored.epochs, baseline="rmsprop")


def experiment(client: mlflow.MlflowClient, name: str) -> Experiment:
    found = client.get_experiment_by_name(name)
    assert found is not None
    return found


# Reading


def test_what_is_read_is_what_mlflow_reads(filled: str, stored: Stored) -> None:
    mlflow.set_tracking_uri(filled)
    client = mlflow.MlflowClient()
    theirs = mlflow.search_runs(experiment_names=["synthetic"]).set_index("run_id").sort_index()
    ours = stored.runs.set_index("run_id").sort_index()
    assert len(ours) == RUNS
    columns = [name for name in ours if "." in name] + ["status", "artifact_uri"]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns], check_dtype=False)
    assert (ours["start_time"] == theirs["start_time"]).all()
    assert {name for name in set(theirs) - set(ours) if not name.startswith("tags.")} == {
        "end_time",
        "experiment_id",
    }
    for run_id in ours.index[:2]:
        own = stored.epochs[stored.epochs["run_id"] == run_id].set_index("epoch")
        for metric in PER_EPOCH:
            history = {one.step: one.value for one in client.get_metric_history(run_id, metric)}
            assert own[metric].to_dict() == history


def test_a_server_gives_the_same_comparison(filled: str, comparison: Comparison) -> None:
    stored = read_server(filled, None, None)
    assert (stored.experiment, stored.sweep) == ("synthetic", SWEEP)
    theirs = compare(stored.runs, stored.epochs, baseline="rmsprop")
    pd.testing.assert_frame_equal(theirs.pairs, comparison.pairs)
    pd.testing.assert_frame_equal(theirs.targets, comparison.targets)


def test_a_run_may_belong_to_several_sweeps_and_names_are_matched_whole(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    fill(uri, 4)
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([experiment(client, "synthetic").experiment_id])
    client.set_tag(runs[0].info.run_id, "sweep", f"{SWEEP} other_50%")
    client.set_tag(runs[1].info.run_id, "sweep", f"{SWEEP}x Other_50%")
    assert set(read(uri, sweep="other_50%").runs["run_id"]) == {runs[0].info.run_id}
    assert len(read(uri, sweep=SWEEP).runs) == 3
    with pytest.raises(UserError, match=r"no sweep 'other' with runs.*There are: "):
        read(uri, sweep="other")


def test_a_result_that_is_no_number_is_read_as_none(tmp_path: Path) -> None:
    """MLflow stores NaN as 0 with a mark: the best loss there is."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    fill(uri, RUNS)
    client = mlflow.MlflowClient(uri)
    (run, *_) = client.search_runs([experiment(client, "synthetic").experiment_id])
    client.log_metric(run.info.run_id, "test_loss", math.nan, step=10)
    for stored in (read(uri), read_server(uri, None, None)):
        result = compare(stored.runs, stored.epochs, metric="test_loss")
        assert result.left_out["run_id"].to_list() == [run.info.run_id]
        assert result.left_out["reason"].to_list() == ["its test_loss is missing or not a number"]


def test_a_run_deleted_between_two_queries_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    fill(uri, RUNS)
    original = reading._wide

    def and_meanwhile(connection: object, kind: str, *more: object) -> pd.DataFrame:
        if kind == "params":
            with create_engine(uri).begin() as other:
                for name in ("params", "tags", "latest_metrics", "metrics", "runs"):
                    other.execute(text(f"DELETE FROM {name} WHERE run_uuid LIKE '%3'"))  # noqa: S608
        return original(connection, kind, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "_wide", and_meanwhile)
    stored = read(uri)
    result = compare(stored.runs, stored.epochs)
    assert result.pairs["n"].to_list() == [7]
    assert result.left_out["reason"].to_list() == ["no seed is stored with it"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"experiment": "syntetic"},
            "no experiment 'syntetic'.*Did you mean 'synthetic'.*There are: synthetic",
        ),
        ({"sweep": "quick"}, f"no sweep 'quick' with runs.*There are: {SWEEP}"),
    ],
)
def test_an_unknown_name_is_answered_with_those_that_there_are(
    filled: str, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(filled, **arguments)


def test_an_empty_store_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(UserError, match="the store has no runs"):
        read(f"sqlite:///{tmp_path}/mlflow.db")
    fill(f"sqlite:///{tmp_path}/other.db", 0)
    with pytest.raises(UserError, match="the store has no runs"):
        read(f"sqlite:///{tmp_path}/other.db")


def test_the_command_says_in_one_line_that_there_is_no_store(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "handwriting.report", "--uri", f"sqlite:///{tmp_path}/mlflow.db"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: there is no store {tmp_path}/mlflow.db yet. Train some runs: make sweep, or make quick\n"
    )
    assert not (tmp_path / "mlflow.db").exists()


# Writing


def test_the_report_is_on_the_screen_in_files_and_in_the_store(
    filled: str, comparison: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    page = report(filled)
    before = (page.parent / "curves.svg").read_bytes()
    assert report(filled) == page, "the second takes the place of the first"
    assert (page.parent / "curves.svg").read_bytes() == before, "the same figure is the same file"
    words = "rmsprop against adam in test_accuracy: "
    screen = capsys.readouterr().out
    assert words in screen
    assert str(page) in screen
    text = page.read_text()
    assert words in text
    assert "://" not in re.sub(r'"data:[^"]*"', "", text), "no address outside itself"
    assert text.count("<img") == 3
    files = {one.name for one in page.parent.iterdir()}
    names = ("curves", "differences", "time_to_target")
    assert files == {
        "report.html",
        "runs.csv",
        "left_out.csv",
        "table1.csv",
        "table2.csv",
        "table3.csv",
        "verdict.md",
    } | {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    client = mlflow.MlflowClient(filled)
    (run,) = client.search_runs([experiment(client, "synthetic-reports").experiment_id])
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == files
    assert run.data.tags["verdict"].startswith(words)
    description = experiment(client, "synthetic").tags["mlflow.note.content"]
    assert description.startswith(f"**{words}".replace("_", r"\_"))
    assert read(filled).sweep == SWEEP, "the report's own run is no run of the sweep"


def test_a_report_needs_no_tensorflow(filled: str) -> None:
    code = (
        "import sys; from handwriting.report import report; report(sys.argv[1]); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, filled], check=True)


def test_names_of_runs_are_no_markup_in_the_page(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    fill(uri, 4)
    client = mlflow.MlflowClient(uri)
    experiment_id = experiment(client, "synthetic").experiment_id
    client.create_run(experiment_id, run_name="<script>alert(1)</script>")
    page = report(uri, experiment="synthetic").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("name", ["..", 'it\'s "mine" /a'])
def test_an_experiment_may_have_any_name(tmp_path: Path, name: str) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    fill(uri, 4)
    client = mlflow.MlflowClient(uri)
    client.rename_experiment(experiment(client, "synthetic").experiment_id, name)
    for _ in range(2):
        page = report(uri, experiment=name)
        assert page.parent.parent == tmp_path / "reports"
    reports = experiment(client, f"{name}-reports").experiment_id
    assert len(client.search_runs([reports])) == 1
    assert len(read(uri, experiment=name).runs) == 4, "the store is as it was"


# Figures


def lines(axes: Axes) -> list[Any]:
    return list(axes.get_lines())


def test_the_bold_line_is_the_mean_over_seeds(comparison: Comparison, stored: Stored) -> None:
    axes: Any = curves(comparison, stored.epochs).axes[0]
    arm = comparison.runs[comparison.runs["arm"] == "adam"]["run_id"]
    of_adam = stored.epochs[stored.epochs["run_id"].isin(arm)]
    line = next(line for line in axes.get_lines() if line.get_label() == "adam (n = 8)")
    np.testing.assert_allclose(line.get_xdata(), np.arange(1, len(CURVE) + 1))
    np.testing.assert_allclose(line.get_ydata(), 100 * of_adam.groupby("epoch")["val_accuracy"].mean())
    assert [len(lines.get_segments()) for lines in axes.collections[::2]] == [8, 8]


def test_arms_differ_in_more_than_colour(comparison: Comparison, stored: Stored) -> None:
    styles = [line.get_linestyle() for line in lines(curves(comparison, stored.epochs).axes[0])]
    assert len(set(styles)) == len(styles) == 2


def test_each_seeds_difference_and_the_interval_are_drawn(comparison: Comparison) -> None:
    _, seeds, mean, interval = lines(differences(comparison).axes[0])
    pair = comparison.pairs.iloc[0]
    assert len(seeds.get_xdata()) == 8
    assert mean.get_xdata()[0] == pytest.approx(100 * pair["difference"])
    assert interval.get_xdata() == pytest.approx([100 * pair["low"], 100 * pair["high"]])


def test_the_step_ends_at_the_share_that_reached_the_target(comparison: Comparison) -> None:
    figure = time_to_target(comparison)
    rows = comparison.targets.set_index(["target", "arm"])
    for axes, target in zip(figure.axes[:3], (0.98, 0.985, 0.99), strict=True):
        for line in lines(axes):
            row = rows.loc[(target, line.get_label())]
            assert line.get_ydata()[-1] == pytest.approx(row["reached"] / row["n"])


def test_a_confusion_matrix_counts_and_names_what_was_taken_for_what() -> None:
    labels, predicted = np.array([3, 3, 5, 5, 5]), np.array([3, 8, 5, 6, 6])
    figure = mistakes(np.zeros((5, 28, 28), np.uint8), labels, predicted, "a run")
    matrix, wrong = figure.axes
    written = {
        (round(one.get_position()[1]), round(one.get_position()[0])): one.get_text() for one in matrix.texts
    }
    assert written == {(3, 3): "1", (3, 8): "1", (5, 5): "1", (5, 6): "2"}
    assert [one.get_text() for one in wrong.texts] == ["3→8", "5→6", "5→6"]
    assert figure.get_suptitle() == "a run: 3 of 5 wrong"


def test_one_seed_or_one_arm_is_drawn_as_far_as_it_goes(stored: Stored) -> None:
    one_seed = stored.runs[stored.runs["params.seed"] == "0"]
    one_arm = stored.runs[stored.runs["params.optimizer"] == "adam"]
    assert set(figures(compare(one_seed, stored.epochs), stored.epochs)) >= {"curves", "differences"}
    assert "differences" not in figures(compare(one_arm, stored.epochs), stored.epochs)


# The notebook


def test_the_notebook_runs_on_a_store(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", filled)
    subprocess.run([sys.executable, "-m", "handwriting.notebook"], check=True)
    folder = Path(filled.removeprefix("sqlite:///")).parent
    executed = nbformat.read(folder / "analysis.ipynb", as_version=4)
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type in ("error", "stream")]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert "rmsprop against adam in test_accuracy: " in (folder / "analysis.html").read_text()


def test_the_notebook_is_committed_with_its_outputs_and_without_paths_of_a_machine() -> None:
    path = ROOT / "notebooks" / "analysis.ipynb"
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in cells)
    assert str(ROOT) not in path.read_text()


def test_the_notebook_says_what_to_run_when_the_store_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    fill(f"sqlite:///{tmp_path}/mlflow.db", 0)
    done = subprocess.run(
        [sys.executable, "-m", "handwriting.notebook"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        1, "error: the store has no runs. Train some: make sweep, or make quick\n"
    )  # fmt: skip
