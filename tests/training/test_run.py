"""One run, from a config to what the store holds of it."""

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from made_images import channels, made_dataset
from mlflow.entities import Run
from omegaconf import DictConfig, OmegaConf
from sklearn.metrics import f1_score
from small_runs import artifact, experiment, interrupted, model_of, points

from conftest import CHOICES, SMALL, fit_tracked, runs_in
from handwriting.config import ROOT, TOLD, check_config, compose, flatten, start_config
from handwriting.data import Dataset, Split, load_dataset
from handwriting.errors import UserError
from handwriting.tracking import Store
from handwriting.tracking.elsewhere import place_of
from handwriting.tracking.identity import digest, identify
from handwriting.tracking.model import load_model
from handwriting.tracking.provenance import command_line
from handwriting.tracking.run import tracked_run
from handwriting.train import run_once
from handwriting.training import build, fit, models
from handwriting.training.batches import evaluation_batches
from handwriting.training.callbacks import SeedEpoch, TrackEpochs
from handwriting.training.checkpoint import Checkpoints, weights_digest
from handwriting.training.run import log_setting

METRICS = (
    "metrics=[{_target_: keras.metrics.TopKCategoricalAccuracy, k: 2, name: top_2_accuracy},"
    "{_target_: keras.metrics.F1Score, average: macro},{_target_: keras.metrics.MeanSquaredError}]"
)


def images_of(split: Split) -> np.ndarray:
    return np.concatenate([x for x, _ in evaluation_batches(split, 10).as_numpy_iterator()])


# What the store holds


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_store_holds_kerass_history_exactly(
    dataset: Dataset, request: pytest.FixtureRequest, tmp_path: Path, epochs: int
) -> None:
    cfg = experiment(request, f"epochs={epochs}", "model=mlp", "model.units=32")
    store, model = Store(cfg.tracking.uri), build(cfg, dataset).model
    with tracked_run(store, store.open_experiment(cfg.tracking.experiment_name), "run", {}) as run:
        tracker = TrackEpochs(run, Checkpoints(tmp_path, "fingerprint"), [], epochs)
        history = fit(model, cfg, dataset, [tracker]).history
        run.log_model(model, epochs - 1, dataset.train.x[:1], dataset.classes)
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for metric, values in history.items():
        assert points(run.id, metric) == list(enumerate(values))
    for metric in ("learning_rate", "epoch_seconds"):
        stored = points(run.id, metric)
        assert [step for step, _ in stored] == list(range(epochs))
        assert all(value > 0 for _, value in stored)
    assert {value for _, value in points(run.id, "learning_rate")} == {float(np.float32(0.001))}

    logged, images = mlflow.keras.load_model(f"runs:/{run.id}/model"), images_of(dataset.test)
    np.testing.assert_array_equal(logged.predict(images, verbose=0), model.predict(images, verbose=0))


@pytest.fixture(scope="module")
def cfg() -> DictConfig:
    small = (*SMALL, "optimizer=adam", "epochs=2", "batch_size=30")
    return compose(*small, METRICS, "tracking.experiment_name=finished")


@pytest.fixture(scope="module")
def finished(dataset: Dataset, cfg: DictConfig) -> Run:
    return fit_tracked(cfg, dataset)


def test_a_run_ends_as_finished_under_a_name_that_says_what_it_is(finished: Run) -> None:
    assert finished.info.status == "FINISHED"
    assert finished.info.run_name == "adam small_cnn seed 0"
    assert "failure" not in finished.data.tags


def test_a_run_that_tries_a_setting_does_not_read_the_test_set(
    dataset: Dataset, request: pytest.FixtureRequest
) -> None:
    """And is not the run of the same setting that does, though it comes to the same weights."""
    words = ("model=mlp", "model.units=16", "epochs=1")
    judged = fit_tracked(experiment(request, *words), dataset)
    none: Any = None
    told = experiment(request, *words, "tracking.tuning=adam")
    tried = fit_tracked(told, dataclasses.replace(dataset, test=none))
    assert tried.data.tags["tuning"] == "adam"
    assert "tuning" not in judged.data.tags
    assert tried.info.run_id != judged.info.run_id
    assert tried.data.tags["fingerprint"] != judged.data.tags["fingerprint"]
    assert tried.data.tags["weights.final"] == judged.data.tags["weights.final"]
    left_out = judged.data.metrics.keys() - tried.data.metrics.keys()
    assert left_out == {"test_accuracy", "test_loss"}
    assert tried.info.status == "FINISHED"


def test_params_are_the_resolved_config_the_choices_and_kerass_optimizer(
    finished: Run, cfg: DictConfig
) -> None:
    params, setting = finished.data.params, flatten(cfg)
    # A run may belong to several sweeps, so these are tags; and arms are nothing to one run.
    for key in (*TOLD, "arms", "margin", "tuning"):
        del setting[key]
        assert key not in params
    assert params.items() >= {key: str(value) for key, value in setting.items()}.items()
    assert params.items() >= CHOICES.items()
    assert params["keras_optimizer.name"] == "adam"
    assert float(params["keras_optimizer.learning_rate"]) == pytest.approx(0.001)


def test_tags_say_code_machine_and_data(finished: Run, cfg: DictConfig, dataset: Dataset) -> None:
    tags, identity = finished.data.tags, identify(cfg, dataset.sha256)
    assert tags["fingerprint"] == identity.fingerprint
    assert tags["setting"] == identity.setting_digest
    assert tags["code.sha256"] == digest(identity.code)
    assert json.loads(artifact(finished, "code.json")) == identity.code
    assert len(identity.fingerprint) == 16
    assert tags["data.sha256"] == dataset.sha256
    assert tags["git.dirty"] in ("true", "false")
    assert len(tags["git.commit"]) == 40
    assert tags["threads"] == str(tf.config.threading.get_intra_op_parallelism_threads())
    assert tags["onednn"] in ("0", "1")
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}
    assert tags.items() >= (versions | {"mlflow": mlflow.__version__}).items()
    assert all(tags[key] for key in ("command", "cpu", "cores", "python", "hydra-core", "host_os"))
    assert "sweep" not in tags


def test_the_code_that_ran_is_stored_with_the_run(finished: Run) -> None:
    client = mlflow.MlflowClient()
    files = {file.path for file in client.list_artifacts(finished.info.run_id, "process-0")}
    assert artifact(finished, "process-0/commit.txt") == finished.data.tags["git.commit"] + "\n"
    changes = {"process-0/uncommitted.diff", "process-0/untracked", "process-0/untracked.txt"}
    assert bool(files & changes) == (finished.data.tags["git.dirty"] == "true")


def test_metrics_of_ones_own_are_stored_in_each_epoch_and_once_of_the_test_set(
    finished: Run, dataset: Dataset
) -> None:
    """The stored model's F1 is scikit-learn's; the validation part's in the last epoch too."""
    for metric in ("top_2_accuracy", "f1_score", "mean_squared_error"):
        for prefix, steps in (("", [0, 1]), ("val_", [0, 1]), ("test_", [1])):
            stored = points(finished.info.run_id, prefix + metric)
            assert [step for step, _ in stored] == steps
            assert all(0 < value < 1 for _, value in stored)
    model, metrics = model_of(finished), finished.data.metrics
    for prefix, split in (("val_", dataset.validation), ("test_", dataset.test)):
        outputs = model.predict(images_of(split), verbose=0)
        f1 = f1_score(split.y, outputs.argmax(axis=1), average="macro", labels=range(10), zero_division=0)
        assert metrics[f"{prefix}f1_score"] == pytest.approx(f1, rel=1e-5)
        top_2 = np.mean([y in places for y, places in zip(split.y, outputs.argsort()[:, -2:], strict=True)])
        assert metrics[f"{prefix}top_2_accuracy"] == pytest.approx(top_2)
        error = ((outputs - np.eye(10)[split.y]) ** 2).mean()
        assert metrics[f"{prefix}mean_squared_error"] == pytest.approx(error, rel=1e-4)


def test_the_run_says_whether_more_or_less_of_a_metric_is_better(finished: Run) -> None:
    better = {tag: value for tag, value in finished.data.tags.items() if tag.startswith("better.")}
    assert better == {
        "better.top_2_accuracy": "more",
        "better.f1_score": "more",
        "better.mean_squared_error": "less",
    }


def test_the_composed_config_and_the_models_summary_are_artifacts(finished: Run, cfg: DictConfig) -> None:
    assert OmegaConf.create(artifact(finished, "config.yaml")) == OmegaConf.create(
        OmegaConf.to_container(cfg, resolve=True)
    )
    summary = artifact(finished, "model.txt")
    assert "215,194" in summary
    assert "Conv2D" in summary


def test_the_data_set_is_an_input_with_a_digest_of_all_of_it(finished: Run, dataset: Dataset) -> None:
    assert finished.inputs
    (used,) = finished.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("mnist", dataset.sha256[:16])
    assert str(ROOT / "src/handwriting/data/mnist.npz") in used.dataset.source


def test_the_test_set_is_read_once_at_the_end(finished: Run) -> None:
    for metric in ("test_loss", "test_accuracy", "test_top_2_accuracy", "test_f1_score"):
        assert [step for step, _ in points(finished.info.run_id, metric)] == [1]


def test_the_logged_model_loads_and_scores_the_same_to_the_bit(finished: Run, dataset: Dataset) -> None:
    logged = model_of(finished)
    assert weights_digest(logged) == finished.data.tags["weights.final"]
    outputs = [logged(images, training=False) for images, _ in evaluation_batches(dataset.test, 10)]
    right = np.concatenate(outputs)[np.arange(len(dataset.test)), dataset.test.y]
    assert finished.data.metrics["test_loss"] == pytest.approx(-np.log(right).mean(), rel=1e-6)
    predicted = np.concatenate(outputs).argmax(axis=1)
    assert finished.data.metrics["test_accuracy"] == (predicted == dataset.test.y).mean()
    # Keras's own, which averages in float32.
    logged.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    scores = logged.evaluate(evaluation_batches(dataset.test, 10), verbose=0, return_dict=True)
    for metric in ("loss", "accuracy"):
        assert scores[metric] == pytest.approx(finished.data.metrics[f"test_{metric}"], rel=1e-5)


def test_the_run_knows_the_digest_of_its_model_and_loads_it_so(finished: Run, dataset: Dataset) -> None:
    path = mlflow.artifacts.download_artifacts(f"runs:/{finished.info.run_id}/model/data/model.keras")
    assert finished.data.tags["model.sha256"] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    model = load_model(Store(mlflow.get_tracking_uri()), finished.info.run_id)
    images = images_of(dataset.test)
    assert weights_digest(model) == finished.data.tags["weights.final"]
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), model_of(finished).predict(images, verbose=0)
    )


def test_a_picture_of_the_mistakes_is_stored(finished: Run) -> None:
    path = mlflow.artifacts.download_artifacts(f"runs:/{finished.info.run_id}/mistakes.png")
    assert Path(path).read_bytes().startswith(b"\x89PNG")


def test_the_logged_model_has_a_signature_and_pinned_requirements(finished: Run) -> None:
    info = mlflow.models.get_model_info(f"runs:/{finished.info.run_id}/model")
    assert [column.shape for column in info.signature.inputs] == [(-1,)], "any array, see tracking/model.py"
    assert info.signature.outputs.input_names() == list("0123456789")
    assert info.metadata is not None
    assert info.metadata["pictures"].startswith("numbers from 0 to 255, or from 0 to 1")
    path = Path(mlflow.artifacts.download_artifacts(f"runs:/{finished.info.run_id}/model/requirements.txt"))
    lines = path.read_text().split()
    assert {line.partition("==")[0] for line in lines} >= {"keras", "tensorflow", "numpy", "mlflow"}
    assert all("==" in line for line in lines)


def test_the_same_config_ends_in_the_same_weights(dataset: Dataset, request: pytest.FixtureRequest) -> None:
    """With dropout and a last batch that is smaller."""
    cfg = experiment(request, "model=mlp", "model.units=32", "epochs=2", "batch_size=30")
    ends = [fit_tracked(cfg, dataset).data for cfg.force in (False, True)]
    cfg.seed = 1
    other = fit_tracked(cfg, dataset).data
    assert len(runs_in(cfg.tracking)) == 3
    for tag in ("weights.initial", "weights.final"):
        assert ends[0].tags[tag] == ends[1].tags[tag] != other.tags[tag]
    seconds = {"epoch_seconds", "training_seconds"}
    assert all(ends[0].metrics[key] == ends[1].metrics[key] for key in ends[0].metrics.keys() - seconds)


def test_a_clock_that_jumps_back_loses_no_point(
    dataset: Dataset, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = experiment(request, "model=mlp", "model.units=32", "epochs=4")
    interrupted(cfg, dataset, monkeypatch, epoch=2)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 86_400)
    fit_tracked(cfg, dataset)
    (run,) = runs_in(cfg.tracking)
    assert run.info.status == "FINISHED"
    for metric in ("loss", "val_accuracy"):
        stored = points(run.info.run_id, metric)
        assert [step for step, _ in stored] == [0, 1, 2, 3], "in their order"
        assert run.data.metrics[metric] == dict(stored)[3], "the last epoch's, not the latest clock's"
    assert run.data.metrics["epoch_seconds"] > 0


def test_a_run_whose_loss_becomes_nan_fails_and_says_where(
    dataset: Dataset, request: pytest.FixtureRequest
) -> None:  # fmt: skip
    cfg = experiment(request, "model=mlp", "optimizer=sgd", "optimizer.learning_rate=1e20")
    said = "the loss became nan in epoch 1, step 1 to 16. Try a smaller optimizer.learning_rate than 1e+20"
    with pytest.raises(UserError) as caught:
        fit_tracked(cfg, dataset)
    (run,) = runs_in(cfg.tracking)
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"] == f"UserError: {caught.value}"
    assert artifact(run, "traceback.txt").startswith("Traceback")
    assert not any(name.startswith("test_") for name in run.data.metrics)
    assert str(caught.value) == said


class Share(keras.metrics.CategoricalAccuracy):
    pass


def test_a_run_after_another_goes_on_from_its_weights_and_to_other_orders(
    dataset: Dataset, request: pytest.FixtureRequest
) -> None:
    """With a metric of one's own, whose class Keras does not find when it loads a model."""
    own = f"metrics=[{{_target_: {__name__}.Share, name: share}}]"
    small = ("model=mlp", "model.units=32", "epochs=2", "optimizer.learning_rate=0.01")
    cfg = experiment(request, *small, own, "optimizer=adam", "start=after_rmsprop")
    before = start_config(cfg)
    assert before is not None
    assert before.optimizer == compose("optimizer=rmsprop").optimizer
    assert start_config(before) is None
    choices, store = {"model": "mlp", "data": "mnist"}, Store(cfg.tracking.uri)
    start, _ = run_once(before, dataset, store, {**choices, "optimizer": "rmsprop", "start": "fresh"})
    after = {**choices, "optimizer": "adam", "start": "after_rmsprop"}
    run_id, val_accuracy = run_once(cfg, dataset, store, after, start)
    second, first = runs_in(cfg.tracking)
    assert second.info.run_name == "adam mlp after_rmsprop seed 0"
    assert first.info.run_name == "rmsprop mlp seed 0"
    assert second.data.tags["weights.initial"] == first.data.tags["weights.final"]
    assert second.data.tags["starts_from"] == start == first.info.run_id
    assert second.data.params["start"] == "after_rmsprop"
    assert (run_id, val_accuracy) == (second.info.run_id, dict(points(run_id, "val_accuracy"))[1])
    assert run_once(cfg, dataset, store, after, start) == (run_id, val_accuracy), "and it is skipped"
    assert len(runs_in(cfg.tracking)) == 2

    epoch = tf.Variable(0, dtype=tf.int64)
    seeding = SeedEpoch(0, epoch, first=2)
    seeding.set_model(build(cfg, dataset).model)
    seeding.on_epoch_begin(1)
    assert int(epoch) == 3, "the order of an epoch that the first run has not seen"


def test_no_run_starts_from_a_model_that_is_not_the_one_its_run_recorded(
    dataset: Dataset, request: pytest.FixtureRequest
) -> None:
    cfg = experiment(request, "model=mlp", "model.units=16", "epochs=1", "start=after_rmsprop")
    first = start_config(cfg)
    assert first is not None
    store, choices = Store(cfg.tracking.uri), {**CHOICES, "model": "mlp"}
    start, _ = run_once(first, dataset, store, choices)
    (run,) = runs_in(cfg.tracking)
    (stored,) = store.client.search_logged_models([run.info.experiment_id])
    path = Path(stored.artifact_location.removeprefix("file://"), "data/model.keras")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    said = f"the model of run {start} is not loaded: .* Its SHA-256 is"
    with pytest.raises(UserError, match=said) as caught:
        run_once(cfg, dataset, store, choices, start)
    assert "\n" not in str(caught.value)
    assert [run.info.run_id for run in runs_in(cfg.tracking)] == [start], "nothing was started"


def test_a_run_whose_checkpoint_does_not_fit_is_left_as_it_is_and_force_starts_another(
    dataset: Dataset, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a model depends on something that a run is not known by, such as a file that it reads."""
    cfg = experiment(request, "model=mlp", "model.units=16", "epochs=3")
    interrupted(cfg, dataset, monkeypatch, epoch=2)
    (before,) = runs_in(cfg.tracking)
    folder = place_of(cfg.tracking, Store(cfg.tracking.uri), before.info.run_id)[0]
    files = {path: path.read_bytes() for path in folder.iterdir()}
    mlp = models.build_mlp
    monkeypatch.setattr(models, "build_mlp", lambda **named: mlp(**named | {"units": 17}))
    said = "epoch-0002.npz does not fit the model: number 1 of its weights is .784, 16., in the model .784"
    with pytest.raises(UserError, match=said):
        fit_tracked(cfg, dataset)
    (after,) = runs_in(cfg.tracking)
    assert after.to_dictionary() == before.to_dictionary()
    assert {path: path.read_bytes() for path in folder.iterdir()} == files
    cfg.force = True
    forced = fit_tracked(cfg, dataset)
    assert (forced.info.status, len(runs_in(cfg.tracking))) == ("FINISHED", 2)


@pytest.mark.parametrize("taken", [".", "epoch-0002.npz"])
def test_a_taken_name_is_said_in_one_line_and_the_run_goes_on_afterwards(
    dataset: Dataset,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    taken: str,
) -> None:
    cfg = experiment(request, "model=mlp", "model.units=16", "epochs=2")
    interrupted(cfg, dataset, monkeypatch, epoch=1)
    (run,) = runs_in(cfg.tracking)
    folder = place_of(cfg.tracking, Store(cfg.tracking.uri), run.info.run_id)[0]
    path = folder / taken
    if path.is_dir():
        path.rename(tmp_path / "kept")
        path.touch()
    else:
        path.mkdir()
    with pytest.raises(UserError, match=f"{path} is in the way: .* Move it away"):
        fit_tracked(cfg, dataset)
    path.rename(tmp_path / "away")
    if (tmp_path / "kept").exists():
        (tmp_path / "kept").rename(path)
    run = fit_tracked(cfg, dataset)
    assert (run.info.status, len(runs_in(cfg.tracking))) == ("FINISHED", 1)
    assert [step for step, _ in points(run.info.run_id, "loss")] == [0, 1]


def test_no_password_gets_into_the_store(
    dataset: Dataset, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    uri = "postgresql://me:geheim@db.example:5432/mlflow"
    monkeypatch.setattr("sys.argv", ["train", f"tracking.uri={uri}"])
    cfg, opened = experiment(request), Store(store)
    experiment_id = opened.open_experiment(cfg.tracking.experiment_name)
    cfg.tracking.uri = uri
    with tracked_run(opened, experiment_id, "run", {"command": command_line()}) as run:
        log_setting(run, cfg, CHOICES, build(cfg, dataset).model)
    stored: Any = mlflow.MlflowClient(store).get_run(run.id)
    assert stored.data.params["tracking.uri"] == "postgresql://***@db.example:5432/mlflow"
    assert "geheim" not in f"{stored.data.params}{stored.data.tags}{artifact(stored, 'config.yaml')}"
    assert "***@db.example" in artifact(stored, "config.yaml")
    assert "***@db.example" in stored.data.tags["command"]


# Any images


@pytest.mark.parametrize("order", ["last", "first"])
def test_a_test_image_is_read_as_the_mean_of_its_views(request: pytest.FixtureRequest, order: str) -> None:
    """Scores and model of a stored run that was told to read each image from nine places.

    It was trained on images that are distorted, and has a picture of what it got wrong.
    """
    dataset = made_dataset((32, 32, 3), 47, "uint8")
    cfg = experiment(request, "epochs=1", "batch_size=50", "test_shift=1", "augmentation=affine")
    y, (height, width, depth) = dataset.test.y, dataset.image_shape
    images = dataset.test.x.reshape(-1, height, width, depth) / np.float32(255)
    around = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    views = [around[:, row : row + height, x : x + width] for row in range(3) for x in range(3)]
    with channels(order):
        run = fit_tracked(cfg, dataset)
        model = model_of(run)
        turned = views if order == "last" else [np.moveaxis(view, -1, 1) for view in views]
        means = np.mean([model.predict(view, verbose=0) for view in turned], axis=0)
    shape = (height, width, depth) if order == "last" else (depth, height, width)
    assert (model.input_shape, model.output_shape) == ((None, *shape), (None, len(dataset.classes)))
    scores = run.data.metrics
    assert scores["test_accuracy"] == (means.argmax(axis=1) == y).mean()
    assert scores["test_loss"] == pytest.approx(-np.log(means[np.arange(len(y)), y]).mean(), rel=1e-5)
    assert compose().test_shift == 0
    path = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/mistakes.png")
    assert Path(path).read_bytes().startswith(b"\x89PNG")


def test_images_of_floats_in_classes_with_names_are_learned(request: pytest.FixtureRequest) -> None:
    dataset = made_dataset((28, 28), 5, "float32", per_class=40)
    run = fit_tracked(experiment(request, "epochs=3", "optimizer=adam", "batch_size=20"), dataset)
    assert run.data.metrics["test_accuracy"] > 0.9
    assert model_of(run).output_shape == (None, 5)


def test_digits_of_8_by_8_are_learned(request: pytest.FixtureRequest) -> None:
    cfg = compose("data=digits8x8", "model=mlp", "model.units=128", "optimizer=adam", "epochs=5")
    cfg.tracking.experiment_name = request.node.name
    dataset = load_dataset(cfg.data, cfg.seed)
    run = fit_tracked(cfg, dataset, {**CHOICES, "model": "mlp", "data": "digits8x8"})
    assert run.data.metrics["test_accuracy"] > 0.85
    assert run.data.metrics["val_accuracy"] > 0.85
    assert run.inputs
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("sklearn:digits", dataset.sha256[:16])
    assert "sklearn:digits" in used.dataset.source


# One's own parts, from one's own file

OWN = """
import keras
from own_helper import hidden

def tiny(input_shape, classes, units):
    return keras.Sequential(
        [keras.Input(input_shape), keras.layers.Flatten(), hidden(units),
         keras.layers.Dense(classes, activation="softmax")]
    )

class Careful(keras.optimizers.SGD):
    pass

def halved(peak, steps):
    return keras.optimizers.schedules.PiecewiseConstantDecay([steps // 2 - 1], [peak, peak / 2])

class Share(keras.metrics.CategoricalAccuracy):
    pass

class Notes(keras.callbacks.Callback):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        with open(self.path, "a") as file:
            print(epoch, sorted(logs), file=file)
"""
HELPER = """
import keras

def hidden(units):  # a comment
    return keras.layers.Dense(units, activation="relu")
"""


def test_a_run_is_made_of_parts_from_ones_own_file_and_stores_it_whole(
    dataset: Dataset, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network, optimizer, schedule, metric and callback; and what the file imports."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_parts.py").write_text(OWN)
    (tmp_path / "own_helper.py").write_text(HELPER)
    cfg = experiment(
        request, "epochs=2", "batch_size=50", "model=cnn", "optimizer=sgd", "schedule=constant",
        "model._target_=own_parts.tiny", "+model.units=7", "optimizer._target_=own_parts.Careful",
        "schedule._target_=own_parts.halved", "metrics=[{_target_: own_parts.Share, name: share}]",
        f"callbacks=[{{_target_: own_parts.Notes, path: {tmp_path}/notes.txt}}]",
    )  # fmt: skip
    check_config(cfg)
    run = fit_tracked(cfg, dataset)
    assert run.info.status == "FINISHED"
    assert run.data.params["keras_optimizer.name"] == "careful"
    rates = [value for _, value in points(run.info.run_id, "learning_rate")]
    assert rates == pytest.approx([0.01, 0.005])
    assert points(run.info.run_id, "val_share") == points(run.info.run_id, "val_accuracy")
    assert run.data.metrics["test_share"] == pytest.approx(run.data.metrics["test_accuracy"])
    assert run.data.tags["better.share"] == "more", "as of the class that it extends"
    seen = sorted({"loss", "accuracy", "share", "val_loss", "val_accuracy", "val_share"})
    assert (tmp_path / "notes.txt").read_text() == f"0 {seen}\n1 {seen}\n"
    assert artifact(run, "process-0/untracked/own_parts.py") == OWN
    assert artifact(run, "process-0/untracked/own_helper.py") == HELPER
    code = json.loads(artifact(run, "code.json"))
    assert {"tiny", "Careful", "halved", "Share", "Notes"} <= code["own_parts.py"].keys()
    assert "hidden" in code["own_helper.py"]
    uri = f"runs:/{run.info.run_id}/model"
    model = mlflow.keras.load_model(uri)
    assert weights_digest(model) == run.data.tags["weights.final"]
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [7, 10]
