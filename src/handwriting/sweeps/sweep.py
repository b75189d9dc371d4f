"""A sweep from its first check to its report, whichever launcher runs the jobs."""

import time
from collections.abc import Callable, Sequence

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from handwriting.errors import UserError
from handwriting.sweeps.plan import JobsFailed, name_of, plan_jobs
from handwriting.tracking import Store


def run_sweep(
    experiment: str,
    overrides: Sequence[list[str]],
    compose: Callable[[list[str]], DictConfig],
    launch: Callable[[list[list[str]]], Sequence[JobReturn]],
) -> Sequence[JobReturn]:
    """Run all jobs; print the table of them, however they ended, and the report of those that finished.

    Args:
        experiment: the name of the experiment file; begins the sweep's name.
        overrides: of each job.
        compose: returns the config of a job's overrides.
        launch: runs jobs, told by their overrides, and returns what Hydra's launchers return.

    Raises:
        UserError: a job's config or data cannot work; no job was started.
        JobsFailed: some jobs are not finished; the others went on.
    """
    jobs = plan_jobs(overrides, compose)

    from handwriting.sweeps.table import print_table  # MLflow, 2 s: after the checks

    tracking = jobs[0].cfg.tracking
    store = Store(tracking.uri)
    with store.errors():
        experiment_id = store.open_experiment(tracking.experiment_name)
    name = name_of(experiment, jobs)
    # In words, so that it reaches a worker of any launcher, in any process, on any machine.
    told = [[*job.overrides, f"tracking.sweep='{name}'", f"tracking.arm={job.arm}"] for job in jobs]
    started = time.perf_counter()
    try:
        returned = launch(told)
    finally:
        by_fingerprint = {job.identity.fingerprint: job.overrides for job in jobs}
        with store.errors():
            table = print_table(store, experiment_id, name, by_fingerprint, time.perf_counter() - started)
    finished = table["status"] == "FINISHED"
    if finished.any():
        from handwriting.compare import report

        try:
            report(store, name)
        except UserError as error:
            print(f"\nno comparison: {error}")
    print("\nside by side, in curves: make ui")
    if not finished.all():
        raise JobsFailed
    return returned
