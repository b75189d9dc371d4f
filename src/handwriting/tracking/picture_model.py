"""A stored model that takes pictures as a user has them. Stands alone: each model's folder has a copy of it.

MLflow loads that copy where this package is not installed: `mlflow.pyfunc.load_model`, `mlflow models serve`.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

MODEL_FILE, FACTS_FILE = "model.keras", "pictures.json"  # side by side in the folder of a model
BATCH = 500  # images that the network takes at once
RANGE = "from 0 to 255, or from 0 to 1 where none is larger"


class PictureModel:
    """A Keras model, and what the pictures are that it takes.

    Args:
        network: takes float32 from 0 to 1 of shape (n, height, width, channels), or with the channels first.
        facts: image_shape (height, width, channels); channels_first, of the network; classes, their k names;
            ink, how the images are framed that it learned from, or None; and sha256, of the network's file.
    """

    def __init__(self, network: Any, facts: dict[str, Any]):
        self.network, self.facts = network, facts

    def predict(self, pictures: Any, params: Any = None) -> Any:
        """Return a data frame of probabilities: one row for each picture, one column for each class.

        Args:
            pictures: as `images_of` takes them.
            params: of MLflow's interface; there are none.

        Raises:
            MlflowException: they cannot be meant. A server answers 400 then, with the reason.
        """
        import pandas as pd
        from mlflow.exceptions import MlflowException

        try:
            images = images_of(pictures, self.facts["image_shape"])
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return pd.DataFrame(self.probabilities(images), columns=self.facts["classes"])

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities of shape (n, k) for what `images_of` returns."""
        if self.facts["channels_first"]:
            images = np.moveaxis(images, -1, 1)
        blocks = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
        return np.concatenate([np.asarray(self.network(block, training=False)) for block in blocks])


def images_of(pictures: Any, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Return pictures as a network takes them: float32 from 0 to 1 of shape (n, height, width, channels).

    Args:
        pictures: an array or nested lists of shape (height, width), (n, height, width) or with the channels
            at the end; numbers from 0 to 255, or from 0 to 1 where none is larger.
        image_shape: height, width, channels.

    Raises:
        ValueError: they cannot be meant; says what was expected and received.
    """
    height, width, channels = image_shape
    try:
        array = np.asarray(pictures)
        if array.dtype.kind not in "buif":  # of what came as JSON, MLflow makes an array of objects
            array = np.array(array.tolist())
        if array.dtype.kind not in "buif":
            raise ValueError(f"Received: {array.dtype}")
        array = array.astype(np.float32)
    except ValueError as error:  # such as of nested lists that are not of one length
        raise ValueError(f"pictures must be {expected(image_shape)}. {error}") from None
    known = [(height, width, channels), *([(height, width)] if channels == 1 else [])]
    shape = next((shape for shape in known if array.shape[-len(shape) :] == shape), None)
    if shape is None or array.ndim - len(shape) > 1 or array.size == 0:
        raise ValueError(f"pictures must be {expected(image_shape)}. Received: shape {array.shape}")
    images = array.reshape(-1, height, width, channels)
    least, most = images.min(axis=(1, 2, 3)), images.max(axis=(1, 2, 3))
    for place, (low, high) in enumerate(zip(least, most, strict=True)):
        if not (low >= 0 and high <= 255):  # a NaN fails too
            raise ValueError(f"pictures must be {RANGE}. Received: {low:g} to {high:g} in picture {place}")
        if low == high:
            raise ValueError(f"nothing is on picture {place}: all its values are {low:g}")
    largest = most.max()
    if 1 < largest < 2:
        raise ValueError(f"pictures must be {RANGE}. Received: up to {largest:g}, which is neither")
    return images / np.float32(255) if largest > 1 else images


def expected(image_shape: tuple[int, int, int]) -> str:
    """Return in words what pictures must be."""
    height, width, channels = image_shape
    shapes = [f"({height}, {width}, {channels})", f"(n, {height}, {width}, {channels})"]
    if channels == 1:
        shapes = [f"({height}, {width})", f"(n, {height}, {width})", *shapes]
    return f"numbers {RANGE}, of shape {', '.join(shapes[:-1])} or {shapes[-1]}"


def _load_pyfunc(path: str) -> PictureModel:
    """Return the model in a folder; what MLflow calls.

    Raises:
        ValueError: the network's file is not the one that was stored.
    """
    facts = json.loads(Path(path, FACTS_FILE).read_bytes())
    file = Path(path, MODEL_FILE)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != facts["sha256"]:
        raise ValueError(
            f"the model is not loaded: {file} is not what was stored. Its SHA-256 is {found}, not "
            f"{facts['sha256']}"
        )
    import keras

    return PictureModel(keras.saving.load_model(file, compile=False, safe_mode=True), facts)
