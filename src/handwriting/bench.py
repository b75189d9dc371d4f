"""`make bench`: an epoch of the notebook's own code against an epoch of ours, in turn, in one sitting.

Each measurement is a process of its own: two epochs over 50,000 images, validated on 10,000, batch 32, Adam,
every core. The first epoch, with its tracing, is not counted. Ours is all of it: checkpoint and MLflow too.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IMAGES, VALIDATION, EPOCHS = 50_000, 10_000, 2


def main() -> None:
    """Measure pairs, print each, and the median of their ratios."""
    parser = argparse.ArgumentParser(prog="python -m handwriting.bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--measure", choices=["notebook", "ours"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        seconds = measure_notebook() if arguments.measure == "notebook" else measure_ours()
        print(f"{seconds:.3f}")
        return
    ratios = []
    for _ in range(arguments.pairs):
        theirs, ours = (in_process(what) for what in ("notebook", "ours"))
        ratios.append(ours / theirs)
        print(f"notebook {theirs:6.2f} s   ours {ours:6.2f} s   ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


def in_process(what: str) -> float:
    """Return the seconds of an epoch, measured in a new process."""
    # The notebook's code runs with TensorFlow's own defaults, not with this package's.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    command = [sys.executable, "-m", "handwriting.bench", "--measure", what]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def measure_notebook() -> float:
    """Return the seconds of an epoch of the notebook's code: arrays, one-hot labels, plain `fit`."""
    del os.environ["TF_ENABLE_ONEDNN_OPTS"]
    import keras
    import numpy as np

    from handwriting.models import build_cnn
    from handwriting.store import ROOT

    with np.load(ROOT / "src" / "handwriting" / "mnist.npz") as file:
        x, y = file["x_train"][: IMAGES + VALIDATION], file["y_train"][: IMAGES + VALIDATION]
    x = x.reshape(-1, 28, 28, 1).astype("float32") / 255
    y = keras.utils.to_categorical(y, 10)
    model = build_cnn((28, 28, 1), 10)
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    ends = _Ends()
    model.fit(
        x[:IMAGES], y[:IMAGES], batch_size=32, epochs=EPOCHS, verbose=0, callbacks=[ends.callback()],
        validation_data=(x[IMAGES:], y[IMAGES:]),
    )  # fmt: skip
    return ends.seconds_an_epoch()


def measure_ours() -> float:
    """Return the seconds of an epoch of `handwriting.train`, stored in a store of its own."""
    import hydra

    from handwriting.config import register
    from handwriting.data import load_digits
    from handwriting.store import ROOT

    with tempfile.TemporaryDirectory() as folder:
        register()
        with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            sizes = [f"data.limit_train={IMAGES}", f"data.validation_size={VALIDATION}", f"epochs={EPOCHS}"]
            store = f"tracking.uri=sqlite:///{folder}/mlflow.db"
            cfg = hydra.compose("config", ["optimizer=adam", store, *sizes])
        digits = load_digits(cfg.data, cfg.seed)

        from handwriting.callbacks import TrackEpochs
        from handwriting.checkpoint import Checkpoints
        from handwriting.fit import build_model, set_threads, train
        from handwriting.tracking import open_store, tracked_run

        ends = _Ends()

        class Tracker(TrackEpochs):
            def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
                super().on_epoch_end(epoch, logs)
                ends.mark()

        set_threads(None)
        with tracked_run(open_store(cfg.tracking), "bench", {}) as run:
            checkpoints = Checkpoints(Path(folder) / "checkpoints", "bench")
            train(build_model(cfg), cfg, digits, Tracker(run, checkpoints, [], EPOCHS))
    return ends.seconds_an_epoch()


class _Ends:
    """When the epochs ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def mark(self) -> None:
        self.times.append(time.perf_counter())

    def callback(self) -> Any:
        import keras

        return keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: self.mark())

    def seconds_an_epoch(self) -> float:
        return (self.times[-1] - self.times[0]) / (EPOCHS - 1)


if __name__ == "__main__":
    main()
