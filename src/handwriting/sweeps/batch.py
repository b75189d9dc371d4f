"""The jobs of a sweep as jobs of Slurm, or of this machine, through submitit.

`hydra-submitit-launcher` 1.2.0 does not serve: one job that is lost ends the sweep in a traceback. Of its
library this uses what hands a job to Slurm, starts it there and brings back what it returned.
"""

import importlib.util
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from handwriting.errors import UserError, redact
from handwriting.sweeps.composing import Whole
from handwriting.sweeps.node import Parcel, mind, parcel_of
from handwriting.sweeps.processes import PATIENCE, jobs_that_fit
from handwriting.sweeps.progress import Epoch, Progress
from handwriting.sweeps.screen import screen_of
from handwriting.sweeps.worker import Lost, Setting, failed
from handwriting.tracking import Store
from handwriting.tracking.elsewhere import where_kept
from handwriting.tracking.identity import Code, code_of, targets_of

if TYPE_CHECKING:  # only a sweep by submitit needs it
    from submitit import Executor, Job
    from submitit.helpers import DelayedSubmission

log = logging.getLogger(__name__)

SLURM, LOCAL = "slurm", "local"
LOOK = 0.5  # s from one look at the files of jobs to the next


@dataclass(frozen=True)
class Asked:
    """What a user asks of Slurm.

    Args:
        cluster: slurm, or local: this machine, where there is no Slurm.
        partition: Slurm's; None for its default.
        timeout_min: minutes after which Slurm ends a job.
        mem_gb: memory of each job.
        num_gpus: GPUs of each job.
        retries: how often a job whose time was over is put in the queue again.
        queued: jobs that are in the queue or at work at a time.
        more: other options of `sbatch`, by their long names.
    """

    cluster: str
    partition: str | None
    timeout_min: int
    mem_gb: float
    num_gpus: int
    retries: int
    queued: int
    more: Mapping[str, Any]

    def check(self, uri: str) -> None:
        """Make sure that jobs can be handed over, and that they can write to a store.

        Raises:
            UserError: they cannot.
        """
        if self.cluster not in (SLURM, LOCAL):
            raise UserError(f"hydra.launcher.cluster must be {SLURM} or {LOCAL}. Received: {self.cluster}")
        if importlib.util.find_spec("submitit") is None:
            raise UserError("hydra/launcher=submitit needs submitit, which is not installed: make submitit")
        if self.cluster == LOCAL:
            return
        if missing := [program for program in ("sbatch", "srun") if shutil.which(program) is None]:
            raise UserError(
                f"hydra/launcher=submitit hands jobs to Slurm, and there is no {missing[0]} here. Start the "
                f"sweep where there is one; hydra.launcher.cluster={LOCAL} runs them on this machine"
            )
        if Store(uri).database:
            raise UserError(
                f"the store {redact(uri)} is a file, and Slurm's nodes are other machines. Name one that all "
                "reach: MLFLOW_TRACKING_URI=http://SERVER:5000"
            )

    def at_once(self) -> int:
        """Return how many jobs are in the queue or at work at a time."""
        return self.queued if self.cluster == SLURM else min(self.queued, jobs_that_fit())

    def executor(self, folder: Path) -> "Executor":
        """Return what hands jobs over.

        Args:
            folder: of their files, which all nodes have.
        """
        from submitit import AutoExecutor

        made = AutoExecutor(folder, cluster=self.cluster, slurm_max_num_timeout=self.retries)
        made.update_parameters(
            timeout_min=self.timeout_min, mem_gb=self.mem_gb, gpus_per_node=self.num_gpus or None,
            slurm_partition=self.partition, slurm_additional_parameters=dict(self.more),
        )  # fmt: skip
        return made


@dataclass
class Errand:
    """A job as it is called on a node.

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
            self._tell(file, node=os.uname().nodename)
            try:
                for told in mind(self.parcel, self.overrides, self.job, self.code):
                    if isinstance(told, JobReturn):
                        return told
                    words = {"epoch": asdict(told)} if isinstance(told, Epoch) else {"lines": told}
                    self._tell(file, **words)
            except Lost as lost:
                return str(lost)
        raise AssertionError("a job returns something")

    def checkpoint(self) -> "DelayedSubmission":
        """Return what goes on where Slurm ends it because its time is over: the same, as its run goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _tell(self, file: Any, **words: Any) -> None:
        file.write(f"{json.dumps(words)}\n")
        file.flush()


@dataclass
class Sent:
    """A job that is in the queue or at work.

    Args:
        job: submitit's.
        told: the file that it tells the sweep in.
        read: the bytes of it that were read.
        node: where it is at work; empty before.
    """

    job: "Job"
    told: Path
    read: int = 0
    node: str = ""

    def words(self) -> Iterator[dict[str, Any]]:
        """Yield what it has told since it was asked last."""
        if self.told.exists():
            with self.told.open("rb") as file:
                file.seek(self.read)
                for line in file:
                    if not line.endswith(b"\n"):  # it is being written
                        return
                    self.read += len(line)
                    yield json.loads(line)


class Batch:
    """Some jobs of a sweep, handed over one by one.

    Args:
        setting: what all jobs have in common.
        compose: returns the config of a job from its overrides and Hydra's number of it.
        asked: what is asked of Slurm.
        folder: of the jobs' files, which all nodes have.
        jobs: the overrides of each.
        first_number: Hydra's number of the first job.
    """

    def __init__(
        self,
        setting: Setting,
        compose: Whole,
        asked: Asked,
        folder: Path,
        jobs: Sequence[Sequence[str]],
        first_number: int,
    ):
        self.compose, self.asked, self.jobs, self.first_number = compose, asked, jobs, first_number
        self.folder = folder
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
                    ended = sent.job.done()  # asked before what it told is read: nothing comes after
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
                    del self.sent[index]
            time.sleep(LOOK)

    def _send(self, index: int) -> None:
        from submitit.core.utils import FailedJobError

        overrides = list(self.jobs[index])
        job = self.compose(overrides, self.first_number + index)
        if index == 0:
            log.info(where_kept(job.tracking))
        told = self.folder / f"told-{self.first_number + index}"
        self.executor.update_parameters(
            cpus_per_task=job.threads, name="handwriting",
            slurm_srun_args=[f"--cpus-per-task={job.threads}"],  # srun does not take sbatch's since 22.05
        )  # fmt: skip
        errand = Errand(self.parcel, overrides, job, code_of(targets_of(job)), told)
        try:
            self.sent[index] = Sent(self.executor.submit(errand), told)
        except FailedJobError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise UserError(f"Slurm takes no job of this sweep: {reason}") from error

    def _hear(self, index: int, sent: Sent) -> None:
        """Note what a job has told."""
        for words in sent.words():
            if "node" in words:
                self.progress.back(index)  # one that is begun again
                self.progress.begin(index, self.jobs[index])
                sent.node = words["node"]
            elif "epoch" in words:
                self.progress.epoch(index, Epoch(**words["epoch"]))
            else:
                self.screen.say([f"[{sent.node}] {line}" for line in words["lines"]])

    def _end(self, index: int, sent: Sent) -> None:
        """Note what became of a job."""
        del self.sent[index]
        result = self._result(sent)
        if isinstance(result, str):
            result = failed(self.jobs[index], f"{result}; the same command goes on with it")
        self.returned[index] = result
        self.progress.end(index, failed=result.status == JobStatus.FAILED)

    def _result(self, sent: Sent) -> JobReturn | str:
        """Return what a job returned, or how it was lost."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        try:
            result: JobReturn | str = sent.job.result()
            return result
        except FailedJobError as error:
            return str(error).strip().rpartition("\n")[2]
        except UncompletedJobError:
            state = "" if self.asked.cluster == LOCAL else f" ({sent.job.state})"
            return f"job {sent.job.job_id} ended without a result{state}, its log: {sent.job.paths.stderr}"
