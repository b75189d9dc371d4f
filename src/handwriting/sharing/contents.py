"""What is stored of a run, in whatever store: its points, its models and its files."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric, Run
from mlflow.exceptions import MlflowException
from sqlalchemy import column, select, table

from handwriting.sharing.states import folder_of
from handwriting.tracking import Store

METRICS = table("metrics", *map(column, ("run_uuid", "key", "value", "timestamp", "step", "is_nan")))


def metrics_of(store: Store, run: Run) -> list[Metric]:
    """Return all points of a run; of this machine's store by one query, as MLflow has one for each metric."""
    if store.database is None:
        client, run_id = store.client, run.info.run_id
        return [point for key in run.data.metrics for point in client.get_metric_history(run_id, key)]
    asked = select(METRICS).where(METRICS.c.run_uuid == run.info.run_id)
    with store.connected() as connection:
        return [
            Metric(row.key, math.nan if row.is_nan else row.value, row.timestamp, row.step)
            for row in connection.execute(asked)
        ]


def values_of(point: Metric) -> tuple:
    """Return what makes a point; of two NaN the same."""
    return point.key, point.step, point.timestamp, repr(float(point.value))


def models_of(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """Return the models of a run."""
    found = client.search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'"
    )
    return list(found)


def outputs_of(run: Run) -> Sequence[LoggedModelOutput]:
    """Return the models that a run made, each with the step after which."""
    return run.outputs.model_outputs if run.outputs else []


@contextmanager
def folder_at(store: Store, uri: str) -> Iterator[Path]:
    """Yield a folder with the files that lie at an address of a store; of another machine, brought here."""
    if store.database:
        yield folder_of(uri)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = folder
        try:
            found = mlflow.artifacts.download_artifacts(uri, dst_path=folder, tracking_uri=store.uri)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # there are none
                raise
        yield Path(found)
