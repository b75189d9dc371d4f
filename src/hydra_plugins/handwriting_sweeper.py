"""Hydra's sweeper `tracked`; Hydra looks for plug-ins in the namespace `hydra_plugins` only."""

from collections.abc import Callable
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from handwriting.config import DIRECT, check_value, cores
from handwriting.errors import UserError
from handwriting.sweeps.arms import Asked, check_names, named_jobs
from handwriting.sweeps.composing import Composer
from handwriting.sweeps.seeds import all_seeds
from handwriting.sweeps.sweep import run_sweep
from handwriting.sweeps.tuning import Tuner, space_asked
from handwriting.tracking import Store


class TrackedSweeper(BasicSweeper):
    """Hydra's own products of values, with a check of all jobs before the first, a table and the report.

    Not a Hydra callback: of those, Hydra turns errors into warnings, and it calls none after a job failed.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep that the command line and the experiment file describe; raises as `run_sweep`."""
        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        for name, value in self.config.hydra.launcher.items():
            check_value(f"hydra.launcher.{name}", value)
        jobs_at_once = self.config.hydra.launcher.get("jobs")
        if self.config.threads is None:
            # Said to each job in words: the number of threads is part of what determines a run's result,
            # so it must not depend on how many jobs there happen to be, or on a node's cores.
            at_once = jobs_at_once or cores()
            arguments = [*arguments, f"threads={max(1, cores() // at_once)}"]
        if getattr(self.launcher, "far", False) and Store(self.config.tracking.uri).database is None:
            arguments = [*arguments, f"tracking.mode={DIRECT}"]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        choices = self.config.hydra.runtime.choices
        experiment = choices.get("experiment") or choices.get("tuning") or "sweep"
        compose = Composer(self.hydra_context.config_loader, self.config).compose
        room: Callable[[], int] = getattr(self.launcher, "at_once", lambda: 1)
        try:
            if self.config.get("tuning") is not None:
                if self.config.get("arms") is not None:
                    raise UserError("arms: a tuning has its own, in its file. Leave these out: arms=null")
                own: Any = OmegaConf.to_container(self.config.tuning)
                space, shared = space_asked(own, parsed)
                file = choices.get("tuning") or experiment
                return Tuner(file, experiment, space, shared, compose, parser, self.launcher, room).run()
            if self.config.hydra.job.config_name == "tune":
                raise UserError("tuning has no value. Give one: tuning=NAME, of a file in conf/tuning")
            asked, until_clear = self._asked(parsed, parser)
            return run_sweep(experiment, asked, compose, self.launcher, until_clear, room)
        finally:
            getattr(self.launcher, "close", lambda: None)()  # ours keeps its workers from batch to batch

    def _asked(self, parsed: list[Override], parser: OverridesParser) -> tuple[list[Asked], bool]:
        """Return each job of a sweep, and whether they are all that there may be, until it is clear."""
        for override in parsed:
            if override.key_or_group == "arms":
                check_names(str(override.input_line))
        assert self.config is not None
        parsed, until_clear = all_seeds(parsed, parser)
        # The arms are the sweep's, not a job's.
        parsed = [override for override in parsed if override.key_or_group.partition(".")[0] != "arms"]
        jobs = [job for batch in self.split_arguments(parsed, None) for job in batch]
        own: Any = OmegaConf.to_container(OmegaConf.masked_copy(self.config, "arms"))
        arms = own.get("arms")  # gone, where the command line says ~arms
        if arms is None:
            return [Asked(job) for job in jobs], until_clear
        return named_jobs(arms, jobs, parser.parse_overrides), until_clear


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="tracked",
    node=BasicSweeperConf(_target_=f"{__name__}.{TrackedSweeper.__name__}"),
    provider="handwriting",
)
