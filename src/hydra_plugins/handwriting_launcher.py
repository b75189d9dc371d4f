"""Hydra's launchers `processes`, `ray`, `submitit`; Hydra looks in the namespace `hydra_plugins` only."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from handwriting.launching.batch import Batch
from handwriting.launching.cluster import Cluster, check_address
from handwriting.launching.dispatch import Dispatch
from handwriting.launching.processes import Pool, jobs_that_fit
from handwriting.launching.slurm import SLURM, Asked
from handwriting.launching.worker import Setting
from handwriting.sweeps.composing import Composer, Jobs


class OurLauncher(Launcher):
    """What the launchers have in common."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what the jobs need."""
        self.setting = Setting(hydra_context, task_function, config)
        self.compose = Composer(hydra_context.config_loader, config).whole

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; return what each returned or raised, or why it was given up."""
        setup_globals()
        config = self.setting.config
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        return self._run(Jobs(self.compose, job_overrides, initial_job_idx))

    @abstractmethod
    def _run(self, jobs: Jobs) -> list[JobReturn]:
        """Run all jobs, as `launch`."""


class ProcessLauncher(OurLauncher):
    """Runs up to `jobs` jobs at once, each in a worker process that is used again for the next, also of
    another batch.

    Args:
        jobs: how many at once; None for one for each core, as far as memory allows.
    """

    def __init__(self, jobs: int | None = None):
        self.jobs = jobs

    def at_once(self) -> int:
        """Return how many jobs run at a time."""
        return self.jobs or jobs_that_fit()

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.setting, self.jobs)

    def _run(self, jobs: Jobs) -> list[JobReturn]:
        return self._pool.run(jobs)

    def close(self) -> None:
        """End the worker processes."""
        if "_pool" in vars(self):
            self._pool.close()


class RayLauncher(OurLauncher):
    """Runs jobs on the nodes of a Ray cluster, as many at once as there is room for.

    Args:
        address: of the cluster, HOST:PORT; None for one of this machine alone, which ends with the sweep.
        num_gpus: GPUs that each job has, or a share of one.
        retries: how often a job is begun again whose process or node was lost.
    """

    def __init__(self, address: str | None = None, num_gpus: float = 0, retries: int = 3):
        self.address, self.num_gpus, self.retries = address, num_gpus, retries
        self.far = address is not None  # a node may go and not come back, with all that is on its disk

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what the jobs need; raises as `check_address`, before the jobs are planned."""
        check_address(self.address, config.threads or 1)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    @cached_property
    def cluster(self) -> Cluster:
        """Joined when it is needed: a mistake is answered before."""
        return Cluster(self.address, self.setting.config.threads or 1, self.num_gpus)

    def at_once(self) -> int:
        """Return how many jobs run at a time."""
        return self.cluster.at_once()

    def _run(self, jobs: Jobs) -> list[JobReturn]:
        return Dispatch(self.setting, jobs, self.cluster, self.retries).run()

    def close(self) -> None:
        """Leave the cluster."""
        if "cluster" in vars(self):
            self.cluster.close()


class SubmititLauncher(OurLauncher):
    """Runs jobs as jobs of Slurm.

    Args:
        asked: as `Asked`.
    """

    def __init__(self, **asked: Any):
        self.asked = Asked(**asked | {"more": asked["more"] or {}})
        self.far = self.asked.cluster == SLURM

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what the jobs need; raises as `Asked.check`, before the jobs are planned."""
        self.asked.check(config.tracking.uri)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def at_once(self) -> int:
        """Return how many jobs are in the queue at a time."""
        return self.asked.at_once()

    def _run(self, jobs: Jobs) -> list[JobReturn]:
        folder = Path(self.setting.config.hydra.sweep.dir) / "submitit"
        return Batch(self.setting, jobs, self.asked, folder).run()


@dataclass
class ProcessLauncherConf:
    """Its settings, typed."""

    _target_: str = f"{__name__}.{ProcessLauncher.__name__}"
    jobs: int | None = None


@dataclass
class RayLauncherConf:
    """Its settings, typed."""

    _target_: str = f"{__name__}.{RayLauncher.__name__}"
    address: str | None = None
    num_gpus: float = 0
    retries: int = 3


@dataclass
class SubmititLauncherConf:
    """Its settings, typed."""

    _target_: str = f"{__name__}.{SubmititLauncher.__name__}"
    cluster: str = SLURM
    partition: str | None = None
    timeout_min: int = 1440
    mem_gb: float = 4
    num_gpus: int = 0
    retries: int = 3
    queued: int = 100
    more: Any = None  # a dictionary would take no new key without `+`


for name, conf in (
    ("processes", ProcessLauncherConf),
    ("ray", RayLauncherConf),
    ("submitit", SubmititLauncherConf),
):
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=conf, provider="handwriting")
