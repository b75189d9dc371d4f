"""The same two tables from an MLflow server, which has no other way than a request for each run's epochs."""

import mlflow
import pandas as pd

from handwriting.analysis.stored import PER_EPOCH, Stored, by_epoch, choose


def read_server(uri: str, sweep: str | None, experiment: str | None) -> Stored:
    """Return what `read.read` returns, and raise what it raises."""
    client = mlflow.MlflowClient(uri)
    mlflow.set_tracking_uri(uri)
    names = {one.experiment_id: one.name for one in client.search_experiments()}
    runs = mlflow.search_runs(list(names))
    runs = runs.assign(experiment=runs["experiment_id"].map(names), sweep=runs.get("tags.sweep"))
    name, sweep = choose(runs, sweep, experiment)
    runs = runs[runs["experiment"] == name]
    if sweep:
        runs = runs[[sweep in str(names).split() for names in runs["sweep"]]]
    rows = [
        (run_id, metric.step, key, metric.value)
        for run_id in runs["run_id"]
        for key in PER_EPOCH
        for metric in client.get_metric_history(run_id, key)
    ]
    return Stored(
        name,
        sweep,
        runs.drop(columns=["experiment", "sweep"]).assign(name=runs["tags.mlflow.runName"]),
        by_epoch(pd.DataFrame(rows, columns=["run_id", "epoch", "key", "value"])),
    )
