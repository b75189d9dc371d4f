"""A sweep from its first check to its report, whichever launcher runs the jobs."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn

from handwriting.errors import UserError
from handwriting.sweeps.arms import Asked
from handwriting.sweeps.plan import Compose, Job, JobsFailed, name_of, plan_jobs
from handwriting.tracking import Store

if TYPE_CHECKING:  # half a second, at each start of the command
    import pandas as pd

log = logging.getLogger(__name__)


def run_sweep(
    experiment: str,
    asked: Sequence[Asked],
    compose: Compose,
    launch: Callable[[list[list[str]]], Sequence[JobReturn]],
) -> Sequence[JobReturn]:
    """Run all jobs; print the table of them, however they ended, and the report of those that finished.

    Args:
        experiment: the name of the experiment file; begins the sweep's name.
        asked: each job.
        compose: as for `plan_jobs`.
        launch: runs jobs, told by their overrides, and returns what Hydra's launchers return.

    Raises:
        UserError: a job's config or data cannot work; no job was started.
        JobsFailed: some jobs are not finished; the others went on.
    """
    jobs, warnings = plan_jobs(asked, compose)
    for warning in warnings:
        log.warning(warning)

    from handwriting.sweeps.table import print_table  # MLflow, 2 s: after the checks

    tracking = jobs[0].cfg.tracking
    store = Store(tracking.uri)
    with store.errors():
        experiment_id = store.open_experiment(tracking.experiment_name)
    name = name_of(experiment, jobs, named=bool(asked[0].arm))
    # In words, so that it reaches a worker of any launcher, in any process, on any machine.
    told = [[*job.overrides, *_place(name, job)] for job in jobs]
    started = time.perf_counter()
    try:
        returned = launch(told)
    finally:
        by_fingerprint = {job.identity.fingerprint: (job.label, job.cfg.seed) for job in jobs}
        with store.errors():
            table = print_table(store, experiment_id, name, by_fingerprint, time.perf_counter() - started)
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


def _place(sweep: str, job: Job) -> list[str]:
    """Return the overrides that tell a job where it stands in its sweep."""
    label = QuotedString(job.label, Quote.single).with_quotes()
    return [f"tracking.sweep='{sweep}'", f"tracking.arm={job.arm}", f"tracking.label={label}"]


def _not_run(table: "pd.DataFrame") -> list[str]:
    """Return a sentence about the jobs that no run came of, so that the store knows nothing of them."""
    arms = table.loc[table["status"] == "NOT RUN", "arm"].value_counts(sort=False)
    return [f"Not run: {', '.join(f'{arm} ({number})' for arm, number in arms.items())}"] if len(arms) else []
