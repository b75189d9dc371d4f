"""Hydra's sweeper `tracked`; Hydra looks for plug-ins in the namespace `hydra_plugins` only."""

import copy
import functools
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.conf import RuntimeConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from handwriting.config import check_value, cores
from handwriting.errors import UserError
from handwriting.kinds import check_kinds
from handwriting.sweeps.arms import Asked, check_names, named_jobs
from handwriting.sweeps.processes import jobs_that_fit
from handwriting.sweeps.seeds import all_seeds
from handwriting.sweeps.sweep import run_sweep
from handwriting.sweeps.tuning import Tuner, space_asked


class TrackedSweeper(BasicSweeper):
    """Hydra's own products of values, with a check of all jobs before the first, a table and the report.

    Not a Hydra callback: of those, Hydra turns errors into warnings, and it calls none after a job failed.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep that the command line and the experiment file describe; raises as `run_sweep`."""
        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        jobs_at_once = self.config.hydra.launcher.get("jobs")
        check_value("hydra.launcher.jobs", jobs_at_once)
        if self.config.threads is None:
            # Said to each job in words: the number of threads is part of what determines a run's result,
            # so it must not depend on how many jobs there happen to be.
            at_once = jobs_at_once or cores()
            arguments = [*arguments, f"threads={max(1, cores() // at_once)}"]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        choices = self.config.hydra.runtime.choices
        experiment = choices.get("experiment") or choices.get("tuning") or "sweep"
        at_once = jobs_at_once or ("jobs" in self.config.hydra.launcher and jobs_that_fit()) or 1
        try:
            if self.config.get("tuning") is not None:
                if self.config.get("arms") is not None:
                    raise UserError("arms: a tuning has its own, in its file. Leave these out: arms=null")
                own: Any = OmegaConf.to_container(self.config.tuning)
                space, shared = space_asked(own, parsed)
                file = choices.get("tuning") or experiment
                return Tuner(
                    file, experiment, space, shared, self._compose, parser, self.launcher, at_once
                ).run()
            if self.config.hydra.job.config_name == "tune":
                raise UserError("tuning has no value. Give one: tuning=NAME, of a file in conf/tuning")
            asked, until_clear = self._asked(parsed, parser)
            return run_sweep(experiment, asked, self._compose, self.launcher, until_clear, at_once)
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

    def _compose(self, job: list[str]) -> tuple[DictConfig, RuntimeConf]:
        """Return the config of a job's overrides, and Hydra's notes on it.

        Hydra takes 75 ms for each, so jobs that differ in the seed alone are composed once.
        """
        seeds = [word.removeprefix("seed=") for word in job if word.startswith("seed=")]
        if not seeds or not seeds[-1].isdecimal():
            return self._compose_whole(tuple(job))
        cfg, runtime = self._compose_whole(tuple(word for word in job if not word.startswith("seed=")))
        cfg = copy.deepcopy(cfg)
        cfg.seed = int(seeds[-1])
        return cfg, runtime

    @functools.cache  # noqa: B019  # for the one sweep of a process
    def _compose_whole(self, job: tuple[str, ...]) -> tuple[DictConfig, RuntimeConf]:
        assert self.hydra_context is not None
        assert self.config is not None
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
        check_kinds(cfg, cfg.hydra.runtime)
        return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]), cfg.hydra.runtime


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="tracked",
    node=BasicSweeperConf(_target_=f"{__name__}.{TrackedSweeper.__name__}"),
    provider="handwriting",
)
