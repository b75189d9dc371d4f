"""A user's own parts for runs that are killed: a network that is traced fast, and a callback that waits."""

import time
from typing import Any

import keras
from keras import layers


def one_block(input_shape: tuple[int, ...], classes: int, dropout: float) -> keras.Model:
    """Build the first block of deep_cnn and its last layers: batch normalisation and dropout."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(16, 5, use_bias=False),
            layers.MaxPooling2D(2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(dropout),
            layers.Dense(classes, activation="softmax"),
        ]
    )


class Waits(keras.callbacks.Callback):
    """Waits after each epoch, for a run that is to be alive and take no computing from others."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = seconds

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        time.sleep(self.seconds)
