"""What happens beside the training steps: seeding, refusing NaN, tracking, watching a user's callbacks."""

import logging
import math
import pickle
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from handwriting.errors import UserError
from handwriting.tracking import names
from handwriting.tracking.run import Run
from handwriting.training.checkpoint import Checkpoint, Checkpoints

log = logging.getLogger(__name__)


class SeedEpoch(keras.callbacks.Callback):
    """Makes an epoch's randomness a function of (seed, epoch): the examples' order and each dropout.

    Args:
        seed: the run's seed, from 0 to 2**32 - 1.
        epoch: the variable that the training batches read.
        first: what Keras's epoch 0 counts as.
    """

    def __init__(self, seed: int, epoch: tf.Variable, first: int = 0):
        super().__init__()
        self.seed, self.epoch, self.first = seed, epoch, first

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the order's key and every generator's state."""
        epoch += self.first
        self.epoch.assign(epoch)
        states = [v for v in self.model.variables if v.name == "seed_generator_state"]
        for index, state in enumerate(states):
            words = np.random.SeedSequence((self.seed, index, epoch)).generate_state(2)
            state.assign(words.astype(state.dtype))


class StopAtNan(keras.callbacks.Callback):
    """Ends a run whose loss is no longer a number.

    Keras's `TerminateOnNaN(raise_error=True)` names neither the epoch nor the rate that was too large.
    The loss is the epoch's running mean, read after each execution of several steps.
    """

    def __init__(self, learning_rate: float):
        super().__init__()
        self.learning_rate = learning_rate
        self.epoch = self.first_step = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Count epochs and steps from 1, as people read them."""
        self.epoch, self.first_step = epoch + 1, 1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Raise `UserError` when the loss is NaN or infinite."""
        last = min(batch + 1, self.params["steps"])  # Keras counts a whole execution
        if logs and not math.isfinite(logs[names.LOSS]):
            raise UserError(
                f"the loss became {logs['loss']} in epoch {self.epoch}, step {self.first_step} to {last}."
                f" Try a smaller optimizer.learning_rate than {self.learning_rate}"
            )
        self.first_step = batch + 2


class TrackEpochs(keras.callbacks.Callback):
    """Logs each epoch's metrics to an MLflow run, and saves a checkpoint each epoch.

    `mlflow.keras.MlflowCallback` logs validation at step 0 every epoch and drops failed writes in silence.
    Here each epoch is one synchronous write: it is stored whole, or the run fails. The checkpoint, which has
    the metrics too, comes first: a process killed between the two leaves nothing out when it goes on.

    Args:
        run: the run to log to.
        checkpoints: the run's.
        history: the metrics of the epochs done before; those of each new one are appended.
        epochs: how many epochs the run has in all, to say how much time is left.

    Example:
        model.fit(batches, validation_data=held_out, callbacks=[TrackEpochs(run, checkpoints, [], epochs=10)])
    """

    def __init__(self, run: Run, checkpoints: Checkpoints, history: list[dict[str, float]], epochs: int):
        super().__init__()
        self.run, self.checkpoints = run, checkpoints
        self.past, self.epochs = history, epochs
        self.started = self.rate = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Log what an interrupted process saved and could not log any more."""
        for epoch, metrics in enumerate(self.past):
            self.run.log_epoch(metrics, epoch)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the epoch's clock, and note the learning rate of its first step."""
        self.rate = float(self.model.optimizer.learning_rate)
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save and log Keras's metrics as they are, the learning rate as it began and the epoch's seconds."""
        seconds = time.perf_counter() - self.started  # training and validation
        for name, value in (logs or {}).items():
            if np.ndim(value):
                raise UserError(
                    f"metrics: {name} must be one number. Received: an array of {np.shape(value)}"
                )
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        timing = {names.LEARNING_RATE: self.rate, names.EPOCH_SECONDS: seconds}
        self.past.append(metrics | timing)
        self.checkpoints.save(Checkpoint.of(self.model, self.past))
        self.run.log_epoch(self.past[-1], epoch)
        values = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        left = seconds * (self.epochs - epoch - 1)
        log.info(
            "%s  epoch %d/%d  %s  %.1f s, %.0f s left",
            self.run.name, epoch + 1, self.epochs, values, seconds, left,
            extra={
                "epoch": epoch + 1, "epochs": self.epochs, "seconds": seconds,
                "val_accuracy": metrics[names.VAL_ACCURACY],
            },
        )  # fmt: skip


class WatchCallbacks(keras.callbacks.Callback):
    """Names what a user's callbacks learn from epoch to epoch, as no checkpoint keeps it; comes after them.

    It is written into the run when it is seen, so a process that goes on with the run can say what was lost.
    """

    def __init__(self, run: Run, callbacks: Sequence[keras.callbacks.Callback]):
        super().__init__()
        self.run, self.callbacks = run, callbacks
        self.before: dict[str, object] = {}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the state that the callbacks begin with."""
        self.before = self.before or self._state()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the names of what has changed since."""
        changed = [name for name, value in self._state().items() if value != self.before.get(name)]
        learned = names.joined(self.run.tags.get(names.LEARNED), " ".join(changed))
        if learned != self.run.tags.get(names.LEARNED, ""):
            self.run.set_tags({names.LEARNED: learned})

    def _state(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for callback in self.callbacks:
            for name, value in vars(callback).items():
                if name not in ("_model", "_params", "params", "model"):
                    try:
                        found[f"{type(callback).__name__}.{name}"] = pickle.dumps(value)
                    except Exception:  # anything may be there; another object is another state then
                        found[f"{type(callback).__name__}.{name}"] = id(value)
        return found
