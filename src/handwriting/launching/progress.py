"""How far a sweep is: its jobs and their epochs, counted, and the time that is left for all of them."""

import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser

LABEL = "tracking.label="  # begins the override that tells a job its arm


def called(overrides: Iterable[str]) -> str:
    """Return what a job is called by: "adam seed 3"."""
    label, seed = label_and_seed(overrides)
    return f"{label} seed {seed}" if seed else label


def label_and_seed(overrides: Iterable[str]) -> tuple[str, str]:
    """Return the label of a job's arm, or the job's overrides where it has none, and its seed."""
    label, seed, others = None, "", []
    for word in overrides:
        if word.startswith(LABEL):
            label = _unquoted(word)
        elif word.startswith("seed="):
            seed = word.removeprefix("seed=")
        elif not word.startswith("tracking."):
            others.append(word)
    return " ".join(others) if label is None else label, seed


@functools.cache  # of each arm once: Hydra's parser takes a millisecond
def _unquoted(override: str) -> str:
    return str(OverridesParser.create().parse_override(override).value())


def duration(seconds: float) -> str:
    """Return seconds as people say them: "45 s", "3.2 min", "40 min", "2.5 h"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    value, unit = (seconds / 60, "min") if seconds < 99.5 * 60 else (seconds / 3600, "h")
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


@dataclass(frozen=True)
class Epoch:
    """An epoch that a job has done: its number from 1, the number of its run's epochs, and its seconds."""

    number: int
    of: int
    seconds: float
    val_accuracy: float


@dataclass
class Running:
    """A job that runs, and how many epochs it has done and will have done; none are known at first.

    A job that starts from another run's weights may train that run first: its epochs are `before`.
    """

    label: str
    seed: str
    before: int = 0
    newest: Epoch | None = None

    @property
    def done(self) -> int:
        """Count the epochs done, those of an earlier process too."""
        return self.before + (self.newest.number if self.newest else 0)

    @property
    def all(self) -> int:
        """Count the epochs that it will have done, as far as it is known; 0 before its first is done."""
        return self.before + (self.newest.of if self.newest else 0)


class Progress:
    """Counts jobs and epochs, and estimates the time that is left for all of them.

    Args:
        jobs: how many there are.
        at_once: how many of them at a time.
    """

    def __init__(self, jobs: int, at_once: int):
        self.jobs, self.at_once = jobs, at_once
        self.done = self.failed = 0
        self.running: dict[int, Running] = {}
        self.lengths: list[int] = []  # the epochs of each job that trained and has ended
        self.trained = 0  # epochs, in this process's time
        self.began = time.monotonic()
        self.first = self.last = 0.0  # when the first of these epochs began, and the last one ended

    @property
    def ended(self) -> int:
        """Count the jobs that have ended, in whichever way."""
        return self.done + self.failed

    @property
    def waiting(self) -> int:
        """Count the jobs that have not begun."""
        return self.jobs - self.ended - len(self.running)

    def begin(self, job: int, overrides: Sequence[str]) -> None:
        """Note that a job begins."""
        self.running[job] = Running(*label_and_seed(overrides))

    def epoch(self, job: int, epoch: Epoch) -> None:
        """Note that a job has done an epoch."""
        self.last = time.monotonic()
        if not self.trained:
            self.first = self.last - epoch.seconds
        self.trained += 1
        running = self.running[job]
        if running.newest and epoch.number <= running.newest.number:
            running.before += running.newest.number
        running.newest = epoch

    def back(self, job: int) -> None:
        """Note that a job is to begin again: what it ran on was lost."""
        self.running.pop(job, None)

    def end(self, job: int, failed: bool) -> None:
        """Note that a job has ended, in whichever way; one that could not begin has failed."""
        ended = self.running.pop(job, None)
        self.failed += failed
        self.done += not failed
        if ended and ended.newest:
            self.lengths.append(ended.done)

    def left(self) -> float | None:
        """Return the seconds that all jobs will still take; None before the first epoch is done.

        Epochs still to do, by the rate of those done in this sweep. A job of which nothing is known yet is
        taken to have as many as the others have on average. Toward the end fewer jobs run at once.
        """
        if not self.trained:
            return None
        running = self.running.values()
        lengths = [*self.lengths, *(job.all for job in running if job.newest)]
        mean = sum(lengths) / len(lengths)
        epochs = self.waiting * mean + sum(job.all - job.done if job.newest else mean for job in running)
        at_once = min(self.at_once, self.waiting + len(running))
        pace = (self.last - self.first) / self.trained * self.at_once / max(at_once, 1)  # s for each epoch
        return max(0.0, epochs * pace - (time.monotonic() - self.last))

    def __str__(self) -> str:
        left = self.left()
        parts = [
            f"{self.done} of {self.jobs} done",
            f"{self.failed} failed" if self.failed else "",
            f"{len(self.running)} running" if self.running else "",
            duration(time.monotonic() - self.began),
            f"about {duration(max(left, 1))} left" if left is not None and self.running else "",
        ]
        return ", ".join(part for part in parts if part)
