"""What runs on a node of a cluster: a task minds a process like that of a local sweep, which does the job.

The process stays for the next task, so that TensorFlow is imported once. It is one of its own, not Ray's,
because it ends its run in order when the task is cancelled or is gone, and hears signals as it does at home.
"""

import importlib.util
import os
import pickle
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from handwriting.config import is_address
from handwriting.launching.processes import Worker, end
from handwriting.launching.progress import Epoch
from handwriting.launching.worker import Setting, Unfit
from handwriting.tracking import names
from handwriting.tracking.identity import Code, code_of, difference, targets_of
from handwriting.tracking.provenance import computing_tags

# Begin the variables that travel with a sweep. Not in Ray's runtime environment, which stands in its logs:
# there may be a password in one.
CARRIED = ("MLFLOW_", "AWS_", "TF_", "KERAS_")
_here: list[Worker] = []  # the process that this one minds: at most one


@dataclass(frozen=True)
class Parcel:
    """What all jobs of a sweep need, whatever there is on a node.

    Args:
        packed: a `Setting`.
        environment: variables that MLflow, TensorFlow and object stores read; a node may lack them.
        versions: of the libraries that decide a result's last bits.
        arguments: the command line.
        module: of the command.
        folder: in which it was started.
        bars: whether bars show each epoch.
    """

    packed: bytes
    environment: Mapping[str, str]
    versions: Mapping[str, str]
    arguments: Sequence[str]
    module: str
    folder: str
    bars: bool


def parcel_of(setting: Setting, bars: bool) -> Parcel:
    """Return what all jobs of this process's sweep need."""
    here, spec = computing_tags(), sys.modules["__main__"].__spec__
    return Parcel(
        pickle.dumps(setting),
        {name: value for name, value in os.environ.items() if name.startswith(CARRIED)},
        {name: here[name] for name in names.LIBRARIES},
        tuple(sys.argv),
        spec.name if spec else "handwriting.train",
        os.getcwd(),
        bars,
    )


@dataclass(frozen=True)
class Begun:
    """A job has begun on a node, which is called by its id."""

    node: str


Told = Begun | Epoch | list[str] | JobReturn  # list[str]: lines that were printed


@dataclass(frozen=True)
class Described:
    """What a node is to a sweep.

    Args:
        host: its machine's name.
        cpu: the kind of its processor.
        wrong: what would make a job another one there; empty if nothing.
        lacks: the folder of checkpoints, where that is not there.
    """

    host: str
    cpu: str
    wrong: str
    lacks: str


def describe(parcel: Parcel, job: DictConfig, code: Code) -> Described:
    """Return what this machine is to a sweep.

    Args:
        parcel: what all jobs need.
        job: the config of one.
        code: what determines its result, on the machine of the sweep.
    """
    _arrive(parcel)
    wrong = difference(code, code_of(targets_of(job)))
    here = computing_tags()
    others = [
        f"{name} {here[name]}, not {version}"
        for name, version in parcel.versions.items()
        if here[name] != version
    ]
    wrong = "; ".join([*([f"other code: {wrong}"] if wrong else []), *others])
    place = job.tracking.checkpoints
    lacks = place if place and not is_address(place) and not Path(place).is_dir() else ""
    return Described(platform.node(), here[names.CPU], wrong, lacks)


def do_job(parcel: Parcel, overrides: Sequence[str], job: DictConfig, code: Code) -> Iterator[Told]:
    """Do a job as a task of Ray: yield first where it begins, then as `mind`."""
    import ray

    yield Begun(ray.get_runtime_context().get_node_id())
    yield from mind(parcel, overrides, job, code)


def mind(
    parcel: Parcel, overrides: Sequence[str], job: DictConfig, code: Code
) -> Iterator[Epoch | list[str] | JobReturn]:
    """Let a process do a job; yield its epochs, what it prints, and at last what it returned.

    Args:
        parcel: what all jobs need.
        overrides: the job's.
        job: its config.
        code: as for `describe`.

    Raises:
        Lost: the process that did it died.
        Unfit: this machine is another one to the sweep.
    """
    here = describe(parcel, job, code)  # of a node that came later
    if here.wrong or here.lacks:
        raise Unfit(f"the node {here.host} has {here.wrong or f'no folder {here.lacks}'}")
    if not _here or not _here[0].process.is_alive():
        _here[:] = [Worker(parcel.packed, parcel.bars, far=True)]
    worker = _here[0]
    assert worker.printed is not None
    try:
        worker.give(0, overrides, job)
        while worker.job is not None:
            ready = wait([worker.connection, *([worker.printed.number] if worker.printed.open else [])])
            told = worker.take() if worker.connection in ready else None
            if lines := worker.printed.lines():
                yield lines
            if told:
                yield told
    except BaseException:
        end(_here, lambda lines: None)
        _here.clear()
        raise


def _arrive(parcel: Parcel) -> None:
    """Make this process what the command's own is, for those that it starts."""
    os.environ.update(parcel.environment)
    os.environ.pop("OMP_NUM_THREADS", None)  # Ray's
    sys.modules["__main__"].__spec__ = importlib.util.find_spec(parcel.module)
    sys.argv = list(parcel.arguments)
    with suppress(OSError):  # another machine need not have the folder
        os.chdir(parcel.folder)
    if parcel.folder not in sys.path:
        sys.path.insert(0, parcel.folder)
