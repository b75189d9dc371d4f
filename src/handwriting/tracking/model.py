"""A run's model, loaded only if its bytes are those that were recorded. Importing this imports MLflow."""

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException

from handwriting.errors import UserError, redact
from handwriting.targets import why
from handwriting.tracking import names
from handwriting.tracking.store import Store

if TYPE_CHECKING:
    import keras

AGAIN = "train that run again: its own settings with force=true"


def load_model(store: Store, run_id: str) -> "keras.Model":
    """Return the model that a run has stored, not compiled.

    Of MLflow's folder nothing is read but the Keras file, and that only if it has the SHA-256 that the run
    recorded when it wrote it: the rest can name code to run, and Keras's safe mode has been passed by before.
    Layers of one's own must be registered with Keras, by importing their module.

    Raises:
        UserError: there is no such run, or no model of it; the model is another one; Keras cannot load it.
    """
    content = _recorded_bytes(store, run_id)

    # Here, not at the top: TensorFlow takes seconds to import, and a mistake is answered before.
    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")  # of exactly these bytes; Keras takes a file only
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


def _recorded_bytes(store: Store, run_id: str) -> bytes:
    """Return a run's Keras file, read once, if it is the one that was recorded."""
    try:
        run = store.client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(f"there is no run {run_id} in the store {redact(store.uri)}") from error
    expected = run.data.tags.get(names.MODEL)
    if expected is None and names.FINAL_WEIGHTS in run.data.tags:
        raise UserError(
            f"the model of run {run_id} cannot be checked: an earlier version made it, without the tag "
            f"{names.MODEL}. To load it, {AGAIN}"
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
    address = f"{models[0].artifact_location}/{names.KERAS_FILE}"
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
