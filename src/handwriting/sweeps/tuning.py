"""A tuning: a sweep that finds each arm's best setting, then one that judges these on seeds of their own."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from handwriting.config import check_config, flatten
from handwriting.errors import UserError
from handwriting.sharing.following import following
from handwriting.space import Space, label_of, seeds_of, several, space_of
from handwriting.sweeps.arms import Asked, checked, words_of
from handwriting.sweeps.plan import Compose, Job, JobsFailed, name_of, plan_jobs
from handwriting.sweeps.seeds import is_until_clear
from handwriting.sweeps.sweep import launch, run_sweep, wanted
from handwriting.tracking import Store, names, stores_of
from handwriting.tracking.identity import digest
from handwriting.tracking.plans import LOOKS
from handwriting.tracking.tunings import Tuning, chosen_by, keep_tuning, tunings_in

log = logging.getLogger(__name__)

_SEEDS = ("tuning.seeds", "tuning.verdict_seeds")  # whose values may be written as those of `seed`
Settings = Mapping[str, Sequence[Sequence[str]]]  # of each arm, the overrides of each setting


@dataclass(frozen=True)
class Tuner:
    """All that a tuning needs to plan its jobs and to run them.

    Args:
        file: the name of the tuning file.
        experiment: that of the experiment file, or the tuning's; begins the sweeps' names.
        space: what is tried.
        shared: the overrides that are the same for all arms.
        compose: as for `plan_jobs`.
        parser: Hydra's.
        launcher: Hydra's.
        at_once: returns how many jobs run at a time.
    """

    file: str
    experiment: str
    space: Space
    shared: Sequence[str]
    compose: Compose
    parser: OverridesParser
    launcher: Launcher
    at_once: Callable[[], int]

    def run(self) -> Sequence[JobReturn]:
        """Try the settings of each arm, choose, and judge the chosen ones; report.

        What is stored already is not done again. The choice is stored before the verdict's first job, and
        holds from then on, as long as nothing differs that it follows from.

        Raises:
            UserError: a job cannot work, or the tuning is not fair; no job was started. Or an arm has no
                setting that can be trained, or both chose the same.
            JobsFailed: some jobs are not finished; the others went on.
        """
        tracking = self.compose([*self.shared])[0].tracking
        settings = self.space.settings(self._defaults())
        jobs = self._jobs(settings, tracking.experiment_name + names.TRIED)
        store, shared = stores_of(tracking)
        sweep = name_of(f"{self.experiment}{names.TRIED}", jobs, named=True)
        plan = Tuning(
            self.file,
            sweep,
            digest(sorted(job.identity.fingerprint for job in jobs)),
            self.space.words(),
            self.space.number,
            self.space.seeds,
            self.space.verdict_seeds,
        )
        with following(store, shared) as follow:
            with store.errors():
                experiment_id = store.open_experiment(tracking.experiment_name)
            follow(wanted(tracking.experiment_name + names.TRIED, sweep, jobs))
            plan, returned = self._chosen(store, experiment_id, plan, jobs)
        said = {arm: " ".join(settings[arm][number]) for arm, number in plan.chosen.items()}
        words = "; ".join(f"{arm}: {own or 'its default'}" for arm, own in said.items())
        log.info("the best settings, by %s: %s", names.VAL_ACCURACY, words)
        asked = self._verdict(plan.chosen, settings)
        self.check_differ(asked[: len(settings)])
        judged, _ = plan_jobs(asked, self.compose)
        with store.errors():
            verdict = name_of(self.experiment, judged, named=True)
            keep_tuning(store, experiment_id, replace(plan, verdict=verdict))
        until_clear = self.space.verdict_seeds is None
        run = run_sweep(
            self.experiment, asked, self.compose, self.launcher, until_clear, self.at_once, len(returned)
        )
        return [*returned, *run]

    def _defaults(self) -> dict[str, dict[str, Any]]:
        """Return the values that each arm's tuned keys have in its default setting."""
        found, shared = {}, words_of(self.shared)
        for name, arm in self.space.arms.items():
            where = f"tuning.arms.{name}"
            for key in arm.ranges.keys() & shared.keys():
                raise UserError(
                    f"{where}: {key} has a range, and {key}={shared[key]} sets it for all arms. Leave out one"
                )
            own = [*arm.fixed, *(f"{key}={range_.at(0)}" for key, range_ in arm.ranges.items())]
            checked(where, name, own, shared, self.parser.parse_overrides)
            seed = f"seed={self.space.seeds[0]}"
            try:
                cfg, runtime = self.compose([*self.shared, *arm.fixed, seed])
                check_config(cfg)
                check_config(self.compose([*self.shared, *own, seed])[0])  # before the points, which take 1 s
            except Exception as error:
                error.add_note(where)
                raise
            if cfg.data.validation_on_test:
                raise UserError(
                    "data.validation_on_test=true: the settings would be chosen by the test set. Leave it out"
                )
            found[name] = {**flatten(cfg), **runtime.choices}
        return found

    def _jobs(self, settings: Settings, experiment: str) -> list[Job]:
        """Return the jobs that choose, seed by seed, the arms side by side."""
        where = f"tracking.experiment_name={_quoted(experiment)}"
        asked = [
            self._asked(
                arm,
                settings[arm][number],
                label_of(arm, number),
                seed,
                where,
                f"tracking.tuning={_quoted(arm)}",
            )
            for seed in self.space.seeds
            for number in range(self.space.number)
            for arm in settings
        ]
        jobs, warnings = plan_jobs(asked, self.compose)
        for warning in warnings:
            log.warning(warning)
        return jobs

    def _chosen(
        self, store: Store, experiment_id: str, plan: Tuning, jobs: list[Job]
    ) -> tuple[Tuning, list[JobReturn]]:
        """Return a plan with the place of each arm's best setting, as stored or after running its jobs."""
        with store.errors():
            known = tunings_in(store.client.get_experiment(experiment_id).tags)
        before = chosen_by(plan, known)
        if before and not jobs[0].cfg.force:
            log.info("%s has chosen already", plan.sweep)
            return replace(plan, chosen=before.chosen, at=before.at), []
        with store.errors():
            keep_tuning(store, experiment_id, plan)
            tried_in = store.open_experiment(jobs[0].cfg.tracking.experiment_name)
        log.info(
            "tuning: %d arms, %d settings of each, %d seeds: %d runs", len(plan.arms), plan.settings,
            len(plan.seeds), len(jobs),
        )  # fmt: skip
        table, returned = launch(store, tried_in, plan.sweep, [jobs], self.launcher, [])
        whole = table["status"].isin(["FINISHED", "FAILED"])
        if not whole.all():
            log.error("error: no verdict yet: %d of %d runs are not done", (~whole).sum(), len(table))
            raise JobsFailed
        from handwriting.compare.tuned import choose, tried

        columns = ["label", "seed", "status", names.VAL_ACCURACY]
        chosen = choose(tried(table.rename(columns={"arm": "label"}).reindex(columns=columns), plan))
        for arm in plan.arms:
            if arm not in chosen:
                raise UserError(
                    f"tuning.arms.{arm}: no setting of it could be trained, see above. Give it other ranges"
                )
        return replace(plan, chosen=chosen, at=int(time.time() * 1000)), returned

    def _verdict(self, chosen: Mapping[str, int], settings: Settings) -> list[Asked]:
        """Return the jobs that judge; until clear, all that there may be."""
        seeds = self.space.verdict_seeds
        return [
            self._asked(arm, settings[arm][number], arm, seed)
            for seed in (range(LOOKS[-1]) if seeds is None else seeds)
            for arm, number in chosen.items()
        ]

    def _asked(self, arm: str, setting: Sequence[str], label: str, seed: int, *told: str) -> Asked:
        """Return the job of an arm's setting with a seed, and with what it is told besides."""
        shared = [*self.shared, *told, f"seed={seed}"]
        return Asked(shared, label, [*self.space.arms[arm].fixed, *setting], f"tuning.arms.{arm}")

    def check_differ(self, asked: Sequence[Asked]) -> None:
        """Refuse to judge arms, a job of each, that have become the same."""
        arms: dict[str, str] = {}
        for job in asked:
            cfg, _ = self.compose(job.overrides)
            other = arms.setdefault(repr(flatten(cfg)), job.arm)
            if other != job.arm:
                raise UserError(
                    f"{job.where}: its best setting is that of {other}: there is nothing to judge"
                )


def space_asked(tuning: Any, overrides: Sequence[Override]) -> tuple[Space, list[str]]:
    """Return the space that a config and a command line describe, and the overrides for all arms.

    Args:
        tuning: the plain values of the config's `tuning`.
        overrides: of the command line and the experiment file; of one key the last counts.

    Raises:
        UserError: as `space_of`; or an override is no setting that all arms share.
    """
    values, shared = dict(tuning), []
    for override in overrides:
        key = override.key_or_group
        if key in _SEEDS:
            values[key.partition(".")[2]] = (
                list(several(override)) if override.is_sweep_override() else (override.value())
            )
        elif key == "seed":
            raise UserError(
                f"{override.input_line}: a tuning has tuning.seeds, which choose, and tuning.verdict_seeds"
            )
        elif override.is_sweep_override():
            raise UserError(
                f"{override.input_line} has several values, and a tuning has one for all arms, which are in "
                "its file"
            )
        elif key.partition(".")[0] not in ("tuning", "arms"):
            shared.append(str(override.input_line))
    judge = values.get("verdict_seeds")
    until_clear = is_until_clear(judge)
    seeds = seeds_of("tuning.seeds", values.get("seeds"))
    if not until_clear:
        judge = seeds_of("tuning.verdict_seeds", judge)
    return space_of(values, seeds, None if until_clear else judge, range(LOOKS[-1])), shared


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
