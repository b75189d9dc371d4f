"""Hydra's launcher `processes`; Hydra looks for plug-ins in the namespace `hydra_plugins` only."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from handwriting.sweeps.processes import Pool
from handwriting.sweeps.worker import Setting


class ProcessLauncher(Launcher):
    """Runs up to `jobs` jobs at once, each in a worker process that is used again for the next, also of
    another batch.

    Args:
        jobs: how many at once; None for one for each core, as far as memory allows.
    """

    def __init__(self, jobs: int | None = None):
        self.jobs = jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what the jobs need."""
        self.pool = Pool(Setting(hydra_context, task_function, config), self.jobs)
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; return what each returned or raised, or that its worker died."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return self.pool.run(job_overrides, initial_job_idx)

    def close(self) -> None:
        """End the worker processes."""
        self.pool.close()


@dataclass
class ProcessLauncherConf:
    """Its settings, typed."""

    _target_: str = f"{__name__}.{ProcessLauncher.__name__}"
    jobs: int | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="processes", node=ProcessLauncherConf, provider="handwriting"
)
