"""Runs that were never trained, to measure what a full store costs. Each says so: tag `synthetic`.

    python -m handwriting.bench.synthetic URI RUNS

Written through MLflow's own tables: 10,000 runs take its API the better part of an hour.
"""

import sys
import time
import uuid
from collections.abc import Iterator

import mlflow
import numpy as np
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
from sqlalchemy import create_engine, insert

from handwriting.config import TrackingConfig
from handwriting.tracking import open_store

EPOCHS = 10
CURVE = 0.992 - 0.03 * 0.5 ** np.arange(EPOCHS)  # of validation accuracy, made up
OTHER_SETTINGS = 30  # parameters that are the same in all runs, as a real run has them
SHARED = {
    "model": "cnn", "data": "mnist", "start": "fresh", "batch_size": "32", "data.limit_test": "None",
    "optimizer.learning_rate": "0.001",
}  # fmt: skip
SWEEP = "synthetic-00000000"


def fill(uri: str, runs: int) -> None:
    """Write so many finished runs, half with each optimizer, as one sweep of an experiment `synthetic`."""
    experiment_id = open_store(TrackingConfig(uri=uri, experiment_name="synthetic"))
    root = mlflow.get_experiment(experiment_id).artifact_location
    engine = create_engine(uri)
    rng = np.random.default_rng(0)
    for first in range(0, runs, 500):
        rows: dict[type, list[dict]] = {
            one: [] for one in (SqlRun, SqlParam, SqlTag, SqlMetric, SqlLatestMetric)
        }
        for number in range(first, min(first + 500, runs)):
            _add(rows, number, int(experiment_id), root, rng)
        with engine.begin() as connection:
            for kind, values in rows.items():
                connection.execute(insert(kind), values)
    engine.dispose()


def _add(rows: dict, number: int, experiment_id: int, root: str, rng: np.random.Generator) -> None:
    run_id, seed, optimizer = uuid.UUID(int=number).hex, number // 2, ("rmsprop", "adam")[number % 2]
    now = int(time.time() * 1000) + number
    name = f"{optimizer} cnn seed {seed}"
    rows[SqlRun].append(
        {"run_uuid": run_id, "name": name, "status": "FINISHED", "experiment_id": experiment_id,
         "start_time": now, "end_time": now, "lifecycle_stage": "active", "source_type": "LOCAL",
         "source_name": "", "entry_point_name": "", "user_id": "", "source_version": "",
         "artifact_uri": f"{root}/{run_id}/artifacts"}
    )  # fmt: skip
    params = {"optimizer": optimizer, "seed": str(seed), **SHARED}
    params |= {f"model.setting{i}": "1" for i in range(OTHER_SETTINGS)}
    tags = {
        "mlflow.runName": name, "sweep": SWEEP, "synthetic": "true", "data.sha256": "0" * 64,
        "fingerprint": f"{number:016x}", "weights.initial": str(seed), "git.commit": "0" * 40,
        **{f"machine{i}": "the same" for i in range(15)},
    }  # fmt: skip
    for kind, values in ((SqlParam, params), (SqlTag, tags)):
        rows[kind] += [{"run_uuid": run_id, "key": key, "value": value} for key, value in values.items()]
    for key, step, value in _metrics(rng, number % 2):
        metric = {"run_uuid": run_id, "key": key, "value": value, "step": step, "timestamp": now,
                  "is_nan": False}  # fmt: skip
        rows[SqlMetric].append(metric)
        if step == EPOCHS - 1:
            rows[SqlLatestMetric].append(metric)


def _metrics(rng: np.random.Generator, better: int) -> Iterator[tuple[str, int, float]]:
    accuracy = CURVE + 0.0005 * better + rng.normal(0, 0.001, EPOCHS)
    for step, value in enumerate(accuracy.tolist()):
        yield from (("val_accuracy", step, value), ("accuracy", step, value), ("epoch_seconds", step, 40.0))
        yield from (("val_loss", step, 1 - value), ("loss", step, 1 - value), ("learning_rate", step, 0.001))
    yield "test_accuracy", EPOCHS - 1, float(np.round(accuracy[-1] + rng.normal(0, 0.0005), 4))
    yield "test_loss", EPOCHS - 1, 0.03
    yield "training_seconds", EPOCHS - 1, 400.0


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]))
