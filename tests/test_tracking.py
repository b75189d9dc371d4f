import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, nullcontext, suppress
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run
from sqlalchemy import Engine, event

from conftest import runs_in
from handwriting.claim import claim, joined, lock_of
from handwriting.config import TrackingConfig, compose
from handwriting.data import Split
from handwriting.errors import UserError, redact
from handwriting.interrupts import ENDINGS, undisturbed
from handwriting.store import check_store
from handwriting.summary import runs_of_sweep, table_of_jobs
from handwriting.tracking import creating, open_store, tracked_run


@pytest.fixture
def tracking(request: pytest.FixtureRequest, store: str) -> TrackingConfig:
    return TrackingConfig(store, request.node.name)


def traceback_of(run: Run) -> str:
    return mlflow.artifacts.load_text(f"{run.info.artifact_uri}/traceback.txt")


def test_a_run_that_raises_is_failed_with_its_reason(tracking: TrackingConfig) -> None:
    with pytest.raises(ZeroDivisionError), tracked_run(open_store(tracking), "run", {"mine": "1"}):
        _ = 1 / 0
    (run,) = runs_in(tracking)
    assert (run.info.status, run.info.run_name, run.data.tags["mine"]) == ("FAILED", "run", "1")
    assert run.data.tags["failure"] == "ZeroDivisionError: division by zero"
    assert traceback_of(run).startswith("Traceback")
    assert "_ = 1 / 0" in traceback_of(run)
    assert mlflow.active_run() is None


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_a_run_that_is_interrupted_is_killed(tracking: TrackingConfig, ending: type[BaseException]) -> None:
    with pytest.raises(ending), tracked_run(open_store(tracking), "run", {}):
        raise ending
    assert [run.info.status for run in runs_in(tracking)] == ["KILLED"]
    assert mlflow.active_run() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_a_write_takes_effect_after_it(
    tracking: TrackingConfig, number: signal.Signals
) -> None:
    """An exception in the middle of a transaction left the store locked: for this process, and for all."""
    before = signal.signal(number, lambda *_: sys.exit(3))

    def interrupt(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO metrics"):
            signal.raise_signal(number)

    event.listen(Engine, "before_cursor_execute", interrupt)
    try:
        with suppress(SystemExit), tracked_run(open_store(tracking), "run", {}) as run:
            run.log_epoch({"loss": 0.5}, 0)
            run.log_epoch({"loss": 0.4}, 1)
    finally:
        event.remove(Engine, "before_cursor_execute", interrupt)
        signal.signal(number, before)
    (stored,) = runs_in(tracking)
    assert (stored.info.status, stored.data.metrics) == ("KILLED", {"loss": 0.5})
    with closing(sqlite3.connect(tracking.uri.removeprefix("sqlite:///"), timeout=0)) as store:
        store.execute("BEGIN IMMEDIATE")


def test_signals_are_held_back_once_and_their_handlers_put_back() -> None:
    handled: list[int] = []
    before = {number: signal.signal(number, lambda number, _: handled.append(number)) for number in ENDINGS}
    try:
        with suppress(ZeroDivisionError), undisturbed(), undisturbed():
            for number in ENDINGS:
                signal.raise_signal(number)
            assert handled == []
            _ = 1 / 0
        assert handled == list(ENDINGS)
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert handled[2:] == [signal.SIGINT], "who insists is heard"
        signal.raise_signal(signal.SIGTERM)
        assert handled[-1] == signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_run_gone_on_with_loses_its_failure_and_keeps_its_points(tracking: TrackingConfig) -> None:
    experiment_id = open_store(tracking)
    with suppress(OSError), tracked_run(experiment_id, "run", {}) as run:
        run.log_epoch({"loss": 0.5}, 0)
        raise OSError("the disk is full")
    assert "the disk is full" in runs_in(tracking)[0].data.tags["failure"]
    with tracked_run(experiment_id, "run", {}, run.id) as run:
        run.log_epoch({"loss": 0.7}, 0)
        run.log_epoch({"loss": 0.25}, 1)
    (stored,) = runs_in(tracking)
    assert stored.info.status == "FINISHED"
    assert "failure" not in stored.data.tags
    points = mlflow.MlflowClient().get_metric_history(run.id, "loss")
    assert [(one.step, one.value) for one in points] == [(0, 0.5), (1, 0.25)]


def test_an_exported_run_id_is_not_taken_for_the_new_runs(
    tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracked_run(open_store(tracking), "first", {}) as first:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", first.id)
    with tracked_run(open_store(tracking), "second", {}) as second:
        second.log_params({"a": 1})
    assert {run.info.run_name: dict(run.data.params) for run in runs_in(tracking)} == {
        "first": {},
        "second": {"a": "1"},
    }


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("postgresql://me:geheim@db:5432/x", "postgresql://***@db:5432/x"),
        ("https://geheim@host/path", "https://***@host/path"),
        ("a=http://me:geheim@one b=http://me:geheim@two", "a=http://***@one b=http://***@two"),
        ("mysql://me:ge@heim@host/x", "mysql://***@host/x"),
        ("postgresql://db/x?user=me&password=geheim", "postgresql://db/x?user=me&password=***"),
        ("sqlite:////folder/mlflow.db", "sqlite:////folder/mlflow.db"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_redact_takes_passwords_out_of_addresses(address: str, clean: str) -> None:
    assert redact(address) == clean


def test_params_hold_no_password(tracking: TrackingConfig) -> None:
    with tracked_run(open_store(tracking), "run", {}) as run:
        run.log_params({"tracking.uri": "postgresql://me:geheim@db/x"})
    assert runs_in(tracking)[0].data.params == {"tracking.uri": "postgresql://***@db/x"}


def test_a_failures_reason_and_traceback_hold_no_password(tracking: TrackingConfig) -> None:
    address = "postgresql://me:{}@db/x".format("geheim")  # in pieces: a traceback shows this line
    with pytest.raises(RuntimeError), tracked_run(open_store(tracking), "run", {}):
        raise RuntimeError(f"no answer from {address}")
    (stored,) = runs_in(tracking)
    assert stored.data.tags["failure"] == "RuntimeError: no answer from postgresql://***@db/x"
    assert "geheim" not in traceback_of(stored)


def test_a_new_store_lets_readers_and_a_writer_work_side_by_side(tmp_path: Path) -> None:
    open_store(TrackingConfig(f"sqlite:///{tmp_path}/new/mlflow.db", "first"))
    with closing(sqlite3.connect(tmp_path / "new/mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        places = database.execute("SELECT artifact_location FROM experiments WHERE name = 'first'").fetchall()
    assert places == [(f"file://{tmp_path}/new/artifacts",)]


def test_a_data_set_is_made_by_one_process_at_a_time(tracking: TrackingConfig) -> None:
    """MLflow looks whether it is there and then makes it: of two jobs of a first sweep, one failed."""
    images = Split(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.int32))
    held, made = threading.Event(), []

    def make() -> None:
        with creating(tracking.uri):
            held.set()
            time.sleep(1)
            made.append("by another")

    with tracked_run(open_store(tracking), "run", {}) as run:
        threading.Thread(target=make).start()
        held.wait()
        run.log_dataset("mnist", "mnist.npz", images, "0" * 64)
        assert made, "it waits for whoever makes something"
    (stored,) = runs_in(tracking)
    assert stored.inputs is not None
    assert [one.dataset.digest for one in stored.inputs.dataset_inputs] == ["0" * 16]


@pytest.mark.parametrize("wait", [False, True])
def test_a_run_that_another_works_on_is_refused_or_waited_for(tracking: TrackingConfig, wait: bool) -> None:
    cfg = compose(f"tracking.experiment_name='{tracking.experiment_name}'")
    held, made = threading.Event(), []

    def work() -> None:
        with lock_of(tracking.uri, open_store(tracking), "f" * 16):
            held.set()
            time.sleep(4)  # longer than a lock that is only looked at
            made.append("by another")

    other = threading.Thread(target=work)
    other.start()
    held.wait()
    refusal = nullcontext() if wait else pytest.raises(UserError, match="live in another process")
    with refusal, claim(cfg, "f" * 16, wait):
        assert made == ["by another"]
    other.join()


def test_a_store_that_may_only_be_read_is_refused_and_left_as_it_was() -> None:
    # Root may write everywhere, so as somebody else, who must be able to get at the folder.
    code = (
        "import os, sys; from handwriting.store import check_store; "
        "os.getuid() or os.setuid(65534); check_store(sys.argv[1])"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        check_store(f"sqlite:///{path}")
        before = path.read_bytes()
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        command = [sys.executable, "-c", code, f"sqlite:///{path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        Path(folder).chmod(0o755)
        assert "cannot be written (attempt to write a readonly database). Make it writable" in done.stderr
        assert path.read_bytes() == before


def test_a_deleted_experiment_is_refused_with_the_way_out(tracking: TrackingConfig) -> None:
    experiment_id = open_store(tracking)
    mlflow.MlflowClient().delete_experiment(experiment_id)
    with pytest.raises(UserError, match=rf"was deleted\. Restore it .* -x {experiment_id}\), or"):
        open_store(tracking)


def test_a_run_of_two_sweeps_is_found_in_both(tracking: TrackingConfig) -> None:
    experiment_id = open_store(tracking)
    with tracked_run(experiment_id, "run", {"sweep": joined({"sweep": "sweep-0a"}, "sweep-0b")}) as run:
        pass
    for sweep in ("sweep-0a", "sweep-0b"):
        assert [one.info.run_id for one in runs_of_sweep(experiment_id, sweep)] == [run.id]
    assert joined({"sweep": "sweep-0a"}, "sweep-0a") == "sweep-0a"
    assert joined({}, "") == ""


def test_the_table_shows_jobs_that_never_reached_the_store() -> None:
    table = table_of_jobs({"f0": ["seed=0", "epochs=1"], "f1": ["seed=1", "epochs=1"]}, [], set())
    assert list(table.columns) == ["seed", "status"]
    assert table.to_dict("list") == {"seed": ["0", "1"], "status": ["NOT RUN", "NOT RUN"]}
