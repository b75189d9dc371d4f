"""A run that is killed, by a real signal at a chosen moment, ends as if nothing had happened."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from kill_at import MOMENTS
from mlflow.entities import Run

from conftest import Opened
from handwriting.config import TrackingConfig
from handwriting.precision import computes_in_bfloat16, flags
from handwriting.tracking import Store, names
from handwriting.tracking.identity import Identity
from handwriting.tracking.provenance import computing_tags
from handwriting.tracking.resume import find_run
from handwriting.tracking.run import tracked_run

# Dropout, batch normalisation, momentum, a learning rate that changes in each step, images distorted anew in
# each epoch, a last batch that is smaller, more than one execution of steps an epoch. A network of one block,
# as tracing all five of deep_cnn took each of twenty processes 4 s.
TINY = [
    "optimizer=adamw", "model=deep_cnn", "model._target_=small_parts.one_block", "schedule=one_cycle",
    "augmentation=affine", "epochs=8", "threads=1", "batch_size=8", "data.limit_train=260",
    "data.limit_test=200", "data.validation_size=100",
]  # fmt: skip
SLOW = [*TINY, "callbacks=[{_target_: small_parts.Waits, seconds: 0.3}]"]
LONG = [*TINY, "callbacks=[{_target_: small_parts.Waits, seconds: 3}]", "epochs=500"]
HERE = Path(__file__).parent  # where the commands run, and find small_parts


def command(*words: str) -> list[str]:
    return [sys.executable, *words]


def run_in(store: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
    return subprocess.run(
        command(*words), env=environment, cwd=HERE, capture_output=True, text=True, check=False, **options
    )


def train(store: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return run_in(store, "-m", "handwriting.train", *overrides)


def runs(store: Path) -> list[Run]:
    client = mlflow.MlflowClient(f"sqlite:///{store}/mlflow.db")
    training = [kind for kind in client.search_experiments() if not kind.name.endswith("-reports")]
    ids = [kind.experiment_id for kind in training]
    return list(client.search_runs(ids, order_by=["attributes.start_time"]))


def result(store: Path, run: Run) -> dict[str, Any]:
    """Return all that must not depend on how often a run was killed: bits, points, statuses."""
    client, run_id = mlflow.MlflowClient(f"sqlite:///{store}/mlflow.db"), run.info.run_id
    points = {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in run.data.metrics
    }
    steps = {name: [step for step, _ in series] for name, series in points.items()}
    return {
        "status": run.info.status,
        "weights": (run.data.tags["weights.initial"], run.data.tags["weights.final"]),
        "steps": steps,
        "points": {name: series for name, series in points.items() if "seconds" not in name},
        "models": len(
            client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
        ),
        "failure": run.data.tags.get("failure"),
    }


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], str]:
    """One run, killed at every moment and gone on with, then done again undisturbed in the same store."""
    store = tmp_path_factory.mktemp("killed")
    done = run_in(store, "kill_at.py", *TINY)
    return store, done.stdout.splitlines(), done.stderr


def test_run_killed_at_every_moment_ends_as_the_undisturbed_one(
    killed: tuple[Path, list[str], str],
) -> None:
    store, attempts, stderr = killed
    expected = [f"{1 if 'disk' in moment else -signal.SIGKILL} {moment}" for moment in MOMENTS]
    assert attempts == [*expected, "0 to the end", "0 again", "0 forced"], stderr
    run, undisturbed = runs(store)
    assert result(store, run) == result(store, undisturbed)
    assert run.data.tags["resumes"] == str(len(MOMENTS))
    assert result(store, run)["steps"]["loss"] == list(range(8))
    assert result(store, run)["steps"]["test_accuracy"] == [7]
    assert result(store, run)["models"] == 1
    assert not list((store / "checkpoints").iterdir())


@pytest.mark.skipif(not computes_in_bfloat16(flags()), reason="this processor does not compute in bfloat16")
def test_a_run_in_bfloat16_that_is_killed_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    words = [*SLOW, "precision=mixed_bfloat16"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    with subprocess.Popen(
        command("-m", "handwriting.train", *words), env=environment, cwd=HERE, stderr=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: list(tmp_path.glob("checkpoints/*/epoch-0003*")))
        process.kill()
    for more in ([], ["force=true"]):
        done = train(tmp_path, *words, *more)
        assert done.returncode == 0, done.stderr
    run, undisturbed = runs(tmp_path)
    assert run.data.tags["resumes"] == "1"
    assert result(tmp_path, run) == result(tmp_path, undisturbed)


def test_finished_run_is_skipped_and_force_repeats_it(killed: tuple[Path, list[str], str]) -> None:
    store, _, stderr = killed
    run, forced = runs(store)
    assert f"is finished already: run {run.info.run_id}" in stderr
    assert forced.data.tags["repeats"] == run.info.run_id


def test_each_process_leaves_its_commit_and_its_code(killed: tuple[Path, list[str], str]) -> None:
    run, undisturbed = runs(killed[0])
    client = mlflow.MlflowClient(f"sqlite:///{killed[0]}/mlflow.db")
    full = list(MOMENTS).index("when the disk is full")  # which takes no file
    for number in {*range(len(MOMENTS) + 1)} - {full}:
        folder = {file.path for file in client.list_artifacts(run.info.run_id, f"process-{number}")}
        assert f"process-{number}/commit.txt" in folder, number
    assert not client.list_artifacts(undisturbed.info.run_id, "process-1")
    assert run.data.tags["git.commit"] == undisturbed.data.tags["git.commit"], "the same commit is named once"


def test_full_disk_is_said_in_one_line(killed: tuple[Path, list[str], str]) -> None:
    """That the run goes on when there is room again is in the test above."""
    (line,) = [line for line in killed[2].splitlines() if line.startswith("error:")]
    assert "What was stored is whole" in line


def test_sweep_with_a_killed_worker_keeps_the_others_and_goes_on(
    tmp_path: Path, killed: tuple[Path, list[str], str]
) -> None:
    """Also: parallel beside others ends in the bits of a run alone; growing runs what is missing.

    And what the worker left RUNNING is marked as KILLED when somebody looks for orphans.
    """
    sweep = ["-m", "handwriting.train", "-m", "seed=0,1", *SLOW]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    with subprocess.Popen(
        command(*sweep), env=environment, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        worker = wait_for(lambda: worker_with_a_run(process.pid))
        wait_for(lambda: list(tmp_path.glob("checkpoints/*/epoch-*")))
        os.kill(worker, signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "was ended by SIGKILL" in err
    assert "INTERRUPTED" in out
    assert "FINISHED" in out

    assert sorted(run.info.status for run in runs(tmp_path)) == ["FINISHED", "RUNNING"]
    assert run_in(tmp_path, "-m", "handwriting.orphans").stdout.count("is KILLED") == 1
    assert sorted(run.info.status for run in runs(tmp_path)) == ["FINISHED", "KILLED"]

    # A third seed: the same arms, so the same sweep.
    more = ["-m", "seed=0,1,2", *SLOW, "hydra.launcher.jobs=1"]
    done = run_in(tmp_path, "-m", "handwriting.train", *more)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is finished already") == 1
    assert done.stderr.count("goes on after epoch") == 1
    all_runs = runs(tmp_path)
    assert len(all_runs) == 3
    assert len({run.data.tags["sweep"] for run in all_runs}) == 1
    seed0 = next(run for run in all_runs if run.data.params["seed"] == "0")
    assert result(tmp_path, seed0) == result(killed[0], runs(killed[0])[1])


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    """A sweep, in a process group of its own, both of whose runs have been through an epoch."""
    store = tmp_path_factory.mktemp("at_work")
    sweep = ["-m", "handwriting.train", "-m", "seed=0,1", *LONG, "hydra.launcher.jobs=2"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
    with subprocess.Popen(
        command(*sweep), env=environment, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            wait_for(lambda: len({path.parent for path in store.glob("checkpoints/*/epoch-*")}) == 2)
            yield store, process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_live_run_is_left_alone(at_work: tuple[Path, "subprocess.Popen[str]"]) -> None:
    """By one that would do the same, and by the search for orphans."""
    store, _ = at_work
    second = train(store, *LONG)
    assert second.returncode == 1
    assert "live in another process" in second.stderr
    assert "Traceback" not in second.stderr
    assert run_in(store, "-m", "handwriting.orphans").stdout == ""
    assert [run.info.status for run in runs(store)] == ["RUNNING"] * 2


def test_ctrl_c_ends_a_parallel_sweep_in_order(at_work: tuple[Path, "subprocess.Popen[str]"]) -> None:
    """The terminal sends it to the sweep and to its workers; the sweep then tells them once more."""
    store, process = at_work
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert out.count("KILLED") == 2
    assert {run.info.status for run in runs(store)} == {"KILLED"}


def wait_for(look: Any, seconds: float = 300) -> Any:
    """Return what `look` finds, when it finds something; on a busy machine importing takes a minute."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError


def worker_with_a_run(parent: int) -> int | None:
    """Return the pid of a worker that holds the lock of a run."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                files = [os.readlink(file) for file in (stat.parent / "fd").iterdir()]
                if any("/locks/" in file for file in files):
                    return int(stat.parent.name)
    return None


@pytest.mark.parametrize(
    ("ending", "done"),
    [(None, "skipped"), (KeyboardInterrupt, "gone on with")],
    ids=["finished", "unfinished"],
)
def test_a_run_of_another_code_is_left_and_what_differs_is_said(
    tracking: TrackingConfig, opened: Opened, caplog: pytest.LogCaptureFixture, ending: Any, done: str
) -> None:
    """Never a seam between two versions of the code within one run."""
    setting = {"seed": 0.0}
    before, after = (
        Identity(setting, {"training/models.py": {"build_small_cnn": digest, "build_cnn": "same"}})
        for digest in ("0ld", "new")
    )
    tags = {names.FINGERPRINT: before.fingerprint, names.SETTING: before.setting_digest}
    outcome = pytest.raises(KeyboardInterrupt) if ending else contextlib.nullcontext()
    with outcome, tracked_run(*opened, "cnn", tags | computing_tags()) as run:
        run.log_text(json.dumps(before.code), names.CODE_FILE)
        if ending:
            raise ending
    with find_run(opened[0], tracking.experiment_name, before) as found:
        assert found.run is not None, "with the same code it is found"
    with find_run(opened[0], tracking.experiment_name, after) as found:
        assert found.run is None
    assert caplog.messages == [
        f"cnn  run {run.id} is not {done}: the code differs in training/models.py: build_small_cnn; "
        "a new run is started"
    ]
    with find_run(opened[0], tracking.experiment_name, Identity({"seed": 1.0}, after.code)) as found:
        assert len(caplog.messages) == 1, "another setting is another run, and nothing to say"


TWENTY = """
import multiprocessing, sys
import numpy as np
import mlflow.store.tracking.sqlalchemy_store
from handwriting.tracking import Store
from handwriting.tracking.run import tracked_run

def work(number, together):
    together.wait()
    store = Store(sys.argv[1])
    with tracked_run(store, store.open_experiment("race"), "run", {"fingerprint": str(number)}) as run:
        run.log_epoch({"loss": 1}, 0)
        together.wait()
        run.log_dataset("mnist", "mnist.npz", np.zeros((1, 28, 28), "uint8"), np.zeros(1), "0" * 64)

context = multiprocessing.get_context("fork")  # imported once, so they start at once
together = context.Barrier(20)
processes = [context.Process(target=work, args=(number, together)) for number in range(20)]
for process in processes:
    process.start()
for process in processes:
    process.join(120)
sys.exit(sum(process.exitcode != 0 for process in processes))
"""


def test_twenty_processes_on_an_empty_store_make_twenty_runs(tmp_path: Path) -> None:
    """What races is the store: each process opens it, makes its run, names its data set and ends."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    done = subprocess.run(
        command("-c", TWENTY, uri), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = runs(tmp_path)
    assert len({run.data.tags["fingerprint"] for run in found}) == 20
    assert {run.info.status for run in found} == {"FINISHED"}
    assert all(run.inputs and len(run.inputs.dataset_inputs) == 1 for run in found)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    race = client.get_experiment_by_name("race")
    assert race is not None
    assert {run.info.experiment_id for run in found} == {race.experiment_id}


def test_store_that_is_busy_is_waited_for(tmp_path: Path) -> None:
    """MLflow alone gives up after 20 s."""
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = store.open_experiment("busy")
    other = sqlite3.connect(tmp_path / "mlflow.db", check_same_thread=False)
    with contextlib.closing(other), tracked_run(store, experiment, "run", {}) as run:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(23, other.rollback).start()
        started = time.monotonic()
        run.log_epoch({"loss": 1.0}, 0)
        assert time.monotonic() - started > 20
    assert runs(tmp_path)[0].data.metrics == {"loss": 1.0}
