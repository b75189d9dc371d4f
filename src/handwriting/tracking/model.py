"""A run's model: stored so that it takes pictures, and loaded only if its bytes are those recorded.

Importing this imports MLflow.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from handwriting.errors import UserError, redact
from handwriting.targets import why
from handwriting.terminal import stderr_muted
from handwriting.tracking import names, picture_model
from handwriting.tracking.picture_model import FACTS_FILE, MODEL_FILE, PictureModel
from handwriting.tracking.store import Store

if TYPE_CHECKING:
    import keras

AGAIN = "train that run again: its own settings with force=true"
DATA = "data"  # the folder with the two files within MLflow's folder of a model


def save_model(
    path: str,
    mlflow_model: Model,
    network: "keras.Model",
    example: np.ndarray,
    classes: Sequence[str],
    ink: Mapping[str, Any] | None,
    pip_requirements: Sequence[str],
) -> dict[str, str]:
    """Write a network into a new folder as MLflow's models are; return the digests of its two files as tags.

    What stands in the folder takes pictures as a user has them: as `mlflow.pyfunc` loads it by
    `picture_model.py`, of which the folder has a copy; and as `mlflow.keras` loads it, which has the scaling.

    Args:
        path: the folder.
        mlflow_model: what MLflow knows of it; it is told the rest.
        network: takes float32 from 0 to 1.
        example: one image as the data set has them, shape (1, height, width) or with channels.
        classes: their names.
        ink: how the images are framed, see PictureModel.
        pip_requirements: what it needs, as "NAME==VERSION".
    """
    import keras

    # MLflow compares shapes and types with a signature exactly, but for these: anything. Our model says what
    # is wrong with a picture, and there.
    anything = Schema([TensorSpec(np.dtype(object), (-1,))])
    probabilities = Schema([ColSpec("float", name) for name in classes])
    shape = example.shape[1:] if example.ndim == 4 else (*example.shape[1:], 1)
    first = keras.config.image_data_format() == "channels_first"
    folder = Path(path)
    folder.mkdir(parents=True)  # with an example, mlflow.keras forgets to
    mlflow.keras.save_model(
        scaled(network, (*shape[2:], *shape[:2]) if first else shape),
        path,
        mlflow_model=mlflow_model,
        signature=ModelSignature(anything, probabilities),
        input_example=example,
        pip_requirements=list(pip_requirements),
    )
    sha256 = hashlib.sha256((folder / DATA / MODEL_FILE).read_bytes()).hexdigest()
    facts = {
        "image_shape": shape,
        "channels_first": first,
        "classes": list(classes),
        "ink": ink,
        "sha256": sha256,
    }
    content = json.dumps(facts, indent=1).encode()
    (folder / DATA / FACTS_FILE).write_bytes(content)
    (folder / "code").mkdir()
    shutil.copy(picture_model.__file__, folder / "code")
    own = {"loader_module": "picture_model", "code": "code", "data": DATA}
    mlflow_model.flavors["python_function"].update(own)
    mlflow_model.metadata = {"pictures": picture_model.expected(shape)}
    mlflow_model.save(str(folder / "MLmodel"))
    return {names.MODEL: sha256, names.PICTURES: hashlib.sha256(content).hexdigest()}


def scaled(network: "keras.Model", input_shape: Sequence[int]) -> "keras.Model":
    """Return a network with a first step that takes pixels from 0 to 255 too: an image with any above 1.

    Of Keras's own operations, which load anywhere. Images from 0 to 1 pass unchanged to the bit. What is
    returned has the network's own layers and weights; it is not compiled, so it loads where a user's own
    optimizer or metric is not known.

    Args:
        network: takes float32 from 0 to 1.
        input_shape: of one image, its channels where the network has them.
    """
    import keras

    pixels = keras.Input(input_shape)
    largest = keras.ops.amax(pixels, axis=(1, 2, 3), keepdims=True)
    images = pixels / keras.ops.where(largest > 1, 255.0, 1.0)
    # As one layer, a network would be stored with what it was compiled with. One that is no graph has no
    # other way.
    is_graph = isinstance(network, keras.Sequential) or type(network).__name__ == "Functional"
    return keras.Model(pixels, network.call(images) if is_graph else network(images), name=network.name)


def load_model(store: Store, run_id: str) -> "keras.Model":
    """Return the network that a run has stored, not compiled.

    Of MLflow's folder nothing is read but the Keras file, and that only if it has the SHA-256 that the run
    recorded when it wrote it: the rest can name code to run, and Keras's safe mode has been passed by before.
    Layers of one's own must be registered with Keras, by importing their module.

    Raises:
        UserError: there is no such run, or no model of it; the model is another one; Keras cannot load it.
    """
    content = recorded_bytes(store, run_id)

    # Here, not at the top: TensorFlow takes seconds to import, and a mistake is answered before.
    with stderr_muted():
        import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, MODEL_FILE)  # of exactly these bytes; Keras takes a file only
        path.write_bytes(content)
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises many kinds, and layers of one's own any
            raise UserError(
                f"the model of run {run_id} is as it was recorded, but Keras does not load it: "
                f"{why(error).partition('. ')[0]}. Each layer of your own needs "
                "@keras.saving.register_keras_serializable(), and its module must be imported before; a "
                "Lambda must become such a layer"
            ) from error


def load_picture_model(store: Store, run_id: str) -> PictureModel:
    """Return the model that a run has stored, with the pictures that it takes; checked as in `load_model`."""
    facts = json.loads(recorded_bytes(store, run_id, names.PICTURES))
    return PictureModel(load_model(store, run_id), facts)


def recorded_bytes(store: Store, run_id: str, tag: str = names.MODEL) -> bytes:
    """Return a file of a run's model, read once, if it is the one that was recorded.

    Args:
        store: where it is.
        run_id: the run's.
        tag: that has the file's SHA-256: names.MODEL, of the network, or names.PICTURES, of what it takes.
    """
    try:
        run = store.client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(f"there is no run {run_id} in the store {redact(store.uri)}") from error
    expected = run.data.tags.get(tag)
    if expected is None and names.FINAL_WEIGHTS in run.data.tags:
        raise UserError(
            f"the model of run {run_id} cannot be checked: an earlier version made it, without the tag "
            f"{tag}. To load it, {AGAIN}"
        )
    if expected is None:
        raise UserError(
            f"run {run_id} has no model: it is {run.info.status}. An unfinished run gets one when the "
            "command that started it goes on with it"
        )
    models = store.client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run_id}' AND name = 'model'"
    )
    if not models:
        raise UserError(f"the model of run {run_id} was deleted from the store; {AGAIN}")
    file = {names.MODEL: MODEL_FILE, names.PICTURES: FACTS_FILE}[tag]
    address = f"{models[0].artifact_location}/{DATA}/{file}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = mlflow.artifacts.download_artifacts(address, dst_path=folder, tracking_uri=store.uri)
            content = Path(path).read_bytes()
        except (MlflowException, OSError) as error:
            reason = str(error).splitlines()[-1]
            raise UserError(
                f"the model of run {run_id} cannot be read from {redact(address)} ({reason}). Bring the file "
                f"back, or {AGAIN}"
            ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise UserError(
            f"the model of run {run_id} is not loaded: {redact(address)} is not what the run recorded. Its "
            f"SHA-256 is {found}, not {expected}. Bring the right file back, or {AGAIN}"
        )
    return content
