"""The jobs of a sweep on the screen: a table with the status of each."""

import math
from collections.abc import Collection, Mapping, Sequence
from textwrap import shorten
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Run

from handwriting.tracking import Store, names
from handwriting.tracking.leases import live

MOST = 30  # jobs that are printed
METRICS = (names.VAL_ACCURACY, names.TEST_ACCURACY, names.TEST_LOSS)


def print_table(
    store: Store, experiment_id: str, sweep: str, jobs: Mapping[str, tuple[str, int]], seconds: float
) -> pd.DataFrame:
    """Print a sweep's jobs with their status, stored or not, and return the table of all of them.

    Args:
        store: where the sweep's runs are stored.
        experiment_id: of the experiment that they are in.
        sweep: its name.
        jobs: the label of each job's arm and its seed, by fingerprint.
        seconds: how long the sweep took.
    """
    table = table_of_jobs(jobs, *runs_of(store, experiment_id, sweep))
    print(f"\nsweep {sweep}: {len(table)} jobs in {seconds / 60:.1f} min\n")
    print(shown(table))
    if (table["status"] == "INTERRUPTED").any():
        print("\nINTERRUPTED: the process is gone. The same command goes on; make orphans marks it KILLED")
    return table


def shown(table: pd.DataFrame) -> str:
    """Return a table of jobs as text, and why some failed; of more than MOST, first those not finished."""
    order = table["status"].eq("FINISHED").sort_values(kind="stable").index
    rows = table if len(table) <= MOST else table.loc[order[:MOST]]
    text = rows.drop(columns="failure", errors="ignore").to_string(
        index=False, na_rep="-", float_format=lambda x: f"{x:.4f}"
    )
    counts = table.loc[order[MOST:], "status"].value_counts()
    if len(counts):
        text += f"\nand {counts.sum()} more: {', '.join(f'{n} {status}' for status, n in counts.items())}"
    if "failure" in rows:
        text += "\n"
        for failure, jobs in rows.groupby("failure", sort=False):
            more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
            text += f"\n{jobs['arm'].iloc[0]} seed {jobs['seed'].iloc[0]}{more}: {failure}"
    return text


def runs_of(store: Store, experiment_id: str, sweep: str) -> tuple[list[Run], set[str]]:
    """Return the runs that carry a sweep's tag, newest first, and the ids of those that are live."""
    runs = runs_of_sweep(experiment_id, sweep)
    return runs, live(store, runs)


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
    jobs: Mapping[str, tuple[str, int]], runs: Sequence[Run], live: Collection[str]
) -> pd.DataFrame:
    """Return one row for each job: its arm and seed, its newest run's status, metrics and minutes.

    Args:
        jobs: the label of each job's arm and its seed, by fingerprint.
        runs: newest first.
        live: the ids of the runs that a process works on; another that is RUNNING was interrupted.
    """
    newest: dict[str, Run] = {}
    for run in runs:
        tags = run.data.tags
        if names.ORIGIN in tags and run.info.status != "FINISHED":
            continue  # a copy that is not whole
        before = newest.setdefault(tags.get(names.FINGERPRINT, ""), run)
        if names.ORIGIN in tags and before.info.status != "FINISHED" and before.info.run_id not in live:
            newest[tags[names.FINGERPRINT]] = run  # another machine has finished what was begun here
    rows = []
    for key, (arm, seed) in jobs.items():
        row: dict[str, Any] = {"arm": arm, "seed": seed, "status": "NOT RUN"}
        if key in newest:
            run = newest[key]
            interrupted = run.info.status == "RUNNING" and run.info.run_id not in live
            row["status"] = "INTERRUPTED" if interrupted else run.info.status
            row |= {name: run.data.metrics.get(name) for name in METRICS}
            row["minutes"] = run.data.metrics.get(names.TRAINING_SECONDS, math.nan) / 60
            row["run"] = run.info.run_id[:8]
            failure = run.data.tags.get(names.FAILURE)
            row["failure"] = shorten(failure, 300) if failure else None
        rows.append(row)
    table = pd.DataFrame(rows, columns=["arm", "seed", "status", *METRICS, "minutes", "run", "failure"])
    return table.astype(dict.fromkeys([*METRICS, "minutes"], float)).dropna(axis="columns", how="all")
