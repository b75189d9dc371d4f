"""One run in the store: what is written of it, and how it ends. Importing this imports MLflow."""

import hashlib
import json
import logging
import os
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.types import Schema, TensorSpec

from handwriting.config import ROOT
from handwriting.errors import redact
from handwriting.tracking import names
from handwriting.tracking.model import save_model
from handwriting.tracking.provenance import GitState
from handwriting.tracking.signals import signals_held
from handwriting.tracking.store import Store

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

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
        epochs = self._client.get_metric_history(run_id, names.LOSS)
        self._steps = {point.step for point in epochs}
        self._latest = max((point.timestamp for point in epochs), default=0)  # ms since 1970

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
        """Store several metrics of one step in one transaction.

        Never at an earlier time than those before, also where the clock was set back: MLflow gives a run's
        points in the order of time, and those of one time in the order of steps.
        """
        self._latest = max(int(time.time() * 1000), self._latest)
        self._client.log_batch(self.id, [Metric(k, v, self._latest, step) for k, v in metrics.items()])

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
        """Store what the run was trained on, with the digest of all of the data set.

        As `mlflow.data.from_numpy` describes it, which is not used: it has no sources where Python leaves out
        docstrings (-OO), and its own digest covers the first 10,000 values.
        """
        arrays = {"features": images, "targets": labels}
        schema = {
            part: Schema([TensorSpec(array.dtype, (-1, *array.shape[1:]))]).to_json()
            for part, array in arrays.items()
        }
        profile = {
            f"{part}_{what}": getattr(array, what)
            for part, array in arrays.items()
            for what in ("shape", "size", "nbytes")
        }
        dataset = Dataset(
            name, sha256[:16], source_type="local", source=json.dumps({"uri": path}),
            schema=json.dumps({"mlflow_tensorspec": schema}), profile=json.dumps(profile),
        )  # fmt: skip
        used = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
        with self.store.creating(), signals_held():  # not while it waits for the lock
            try:
                self._client.log_inputs(self.id, [used])
            except (
                MlflowException
            ) as error:  # another machine, which our lock does not hold, made it just now
                if error.error_code != "BAD_REQUEST":
                    raise
                self._client.log_inputs(self.id, [used])

    @signals_held()
    def log_code(self, git: GitState, modules: Mapping[str, Path], data: Path) -> None:
        """Store what code this process runs, beside that of earlier processes of the run.

        In process-0, process-1, ...: the commit, the diff, and whole what git does not track: files of the
        checkout and a user's own modules from elsewhere. Of large ones, and beyond the first hundred, the
        name, the size and the digest. Nothing of `data`, the images: the run has their digest.
        """
        modules = {name: path for name, path in modules.items() if not path.is_relative_to(ROOT)}
        untracked = [path for path in git.untracked if not path.is_relative_to(data.resolve())]
        files = {str(path.relative_to(ROOT)): path for path in untracked} | dict(modules)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "commit.txt").write_text(f"{git.commit}\n", encoding="utf-8")
            if git.diff:
                (folder / "uncommitted.diff").write_bytes(os.fsencode(git.diff))
            left_out = []
            for number, (name, path) in enumerate(sorted(files.items())):
                # Gone meanwhile; or a link, broken or to a folder, which git names as a file.
                with suppress(FileNotFoundError, IsADirectoryError):
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
                (folder / "untracked.txt").write_bytes(os.fsencode("".join(left_out) + more))
            self._client.log_artifacts(self.id, temporary, f"process-{self.tags.get(names.RESUMES, 0)}")

    @signals_held()
    def log_model(
        self,
        network: "keras.Model",
        step: int,
        example: np.ndarray,
        classes: Sequence[str],
        ink: Mapping[str, Any] | None = None,
    ) -> dict[str, str]:
        """Store a trained model with the versions it needs, beside a step's metrics; return its digests.

        One that an interrupted process left is removed first. The digests are taken before the files go to
        the store, which may be on a disk or a server that spoils them. All else is as in `model.save_model`.
        """
        info = self._client.get_run(self.id).info
        left = self._client.search_logged_models(
            [info.experiment_id], filter_string=f"source_run_id = '{self.id}'"
        )
        for model_left in left:
            self._client.delete_logged_model(model_left.model_id)
        # Given: else MLflow starts a process that imports TensorFlow to find them out.
        pins = [f"{name}=={version(name)}" for name in (*names.LIBRARIES, "mlflow", "pandas")]
        digests: dict[str, str] = {}

        def save(path: str, mlflow_model: Model, validate_serving_input: bool) -> None:
            digests.update(save_model(path, mlflow_model, network, example, classes, ink, pins))

        Model.log(
            artifact_path=None,
            flavor=SimpleNamespace(save_model=save),
            name="model",
            step=step,
            validate_serving_input=False,  # it would load it; a layer of one's own may not load
        )
        return digests


@contextmanager
def tracked_run(
    store: Store, experiment_id: str, name: str, tags: Mapping[str, str], run_id: str | None = None
) -> Iterator[Run]:
    """Open a new run, or an unfinished one again, and end it with its true status.

    FINISHED; FAILED with the reason as the tag `failure` and the traceback as an artifact; KILLED on Ctrl-C
    and SIGTERM. A process that is killed outright leaves it RUNNING, and so does one whose server is gone.
    """
    status = "FAILED"
    try:
        run = _start(store, experiment_id, name, tags, run_id)
        try:
            yield run
            status = "FINISHED"
        except Exception as error:
            # A full disk takes these two as well, and so does a server that is gone; the first cause counts.
            with suppress(MlflowException, OSError), asking_once():
                run.set_tags({names.FAILURE: redact(f"{type(error).__name__}: {error}")[:5000]})
                run.log_text(redact("".join(traceback.format_exception(error))), "traceback.txt")
            raise
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or the handler of SIGTERM
        status = "KILLED"
        raise
    finally:
        _end(status)


@signals_held()
def _end(status: str) -> None:
    """Store how the active run ended; that it FINISHED must be stored, another status where that can be."""
    if status == "FINISHED":
        mlflow.end_run(status)
        return
    try:
        with asking_once():
            mlflow.end_run(status)
    except (MlflowException, OSError):
        if status == "KILLED":  # a failure is said in a line of its own
            log.warning(
                "the store takes nothing now: the run stays RUNNING there. The same command goes on with it"
            )


@contextmanager
def asking_once() -> Iterator[None]:
    """Let MLflow ask a server once, for 5 s, instead of for two minutes; it reads this in each request."""
    asked = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    before = {name: os.environ[name] for name in asked}
    os.environ.update(asked)
    try:
        yield
    finally:
        os.environ.update(before)


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
