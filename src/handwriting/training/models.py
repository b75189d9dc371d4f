"""The networks. A model is a function from an image's shape and the number of classes to a Keras model.

Yours may stand in any file that Python finds from the current directory (README, "Your own parts").
"""

import keras
from keras import layers


def build_cnn(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Build two convolutions, pooling and a hidden layer of 128: the notebook's network.

    Its second ReLU stands after the pooling instead of before it: the same numbers to the bit
    (tests/training/test_models.py), and a quarter of the work for ReLU and for the gradient of both.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ],
        name="cnn",
    )


def build_mlp(input_shape: tuple[int, ...], classes: int, units: int, dropout: float) -> keras.Model:
    """Build two hidden layers of `units`, each followed by dropout."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Flatten(),
            layers.Dense(units, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(units, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(classes, activation="softmax"),
        ],
        name="mlp",
    )


def build_small_cnn(input_shape: tuple[int, ...], classes: int, mean: float, deviation: float) -> keras.Model:
    """Build a network for two cores and little time: standardised images, and ReLU as in `build_cnn`.

    Args:
        input_shape: of an image, in Keras's order of channels.
        classes: how many there are.
        mean: of the pixels, from 0 to 1.
        deviation: their standard deviation.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Rescaling(1 / deviation, -mean / deviation),
            layers.Conv2D(24, 5),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Conv2D(32, 3),
            layers.MaxPooling2D(2),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(classes, activation="softmax"),
        ],
        name="small_cnn",
    )


def build_deep_cnn(input_shape: tuple[int, ...], classes: int, dropout: float) -> keras.Model:
    """Build five blocks of convolution without padding, batch normalisation and ReLU; the first pools."""
    channels = 1 if keras.config.image_data_format() == "channels_first" else -1
    blocks: list[keras.Layer] = []
    for filters, size, pools in ((32, 5, 1), (64, 3, 0), (96, 3, 0), (128, 3, 0), (128, 3, 0)):
        # No bias: the normalisation adds one.
        blocks.append(layers.Conv2D(filters, size, use_bias=False))
        blocks += [layers.MaxPooling2D(2)] * pools
        blocks += [layers.BatchNormalization(axis=channels), layers.ReLU()]
    return keras.Sequential(
        [
            keras.Input(input_shape),
            *blocks,
            layers.Flatten(),
            layers.Dropout(dropout),
            layers.Dense(classes, activation="softmax"),
        ],
        name="deep_cnn",
    )
