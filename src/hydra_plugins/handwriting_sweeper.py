"""Hydra's plug-in for a sweep; Hydra looks for plug-ins in the namespace `hydra_plugins` only."""

import time
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from handwriting.config import cores, fingerprint
from handwriting.sweep import JobsFailed, check_jobs, name_of, named


class TrackedSweeper(BasicSweeper):
    """Hydra's own sweeper, with a check of all jobs before the first, and a table and the report at the end.

    Not a Hydra callback: of those, Hydra turns errors into warnings, and it calls none after a job failed.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Run all jobs; print the table of them, however they ended.

        Raises:
            UserError: a job's config or data cannot work; no job was started.
            JobsFailed: some jobs failed; the others went on.
        """
        assert self.config is not None
        if self.config.threads is None:
            # Said to each job in words: the number of threads is part of what determines a run's result,
            # so it must not depend on how many jobs there happen to be.
            at_once = self.config.hydra.launcher.get("jobs") or cores()
            arguments = [*arguments, f"threads={max(1, cores() // at_once)}"]
        overrides = self._jobs(arguments)
        configs = [self._compose(job) for job in overrides]
        identities = check_jobs(configs)

        from handwriting.summary import print_summary  # MLflow, 2 s: after the checks
        from handwriting.tracking import open_store

        tracking = configs[0].tracking
        open_store(tracking)
        name = name_of(self.config.hydra.runtime.choices.get("experiment") or "sweep", identities)
        started = time.perf_counter()
        try:
            with named(name):
                returned = [job for batch in super().sweep(arguments) for job in batch]
        finally:
            jobs = {fingerprint(one): job for one, job in zip(identities, overrides, strict=True)}
            table = print_summary(tracking, name, jobs, time.perf_counter() - started)
        if (table["status"] == "FINISHED").any():
            from handwriting.report import report

            report(tracking.uri, name)
        print("\nside by side, in curves: make ui")
        if any(job.return_value for job in returned):
            raise JobsFailed
        return returned

    def _jobs(self, arguments: list[str]) -> list[list[str]]:
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        return [job for batch in self.split_arguments(parsed, None) for job in batch]

    def _compose(self, job: Sequence[str]) -> DictConfig:
        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        cfg = loader.load_sweep_config(self.config, list(job))
        return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="tracked",
    node=BasicSweeperConf(_target_=f"{__name__}.{TrackedSweeper.__name__}"),
    provider="handwriting",
)
