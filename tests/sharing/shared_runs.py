"""Stores with a run or two of every kind of content, and the calls that write to a store."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from handwriting.sharing.checking import differences
from handwriting.sharing.exchange import Exchange, copies_in
from handwriting.tracking import Store, names
from handwriting.tracking.run import tracked_run
from handwriting.training import set_threads

set_threads(None)  # which TensorFlow takes only before its first operation

WRITES = (
    "create_run", "log_batch", "log_inputs", "log_artifact", "create_logged_model", "log_model_artifacts",
    "finalize_logged_model", "log_outputs", "set_terminated", "set_tag",
)  # fmt: skip
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 6), np.uint8)
CLASSES = ("circle", "cross", "line")


@cache
def _empty() -> bytes:
    """Return an empty store, which takes MLflow 3 s to make."""
    with tempfile.TemporaryDirectory() as folder:
        Store(f"sqlite:///{folder}/mlflow.db").client.search_experiments()
        with closing(sqlite3.connect(Path(folder, "mlflow.db"))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(folder, "mlflow.db").read_bytes()


def new_store(folder: Path) -> Store:
    """Return the store in a folder; an empty one, with an id of its own, where there is none."""
    if not (folder / "mlflow.db").exists():
        folder.mkdir(exist_ok=True)
        (folder / "mlflow.db").write_bytes(_empty())
    return Store(f"sqlite:///{folder}/mlflow.db")


def a_run(
    store: Store, name: str = "adam seed 0", tags: dict[str, str] | None = None, epochs: int = 3
) -> str:
    """Store a run as a training does; return its id."""
    experiment = store.open_experiment("signs")
    mlflow.set_tracking_uri(store.uri)  # of this process, which has clients of several stores
    own = {names.FINGERPRINT: name, names.SWEEP: "signs-0123abcd", **(tags or {})}
    with tracked_run(store, experiment, name, own) as run:
        run.log_params({f"optimizer.{place}": place / 3 for place in range(150)})
        run.log_text("seed: 0\n", "config.yaml")
        run.log_text("0" * 40, "process-0/commit.txt")
        run.log_dataset("signs", "signs.npz", IMAGES, np.arange(4), "5" * 64)
        for epoch in range(3):
            run.log_epoch({names.LOSS: 1 / (epoch + 3), names.VAL_ACCURACY: float("nan")}, epoch)
        keras.utils.set_random_seed(0)
        network = keras.Sequential(
            [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
        )
        digests = run.log_model(network, 2, IMAGES[:1], CLASSES)
        run.set_tags({names.FINAL_WEIGHTS: "5ea1", **digests})
        run.log_metrics({names.TEST_ACCURACY: 0.1 + 0.2, names.TRAINING_SECONDS: 1e-300}, 2)
    return run.id


def bring(source: Store, target: Store) -> list[str]:
    """Copy all that is not there; return the ids of the runs that were."""
    found = list(Exchange(source, target).bring())
    assert [problem for _, problem in found] == [None] * len(found)
    return [run.info.run_id for run, _ in found]


def unequal(source: Store, target: Store) -> list[str]:
    """Return all differences, and the runs that have no copy or several."""
    exchange = Exchange(source, target)
    copies = list(copies_in(target, exchange.out.source_id))
    pairs = exchange.pairs()
    found = [difference for pair in pairs for difference in differences(exchange.out, *pair)]
    if not len(copies) == len(pairs) == len(runs_of(source)):
        found.append(f"{len(copies)} copies of {len(runs_of(source))} runs")
    return found


def runs_of(store: Store) -> list[str]:
    client = store.client
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return [run.info.run_id for run in found]


@contextmanager
def ends_at(call: int, error: BaseException, after: bool = False) -> Iterator[list[str]]:
    """Let the write of this number, from 0, raise; before it writes, or after. Yield all."""
    made: list[str] = []

    def ending(name: str) -> object:
        write = getattr(MlflowClient, name)

        def maybe(self: MlflowClient, *arguments: object, **named: object) -> object:
            made.append(name)
            ends = len(made) == call + 1
            if ends and not after:
                raise error
            found = write(self, *arguments, **named)
            if ends:
                raise error
            return found

        return maybe

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(MlflowClient, name, ending(name))
        yield made
