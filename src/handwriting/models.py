"""The networks. A model is a function from an image's shape and the number of classes to a Keras model.

To add one, write such a function and a file conf/model/NAME.yaml with its `_target_`.
"""

import keras
from keras import layers

MEAN, DEVIATION = 0.1307, 0.3081  # of the pixels of MNIST's training images, from 0 to 1


def build_cnn(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Build the notebook's network: 1,199,882 parameters for (28, 28, 1) and 10 classes.

    Its second ReLU stands after the pooling instead of before it: the same numbers to the bit
    (tests/test_fit.py), and a quarter of the work for ReLU and for the gradient of both.
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
    """Build two hidden layers of `units`, each followed by dropout: the notebook's predecessor."""
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


def build_small_cnn(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Build a network for two cores and little time: standardised images, and ReLU as in `build_cnn`."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Rescaling(1 / DEVIATION, -MEAN / DEVIATION),
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
    blocks: list[keras.Layer] = []
    for filters, size, pools in ((32, 5, 1), (64, 3, 0), (96, 3, 0), (128, 3, 0), (128, 3, 0)):
        # No bias: the normalisation adds one.
        blocks.append(layers.Conv2D(filters, size, use_bias=False))
        blocks += [layers.MaxPooling2D(2)] * pools
        blocks += [layers.BatchNormalization(), layers.ReLU()]
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
