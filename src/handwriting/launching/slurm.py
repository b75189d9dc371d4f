"""What a user asks of Slurm, or of this machine in its place, and whether it can be had."""

import importlib.util
import logging
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handwriting.errors import UserError, redact
from handwriting.launching.processes import jobs_that_fit
from handwriting.tracking import Store

if TYPE_CHECKING:  # only a sweep by submitit needs it
    from submitit import Executor

log = logging.getLogger(__name__)

SLURM, LOCAL = "slurm", "local"
ASKED = 60  # s from one question to Slurm to the next at most; submitit's ten minutes hide a lost node
PROGRAMS = ("sbatch", "srun", "scancel", "sacct")
SEVERAL = ("array", "nodes", "ntasks", "ntasks_per_node")  # options that start a job more than once


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
        if not isinstance(self.more, Mapping):
            raise UserError(
                "hydra.launcher.more must be {NAME: VALUE}, such as {account: lab}. "
                f"Received: {self.more}"
            )
        if several := [key for key in self.more if key.replace("-", "_") in SEVERAL]:
            raise UserError(
                f"hydra.launcher.more must not have {several[0]}: a run is one job, and this would start it "
                "more than once"
            )
        if importlib.util.find_spec("submitit") is None:
            raise UserError("hydra/launcher=submitit needs submitit, which is not installed: make submitit")
        if self.cluster == LOCAL:
            return
        if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
            raise UserError(
                f"hydra/launcher=submitit hands jobs to Slurm, and there is no {missing[0]} here. Start the "
                f"sweep where there is one; hydra.launcher.cluster={LOCAL} runs them on this machine"
            )
        if Store(uri).database:
            raise UserError(
                f"the store {redact(uri)} is a file, and Slurm's nodes are other machines. Name one that all "
                "reach: MLFLOW_TRACKING_URI=http://SERVER:5000"
            )
        told = subprocess.run(["sacct", "--starttime=now"], capture_output=True, text=True, check=False)
        if told.returncode:
            log.warning(
                "sacct says: %s. So nothing says that a job is lost, and the sweep waits for it; Ctrl-C ends "
                "the sweep, and the same command goes on",
                told.stderr.strip().rpartition("\n")[2],
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
        from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

        SlurmJob.watcher = SlurmInfoWatcher(delay_s=ASKED)
        made = AutoExecutor(folder, cluster=self.cluster, slurm_max_num_timeout=self.retries)
        made.update_parameters(
            timeout_min=self.timeout_min, mem_gb=self.mem_gb, gpus_per_node=self.num_gpus or None,
            slurm_partition=self.partition, slurm_additional_parameters=dict(self.more),
        )  # fmt: skip
        return made
