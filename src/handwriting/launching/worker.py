"""A worker process of a sweep: it does one job after another, and tells of each epoch."""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from handwriting import terminal
from handwriting.errors import UserError, explain
from handwriting.launching.progress import Epoch, called
from handwriting.tracking.signals import ENDINGS

log = logging.getLogger(__name__)

AGAIN = 5.0  # s, in which a run that was told to end is left alone
_heard_again = [0.0]  # when a signal is heard again


@dataclass(frozen=True)
class Setting:
    """What Hydra gives a launcher, and each worker needs."""

    context: HydraContext
    task: TaskFunction
    config: DictConfig


class Lost(Exception):
    """The process that did a job is gone; says how."""


class Unfit(Lost):
    """This machine is another one to the sweep; says in what."""


class TellEpochs(logging.Handler):
    """Tells the sweep's own process of each epoch that training logs."""

    def __init__(self, connection: Connection):
        super().__init__()
        self.connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send what the record has beside its words."""
        if _of_epoch(record):
            told = vars(record)
            with suppress(OSError):  # a sweep that is gone ends this process, see `_end_with_parent`
                self.connection.send(
                    Epoch(told["epoch"], told["epochs"], told["seconds"], told["val_accuracy"])
                )


def _of_epoch(record: logging.LogRecord) -> bool:
    return "epoch" in vars(record)


@dataclass(frozen=True)
class Place:
    """Where a worker's words go.

    Args:
        output: the pipe for what it prints; None where it prints where the sweep's own process does.
        far: whether all of it goes there, not only what is for a terminal.
        bars: whether bars show each epoch, so that no line has to.
    """

    output: Connection | None = None
    far: bool = False
    bars: bool = False


def do_jobs(connection: Connection, place: Place, packed: bytes) -> None:
    """Do the jobs that come through a connection, until it is closed.

    Args:
        connection: to the sweep's own process, or to one that stands for it on this machine.
        place: where its words go.
        packed: what all jobs have in common, a `Setting`.
    """
    terminal.survive()
    if place.output:
        terminal.print_into(place.output, place.far)
    setting: Setting = pickle.loads(packed)  # noqa: S301  # of this sweep
    logging.basicConfig(format="%(message)s")  # until Hydra has set up a job's, which it may not come to
    # To this package's logger: Hydra makes those of the root anew for each job.
    logging.getLogger("handwriting").addHandler(TellEpochs(connection))
    sys.unraisablehook = _end_after_all
    for ending in ENDINGS:
        signal.signal(ending, _end_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    setup_globals()
    version.setbase("1.3")
    Plugins.instance()  # finds the plug-ins, which make their configs known
    JobRuntime.instance().set("name", setting.config.hydra.job.name)  # else a log were UNKNOWN_NAME.log
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            connection.send(_do_job(setting, place.bars, *connection.recv()))
    except (EOFError, BrokenPipeError):  # closed while it waited, or while it worked
        pass


def _do_job(setting: Setting, bars: bool, overrides: list[str], job: DictConfig) -> JobReturn:
    """Do one job; return what it returned or raised, or that Hydra could not start it."""

    def task(cfg: DictConfig) -> Any:
        if bars:
            for handler in logging.getLogger().handlers:
                if not isinstance(handler, logging.FileHandler):
                    handler.addFilter(lambda record: not _of_epoch(record))
        return setting.task(cfg)

    try:
        HydraConfig.instance().set_config(job)
        result = run_job(
            hydra_context=setting.context,
            task_function=task,
            config=job,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        result.cfg = result.hydra_cfg = None  # plug-ins' types cannot be sent: Hydra imports them twice
    except Exception as error:  # on a full disk it cannot make the job's folder, or its log
        reason = explain(error)
        if reason is None:
            raise
        result = failed(overrides, reason)
    sys.stdout.flush()
    return result


def failed(overrides: Sequence[str], reason: str) -> JobReturn:
    """Say that a job failed outside of its own function, and return it."""
    log.error("error: %s: %s", called(overrides), reason)
    returned = JobReturn(overrides=list(overrides), status=JobStatus.FAILED)
    returned.return_value = UserError(reason)
    return returned


def _end_once(number: int, frame: object) -> None:
    """End this process in order, undisturbed by a second signal: Ctrl-C and the sweep both send one.

    At once where no run is open: an exception in the middle of TensorFlow's imports may come out as another
    one, with a traceback, or be lost. C code may drop it in silence, so the signal comes again by itself.
    """
    active_run = getattr(sys.modules.get("mlflow"), "active_run", None)
    if active_run is None or active_run() is None:
        os._exit(128 + number)
    if time.monotonic() > _heard_again[0]:
        _heard_again[0] = time.monotonic() + AGAIN
        terminal.signal_later(number, AGAIN + 0.1)
        sys.exit(128 + number)


def _end_after_all(lost: "sys.UnraisableHookArgs") -> None:
    """Hear a signal again whose exception was lost, see `terminal.send_again`."""
    if isinstance(lost.exc_value, SystemExit):
        _heard_again[0] = 0.0
    terminal.send_again(lost)


def _end_with_parent() -> None:
    """End this process in order when the sweep's own was killed: a run must not outlive its sweep."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
