"""Workers that Ctrl-C meets where it hurts; their whole process group gets it, as from a terminal.

And a sweep on a terminal: what its workers print, one that is killed, and what Ctrl-C leaves behind.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import termios
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


# SIGTERM meets a callback of the garbage collector, after whose exception Python goes on and says so; or code
# that drops it in silence, as C that calls Python may.
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

class Drops(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            try:
                signal.raise_signal(signal.SIGTERM)
            except SystemExit:
                pass
"""


@pytest.mark.parametrize("how", ["Loses", "Drops"])
def test_a_worker_hears_a_signal_whose_exception_was_lost(how: str, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(LOSES, encoding="utf-8")
    experiment = f"tracking.experiment_name={how}"
    with started(tmp_path, "epochs=10000", experiment, f"callbacks=[{{_target_: parts.{how}}}]") as sweep:
        assert sweep.wait(PATIENCE) == 1
    said = (tmp_path / "screen").read_text(encoding="utf-8")
    assert "Traceback" not in said
    assert said.count("the job's process was ended with exit code 143") == 1
    assert [run.info.status for run in runs_in(compose(experiment).tracking)] == ["KILLED"]


# Says on the terminal what Python and C++ say.
SPEAKS = """
import os
import keras

class Speaks(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            print("a callback speaks")
            os.write(2, b"C++ speaks\\n")
"""


# Of a session of its own it makes standard input the terminal: so Ctrl-C reaches all its processes.
ON_ITS_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_sweep_on_a_terminal_keeps_its_line_below_all_that_is_said_until_ctrl_c(tmp_path: Path) -> None:
    """Two jobs are trained, one is killed, one is stopped; the cursor is back, and the table is whole."""
    (tmp_path / "parts.py").write_text(SPEAKS, encoding="utf-8")
    experiment = "tracking.experiment_name=pty"
    words = ["epochs=1,10000", "seed=0,1", "hydra.launcher.jobs=1", "callbacks=[{_target_: parts.Speaks}]"]
    terminal, theirs = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    command = [sys.executable, "-m", "handwriting.train", "-m", *TINY, experiment, *words]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    sweep = subprocess.Popen(
        [sys.executable, "-c", ON_ITS_TERMINAL, *command], cwd=tmp_path, env=os.environ | {"TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    signal.signal(signal.SIGINT, before)
    os.close(theirs)
    screen = b""

    def read_until(seen: bytes) -> None:
        nonlocal screen
        deadline = time.monotonic() + PATIENCE
        while seen not in screen:
            assert time.monotonic() < deadline, screen.decode()
            try:
                screen += os.read(terminal, 65536)
            except OSError:  # nobody is left who could write
                pytest.fail(screen.decode())

    try:
        read_until(b"1 of 4 done, 1 running")
        read_until(b"2 of 4 done, 1 running")
        read_until(b"/10000")
        for worker in workers_of(sweep):
            worker.kill()
        read_until(b"2 of 4 done, 1 failed, 1 running")
        killed, screen = screen, b""
        read_until(b"/10000")
        os.write(terminal, b"\x03")
        read_until(b"\ninterrupted")
        assert sweep.wait(PATIENCE) == 1
    finally:
        os.close(terminal)  # which ends what still runs
        sweep.wait()
    said = (killed + screen).decode()
    assert "Traceback" not in said
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l"), "the cursor is shown again"
    for line in (
        "a callback speaks",
        "C++ speaks",
        "error: epochs 10000 seed 0: the job's process was ended by SIGKILL",
    ):
        assert re.search(rf"\x1b\[2K(\d\d:\d\d:\d\d )?{re.escape(line)}", said), line
    assert "epoch 1/1" not in said, "bars say it"
    assert "test accuracy" not in said, "that is for a single run"
    after = said[said.rindex("\x1b[") :]
    assert re.search(r"\r\nsweep sweep-\w+: 4 jobs in", after)
    assert [after.count(status) for status in ("FINISHED", "INTERRUPTED ", "KILLED ")] == [2, 1, 1]
    folder = Path(compose(experiment).tracking.uri.removeprefix("sqlite:///")).parent / "jobs"
    assert any("epoch 1/1" in log.read_text(encoding="utf-8") for log in folder.glob("*/0/train.log"))
