"""One run in the store: how it ends, and that nothing is lost, doubled or betrayed."""

from contextlib import suppress

import mlflow
import pytest
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
