"""One run in the store: how it ends, and that nothing is lost, doubled or betrayed."""

import json
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
from mlflow.data import numpy_dataset
from mlflow.entities import Run

from conftest import Opened, runs_in
from handwriting.config import TrackingConfig
from handwriting.tracking.run import tracked_run


def traceback_of(run: Run) -> str:
    return mlflow.artifacts.load_text(f"{run.info.artifact_uri}/traceback.txt")


def test_a_run_that_raises_is_failed_with_its_reason(tracking: TrackingConfig, opened: Opened) -> None:
    with pytest.raises(ZeroDivisionError), tracked_run(*opened, "run", {"mine": "1"}):
        _ = 1 / 0
    (run,) = runs_in(tracking)
    assert (run.info.status, run.info.run_name, run.data.tags["mine"]) == ("FAILED", "run", "1")
    assert run.data.tags["failure"] == "ZeroDivisionError: division by zero"
    assert traceback_of(run).startswith("Traceback")
    assert "_ = 1 / 0" in traceback_of(run)
    assert mlflow.active_run() is None


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_a_run_that_is_interrupted_is_killed(
    tracking: TrackingConfig, opened: Opened, ending: type[BaseException]
) -> None:
    with pytest.raises(ending), tracked_run(*opened, "run", {}):
        raise ending
    assert [run.info.status for run in runs_in(tracking)] == ["KILLED"]
    assert mlflow.active_run() is None


def test_a_run_gone_on_with_loses_its_failure_and_keeps_its_points(
    tracking: TrackingConfig, opened: Opened
) -> None:
    with suppress(OSError), tracked_run(*opened, "run", {}) as run:
        run.log_epoch({"loss": 0.5}, 0)
        raise OSError("the disk is full")
    assert "the disk is full" in runs_in(tracking)[0].data.tags["failure"]
    with tracked_run(*opened, "run", {}, run.id) as run:
        run.log_epoch({"loss": 0.7}, 0)
        run.log_epoch({"loss": 0.25}, 1)
    (stored,) = runs_in(tracking)
    assert stored.info.status == "FINISHED"
    assert "failure" not in stored.data.tags
    points = mlflow.MlflowClient().get_metric_history(run.id, "loss")
    assert [(point.step, point.value) for point in points] == [(0, 0.5), (1, 0.25)]


def test_an_exported_run_id_is_not_taken_for_the_new_runs(
    tracking: TrackingConfig, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracked_run(*opened, "first", {}) as first:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", first.id)
    with tracked_run(*opened, "second", {}) as second:
        second.log_params({"a": 1})
    assert {run.info.run_name: dict(run.data.params) for run in runs_in(tracking)} == {
        "first": {},
        "second": {"a": "1"},
    }


def test_params_hold_no_password(tracking: TrackingConfig, opened: Opened) -> None:
    with tracked_run(*opened, "run", {}) as run:
        run.log_params({"tracking.uri": "postgresql://me:geheim@db/x"})
    assert runs_in(tracking)[0].data.params == {"tracking.uri": "postgresql://***@db/x"}


def test_a_failures_reason_and_traceback_hold_no_password(tracking: TrackingConfig, opened: Opened) -> None:
    address = "postgresql://me:{}@db/x".format("geheim")  # in pieces: a traceback shows this line
    with pytest.raises(RuntimeError), tracked_run(*opened, "run", {}):
        raise RuntimeError(f"no answer from {address}")
    (stored,) = runs_in(tracking)
    assert stored.data.tags["failure"] == "RuntimeError: no answer from postgresql://***@db/x"
    assert "geheim" not in traceback_of(stored)


def test_points_stay_in_the_order_of_epochs_though_the_clock_is_set_back(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a process and from one to the next; MLflow gives points by time, then by step, then by value."""

    def clock(seconds: float) -> None:
        monkeypatch.setattr("handwriting.tracking.run.time", SimpleNamespace(time=lambda: seconds))

    with suppress(KeyboardInterrupt), tracked_run(*opened, "run", {}) as run:
        for epoch, seconds in enumerate((1000.0, 2000.0, 500.0)):
            clock(seconds)
            run.log_epoch({"loss": 0.5 - 0.1 * epoch}, epoch)
        raise KeyboardInterrupt
    clock(10)
    with tracked_run(*opened, "run", {}, run.id) as run:
        run.log_epoch({"loss": 0.1}, 3)
        clock(3000)
        run.log_epoch({"loss": 0.05}, 4)
    points = mlflow.MlflowClient().get_metric_history(run.id, "loss")
    assert [(point.step, point.timestamp) for point in points] == [
        (0, 1_000_000), (1, 2_000_000), (2, 2_000_000), (3, 2_000_000), (4, 3_000_000),
    ]  # fmt: skip


IMAGES, LABELS = np.zeros((7, 8, 9), np.uint8), np.zeros(7, np.int32)


def test_a_data_set_is_described_as_mlflow_itself_describes_arrays(
    tracking: TrackingConfig, opened: Opened
) -> None:
    with tracked_run(*opened, "run", {}) as run:
        run.log_dataset("digits", "/images/digits.npz", IMAGES, LABELS, "5ea1" * 16)
    (stored,) = runs_in(tracking)
    assert stored.inputs is not None
    (used,) = stored.inputs.dataset_inputs
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]
    source = mlflow.data.get_source(used)
    assert source.to_dict() == {"uri": "/images/digits.npz"}
    theirs = numpy_dataset.from_numpy(
        IMAGES, source=source, targets=LABELS, name="digits", digest="5ea1" * 4
    ).to_dict()
    assert dict(used.dataset) == theirs
    assert json.loads(theirs["profile"])["features_shape"] == [7, 8, 9]


WITHOUT_DOCSTRINGS = """
import sys
import numpy as np
from handwriting.tracking import Store
from handwriting.tracking.run import tracked_run

store = Store(sys.argv[1])
with tracked_run(store, store.open_experiment(sys.argv[2]), "run", {}) as run:
    run.log_dataset("digits", "digits.npz", np.zeros((1, 8, 8)), np.zeros(1), "5ea1" * 16)
"""


def test_a_run_is_stored_where_python_leaves_out_docstrings(tracking: TrackingConfig) -> None:
    """Of what MLflow makes from docstrings when it is imported, nothing is needed."""
    command = [sys.executable, "-OO", "-c", WITHOUT_DOCSTRINGS, tracking.uri, tracking.experiment_name]
    subprocess.run(command, check=True)
    (stored,) = runs_in(tracking)
    assert stored.inputs is not None
    assert [used.dataset.name for used in stored.inputs.dataset_inputs] == ["digits"]
