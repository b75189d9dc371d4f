"""A store of synthetic runs whose best have real models, and the command that promotes them."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
from sqlalchemy import create_engine, text

from handwriting.bench.synthetic import fill
from handwriting.compare import Answer, Asked, answered
from handwriting.serving.champion import best_run
from handwriting.tracking import Store, names
from handwriting.tracking.run import tracked_run

SHAPE, CLASSES = (6, 6, 1), ("circle", "cross", "line")
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 6), np.uint8)
PAIRS = 8


def network(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    end = keras.layers.Dense(len(CLASSES), activation="softmax")
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), end])


def made(folder: Path, lead: float) -> Store:
    """Return a store of two arms, where adam leads by so much test accuracy in each of eight seeds."""
    store = Store(f"sqlite:///{folder}/mlflow.db")
    fill(store, 2 * PAIRS)
    engine = create_engine(store.uri)
    of_adam = "run_uuid IN (SELECT run_uuid FROM params WHERE key = 'optimizer' AND value = 'adam')"
    seed = "(SELECT value FROM params WHERE params.run_uuid = {0}.run_uuid AND key = 'seed')"
    with engine.begin() as connection:
        for table in ("metrics", "latest_metrics"):
            change = f"UPDATE {table} SET value = 0.98 + :more + {seed.format(table)} * :each "  # noqa: S608
            for where, more, each in (("", 0, 0), (f"AND {of_adam}", lead, 0.0001)):
                connection.execute(
                    text(f"{change} WHERE key = 'test_accuracy' {where}"), {"more": more, "each": each}
                )
    engine.dispose()
    for place, arm in enumerate(("rmsprop", "adam")):
        give_model(store, best_run(answer(store).comparison, arm)[0], place)
    return store


def answer(store: Store) -> Answer:
    return answered(store, None, None, Asked())


def give_model(store: Store, run_id: str, seed: int, classes: tuple[str, ...] = CLASSES) -> None:
    """Let a finished run have a model."""
    experiment_id = store.client.get_run(run_id).info.experiment_id
    with tracked_run(store, experiment_id, "", {}, run_id) as run:
        run.set_tags({names.FINAL_WEIGHTS: "5ea1", **run.log_model(network(seed), 9, IMAGES[:1], classes)})


def command(store: Store, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m handwriting.promote` on a store."""
    words = [sys.executable, "-m", "handwriting.promote", "--uri", store.uri, *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False)
