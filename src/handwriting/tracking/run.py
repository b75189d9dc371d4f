"""One run in the store: what is written of it, and how it ends. Importing this imports MLflow."""

import hashlib
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.data import numpy_dataset, sources
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from handwriting.config import ROOT
from handwriting.errors import redact
from handwriting.tracking import names
from handwriting.tracking.provenance import GitState
from handwriting.tracking.signals import signals_held
from handwriting.tracking.store import Store

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

LARGEST_FILE, FILES = 1_000_000, 100  # bytes, and how many, that are stored of what git does not track


class Run:
    """One run of the store. Each write is synchronous: it is stored when the call returns.

    Each method may be called again by a process that goes on with the run: nothing is stored twice.
    """

    def __init__(self, store: Store, run_id: str, name: str):
        self.id, self.name, self.store = run_id, name, store
        self._client = store.client
        stored = self._client.get_run(run_id).data
        self.tags, self.metrics, self._params = dict(stored.tags), stored.metrics, stored.params
        self._steps = {point.step for point in self._client.get_metric_history(run_id, names.LOSS)}

    @signals_held()
    def log_params(self, params: Mapping[str, Any]) -> None:
        """Store parameters, as text and without passwords."""
        new = [Param(k, redact(str(v))) for k, v in params.items() if k not in self._params]
        self._client.log_batch(self.id, params=new)

    def log_epoch(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Store the metrics of an epoch, counted from 0, in one transaction, unless they are stored."""
        if epoch not in self._steps:
            self.log_metrics(metrics, epoch)
            self._steps.add(epoch)

    @signals_held()
    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Store several metrics of one step in one transaction."""
        now = int(time.time() * 1000)
        self._client.log_batch(self.id, [Metric(k, v, now, step) for k, v in metrics.items()])

    @signals_held()
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Store tags in one transaction."""
        self._client.log_batch(self.id, tags=[RunTag(k, v) for k, v in tags.items()])
        self.tags.update(tags)

    @signals_held()
    def log_text(self, text: str, file: str) -> None:
        """Store a text as an artifact."""
        self._client.log_text(self.id, text, file)

    @signals_held()
    def log_figure(self, figure: "Figure", file: str) -> None:
        """Store a picture as an artifact."""
        self._client.log_figure(self.id, figure, file)

    def log_dataset(self, name: str, path: str, images: np.ndarray, labels: np.ndarray, sha256: str) -> None:
        """Store what the run was trained on, with the digest of all of the data set."""
        source = sources.LocalArtifactDatasetSource(path)  # type: ignore[attr-defined]  # made at import
        # MLflow's own digest covers the first 10,000 values.
        dataset = numpy_dataset.from_numpy(
            images, source=source, targets=labels, name=name, digest=sha256[:16]
        )
        with self.store.creating(), signals_held():  # not while it waits for the lock
            mlflow.log_input(dataset, context="training")

    @signals_held()
    def log_code(self, git: GitState, modules: Mapping[str, Path]) -> None:
        """Store what code this process runs, beside that of earlier processes of the run.

        In process-0, process-1, ...: the commit, the diff, and whole what git does not track: files of the
        checkout and a user's own modules from elsewhere. Of large ones, and beyond the first hundred, the
        name, the size and the digest.
        """
        modules = {name: path for name, path in modules.items() if not path.is_relative_to(ROOT)}
        files = {str(path.relative_to(ROOT)): path for path in git.untracked} | dict(modules)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "commit.txt").write_text(f"{git.commit}\n")
            if git.diff:
                (folder / "uncommitted.diff").write_text(git.diff)
            left_out = []
            for number, (name, path) in enumerate(sorted(files.items())):
                with suppress(FileNotFoundError):  # gone meanwhile, or a broken link
                    if number < FILES and path.stat().st_size <= LARGEST_FILE:
                        target = folder / "untracked" / name
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(_without_passwords(path.read_bytes()))
                    elif number < 10 * FILES:
                        with path.open("rb") as file:
                            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                        left_out.append(f"{name}  {path.stat().st_size} bytes  sha256 {sha256}\n")
            if left_out:
                more = f"and {len(files) - 10 * FILES} more\n" if len(files) > 10 * FILES else ""
                (folder / "untracked.txt").write_text("".join(left_out) + more)
            self._client.log_artifacts(self.id, temporary, f"process-{self.tags.get(names.RESUMES, 0)}")

    @signals_held()
    def log_model(self, model: "keras.Model", step: int) -> None:
        """Store a trained model with its signature and the versions it needs, beside a step's metrics.

        One that an interrupted process left is removed first.
        """
        info = self._client.get_run(self.id).info
        left = self._client.search_logged_models(
            [info.experiment_id], filter_string=f"source_run_id = '{self.id}'"
        )
        for model_left in left:
            self._client.delete_logged_model(model_left.model_id)
        # Both given: else MLflow starts a process that imports TensorFlow to find them out.
        image = TensorSpec(np.dtype(np.float32), (-1, *model.input_shape[1:]))
        probabilities = TensorSpec(np.dtype(np.float32), (-1, *model.output_shape[1:]))
        pins = [f"{name}=={version(name)}" for name in (*names.LIBRARIES, "mlflow")]
        mlflow.keras.log_model(
            model,
            name="model",
            signature=ModelSignature(Schema([image]), Schema([probabilities])),
            pip_requirements=pins,
            step=step,
        )


@contextmanager
def tracked_run(
    store: Store, experiment_id: str, name: str, tags: Mapping[str, str], run_id: str | None = None
) -> Iterator[Run]:
    """Open a new run, or an unfinished one again, and end it with its true status.

    FINISHED; FAILED with the reason as the tag `failure` and the traceback as an artifact; KILLED on Ctrl-C
    and SIGTERM. A process that is killed outright leaves it RUNNING.
    """
    status = "FAILED"
    try:
        run = _start(store, experiment_id, name, tags, run_id)
        try:
            yield run
            status = "FINISHED"
        except Exception as error:
            # A full disk takes these two as well; the first cause is what counts.
            with suppress(MlflowException, OSError):
                run.set_tags({names.FAILURE: redact(f"{type(error).__name__}: {error}")[:5000]})
                run.log_text(redact("".join(traceback.format_exception(error))), "traceback.txt")
            raise
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or the handler of SIGTERM
        status = "KILLED"
        raise
    finally:
        with signals_held():
            mlflow.end_run(status)


@signals_held()
def _start(store: Store, experiment_id: str, name: str, tags: Mapping[str, str], run_id: str | None) -> Run:
    client = store.client
    # Not left to start_run: that would take an exported MLFLOW_RUN_ID for the new run's id.
    run_id = run_id or client.create_run(experiment_id, tags=dict(tags), run_name=name).info.run_id
    mlflow.start_run(run_id=run_id)
    run = Run(store, run_id, name)
    if names.FAILURE in run.tags:
        client.delete_tag(run_id, names.FAILURE)
    return run


def _without_passwords(content: bytes) -> bytes:
    try:
        return redact(content.decode()).encode()
    except UnicodeDecodeError:
        return content
