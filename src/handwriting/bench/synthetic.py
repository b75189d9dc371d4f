"""Runs that were never trained, to measure what a full store costs. Each says so: tag `synthetic`.

    python -m handwriting.bench.synthetic URI RUNS

Written through MLflow's own tables: 10,000 runs take its API the better part of an hour.
"""

import sys
import time
import uuid
from collections.abc import Iterator

import numpy as np
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
from sqlalchemy import create_engine, insert

from handwriting.tracking import Store, names
from handwriting.tracking.identity import Identity, digest

EXPERIMENT, SWEEP = "synthetic", "synthetic-00000000"
TABLES = (SqlRun, SqlParam, SqlTag, SqlMetric, SqlLatestMetric)
EPOCHS = 10
CURVE = 0.992 - 0.03 * 0.5 ** np.arange(EPOCHS)  # of validation accuracy, made up
OTHER_SETTINGS = 30  # parameters that are the same in all runs, as a real run has them
SHARED = {
    "model": "cnn", "data": "mnist", "start": "fresh", "batch_size": "32", "data.limit_test": "None",
    "optimizer.learning_rate": "0.001",
    **{f"model.setting{i}": "1" for i in range(OTHER_SETTINGS)},
}  # fmt: skip
SHARED_TAGS = {
    "synthetic": "true", names.SWEEP: SWEEP, names.CODE: digest({}), names.DATA: "0" * 64,
    names.COMMIT: "0" * 40, **{f"machine{i}": "the same" for i in range(15)},
}  # fmt: skip


def identity(number: int) -> Identity:
    """Return what the run of a number, from 0, is known by."""
    return Identity({"number": number}, {})


def fill(store: Store, runs: int) -> None:
    """Write so many finished runs, half with each optimizer, as one sweep of the experiment `synthetic`."""
    experiment_id = store.open_experiment(EXPERIMENT)
    root = store.client.get_experiment(experiment_id).artifact_location
    engine, rng = create_engine(store.uri), np.random.default_rng(0)
    for first in range(0, runs, 500):
        rows: dict[type, list[dict]] = {table: [] for table in TABLES}
        for number in range(first, min(first + 500, runs)):
            _add(rows, number, int(experiment_id), root, rng)
        with engine.begin() as connection:
            for table, values in rows.items():
                connection.execute(insert(table), values)
    engine.dispose()


def _add(rows: dict, number: int, experiment_id: int, root: str, rng: np.random.Generator) -> None:
    seed, arm = divmod(number, 2)
    run_id, optimizer, known_by = uuid.UUID(int=number).hex, ("rmsprop", "adam")[arm], identity(number)
    name, now = f"{optimizer} cnn seed {seed}", int(time.time() * 1000) + number
    rows[SqlRun].append(
        {"run_uuid": run_id, "name": name, "status": "FINISHED", "experiment_id": experiment_id,
         "start_time": now, "end_time": now, "lifecycle_stage": "active", "user_id": "",
         "artifact_uri": f"{root}/{run_id}/artifacts"}
    )  # fmt: skip
    tags = {
        "mlflow.runName": name, names.ARM: str(arm), names.SETTING: known_by.setting_digest,
        names.FINGERPRINT: known_by.fingerprint, names.INITIAL_WEIGHTS: str(seed), **SHARED_TAGS,
    }  # fmt: skip
    for table, values in ((SqlParam, {"optimizer": optimizer, "seed": str(seed), **SHARED}), (SqlTag, tags)):
        rows[table] += [{"run_uuid": run_id, "key": key, "value": value} for key, value in values.items()]
    for key, step, value in _metrics(rng, arm):
        metric = {"run_uuid": run_id, "key": key, "value": value, "step": step, "timestamp": now,
                  "is_nan": False}  # fmt: skip
        rows[SqlMetric].append(metric)
        if step == EPOCHS - 1:
            rows[SqlLatestMetric].append(metric)


def _metrics(rng: np.random.Generator, arm: int) -> Iterator[tuple[str, int, float]]:
    accuracy = CURVE + 0.0005 * arm + rng.normal(0, 0.001, EPOCHS)  # the second arm is the better
    for step, value in enumerate(accuracy.tolist()):
        for name in (names.VAL_ACCURACY, names.ACCURACY):
            yield name, step, value
        for name in (names.VAL_LOSS, names.LOSS):
            yield name, step, 1 - value
        yield names.EPOCH_SECONDS, step, 40.0
        yield names.LEARNING_RATE, step, 0.001
    yield names.TEST_ACCURACY, EPOCHS - 1, float(np.round(accuracy[-1] + rng.normal(0, 0.0005), 4))
    yield names.TEST_LOSS, EPOCHS - 1, 0.03
    yield names.TRAINING_SECONDS, EPOCHS - 1, 400.0


if __name__ == "__main__":
    fill(Store(sys.argv[1]), int(sys.argv[2]))
