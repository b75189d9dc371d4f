"""The jobs of a sweep on the screen: a table with the status of each."""

import math
from collections.abc import Collection, Mapping, Sequence
from textwrap import shorten
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Run

from handwriting.tracking import Store, names

METRICS = (names.VAL_ACCURACY, names.TEST_ACCURACY, names.TEST_LOSS)


def print_table(
    store: Store, experiment_id: str, sweep: str, jobs: Mapping[str, Sequence[str]], seconds: float
) -> pd.DataFrame:
    """Print every job of a sweep with its status, stored or not, and return the table.

    Args:
        store: where the sweep's runs are stored.
        experiment_id: of the experiment that they are in.
        sweep: its name.
        jobs: the overrides of each job, by fingerprint.
        seconds: how long the sweep took.
    """
    runs = runs_of_sweep(experiment_id, sweep)
    live = {run.info.run_id for run in runs if store.is_live(run)}
    table = table_of_jobs(jobs, runs, live)
    print(f"\nsweep {sweep}: {len(table)} jobs in {seconds / 60:.1f} min\n")
    print(table.to_string(index=False, na_rep="-", float_format=lambda x: f"{x:.4f}"))
    if (table["status"] == "INTERRUPTED").any():
        print("\nINTERRUPTED: the process is gone. The same command goes on; make orphans marks it KILLED")
    return table


def runs_of_sweep(experiment_id: str, sweep: str) -> list[Run]:
    """Return the runs that carry a sweep's tag, newest first."""
    found = mlflow.search_runs(
        [experiment_id],
        filter_string=f"tags.{names.SWEEP} LIKE '%{sweep}%'",  # a run may belong to several
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    return list(found)


def table_of_jobs(
    jobs: Mapping[str, Sequence[str]], runs: Sequence[Run], live: Collection[str]
) -> pd.DataFrame:
    """Return one row for each job: what was swept, its newest run's status, metrics and minutes.

    Args:
        jobs: the overrides of each job, by fingerprint.
        runs: newest first.
        live: the ids of the runs that a process works on; another that is RUNNING was interrupted.
    """
    newest: dict[str, Run] = {}
    for run in runs:
        newest.setdefault(run.data.tags.get(names.FINGERPRINT, ""), run)
    swept = {key: dict(item.split("=", 1) for item in job) for key, job in jobs.items()}
    first = next(iter(swept.values()))
    varies = [name for name in first if len({job[name] for job in swept.values()}) > 1]
    rows = []
    for key, job in swept.items():
        row: dict[str, Any] = {**{name: job[name] for name in varies}, "status": "NOT RUN"}
        if key in newest:
            run = newest[key]
            interrupted = run.info.status == "RUNNING" and run.info.run_id not in live
            row["status"] = "INTERRUPTED" if interrupted else run.info.status
            row |= {name: run.data.metrics.get(name) for name in METRICS}
            row["minutes"] = run.data.metrics.get(names.TRAINING_SECONDS, math.nan) / 60
            row["run"] = run.info.run_id[:8]
            failure = run.data.tags.get(names.FAILURE)
            row["failure"] = shorten(failure, 100) if failure else None
        rows.append(row)
    table = pd.DataFrame(rows, columns=[*varies, "status", *METRICS, "minutes", "run", "failure"])
    return table.astype(dict.fromkeys([*METRICS, "minutes"], float)).dropna(axis="columns", how="all")
