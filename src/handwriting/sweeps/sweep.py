"""A sweep from its first check to its report, whichever launcher runs the jobs."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from handwriting.errors import UserError
from handwriting.sharing import Wanted
from handwriting.sharing.following import following
from handwriting.sweeps.arms import Asked
from handwriting.sweeps.plan import Compose, Job, JobsFailed, name_of, plan_jobs
from handwriting.sweeps.seeds import batches, check_arms
from handwriting.tracking import Store, names, stores_of
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
    at_once: Callable[[], int] = lambda: 1,
    first_number: int = 0,
) -> list[JobReturn]:
    """Run all jobs, or seed by seed until it is clear; print their table, however they ended, and report.

    Args:
        experiment: the name of the experiment file; begins the sweep's name.
        asked: each job.
        compose: as for `plan_jobs`.
        launcher: Hydra's.
        until_clear: whether the jobs are all that there may be, of which as many are run as it takes.
        at_once: returns how many of them run at a time.
        first_number: Hydra's number of the first job.

    Raises:
        UserError: a job's config or data cannot work; no job was started.
        JobsFailed: some jobs are not finished; the others went on.
    """
    all_jobs, warnings = plan_jobs(asked, compose)
    jobs, plan = _planned(all_jobs, until_clear)
    for warning in warnings:
        log.warning(warning)
    tracking = jobs[0].cfg.tracking
    store, shared = stores_of(tracking)
    name = name_of(experiment, jobs, named=bool(asked[0].arm))
    with following(store, shared) as follow:
        with store.errors():
            experiment_id = store.open_experiment(tracking.experiment_name)
            keep_plan(store, experiment_id, name, plan)
        follow(wanted(tracking.experiment_name, name, jobs))
        begun: list[Job] = []
        by_seed: Iterable[Sequence[Job]] = [jobs]
        if plan.looks:
            by_seed = batches(jobs, at_once(), lambda: _seeds_wanted(store, experiment_id, name, begun))
        table, returned = launch(store, experiment_id, name, by_seed, launcher, begun, first_number)
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


def launch(
    store: Store,
    experiment_id: str,
    sweep: str,
    batches_of_jobs: Iterable[Sequence[Job]],
    launcher: Launcher,
    begun: list[Job],
    first_number: int = 0,
) -> tuple["pd.DataFrame", list[JobReturn]]:
    """Run jobs batch by batch and print their table, however they ended; return it and what they returned.

    Args:
        store: where their runs go.
        experiment_id: of their experiment.
        sweep: its name.
        batches_of_jobs: as they come.
        launcher: Hydra's.
        begun: is filled with the jobs of each batch before it begins.
        first_number: Hydra's number of the first job.
    """
    from handwriting.sweeps.table import print_table  # MLflow, 2 s: after the checks

    returned: list[JobReturn] = []
    started = time.perf_counter()
    try:
        for batch in batches_of_jobs:
            begun += batch
            # In words, so that it reaches a worker of any launcher, in any process, on any machine.
            told = [[*job.overrides, *_place(sweep, job)] for job in batch]
            returned += launcher.launch(told, first_number + len(returned))
    finally:
        with store.errors():
            table = print_table(store, experiment_id, sweep, _known(begun), time.perf_counter() - started)
    return table, returned


def _planned(jobs: list[Job], until_clear: bool) -> tuple[list[Job], Plan]:
    """Return the jobs of a sweep and its plan; of one until clear by seed, all that there may be.

    Looks are for two arms. More get as many seeds as Holm's correction takes, and it is said why.
    """
    arms = 1 + max(job.arm for job in jobs)
    if until_clear:
        check_arms(arms)
        jobs = sorted(jobs, key=lambda job: job.seed)
    if until_clear and arms > 2:
        from handwriting.compare.pairs import seeds_needed

        seeds = seeds_needed(arms)
        jobs = [job for job in jobs if job.seed < seeds]
        log.info(
            "%d arms: a fixed number of %d seeds, corrected by Holm. Looks until clear are for two arms: "
            "their rule does not hold for several pairs at once",
            arms, seeds,
        )  # fmt: skip
    looks = LOOKS if until_clear and arms == 2 else ()
    margin = jobs[0].cfg.margin / names.metric(names.TEST_ACCURACY).factor
    return jobs, Plan(tuple(sorted({job.seed for job in jobs})), looks, margin)


def wanted(experiment: str, sweep: str, jobs: Sequence[Job]) -> Wanted:
    """Return which runs a sweep's jobs are, for the shared store."""
    return Wanted(experiment, sweep, tuple(job.identity.fingerprint for job in jobs))


def _seeds_wanted(store: Store, experiment_id: str, sweep: str, begun: Sequence[Job]) -> int:
    """Tell the last look; return the paired seeds that the next one lacks, 0 where none comes.

    None comes either where a job is neither finished nor failed: the same command goes on with it first.
    """
    from handwriting.sweeps.table import runs_of, table_of_jobs

    with store.errors():
        table = table_of_jobs(_known(begun), *runs_of(store, experiment_id, sweep))
    if not table["status"].isin(["FINISHED", "FAILED"]).all():
        return 0
    from handwriting.compare.looks import standing

    found = standing(store, sweep)
    if found.line:
        print(f"\n{found.line}\n", flush=True)
    return found.wanted


def _known(jobs: Sequence[Job]) -> dict[str, tuple[str, int]]:
    """Return the label of each job's arm and its seed, by fingerprint."""
    return {job.identity.fingerprint: (job.label, job.seed) for job in jobs}


def _place(sweep: str, job: Job) -> list[str]:
    """Return the overrides that tell a job where it stands in its sweep."""
    label = QuotedString(job.label, Quote.single).with_quotes()
    return [f"tracking.sweep='{sweep}'", f"tracking.arm={job.arm}", f"tracking.label={label}"]


def _not_run(table: "pd.DataFrame") -> list[str]:
    """Return a sentence about the jobs that no run came of, so that the store knows nothing of them."""
    arms = table.loc[table["status"] == "NOT RUN", "arm"].value_counts(sort=False)
    return [f"Not run: {', '.join(f'{arm} ({number})' for arm, number in arms.items())}"] if len(arms) else []
