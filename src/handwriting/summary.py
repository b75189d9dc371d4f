"""The end of a sweep on the screen: a table of all its jobs, and the line that opens them in the UI."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import mlflow
import pandas as pd
from mlflow.entities import Run

from handwriting.config import TrackingConfig
from handwriting.tracking import open_store

METRICS = ("val_accuracy", "test_accuracy", "test_loss")


def print_summary(
    tracking: TrackingConfig,
    sweep: str,
    jobs: Mapping[str, Sequence[str]],
    seconds: float,
) -> None:
    """Print every job of a sweep with its status, whether or not it got as far as the store."""
    experiment_id = open_store(tracking)
    table = table_of_jobs(jobs, runs_of_sweep(experiment_id, sweep))
    print(f"\nsweep {sweep}: {len(table)} jobs in {seconds / 60:.1f} min\n")
    print(table.to_string(index=False, na_rep="-", float_format=lambda x: f"{x:.4f}"))
    print(f"\nside by side, in curves: make ui, then\n{address_of(experiment_id, sweep)}")


def runs_of_sweep(experiment_id: str, sweep: str) -> list[Run]:
    """Return the runs that carry a sweep's tag, newest first."""
    found = mlflow.search_runs(
        [experiment_id],
        filter_string=f"tags.sweep = '{sweep}'",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    return list(found)


def table_of_jobs(jobs: Mapping[str, Sequence[str]], runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row for each job: what was swept, its newest run's status, metrics and minutes.

    Args:
        jobs: the overrides of each job, by fingerprint.
        runs: newest first.
    """
    newest: dict[str, Run] = {}
    for run in runs:
        newest.setdefault(run.data.tags.get("fingerprint", ""), run)
    swept = {key: dict(item.split("=", 1) for item in job) for key, job in jobs.items()}
    first = next(iter(swept.values()))
    varies = [name for name in first if len({job[name] for job in swept.values()}) > 1]
    rows = []
    for key, job in swept.items():
        run = newest.get(key)
        row: dict[str, object] = {name: job[name] for name in varies}
        row["status"] = run.info.status if run else "NOT RUN"
        for metric in METRICS:
            row[metric] = run.data.metrics.get(metric) if run else None
        ended = run and run.info.end_time
        row["minutes"] = f"{(ended - run.info.start_time) / 60000:.1f}" if run and ended else "-"
        row["run"] = run.info.run_id[:8] if run else "-"
        row["failure"] = run.data.tags.get("failure", "") if run else ""
        rows.append(row)
    table = pd.DataFrame(rows)
    for metric in METRICS:
        table[metric] = table[metric].astype(float)
    return table if (table["failure"] != "").any() else table.drop(columns="failure")


def address_of(experiment_id: str, sweep: str, server: str = "http://127.0.0.1:5000") -> str:
    """Return the address of the UI's page that shows a sweep's runs side by side, with their curves."""
    # Without `workflowType` the UI opens on its views for language models.
    search = quote(f"tags.sweep = '{sweep}'")
    only = f"&searchFilter={search}" if sweep else ""
    return (
        f"{server}/#/experiments/{experiment_id}/runs?compareRunsMode=CHART"
        f"&workflowType=machine_learning{only}&orderByKey={quote('params.`optimizer`')}"
    )
