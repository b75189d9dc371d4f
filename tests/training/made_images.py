"""Images that tests make: some known by a number in a corner, some that can be learned."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from handwriting.data import Dataset, Split

COUNTED = Split(np.zeros((107, 28, 28), np.uint8), np.arange(107, dtype=np.int32) % 10)
COUNTED.x[:, 0, 0], COUNTED.x[:, 0, 1] = np.arange(107), 255  # its number is its first pixel


def numbers(images: Any) -> list[int]:
    """Return the first pixel of each image of a batch, which is its number."""
    x = np.asarray(images)
    return [round(pixel * 255) for pixel in x.reshape(len(x), -1)[:, 0].tolist()]


@contextmanager
def channels(order: str) -> Iterator[None]:
    """Set Keras to channels "first" or "last" for a while."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(f"channels_{order}")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def made_dataset(shape: tuple[int, ...], classes: int, dtype: str, per_class: int = 4) -> Dataset:
    """Return images that can be learned: each class has a pattern of its own, with noise over it.

    Args:
        shape: (height, width) or (height, width, channels).
        classes: how many there are, named "class 0", ...
        dtype: uint8, or float32 from 0 to 1.
        per_class: images of each class in the training part; half as many in the two others.
    """
    rng = np.random.default_rng(0)
    coarse = rng.random((classes, *(-(-side // 4) for side in shape[:2]), *shape[2:]))
    patterns = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : shape[0], : shape[1]]

    def part(count: int) -> Split:
        y = np.tile(np.arange(classes, dtype=np.int32), count)
        x = 0.8 * patterns[y] + 0.2 * rng.random((len(y), *shape))
        return Split((255 * x).astype(np.uint8) if dtype == "uint8" else x.astype(np.float32), y)

    height, width, depth = shape if len(shape) == 3 else (*shape, 1)
    train, validation, test = part(per_class), part(per_class // 2), part(per_class // 2)
    names = tuple(f"class {label}" for label in range(classes))
    return Dataset(train, validation, test, (height, width, depth), names, "5ea1" * 16)
