"""A sweep from its first check to its report, whichever launcher runs the jobs."""

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from handwriting.errors import UserError
from handwriting.sweeps.arms import Asked
from handwriting.sweeps.plan import Compose, Job, JobsFailed, name_of, plan_jobs
from handwriting.sweeps.seeds import batches, check_arms
from handwriting.tracking import Store, names
from handwriting.tracking.plans import LOOKS, Plan, keep_plan

if TYPE_CHECKING:  # half a second, at each start of the command
    import pandas as pd

log = logging.getLogger(__name__)


def run_sweep(
    experiment: str,
    asked: Sequence[Asked],
    compose: Compose,
    launcher: Launcher,
    until_clear: bool = False,
    at_once: int = 1,
) -> Sequence[JobReturn]:
    """Run all jobs, or seed by seed until it is clear; print their table, however they ended, and report.

    Args:
        experiment: the name of the experiment file; begins the sweep's name.
        asked: each job.
        compose: as for `plan_jobs`.
        launcher: Hydra's; where it has a method `close`, that is called once no more jobs come.
        until_clear: whether the jobs are all that there may be, of which as many are run as it takes.
        at_once: how many of them at a time.

    Raises:
        UserError: a job's config or data cannot work; no job was started.
        JobsFailed: some jobs are not finished; the others went on.
    """
    jobs, warnings = plan_jobs(asked, compose)
    arms = 1 + max(job.arm for job in jobs)
    if until_clear:
        check_arms(arms)
        jobs.sort(key=lambda job: job.cfg.seed)
    for warning in warnings:
        log.warning(warning)

    from handwriting.sweeps.table import print_table, runs_of, table_of_jobs  # MLflow, 2 s: after the checks

    if until_clear and arms > 2:
        jobs = _fixed(jobs, arms)
    looks = LOOKS if until_clear and arms == 2 else ()
    tracking = jobs[0].cfg.tracking
    store = Store(tracking.uri)
    name = name_of(experiment, jobs, named=bool(asked[0].arm))
    seeds = tuple(sorted({job.cfg.seed for job in jobs}))
    margin = jobs[0].cfg.margin / names.metric(names.TEST_ACCURACY).factor
    with store.errors():
        experiment_id = store.open_experiment(tracking.experiment_name)
        keep_plan(store, experiment_id, name, Plan(seeds, looks, margin))

    def wanted() -> int:
        """Return how many paired seeds the next look lacks; none where a job is to be gone on with first."""
        with store.errors():
            table = table_of_jobs(_known(begun), *runs_of(store, experiment_id, name))
        if not table["status"].isin(["FINISHED", "FAILED"]).all():
            return 0
        from handwriting.compare.looks import standing

        found = standing(store, name)
        if found.line:
            print(f"\n{found.line}\n", flush=True)
        return found.wanted

    begun: list[Job] = []
    returned: list[JobReturn] = []
    started = time.perf_counter()
    try:
        for batch in batches(jobs, arms, at_once, wanted) if looks else [jobs]:
            begun += batch
            # In words, so that it reaches a worker of any launcher, in any process, on any machine.
            told = [[*job.overrides, *_place(name, job)] for job in batch]
            returned += launcher.launch(told, len(returned))
    finally:
        getattr(launcher, "close", lambda: None)()
        with store.errors():
            table = print_table(store, experiment_id, name, _known(begun), time.perf_counter() - started)
    finished = table["status"] == "FINISHED"
    if finished.any():
        from handwriting.compare import report

        try:
            report(store, name, caveats=_not_run(table))
        except UserError as error:
            print(f"\nno comparison: {error}")
    if not finished.all():
        raise JobsFailed
    return returned


def _fixed(jobs: Sequence[Job], arms: int) -> list[Job]:
    """Return the jobs of as many seeds as more than two arms need, and say why."""
    from handwriting.compare.pairs import seeds_needed

    seeds = seeds_needed(arms)
    log.info(
        "%d arms: a fixed number of %d seeds, corrected by Holm. Looks until clear are for two arms: their "
        "rule does not hold for several pairs at once",
        arms, seeds,
    )  # fmt: skip
    return [job for job in jobs if job.cfg.seed < seeds]


def _known(jobs: Sequence[Job]) -> dict[str, tuple[str, int]]:
    """Return the label of each job's arm and its seed, by fingerprint."""
    return {job.identity.fingerprint: (job.label, job.cfg.seed) for job in jobs}


def _place(sweep: str, job: Job) -> list[str]:
    """Return the overrides that tell a job where it stands in its sweep."""
    label = QuotedString(job.label, Quote.single).with_quotes()
    return [f"tracking.sweep='{sweep}'", f"tracking.arm={job.arm}", f"tracking.label={label}"]


def _not_run(table: "pd.DataFrame") -> list[str]:
    """Return a sentence about the jobs that no run came of, so that the store knows nothing of them."""
    arms = table.loc[table["status"] == "NOT RUN", "arm"].value_counts(sort=False)
    return [f"Not run: {', '.join(f'{arm} ({number})' for arm, number in arms.items())}"] if len(arms) else []
