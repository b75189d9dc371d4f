"""A job as it is called on a node of Slurm, and what it tells the sweep from there: words in a file."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from handwriting.launching.node import Begun, Parcel, mind
from handwriting.launching.progress import Epoch
from handwriting.launching.worker import Lost
from handwriting.tracking.identity import Code

if TYPE_CHECKING:  # only a sweep by submitit needs it
    from submitit.helpers import DelayedSubmission


@dataclass
class Errand:
    """A job as submitit calls it.

    Args:
        parcel: what all jobs need.
        overrides: its own.
        job: its config.
        code: what determines its result, on the machine of the sweep.
        told: the file that it tells the sweep in, a line of JSON for each word.
    """

    parcel: Parcel
    overrides: Sequence[str]
    job: DictConfig
    code: Code
    told: Path

    def __call__(self) -> JobReturn | str:
        """Do the job; return what it returned, or how it was lost."""
        # submitit passes over SIGTERM, by which Slurm ends a job.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        with self.told.open("a", encoding="utf-8") as file:
            _tell(file, node=os.uname().nodename)
            try:
                for told in mind(self.parcel, self.overrides, self.job, self.code):
                    if isinstance(told, JobReturn):
                        return told
                    words = {"epoch": asdict(told)} if isinstance(told, Epoch) else {"lines": told}
                    _tell(file, **words)
            except Lost as lost:
                return str(lost)
        raise AssertionError("a job returns something")

    def checkpoint(self) -> "DelayedSubmission":
        """Return what goes on where Slurm ends it because its time is over: the same, as its run goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _tell(file: Any, **words: Any) -> None:
    file.write(f"{json.dumps(words)}\n")
    file.flush()


@dataclass
class Heard:
    """The file that a job tells the sweep in, as the sweep reads it.

    Args:
        file: its path.
        read: the bytes of it that were read.
    """

    file: Path
    read: int = 0

    def words(self) -> Iterator[Begun | Epoch | list[str]]:
        """Yield what was told since this was asked last: a node, by its name; an epoch; lines."""
        if not self.file.exists():
            return
        with self.file.open("rb") as file:
            file.seek(self.read)
            for line in file:
                if not line.endswith(b"\n"):  # it is being written
                    return
                self.read += len(line)
                match json.loads(line):
                    case {"node": name}:
                        yield Begun(name)
                    case {"epoch": epoch}:
                        yield Epoch(**epoch)
                    case {"lines": lines}:
                        yield lines
