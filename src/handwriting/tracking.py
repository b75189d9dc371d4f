"""The store of runs, MLflow's, and one run in it."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from filelock import FileLock
from mlflow.data.sources import LocalArtifactDatasetSource
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.time import get_current_time_millis

from handwriting.config import TrackingConfig
from handwriting.data import Split
from handwriting.errors import UserError
from handwriting.provenance import redact
from handwriting.store import check_store, sqlite_path, store_folder

if TYPE_CHECKING:
    import keras


def open_store(tracking: TrackingConfig) -> str:
    """Create the database and the experiment where they are missing; return the experiment's id.

    MLflow does neither safely when several processes start at once: one at a time holds a lock here.

    Raises:
        UserError: the store cannot be written or reached, or the experiment was deleted.
    """
    check_store(tracking.uri)
    mlflow.set_tracking_uri(tracking.uri)
    folder = store_folder(tracking.uri)
    folder.mkdir(parents=True, exist_ok=True)
    name = tracking.experiment_name
    with FileLock(folder / ".mlflow.lock"):
        try:
            client = mlflow.MlflowClient()
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                # A server decides itself where its artifacts go.
                local = sqlite_path(tracking.uri) is not None
                location = (folder / "artifacts").as_uri() if local else None
                return client.create_experiment(name, artifact_location=location)
        except MlflowException as error:
            raise UserError(f"the store {tracking.uri} does not answer: {error}") from error
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"the experiment '{name}' was deleted. Restore it (mlflow experiments restore "
            f"-x {experiment.experiment_id}), or name another: tracking.experiment_name=NAME"
        )
    return experiment.experiment_id


class Run:
    """One run of the store. Each write is synchronous: it is stored when the call returns."""

    def __init__(self, run_id: str, name: str):
        self.id, self.name = run_id, name
        self._client = mlflow.MlflowClient()

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Store parameters, as text and without passwords."""
        self._client.log_batch(self.id, params=[Param(k, redact(str(v))) for k, v in params.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Store several metrics of one step in one transaction."""
        now = get_current_time_millis()
        self._client.log_batch(self.id, [Metric(k, v, now, step) for k, v in metrics.items()])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Store tags."""
        for key, value in tags.items():
            self._client.set_tag(self.id, key, value)

    def log_text(self, text: str, file: str) -> None:
        """Store a text as an artifact."""
        self._client.log_text(self.id, text, file)

    def log_dataset(self, name: str, path: str, split: Split, sha256: str) -> None:
        """Store what the run was trained on, with the digest of all of it."""
        source = LocalArtifactDatasetSource(path)
        # MLflow's own digest covers the first 13 images.
        dataset = mlflow.data.from_numpy(
            split.x, source=source, targets=split.y, name=name, digest=sha256[:16]
        )
        mlflow.log_input(dataset, context="training")

    def log_model(self, model: "keras.Model", step: int) -> None:
        """Store a trained model with its signature and the versions it needs, beside a step's metrics."""
        # Both given: else MLflow starts a process that imports TensorFlow to find them out.
        image = TensorSpec(np.dtype(np.float32), (-1, *model.input_shape[1:]))
        digit = TensorSpec(np.dtype(np.float32), (-1, *model.output_shape[1:]))
        pins = [f"{name}=={version(name)}" for name in ("keras", "mlflow", "numpy", "tensorflow")]
        mlflow.keras.log_model(
            model,
            name="model",
            signature=ModelSignature(Schema([image]), Schema([digit])),
            pip_requirements=pins,
            step=step,
        )


@contextmanager
def tracked_run(experiment_id: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """Open a run and end it with its true status.

    FINISHED; FAILED with the reason as the tag `failure` and the traceback as an artifact; KILLED on
    Ctrl-C and SIGTERM. A process that is killed outright leaves it RUNNING.
    """
    created = mlflow.MlflowClient().create_run(experiment_id, tags=dict(tags), run_name=name)
    run = Run(created.info.run_id, name)
    with mlflow.start_run(run_id=run.id):
        try:
            yield run
        except Exception as error:
            run.set_tags({"failure": f"{type(error).__name__}: {error}"[:5000]})
            run.log_text("".join(traceback.format_exception(error)), "traceback.txt")
            raise
        except BaseException:  # KeyboardInterrupt, or SystemExit from the handler of SIGTERM
            mlflow.end_run("KILLED")
            raise
