"""What `make bench` times against each other: each is set up once, and then trains one epoch at a time."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32
Epoch = Callable[[], object]


def main() -> None:
    """Set up the contestant that the arguments name; then train an epoch for each line read.

    After each it writes the seconds that the epoch took. The first, with its tracing, is for warming up.
    """
    name, optimizer, images = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        epoch = CONTESTANTS[name](optimizer, images, Path(folder))
        for _ in sys.stdin:
            started = time.perf_counter()
            epoch()
            print(f"{time.perf_counter() - started:.4f}", flush=True)


def notebook(optimizer: str, images: int, folder: Path) -> Epoch:
    """Set up the notebook's code as it stands there: arrays, one-hot labels, plain `fit`."""
    _tensorflows_own_defaults()
    import keras
    from keras import layers

    from handwriting.store import ROOT

    with np.load(ROOT / "src" / "handwriting" / "mnist.npz") as file:
        x, y = file["x_train"], file["y_train"]
    train_images = x[:images].reshape(-1, 28, 28, 1).astype("float32") / 255
    held_out = x[-images // 10 :].reshape(-1, 28, 28, 1).astype("float32") / 255
    train_labels = keras.utils.to_categorical(y[:images], 10)
    held_out_labels = keras.utils.to_categorical(y[-images // 10 :], 10)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return lambda: model.fit(
        train_images, train_labels, batch_size=BATCH, epochs=1, verbose=0,
        validation_data=(held_out, held_out_labels),
    )  # fmt: skip


def autolog(optimizer: str, images: int, folder: Path) -> Epoch:
    """Set up the notebook's code with what MLflow offers for it, in a store of its own."""
    _tensorflows_own_defaults()  # before MLflow imports TensorFlow
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.tensorflow.autolog(log_models=False, silent=True)
    return notebook(optimizer, images, folder)


def _tensorflows_own_defaults() -> None:
    """Undo what this package sets for TensorFlow, which reads it when it is imported."""
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)


def ours(optimizer: str, images: int, folder: Path) -> Epoch:
    """Set up this package's training, with its callback, checkpoints and store."""
    from handwriting.checkpoint import Checkpoints

    model, cfg, digits = _ours(optimizer, images, folder)

    import mlflow

    from handwriting.callbacks import TrackEpochs
    from handwriting.fit import train
    from handwriting.tracking import Run, open_store

    run_id = mlflow.start_run(experiment_id=open_store(cfg.tracking)).info.run_id
    history: list[dict[str, float]] = []
    checkpoints = Checkpoints(folder / "checkpoints", "bench")
    tracker = TrackEpochs(Run(run_id, "bench"), checkpoints, history, 1)

    def epoch() -> None:
        tracker.epochs = cfg.epochs = len(history) + 1
        train(model, cfg, digits, [tracker], len(history))

    return epoch


def untracked(optimizer: str, images: int, folder: Path) -> Epoch:
    """Set up this package's training without callback, checkpoints and store."""
    model, cfg, digits = _ours(optimizer, images, folder)

    from handwriting.fit import train

    cfg.epochs = 1
    return lambda: train(model, cfg, digits, [])


def _ours(optimizer: str, images: int, folder: Path) -> Any:
    import hydra

    from handwriting.config import register
    from handwriting.data import load_digits
    from handwriting.store import ROOT

    register()
    sizes = [f"data.limit_train={images}", f"data.validation_size={images // 10}"]
    store = f"tracking.uri=sqlite:///{folder}/mlflow.db"
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = hydra.compose("config", [f"optimizer={optimizer}", f"batch_size={BATCH}", store, *sizes])
    digits = load_digits(cfg.data, cfg.seed)

    from handwriting.fit import build_model, set_threads

    set_threads(None)
    return build_model(cfg, images), cfg, digits


CONTESTANTS = {one.__name__: one for one in (notebook, autolog, ours, untracked)}

if __name__ == "__main__":
    main()
