"""The store of runs, MLflow's, and one run in it."""

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from filelock import FileLock
from mlflow.data import numpy_dataset, sources
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from handwriting.config import TrackingConfig
from handwriting.data import Split
from handwriting.errors import UserError, redact
from handwriting.interrupts import undisturbed
from handwriting.store import BUSY_SECONDS, check_store, sqlite_path, store_folder

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def _wait_for_busy_store(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    """Let SQLite wait two minutes for another writer; MLflow gives up after 20 s in each session."""
    if statement.startswith("PRAGMA busy_timeout"):
        statement = f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000};"
    return statement, parameters


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Say in one line why the store or the disk took something no more.

    What was stored before is whole: each write is one transaction, each checkpoint one rename.

    Raises:
        UserError: instead of MLflow's and the operating system's errors.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        place = getattr(error, "filename", None) or redact(uri)
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{place}: {reason}. What was stored is whole; mend the cause, and the same command goes on"
        ) from error


def open_store(tracking: TrackingConfig) -> str:
    """Create the database and the experiment where they are missing; return the experiment's id.

    Raises:
        UserError: the store cannot be written, or the experiment was deleted.
    """
    check_store(tracking.uri)
    mlflow.set_tracking_uri(tracking.uri)
    name = tracking.experiment_name
    with creating(tracking.uri):
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            # A server decides itself where its artifacts go.
            local = sqlite_path(tracking.uri) is not None
            location = (store_folder(tracking.uri) / "artifacts").as_uri() if local else None
            return client.create_experiment(name, artifact_location=location)
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"the experiment '{name}' was deleted. Restore it (mlflow experiments restore "
            f"-x {experiment.experiment_id}), or name another: tracking.experiment_name=NAME"
        )
    return experiment.experiment_id


def creating(uri: str) -> FileLock:
    """Return the lock that a process holds while it makes a database, an experiment or a data set.

    MLflow looks whether there is one and then makes it, in two steps: of several processes that start at
    once, all but one would fail.
    """
    folder = store_folder(uri)
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".mlflow.lock")


class Run:
    """One run of the store. Each write is synchronous: it is stored when the call returns.

    Each method may be called again by a process that goes on with the run: nothing is stored twice.
    """

    def __init__(self, run_id: str, name: str):
        self.id, self.name = run_id, name
        self._client = mlflow.MlflowClient()
        stored = self._client.get_run(run_id).data
        self.tags, self.metrics, self._params = dict(stored.tags), stored.metrics, stored.params
        self._steps = {one.step for one in self._client.get_metric_history(run_id, "loss")}

    @undisturbed()
    def log_params(self, params: Mapping[str, Any]) -> None:
        """Store parameters, as text and without passwords."""
        new = [Param(k, redact(str(v))) for k, v in params.items() if k not in self._params]
        self._client.log_batch(self.id, params=new)

    def log_epoch(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Store the metrics of an epoch, counted from 0, in one transaction, unless they are stored."""
        if epoch not in self._steps:
            self.log_metrics(metrics, epoch)
            self._steps.add(epoch)

    @undisturbed()
    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Store several metrics of one step in one transaction."""
        now = int(time.time() * 1000)
        self._client.log_batch(self.id, [Metric(k, v, now, step) for k, v in metrics.items()])

    @undisturbed()
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Store tags in one transaction."""
        self._client.log_batch(self.id, tags=[RunTag(k, v) for k, v in tags.items()])
        self.tags.update(tags)

    @undisturbed()
    def log_text(self, text: str, file: str) -> None:
        """Store a text as an artifact."""
        self._client.log_text(self.id, text, file)

    @undisturbed()
    def log_figure(self, figure: "Figure", file: str) -> None:
        """Store a picture as an artifact."""
        self._client.log_figure(self.id, figure, file)

    def log_dataset(self, name: str, path: str, split: Split, sha256: str) -> None:
        """Store what the run was trained on, with the digest of all of it."""
        source = sources.LocalArtifactDatasetSource(path)  # type: ignore[attr-defined]  # made at import
        # MLflow's own digest covers the first 13 images.
        dataset = numpy_dataset.from_numpy(
            split.x, source=source, targets=split.y, name=name, digest=sha256[:16]
        )
        with creating(mlflow.get_tracking_uri()), undisturbed():  # not while it waits for the lock
            mlflow.log_input(dataset, context="training")

    @undisturbed()
    def log_model(self, model: "keras.Model", step: int) -> None:
        """Store a trained model with its signature and the versions it needs, beside a step's metrics.

        One that an interrupted process left is removed first.
        """
        info = self._client.get_run(self.id).info
        left = self._client.search_logged_models(
            [info.experiment_id], filter_string=f"source_run_id = '{self.id}'"
        )
        for one in left:
            self._client.delete_logged_model(one.model_id)
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
def tracked_run(
    experiment_id: str, name: str, tags: Mapping[str, str], run_id: str | None = None
) -> Iterator[Run]:
    """Open a new run, or an unfinished one again, and end it with its true status.

    FINISHED; FAILED with the reason as the tag `failure` and the traceback as an artifact; KILLED on Ctrl-C
    and SIGTERM. A process that is killed outright leaves it RUNNING.
    """
    status = "FAILED"
    try:
        run = _start(experiment_id, name, tags, run_id)
        try:
            yield run
            status = "FINISHED"
        except Exception as error:
            # A full disk takes these two as well; the first cause is what counts.
            with suppress(MlflowException, OSError):
                run.set_tags({"failure": redact(f"{type(error).__name__}: {error}")[:5000]})
                run.log_text(redact("".join(traceback.format_exception(error))), "traceback.txt")
            raise
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or the handler of SIGTERM
        status = "KILLED"
        raise
    finally:
        with undisturbed():
            mlflow.end_run(status)


@undisturbed()
def _start(experiment_id: str, name: str, tags: Mapping[str, str], run_id: str | None) -> Run:
    client = mlflow.MlflowClient()
    # Not left to start_run: that would take an exported MLFLOW_RUN_ID for the new run's id.
    run_id = run_id or client.create_run(experiment_id, tags=dict(tags), run_name=name).info.run_id
    mlflow.start_run(run_id=run_id)
    run = Run(run_id, name)
    if "failure" in run.tags:
        client.delete_tag(run_id, "failure")
    return run
