"""The jobs of a sweep as jobs of Slurm, or of this machine, through submitit.

`hydra-submitit-launcher` 1.2.0 does not serve: one job that is lost ends the sweep in a traceback. Of its
library this uses what hands a job to Slurm, starts it there and brings back what it returned.
"""

import logging
import os
import signal
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus

from handwriting.errors import UserError
from handwriting.launching.errand import Errand, Heard
from handwriting.launching.node import Begun, parcel_of
from handwriting.launching.processes import PATIENCE
from handwriting.launching.progress import Epoch, Progress
from handwriting.launching.screen import screen_of
from handwriting.launching.slurm import LOCAL, Asked
from handwriting.launching.worker import Setting, failed
from handwriting.sweeps.composing import Jobs
from handwriting.tracking.elsewhere import where_kept
from handwriting.tracking.identity import code_of, targets_of

if TYPE_CHECKING:  # only a sweep by submitit needs it
    from submitit import Job

log = logging.getLogger(__name__)

LOOK = 0.5  # s from one look at the files of jobs to the next
COMES_BACK = 600.0  # s in which Slurm begins a job again that gave its place to another; where it is set to


@dataclass
class Sent:
    """A job that is in the queue or at work.

    Args:
        job: submitit's.
        heard: what it tells.
        node: where it is at work; empty before.
        preempted: when it was seen first that another job has its place; None where none has.
    """

    job: "Job"
    heard: Heard
    node: str = ""
    preempted: float | None = None


class Batch:
    """Some jobs of a sweep, handed over one by one.

    Args:
        setting: what all jobs have in common.
        jobs: all of them.
        asked: what is asked of Slurm.
        folder: of the jobs' files, which all nodes have.
    """

    def __init__(self, setting: Setting, jobs: Jobs, asked: Asked, folder: Path):
        self.jobs, self.asked, self.folder = jobs, asked, folder
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)  # a job's file may hold a password of the store
        self.executor = asked.executor(folder)
        self.progress = Progress(len(jobs), min(asked.at_once(), len(jobs)))
        self.screen = screen_of(self.progress, far=True)
        self.parcel = parcel_of(setting, self.screen.pipes)
        self.waiting = deque(range(len(jobs)))
        self.sent: dict[int, Sent] = {}
        self.returned: dict[int, JobReturn] = {}

    def run(self) -> list[JobReturn]:
        """Run all jobs; return what each returned or raised, or how it was lost."""
        log.info(
            "%d jobs, %d at a time in the queue; their files: %s",
            len(self.jobs), self.progress.at_once, self.folder,
        )  # fmt: skip
        with ExitStack() as after:
            after.callback(self.screen.stop)
            after.callback(self.cancel)
            self.screen.start()
            while len(self.returned) < len(self.jobs):
                while self.waiting and len(self.sent) < self.progress.at_once:
                    self._send(self.waiting.popleft())
                self.screen.draw()
                for index, sent in [*self.sent.items()]:
                    ended = self._has_ended(sent)  # asked before what it told is read: nothing comes after
                    self._hear(index, sent)
                    if ended:
                        self._end(index, sent)
                time.sleep(LOOK)
            self.screen.draw()
        return [self.returned[index] for index in range(len(self.jobs))]

    def cancel(self) -> None:
        """Cancel the jobs that are in the queue or at work, and wait until their runs have ended in order."""
        for sent in self.sent.values():
            if self.asked.cluster == LOCAL:  # submitit would kill it after a second
                os.kill(int(sent.job.job_id), signal.SIGTERM)
            else:
                sent.job.cancel(check=False)
        deadline = time.monotonic() + PATIENCE
        while self.sent and time.monotonic() < deadline:
            for index, sent in [*self.sent.items()]:
                if sent.job.done(force_check=True):
                    self._hear(index, sent)
                    self._forget(index)
            time.sleep(LOOK)

    def _send(self, index: int) -> None:
        from submitit.core.utils import FailedJobError

        job = self.jobs.config(index)
        if index == 0:
            log.info(where_kept(job.tracking))
        told = self.folder / f"told-{self.jobs.first_number + index}"
        self.executor.update_parameters(
            cpus_per_task=job.threads, name="handwriting",
            slurm_srun_args=[f"--cpus-per-task={job.threads}"],  # srun does not take sbatch's since 22.05
        )  # fmt: skip
        errand = Errand(self.parcel, self.jobs.overrides[index], job, code_of(targets_of(job)), told)
        # A terminal sends Ctrl-C to the processes that this starts too, which inherit that it is blocked:
        # submitit's own would end in tracebacks, and what they mind with them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self.sent[index] = Sent(self.executor.submit(errand), Heard(told))
        except FailedJobError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise UserError(f"Slurm takes no job of this sweep: {reason}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _hear(self, index: int, sent: Sent) -> None:
        """Note what a job has told."""
        for told in sent.heard.words():
            if isinstance(told, Begun):
                self.progress.back(index)  # one that is begun again
                self.progress.begin(index, self.jobs.overrides[index])
                sent.node = told.node
            elif isinstance(told, Epoch):
                self.progress.epoch(index, told)
            else:
                self.screen.say([f"[{sent.node}] {line}" for line in told])

    def _has_ended(self, sent: Sent) -> bool:
        """Tell whether a job has ended; so has one that Slurm does not begin again."""
        done = sent.job.done()
        if done or sent.job.state != "PREEMPTED":
            sent.preempted = None
            return done
        sent.preempted = sent.preempted or time.monotonic()
        return time.monotonic() - sent.preempted > COMES_BACK

    def _end(self, index: int, sent: Sent) -> None:
        """Note what became of a job."""
        result = self._result(sent)
        self._forget(index)
        if isinstance(result, str):
            result = failed(self.jobs.overrides[index], f"{result}; the same command goes on with it")
        self.returned[index] = result
        self.progress.end(index, failed=result.status == JobStatus.FAILED)

    def _forget(self, index: int) -> None:
        """Take a job that has ended off the list, and delete its file, in which a password may stand."""
        self.sent.pop(index).job.paths.submitted_pickle.unlink(missing_ok=True)

    def _result(self, sent: Sent) -> JobReturn | str:
        """Return what a job returned, or how it was lost."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        number = sent.job.job_id
        if sent.preempted:
            sent.job.cancel(check=False)
            return f"job {number} gave its place to another (PREEMPTED), and Slurm does not begin it again"
        try:
            result: JobReturn | str = sent.job.result()
            return result
        except FailedJobError as error:
            return str(error).strip().rpartition("\n")[2]
        except UncompletedJobError:
            state = "" if self.asked.cluster == LOCAL else f" ({sent.job.state})"
            return f"job {number} ended without a result{state}, its log: {sent.job.paths.stderr}"
