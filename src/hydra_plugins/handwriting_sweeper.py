"""Hydra's sweeper `tracked`; Hydra looks for plug-ins in the namespace `hydra_plugins` only."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from handwriting.config import cores
from handwriting.kinds import check_kinds
from handwriting.sweeps.sweep import run_sweep


class TrackedSweeper(BasicSweeper):
    """Hydra's own products of values, with a check of all jobs before the first, a table and the report.

    Not a Hydra callback: of those, Hydra turns errors into warnings, and it calls none after a job failed.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep that the command line and the experiment file describe; raises as `run_sweep`."""
        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        if self.config.threads is None:
            # Said to each job in words: the number of threads is part of what determines a run's result,
            # so it must not depend on how many jobs there happen to be.
            at_once = self.config.hydra.launcher.get("jobs") or cores()
            arguments = [*arguments, f"threads={max(1, cores() // at_once)}"]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        jobs = [job for batch in self.split_arguments(parsed, None) for job in batch]
        experiment = self.config.hydra.runtime.choices.get("experiment") or "sweep"
        launcher = self.launcher
        return run_sweep(experiment, jobs, self._compose, lambda told: launcher.launch(told, 0))

    def _compose(self, job: Sequence[str]) -> DictConfig:
        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        cfg = loader.load_sweep_config(self.config, list(job))
        check_kinds(cfg, cfg.hydra.runtime)
        return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="tracked",
    node=BasicSweeperConf(_target_=f"{__name__}.{TrackedSweeper.__name__}"),
    provider="handwriting",
)
