"""Workers that Ctrl-C meets where it hurts; their whole process group gets it, as from a terminal."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from conftest import SMALL, runs_in
from handwriting.config import compose

TINY = (*SMALL, "model=mlp", "model.units=16", "batch_size=500")
TWO = ("optimizer=sgd,adam", "hydra.launcher.jobs=2", "epochs=10000")
PATIENCE = 120  # s


@contextlib.contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a sweep in a process group of its own; what it says goes to FOLDER/screen."""
    command = [sys.executable, "-m", "handwriting.train", "-m"]
    # A shell lets what it starts with `&` ignore SIGINT, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with (folder / "screen").open("wb") as screen:
        sweep = subprocess.Popen(
            [*command, *TINY, *words], cwd=folder, stdout=screen, stderr=screen, start_new_session=True
        )
    signal.signal(signal.SIGINT, before)
    with sweep:
        try:
            yield sweep
        finally:
            if sweep.poll() is None:
                os.killpg(sweep.pid, signal.SIGKILL)


def workers_of(sweep: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(sweep.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def loaded(worker: psutil.Process) -> str:
    """Return the libraries that a process has loaded."""
    try:
        return Path(f"/proc/{worker.pid}/maps").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def two_have_loaded(sweep: subprocess.Popen[bytes], library: str) -> bool:
    return sum(library in loaded(worker) for worker in workers_of(sweep)) == 2


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what is loaded is not told here")
def test_a_worker_that_ctrl_c_meets_in_its_imports_ends_without_a_traceback(tmp_path: Path) -> None:
    """Only they get it here: the sweep's own process would end them before they have said anything."""
    with started(tmp_path, *TWO, "tracking.experiment_name=imports") as sweep:
        wait_until(lambda: two_have_loaded(sweep, "_multiarray_umath"))
        for worker in workers_of(sweep):
            worker.send_signal(signal.SIGINT)
        assert sweep.wait(PATIENCE) == 1
    said = (tmp_path / "screen").read_text(encoding="utf-8")
    assert "Traceback" not in said
    assert said.count("the job's process was ended with exit code 130") == 2


# SIGTERM meets a callback of the garbage collector: Python goes on after its exception.
LOSES = """
import signal, weakref
import keras

class Thing:
    pass

class Loses(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        thing = Thing()
        callback = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
        del thing
"""


def test_a_worker_hears_a_signal_whose_exception_was_lost(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(LOSES, encoding="utf-8")
    experiment = "tracking.experiment_name=lost"
    with started(tmp_path, "epochs=10000", experiment, "callbacks=[{_target_: parts.Loses}]") as sweep:
        assert sweep.wait(PATIENCE) == 1
    said = (tmp_path / "screen").read_text(encoding="utf-8")
    assert "Traceback" not in said
    assert said.count("the job's process was ended with exit code 143") == 1
    assert [run.info.status for run in runs_in(compose(experiment).tracking)] == ["KILLED"]
