"""Small tracked runs, and what the store has of them."""

import gc
from typing import Any

import keras
import mlflow
import pytest
from mlflow.entities import Run
from omegaconf import DictConfig

from conftest import SMALL, fit_tracked
from handwriting.config import compose
from handwriting.data import Dataset
from handwriting.training import set_threads
from handwriting.training.callbacks import TrackEpochs

set_threads(None)  # which TensorFlow takes only before its first operation
gc.freeze()  # Keras collects garbage before it builds a model: 0.3 s among all that is imported by now


def experiment(request: pytest.FixtureRequest, *overrides: str) -> DictConfig:
    """Compose a small config whose runs go into an experiment of the test's own."""
    cfg = compose(*SMALL, *overrides)
    cfg.tracking.experiment_name = request.node.name
    return cfg


def points(run_id: str, metric: str) -> list[tuple[int, float]]:
    """Return a metric's steps and values, as they were stored."""
    return [(point.step, point.value) for point in mlflow.MlflowClient().get_metric_history(run_id, metric)]


def artifact(run: Run, path: str) -> str:
    """Return the text of an artifact."""
    return mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{path}")


def model_of(run: Run) -> keras.Model:
    """Return the model that a run has stored."""
    return mlflow.keras.load_model(f"runs:/{run.info.run_id}/model")


def interrupted(cfg: DictConfig, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Train until Ctrl-C comes as an epoch, counted from 0, begins."""
    begin = TrackEpochs.on_epoch_begin

    def stop(self: TrackEpochs, number: int, logs: Any = None) -> None:
        if number == epoch:
            raise KeyboardInterrupt
        begin(self, number, logs)

    with monkeypatch.context() as patch:
        patch.setattr(TrackEpochs, "on_epoch_begin", stop)
        with pytest.raises(KeyboardInterrupt):
            fit_tracked(cfg, dataset)
