"""What is timed in turn: each a process that is set up once, and does an epoch for each line it reads."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.config import compose, cores
from handwriting.data import load_dataset
from handwriting.precision import BFLOAT16, FLOAT32
from handwriting.tracking import Store

Epoch = Callable[[], object]
MATRIX, PRODUCTS = 2048, 10  # side of the square matrices that `matmul` multiplies, and how often
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"  # set by this package for TensorFlow, which reads it when it is imported


@dataclass(frozen=True)
class Setting:
    """Which implementation, and with what."""

    name: str
    optimizer: str = "adam"
    images: int = 4000
    batch: int = 32
    threads: int | None = None  # None for every core
    precision: str = FLOAT32


def main() -> None:
    """Set up the implementation that the argument describes; then do an epoch for each line read.

    After each it writes the seconds that the epoch took. The first, with its tracing, is for warming up.
    """
    setting = Setting(**json.loads(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        epoch = IMPLEMENTATIONS[setting.name](setting, Path(folder))
        for _ in sys.stdin:
            started = time.perf_counter()
            epoch()
            print(f"{time.perf_counter() - started:.4f}", flush=True)


def notebook(setting: Setting, folder: Path) -> Epoch:
    """Set up the notebook's code as it stands there: arrays, one-hot labels, plain `fit`."""
    os.environ.pop(ONEDNN, None)
    import keras
    from keras import layers

    keras.config.set_dtype_policy(setting.precision)
    x, y, held_out, held_out_digits = _arrays(setting.images)
    train_labels = keras.utils.to_categorical(y, 10)
    held_out_labels = keras.utils.to_categorical(held_out_digits, 10)
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, (3, 3), activation="relu"), layers.Conv2D(64, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)), layers.Dropout(0.25), layers.Flatten(),
        layers.Dense(128, activation="relu"), layers.Dropout(0.5),
        layers.Dense(10, activation="softmax", dtype="float32"),
    ])  # fmt: skip
    model.compile(loss="categorical_crossentropy", optimizer=setting.optimizer, metrics=["accuracy"])
    return lambda: model.fit(
        x, train_labels, batch_size=setting.batch, epochs=1, verbose=0,
        validation_data=(held_out, held_out_labels),
    )  # fmt: skip


def autolog(setting: Setting, folder: Path) -> Epoch:
    """Set up the notebook's code with what MLflow offers for it, in a store of its own."""
    os.environ.pop(ONEDNN, None)  # before MLflow imports TensorFlow
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.keras.autolog(log_models=False, log_datasets=False, silent=True)
    mlflow.start_run()  # else each epoch, a call of `fit`, would be a run of its own
    return notebook(setting, folder)


def ours(setting: Setting, folder: Path) -> Epoch:
    """Set up this package's training, with its callback, checkpoints and store."""
    model, cfg, dataset = _ours(setting)

    from handwriting.tracking.run import Run
    from handwriting.training import fit
    from handwriting.training.callbacks import TrackEpochs
    from handwriting.training.checkpoint import Checkpoints

    store = Store(f"sqlite:///{folder}/mlflow.db")
    run_id = store.client.create_run(store.open_experiment("bench")).info.run_id
    history: list[dict[str, float]] = []
    tracker = TrackEpochs(Run(store, run_id, "bench"), Checkpoints(folder, "bench"), history, 1)

    def epoch() -> None:
        tracker.epochs = cfg.epochs = len(history) + 1
        fit(model, cfg, dataset, [tracker], len(history))

    return epoch


def untracked(setting: Setting, folder: Path) -> Epoch:
    """Set up this package's training without callback, checkpoints and store."""
    model, cfg, dataset = _ours(setting)

    from handwriting.training import fit

    cfg.epochs = 1
    return lambda: fit(model, cfg, dataset, [])


def pytorch(setting: Setting, folder: Path) -> Epoch:
    """Set up the notebook's network in PyTorch, a plain loop, channels last in memory.

    Only where torch is installed, which this package does not ask for. Its Adam and RMSprop have Keras's
    settings.
    """
    import torch  # type: ignore[import-not-found]

    torch.set_num_threads(setting.threads or cores())
    nn = torch.nn
    x, y, held_out, held_out_digits = (torch.from_numpy(array) for array in _arrays(setting.images))
    last = {"memory_format": torch.channels_last}
    x, held_out = x.permute(0, 3, 1, 2).to(**last), held_out.permute(0, 3, 1, 2).to(**last)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    ).to(**last)  # fmt: skip
    optimizer = {
        "adam": lambda: torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-7),
        "rmsprop": lambda: torch.optim.RMSprop(model.parameters(), lr=0.001, alpha=0.9, eps=1e-7),
    }[setting.optimizer]()
    loss_of = nn.CrossEntropyLoss()

    def epoch() -> None:
        model.train()
        for batch in torch.randperm(len(x)).split(setting.batch):
            optimizer.zero_grad()
            logits = model(x[batch])
            loss_of(logits, y[batch]).backward()
            optimizer.step()
            (logits.argmax(dim=1) == y[batch]).sum()  # as Keras counts what was right
        model.eval()
        with torch.no_grad():
            for images, digits in zip(held_out.split(500), held_out_digits.split(500), strict=True):
                logits = model(images)
                loss_of(logits, digits)
                (logits.argmax(dim=1) == digits).sum()

    return epoch


def matmul(setting: Setting, folder: Path) -> Epoch:
    """Set up ten products of two square matrices: the rate that the machine is measured by."""
    import tensorflow as tf

    from handwriting.training import set_threads

    set_threads(setting.threads)
    kind = tf.bfloat16 if setting.precision == BFLOAT16 else tf.float32
    matrix = tf.cast(tf.random.stateless_normal((MATRIX, MATRIX), (0, 0)), kind)

    def epoch() -> None:
        for _ in range(PRODUCTS):  # each has ended when the call returns
            tf.linalg.matmul(matrix, matrix)

    return epoch


def _arrays(images: int) -> tuple[np.ndarray, ...]:
    """Return training images and digits, and a tenth as many to validate with."""
    with np.load(compose().data.path) as file:
        x, y = file["x_train"][..., None].astype("float32") / 255, file["y_train"].astype("int64")
    return x[:images], y[:images], x[-images // 10 :], y[-images // 10 :]


def _ours(setting: Setting) -> Any:
    """Return this package's model, the config and the data set, for as many images."""
    from handwriting.training import build, set_threads

    cfg = compose(
        f"optimizer={setting.optimizer}", f"batch_size={setting.batch}", f"data.limit_train={setting.images}",
        f"data.validation_size={setting.images // 10}", f"precision={setting.precision}",
    )  # fmt: skip
    dataset = load_dataset(cfg.data, cfg.seed)
    set_threads(setting.threads)
    return build(cfg, dataset).model, cfg, dataset


IMPLEMENTATIONS = {make.__name__: make for make in (notebook, autolog, ours, untracked, pytorch, matmul)}

if __name__ == "__main__":
    main()
