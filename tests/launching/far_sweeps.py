"""Sweeps whose jobs run on other machines, or as if: a real command, watched while it runs."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
from mlflow.entities import Run

from conftest import runs_in
from handwriting.config import ROOT, compose
from handwriting.tracking import Store, names
from servers import wait_for

PATIENCE, ENDS = 120, 30  # s: until jobs are in training, beside other tests; until all have ended


def command(experiment: str, *words: str) -> list[str]:
    start = [sys.executable, "-m", "handwriting.train"]
    return [*start, *words, f"tracking.experiment_name={experiment}"]


class Sweep:
    """A sweep with more variables in its environment; what it says goes into a file."""

    def __init__(self, experiment: str, *words: str, **more: str):
        self.experiment = experiment
        Store(os.environ["MLFLOW_TRACKING_URI"]).open_experiment(experiment)  # else `of` makes it too
        self.screen = Path(tempfile.mkstemp(prefix="screen-")[1])
        # A shell lets what it starts with `&` ignore SIGINT, and children inherit that.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.screen.open("wb") as screen:
            self.process = subprocess.Popen(
                command(experiment, "-m", *words),
                cwd=ROOT,
                env=os.environ | more,
                stdout=screen,
                stderr=screen,
                start_new_session=True,
            )
        signal.signal(signal.SIGINT, before)

    def __enter__(self) -> "Sweep":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        print(self.said)  # shown where a test fails
        self.screen.unlink()

    def wait_for_training(self, jobs: int) -> None:
        """Wait until so many of its jobs are in training at once."""

        def look() -> bool:
            assert self.process.poll() is None, self.said
            return jobs <= sum(
                run.info.status == "RUNNING" and names.LOSS in run.data.metrics for run in of(self.experiment)
            )

        wait_for(look, PATIENCE)

    def interrupt(self) -> None:
        """Press Ctrl-C: a terminal sends it to the sweep and to what it has started."""
        os.killpg(self.process.pid, signal.SIGINT)

    @property
    def said(self) -> str:
        return self.screen.read_text(encoding="utf-8")

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it said."""
        code = self.process.wait(300)
        assert "Traceback" not in self.said, self.said
        return code, self.said


def of(experiment: str) -> list[Run]:
    with contextlib.suppress(AssertionError):  # there is no such experiment yet
        return runs_in(compose(f"tracking.experiment_name={experiment}").tracking)
    return []


def doing_jobs(minds: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """Return the processes that do jobs, whose parents are those that mind one."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            parent, line = process.parent(), " ".join(process.info["cmdline"] or [])
            if "spawn_main" in line and parent and minds(parent):
                found.append(process)
    return found


def minded() -> list[psutil.Process]:
    """Return the processes that do jobs on a cluster's nodes."""
    return doing_jobs(lambda parent: parent.name().startswith("ray::"))
