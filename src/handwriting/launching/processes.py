"""The jobs of a sweep in processes of their own, several at once.

`hydra-joblib-launcher` does not serve: when one of its workers is killed, joblib ends the others too and
raises, so that one job takes the sweep with it, and which job it was cannot be told. Here a worker's death is
the failure of the job that it had, a new worker takes its place, and the others notice nothing.
"""

import logging
import multiprocessing
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait

import psutil
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from handwriting import terminal
from handwriting.config import cores
from handwriting.launching.progress import Epoch, Progress
from handwriting.launching.screen import screen_of
from handwriting.launching.worker import Lost, Place, Setting, do_jobs, failed
from handwriting.sweeps.composing import Jobs
from handwriting.tracking.signals import ENDINGS

log = logging.getLogger(__name__)

MEMORY_OF_A_JOB = 2e9  # bytes; LOG.md has the measurement
PATIENCE = 30  # s that a worker has to end its run in order when the sweep is ended


class Pool:
    """Worker processes that live from one batch of jobs to the next.

    Args:
        setting: what all jobs have in common.
        at_once: how many at a time; None for one for each core, as far as memory allows.
    """

    def __init__(self, setting: Setting, at_once: int | None):
        self.at_once = at_once
        self.packed = pickle.dumps(setting)
        self.workers: list[Worker] = []

    def run(self, jobs: Jobs) -> list[JobReturn]:
        """Run all jobs; return what each returned or raised, or that its worker died."""
        at_once = min(self.at_once or jobs_that_fit(len(self.workers)), len(jobs))
        log.info("%d jobs, %d at a time", len(jobs), at_once)
        waiting = deque(range(len(jobs)))
        returned: dict[int, JobReturn] = {}
        workers = self.workers = [worker for worker in self.workers if worker.process.is_alive()]
        progress = Progress(len(jobs), at_once)
        screen = screen_of(progress)
        with ExitStack() as after:
            after.callback(screen.stop)
            ending = after.enter_context(ExitStack())
            ending.callback(end, workers, screen.say)
            screen.start()
            while len(returned) < len(jobs):
                while waiting and len(workers) < at_once:
                    with _endings_blocked():
                        workers.append(Worker(self.packed, screen.pipes))
                for worker in workers:
                    if worker.job is None and waiting:
                        index = waiting.popleft()
                        progress.begin(index, jobs.overrides[index])
                        worker.give(index, jobs.overrides[index], jobs.config(index))
                screen.draw()
                busy = {worker.connection: worker for worker in workers if worker.job is not None}
                pipes = [
                    worker.printed.number for worker in workers if worker.printed and worker.printed.open
                ]
                ready = wait([*busy, *pipes], screen.wakes)
                show_printed(workers, screen.say)
                for worker in [worker for connection, worker in busy.items() if connection in ready]:
                    job = worker.job
                    assert job is not None
                    try:
                        told = worker.take()
                    except Lost as lost:
                        told = failed(jobs.overrides[job], f"{lost}; the same command goes on with it")
                    if isinstance(told, Epoch):
                        progress.epoch(job, told)
                        continue
                    returned[job] = told
                    progress.end(job, failed=told.status == JobStatus.FAILED)
                    if not worker.process.is_alive():
                        workers.remove(worker)
            screen.draw()
            ending.pop_all()  # they live on
        return [returned[index] for index in range(len(jobs))]

    def close(self) -> None:
        """End the workers."""
        end(self.workers, lambda lines: sys.stderr.writelines(f"{line}\n" for line in lines))
        self.workers = []


Say = Callable[[Sequence[str]], None]


def show_printed(workers: Sequence["Worker"], say: Say) -> None:
    """Show what workers have printed into their pipes."""
    for worker in workers:
        if worker.printed:
            say(worker.printed.lines())


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
    """A process that does one job after another.

    Args:
        packed: what all jobs have in common, a `Setting`.
        pipes: whether what it prints on a terminal, where bars stand, is to come through a pipe, `printed`.
        far: whether all that it prints is to come, where this process is not the sweep's own.
    """

    def __init__(self, packed: bytes, pipes: bool, far: bool = False):
        # Spawned, not forked: a forked TensorFlow hangs.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        ours, output = context.Pipe(duplex=False) if pipes or far else (None, None)
        self.printed = terminal.Printed(ours) if ours else None
        place = Place(output, far, bars=pipes)
        self.process = context.Process(target=do_jobs, args=(theirs, place, packed), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is the end of the file here
        if output:
            output.close()
        self.job: int | None = None

    def give(self, index: int, overrides: Sequence[str], job: DictConfig) -> None:
        """Start a job."""
        self.job = index
        with suppress(OSError):  # it has died meanwhile, which `take` says
            self.connection.send((list(overrides), job))

    def take(self) -> JobReturn | Epoch:
        """Return an epoch that the job has done, or what it returned.

        Raises:
            Lost: the worker died with it.
        """
        try:
            told = self.connection.recv()
            if isinstance(told, JobReturn):
                self.job = None
            return told
        except (EOFError, OSError):
            self.job = None
            self.process.join()
            code = self.process.exitcode or 0
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise Lost(f"the job's process was ended {how}") from None


def end(workers: Sequence[Worker], say: Say) -> None:
    """End workers: an idle one at once, one at work when its run is marked KILLED.

    By a signal, the idle ones too: to end by themselves takes TensorFlow seconds.
    """
    for worker in workers:
        worker.connection.close()
        if worker.process.is_alive():
            worker.process.terminate()
    deadline = time.monotonic() + PATIENCE
    while (alive := [worker.process for worker in workers if worker.process.is_alive()]) and (
        time.monotonic() < deadline
    ):
        # Not only at their end: one that finds its pipe full would wait.
        wait([process.sentinel for process in alive], 0.1)
        show_printed(workers, say)
    for process in alive:
        process.kill()
    show_printed(workers, say)


def jobs_that_fit(there: int = 0) -> int:
    """Return one job for each core, or fewer where memory is short; so many workers are `there` already."""
    return max(1, there, min(cores(), there + int(psutil.virtual_memory().available / MEMORY_OF_A_JOB)))
