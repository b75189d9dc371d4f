"""The jobs of a sweep in processes of their own, several at once.

`hydra-joblib-launcher` does not serve: when one of its workers is killed, joblib ends the others too and
raises, so that one job takes the sweep with it, and which job it was cannot be told. Here a worker's death is
the failure of the job that it had, a new worker takes its place, and the others notice nothing.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

import psutil
from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from handwriting import terminal
from handwriting.config import cores
from handwriting.errors import UserError, explain
from handwriting.tracking.signals import ENDINGS

log = logging.getLogger(__name__)

MEMORY_OF_A_JOB = 2e9  # bytes; LOG.md has the measurement
PATIENCE = 30  # s that a worker has to end its run in order when the sweep is ended


@dataclass(frozen=True)
class Setting:
    """What Hydra gives a launcher, and each worker needs."""

    context: HydraContext
    task: TaskFunction
    config: DictConfig


def run_jobs(
    setting: Setting, jobs: Sequence[Sequence[str]], first_number: int, at_once: int | None
) -> list[JobReturn]:
    """Run all jobs; return what each returned or raised, or that its worker died.

    Args:
        setting: what they have in common.
        jobs: the overrides of each.
        first_number: Hydra's number of the first job.
        at_once: how many at a time; None for one for each core, as far as memory allows.
    """
    at_once = min(at_once or jobs_that_fit(), len(jobs))
    log.info("%d jobs, %d at a time", len(jobs), at_once)
    waiting = deque(enumerate(jobs))
    returned: dict[int, JobReturn] = {}
    workers: list[Worker] = []
    try:
        while len(returned) < len(jobs):
            while waiting and len(workers) < at_once:
                with _endings_blocked():
                    workers.append(Worker(setting))
            for worker in workers:
                if worker.job is None and waiting:
                    index, overrides = waiting.popleft()
                    worker.give(index, first_number + index, overrides)
            for connection in wait([worker.connection for worker in workers if worker.job is not None]):
                worker = next(worker for worker in workers if worker.connection is connection)
                done = worker.job
                assert done is not None
                returned[done] = worker.take(jobs[done])
                if not worker.process.is_alive():
                    workers.remove(worker)
    finally:
        end(workers)
    return [returned[index] for index in range(len(jobs))]


@contextmanager
def _endings_blocked() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait, here and in a process that is started here, until that can end in order.

    Python would answer a signal with a traceback while the new process imports what it needs.
    """
    resource_tracker.ensure_running()  # else it were started with the first process, and would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """A process that does one job after another."""

    def __init__(self, setting: Setting):
        # Spawned, not forked: a forked TensorFlow hangs.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=do_jobs, args=(theirs, setting), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is the end of the file here
        self.job: int | None = None

    def give(self, index: int, number: int, overrides: Sequence[str]) -> None:
        """Start a job."""
        self.job = index
        self.connection.send((number, list(overrides)))

    def take(self, overrides: Sequence[str]) -> JobReturn:
        """Return what the job returned, or that the worker died with it."""
        self.job = None
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            return _failed(overrides, f"the job's process was ended {how}; the same command goes on with it")


def do_jobs(connection: Connection, setting: Setting) -> None:
    """Do the jobs that come through a connection, until it is closed."""
    terminal.survive()
    sys.unraisablehook = _end_after_all
    for ending in ENDINGS:
        signal.signal(ending, _end_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    setup_globals()
    version.setbase("1.3")
    Plugins.instance()  # finds the plug-ins, which make their configs known
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            connection.send(_do_job(setting, *connection.recv()))
    except (EOFError, BrokenPipeError):  # closed while it waited, or while it worked
        pass


def _do_job(setting: Setting, number: int, overrides: list[str]) -> JobReturn:
    """Do one job; return what it returned or raised, or that Hydra could not start it."""
    try:
        job = setting.context.config_loader.load_sweep_config(setting.config, overrides)
        with open_dict(job):
            job.hydra.job.id = str(number)
            job.hydra.job.num = number
        HydraConfig.instance().set_config(job)
        result = run_job(
            hydra_context=setting.context,
            task_function=setting.task,
            config=job,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        result.cfg = result.hydra_cfg = None  # plug-ins' types cannot be sent: Hydra imports them twice
    except Exception as error:  # on a full disk it cannot make the job's folder, or its log
        reason = explain(error)
        if reason is None:
            raise
        result = _failed(overrides, reason)
    sys.stdout.flush()
    return result


def _failed(overrides: Sequence[str], reason: str) -> JobReturn:
    """Say that a job failed outside of its own function, and return it."""
    log.error("error: %s: %s", " ".join(overrides), reason)
    failed = JobReturn(overrides=list(overrides), status=JobStatus.FAILED)
    failed.return_value = UserError(reason)
    return failed


def _end_once(number: int, frame: object) -> None:
    """End this process in order, undisturbed by a second signal: Ctrl-C and the sweep both send one.

    At once where no run is open: an exception in the middle of TensorFlow's imports may come out as another
    one, with a traceback, or be lost.
    """
    active_run = getattr(sys.modules.get("mlflow"), "active_run", None)
    if active_run is None or active_run() is None:
        os._exit(128 + number)
    for other in ENDINGS:
        # Not SIG_IGN: of a signal that is under way already, Python would complain with a traceback.
        signal.signal(other, lambda *_: None)
    sys.exit(128 + number)


def _end_after_all(lost: "sys.UnraisableHookArgs") -> None:
    """Hear a signal again whose exception was lost, see `terminal.send_again`."""
    if isinstance(lost.exc_value, SystemExit):
        for ending in ENDINGS:
            signal.signal(ending, _end_once)
    terminal.send_again(lost)


def _end_with_parent() -> None:
    """End this process in order when the sweep's own was killed: a run must not outlive its sweep."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def end(workers: Sequence[Worker]) -> None:
    """End workers: an idle one at once, one at work when its run is marked KILLED."""
    for worker in workers:
        worker.connection.close()
        if worker.job is not None and worker.process.is_alive():
            worker.process.terminate()
    for worker in workers:
        worker.process.join(PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()


def jobs_that_fit() -> int:
    """Return one job for each core, or fewer where the free memory is less than they need."""
    return max(1, min(cores(), int(psutil.virtual_memory().available / MEMORY_OF_A_JOB)))
