"""What happens beside the training steps: seeding, NaN, early stopping, and what a user's callbacks lose."""

import logging
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from mlflow.entities import Run
from small_runs import experiment, interrupted, model_of, points

from conftest import fit_tracked, runs_in
from handwriting.config import compose
from handwriting.data import Dataset
from handwriting.errors import UserError
from handwriting.tracking.run import Run as StoredRun
from handwriting.training import build
from handwriting.training.callbacks import SeedEpoch, StopAtNan, WatchCallbacks
from handwriting.training.checkpoint import weights_digest

TINY = ("model=mlp", "model.units=16", "model.dropout=0")
# Nothing is an improvement of at least 100: training ends at the second epoch.
STOPPING = "_target_: keras.callbacks.EarlyStopping, monitor: val_loss, patience: 0, min_delta: 100"


def model_steps(run: Run) -> list[int]:
    assert run.outputs
    return [output.step for output in run.outputs.model_outputs]


# Ours


def test_an_epochs_randomness_depends_only_on_seed_and_epoch(dataset: Dataset) -> None:
    """The order's key, and each dropout's state, which differs from the others'."""
    model = build(compose("model=mlp", "model.units=4"), dataset).model
    number = tf.Variable(0, dtype=tf.int64)

    def states(seed: int, epoch: int, first: int = 0) -> tuple[int, list[list[int]]]:
        seeding = SeedEpoch(seed, number, first)
        seeding.set_model(model)
        seeding.on_epoch_begin(epoch)
        found = [v for v in model.variables if v.name == "seed_generator_state"]
        return int(number), [np.asarray(v).tolist() for v in found]

    assert states(0, 1)[0] == 1
    assert states(0, 1) == states(0, 1) == states(0, 0, first=1)
    assert states(0, 3, first=2)[0] == 5
    seen = [state for seed in (0, 1) for epoch in (0, 1) for state in states(seed, epoch)[1]]
    assert len({tuple(state) for state in seen}) == len(seen) == 8


@pytest.mark.parametrize(("batch", "said"), [(31, "step 1 to 32"), (63, "step 33 to 40")])
def test_nan_is_said_with_the_steps_it_came_in(batch: int, said: str) -> None:
    stop = StopAtNan(0.5)
    stop.set_params({"steps": 40})
    stop.on_epoch_begin(2)
    for last in range(31, batch, 32):
        stop.on_train_batch_end(last, {"loss": 0.3})
    with pytest.raises(UserError) as caught:
        stop.on_train_batch_end(batch, {"loss": float("inf")})
    expected = f"the loss became inf in epoch 3, {said}. Try a smaller optimizer.learning_rate than 0.5"
    assert str(caught.value) == expected


# Yours


def test_early_stopping_ends_a_run_that_is_finished_all_the_same(
    dataset: Dataset, request: pytest.FixtureRequest
) -> None:
    """After two epochs of five; the last epoch's model, tested once, beside its metrics."""
    cfg = experiment(request, *TINY, "epochs=5", f"callbacks=[{{{STOPPING}}}]")
    run = fit_tracked(cfg, dataset)
    assert (run.info.status, run.data.tags["stopped"]) == ("FINISHED", "2")
    assert [step for step, _ in points(run.info.run_id, "val_loss")] == [0, 1]
    assert model_steps(run) == [1]
    for metric in ("test_loss", "test_accuracy", "training_seconds"):
        assert [step for step, _ in points(run.info.run_id, metric)] == [1]
    assert weights_digest(model_of(run)) == run.data.tags["weights.final"]
    assert "callbacks.not_kept" not in run.data.tags


def test_restored_best_weights_are_those_that_are_stored_and_tested(
    dataset: Dataset, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best are the first epoch's, as nothing counts as better: the weights of a run of one epoch.

    Even where the process ended while it stored them.
    """
    best = f"callbacks=[{{{STOPPING}, restore_best_weights: true}}]"
    cfg = experiment(request, *TINY, "epochs=5", best)

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StoredRun, "log_model", end)
        with pytest.raises(KeyboardInterrupt):
            fit_tracked(cfg, dataset)
    run = fit_tracked(cfg, dataset)
    assert run.data.tags["resumes"] == "1"
    assert [step for step, _ in points(run.info.run_id, "val_loss")] == [0, 1]
    first = fit_tracked(experiment(request, *TINY, "epochs=1"), dataset)
    assert run.data.tags["weights.final"] == first.data.tags["weights.final"]
    assert weights_digest(model_of(run)) == run.data.tags["weights.final"]
    assert run.data.metrics["test_loss"] == first.data.metrics["test_loss"]


class Counts(keras.callbacks.Callback):
    """Has a setting, which does not change; and where it is told to, it counts."""

    total = 0

    def __init__(self, every: int, counts: bool):
        super().__init__()
        self.every, self.counts = every, counts
        self.ends: list[int] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        type(self).total += 1
        if self.counts:
            self.ends.append(epoch)


@pytest.mark.parametrize("learns", [True, False])
def test_what_a_callback_had_learned_is_named_when_a_run_is_gone_on_with(
    dataset: Dataset,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    learns: bool,
) -> None:
    """Keras's own, and a user's; and nothing is said of callbacks whose state does not change."""
    monkeypatch.setattr(Counts, "total", 0)
    own = f"{{_target_: {__name__}.Counts, every: 2, counts: {learns}}}"
    patient = STOPPING.replace("patience: 0", "patience: 9")
    cfg = experiment(request, *TINY, "epochs=3", f"callbacks=[{own}{f',{{{patient}}}' if learns else ''}]")
    cfg.tracking.experiment_name = f"callbacks that learn: {learns}"
    interrupted(cfg, dataset, monkeypatch, epoch=2)
    (killed,) = runs_in(cfg.tracking)
    assert killed.info.status == "KILLED"
    assert "callbacks.not_kept" not in killed.data.tags
    with caplog.at_level(logging.WARNING):
        run = fit_tracked(cfg, dataset)
    assert len(runs_in(cfg.tracking)) == 1
    assert run.info.status == "FINISHED"
    assert Counts.total == 3
    assert "stopped" not in run.data.tags
    lost = set(run.data.tags.get("callbacks.not_kept", "").split())
    assert lost >= ({"Counts.ends", "EarlyStopping.best", "EarlyStopping.wait"} if learns else set())
    assert not lost & {"Counts.every", "Counts.counts", "EarlyStopping.patience", "EarlyStopping.monitor"}
    assert ("callbacks.not_kept" in run.data.tags) == learns
    assert ("callbacks begin anew; no checkpoint keeps Counts.ends" in caplog.text) == learns


def test_state_that_cannot_be_pickled_changes_with_the_object() -> None:
    """Such as a lambda, or an open file."""

    class Kept:
        tags: dict[str, str]

        def __init__(self) -> None:
            self.tags = {}

        def set_tags(self, tags: dict[str, str]) -> None:
            self.tags |= tags

    run: Any = Kept()
    callback: Any = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    watch = WatchCallbacks(run, [callback])
    watch.on_epoch_begin(0)
    watch.on_epoch_end(0)
    assert run.tags == {}
    callback.on_epoch_end = lambda epoch, logs: 1
    watch.on_epoch_end(1)
    assert run.tags == {"callbacks.learned": "LambdaCallback.on_epoch_end"}


def test_a_metric_of_several_numbers_is_refused_in_one_line(
    dataset: Dataset, request: pytest.FixtureRequest
) -> None:
    cfg = experiment(request, *TINY, "epochs=1", "metrics=[{_target_: keras.metrics.F1Score}]")
    with pytest.raises(UserError) as caught:
        fit_tracked(cfg, dataset)
    assert str(caught.value) == "metrics: f1_score must be one number. Received: an array of (10,)"
    assert runs_in(cfg.tracking)[0].info.status == "FAILED"
