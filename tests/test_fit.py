import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from mlflow.entities import Run
from omegaconf import DictConfig, OmegaConf

from conftest import CHOICES, CONF, SMALL, fit_tracked, runs_in
from handwriting.augment import amounts, shifted
from handwriting.callbacks import SeedEpoch, TrackEpochs
from handwriting.checkpoint import Checkpoints, weights_digest
from handwriting.config import AugmentationConfig, before, compose, flatten
from handwriting.data import Digits, Split
from handwriting.errors import UserError
from handwriting.fit import build_model, log_setting, set_threads, train
from handwriting.models import DEVIATION, MEAN, build_cnn
from handwriting.pipeline import evaluation_batches, input_shape, training_batches
from handwriting.provenance import command_line
from handwriting.store import ROOT
from handwriting.tracking import open_store, tracked_run
from handwriting.train import run_once

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))

set_threads(None)  # which TensorFlow takes only before its first operation


def experiment(request: pytest.FixtureRequest, *overrides: str) -> DictConfig:
    """Compose a small config whose runs go into an experiment of the test's own."""
    cfg = compose(*SMALL, *overrides)
    cfg.tracking.experiment_name = request.node.name
    return cfg


# Models and the loss


def test_cnn_is_the_notebooks(digits: Digits) -> None:
    """Names, shapes and parameters as the notebook's `model.summary()` prints them, but for where ReLU is.

    After the pooling it gives what it gives before it, to the bit: outputs, and weights after training.
    """
    model = build_cnn((28, 28, 1), 10)
    rows = [(type(x).__name__, x.output.shape[1:], x.count_params()) for x in model.layers]
    assert rows.pop(3) == ("ReLU", (12, 12, 64), 0)
    assert rows == [
        ("Conv2D", (26, 26, 32), 320),
        ("Conv2D", (24, 24, 64), 18496),
        ("MaxPooling2D", (12, 12, 64), 0),
        ("Dropout", (12, 12, 64), 0),
        ("Flatten", (9216,), 0),
        ("Dense", (128,), 1179776),
        ("Dropout", (128,), 0),
        ("Dense", (10,), 1290),
    ]
    assert model.count_params() == 1_199_882
    assert [x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)] == [0.25, 0.5]
    activations = [x.activation.__name__ for x in model.layers if hasattr(x, "activation")]
    assert activations == ["relu", "linear", "relu", "softmax"]

    as_written = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            *model.layers[2:3],
            *model.layers[4:],
        ]
    )
    for one, other in zip(as_written.layers[:2], model.layers[:2], strict=True):
        one.set_weights(other.get_weights())
    few = Split(digits.train.x[:320], digits.train.y[:320])
    start, trained = model.get_weights(), []
    for network in (model, as_written):
        network.set_weights(start)
        cfg = compose("model=cnn")
        network.compile(build_model(cfg, 320).optimizer, loss="categorical_crossentropy")
        epoch = tf.Variable(0, dtype=tf.int64)
        batches = training_batches(few, 32, 0, epoch)
        network.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=[SeedEpoch(0, epoch)])
        trained.append(weights_digest(network))
    assert trained[0] == trained[1]


@pytest.mark.parametrize(
    ("model", "parameters"), [("mlp", 669_706), ("small_cnn", 215_194), ("deep_cnn", 354_858)]
)
def test_parameter_counts_are_those_that_the_files_state(model: str, parameters: int) -> None:
    assert build_model(compose(f"model={model}"), 400).count_params() == parameters
    assert f"{parameters:,} parameters" in (CONF / f"model/{model}.yaml").read_text()


@pytest.mark.parametrize(
    "overrides",
    [[f"model={name}"] for name in MODELS]
    + [["model=mlp", "model.units=16", f"optimizer={name}"] for name in OPTIMIZERS],
    ids=lambda overrides: overrides[-1],
)
def test_every_model_and_optimizer_takes_a_training_step(digits: Digits, overrides: list[str]) -> None:
    model = build_model(compose(*overrides), 400)
    before = model.get_weights()
    few = Split(digits.train.x[:32], digits.train.y[:32])
    batches = training_batches(few, 16, 0, tf.Variable(0, dtype=tf.int64))
    history = model.fit(batches, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_set_as_its_file_says(name: str) -> None:
    cfg = compose(f"optimizer={name}")
    resolved = build_model(cfg, 400).optimizer.get_config()
    for key, value in cfg.optimizer.items():
        if key != "_target_":
            assert resolved[key] == (pytest.approx(value) if isinstance(value, float) else value)


def test_images_are_standardised_by_what_the_training_images_are() -> None:
    with np.load(ROOT / "src" / "handwriting" / "mnist.npz") as file:
        pixels = file["x_train"] / 255
    assert (round(pixels.mean(), 4), round(pixels.std(), 4)) == (MEAN, DEVIATION)


def test_label_smoothing_is_kerass_and_off_unless_asked_for(digits: Digits) -> None:
    batch = next(iter(evaluation_batches(digits.test)))
    for smoothing in (0.0, 0.1):
        model = build_model(compose("model=mlp", f"label_smoothing={smoothing}"), 100)
        right = batch[1].numpy() * (1 - smoothing) + smoothing / 10
        expected = -(right * np.log(model.predict(batch[0], verbose=0))).sum(axis=1).mean()
        assert model.evaluate(*batch, batch_size=500, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
    assert compose().label_smoothing == 0


def test_one_cycle_rises_to_the_rate_and_falls_to_nothing() -> None:
    cfg = compose("schedule=one_cycle", "optimizer.learning_rate=0.006", "epochs=2", "batch_size=100")
    optimizer = build_model(cfg, 950).optimizer  # 20 steps, of which 4 rise
    rates = []
    for step in range(21):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert rates[0] == pytest.approx(0.0015)
    assert rates[4] == pytest.approx(0.006)
    assert np.all(np.diff(rates[:5]) > 0)
    assert np.all(np.diff(rates[4:]) < 0)
    assert rates[12] == pytest.approx(0.003)
    assert rates[20] == pytest.approx(0, abs=1e-9)


def test_wrong_keywords_of_model_and_optimizer_are_the_users_mistake() -> None:
    for override, group in (("+model.units=3", "model"), ("+optimizer.beta_1=0.9", "optimizer")):
        with pytest.raises(UserError, match=rf"^{group}: \S+ does not take these values: "):
            build_model(compose("optimizer=rmsprop", "model=cnn", override), 400)


# What an epoch sees

COUNTED = Split(np.zeros((107, 28, 28), np.uint8), np.arange(107, dtype=np.int32) % 10)
COUNTED.x[:, 0, 0], COUNTED.x[:, 0, 1] = np.arange(107), 255  # its number is its first pixel


def numbers(images: Any) -> list[int]:
    return [round(pixel * 255) for pixel in np.asarray(images).reshape(-1, 784)[:, 0].tolist()]


def order(seed: int, epoch: int, batch_size: int = 25) -> list[list[int]]:
    number = tf.Variable(epoch, dtype=tf.int64)
    return [numbers(x) for x, _ in training_batches(COUNTED, batch_size, seed, number)]


def test_an_epoch_holds_each_example_once_and_its_last_batch_is_the_rest() -> None:
    batches = order(seed=0, epoch=0)
    assert [len(batch) for batch in batches] == [25, 25, 25, 25, 7]
    assert sorted(itertools.chain(*batches)) == list(range(107))
    number = tf.Variable(0, dtype=tf.int64)
    assert training_batches(COUNTED, 25, 0, number).cardinality().numpy() == 5


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert order(seed=0, epoch=3) == order(seed=0, epoch=3)
    orders = [order(seed, epoch, 107)[0] for seed in (0, 1, 2**32 - 1) for epoch in (0, 1, 2)]
    assert len({tuple(one) for one in [*orders, list(range(107))]}) == 10


def test_one_data_set_gives_another_order_when_the_epochs_number_changes() -> None:
    number = tf.Variable(0, dtype=tf.int64)
    batches = training_batches(COUNTED, 25, 0, number)
    for epoch in (0, 1, 0):
        number.assign(epoch)
        assert [numbers(x) for x, _ in batches] == order(seed=0, epoch=epoch)


def test_images_are_float32_from_0_to_1_with_a_channel_and_keep_their_labels() -> None:
    for batches in (
        training_batches(COUNTED, 25, 0, tf.Variable(0, dtype=tf.int64)),
        evaluation_batches(COUNTED),
    ):
        for x, y in batches.as_numpy_iterator():
            assert (x.dtype, x.shape) == (np.float32, (len(y), 28, 28, 1))
            assert (x.min(), x.max()) == (0, 1)
            np.testing.assert_array_equal(x[..., 0], COUNTED.x[numbers(x)].astype(np.float32) / 255)
            np.testing.assert_array_equal(y, np.eye(10, dtype=np.float32)[COUNTED.y[numbers(x)]])


def test_evaluation_sees_the_whole_split_in_its_order(digits: Digits) -> None:
    labels = np.concatenate([y for _, y in evaluation_batches(digits.test).as_numpy_iterator()])
    np.testing.assert_array_equal(labels.argmax(axis=1), digits.test.y)


def distorted(batch_size: int = 500, split: Split = COUNTED, **most: float) -> np.ndarray:
    """Return an epoch's images in the order of `split`, (n, 28, 28)."""
    amounts = AugmentationConfig(**{"rotation": 0, "scale": 0, "shear": 0, "shift": 0, **most})
    number = tf.Variable(4, dtype=tf.int64)
    drawn, plain = (list(training_batches(split, batch_size, 3, number, most)) for most in (amounts, None))
    for (_, one), (_, other) in zip(drawn, plain, strict=True):
        np.testing.assert_array_equal(one, other, "labels, in the order of images that are not distorted")
    order = np.concatenate([numbers(x) for x, _ in plain])
    return np.concatenate([x for x, _ in drawn])[np.argsort(order)].reshape(-1, 28, 28)


def test_an_images_distortion_is_a_function_of_seed_epoch_and_index(digits: Digits) -> None:
    one = amounts(50, 3, tf.constant(4, tf.int64)).numpy()
    np.testing.assert_array_equal(one, amounts(50, 3, tf.constant(4, tf.int64)).numpy())
    for seed, epoch in ((3, 5), (2, 4), (4, 3)):
        assert (one != amounts(50, seed, tf.constant(epoch, tf.int64)).numpy()).mean() > 0.99
    assert len(np.unique(one)) == one.size
    few = Split(digits.train.x[:50].copy(), digits.train.y[:50])
    few.x[:, 0, 0] = np.arange(50)  # a number that the order is known by
    affine = compose("augmentation=affine").augmentation
    # Sines and cosines differ in their last bit with the size of the batch they are taken of.
    np.testing.assert_allclose(distorted(50, few, **affine), distorted(7, few, **affine), atol=1e-4)
    np.testing.assert_array_equal(distorted(50, few), few.x / np.float32(255))


@pytest.mark.parametrize("first", [False, True], ids=["channels last", "channels first"])
def test_distortions_are_of_the_size_that_is_asked_for(request: pytest.FixtureRequest, first: bool) -> None:
    """A bright bar in the middle: how far it goes, how large it is, how it leans."""
    if first:
        request.getfixturevalue("_channels_first")
    x = np.zeros((200, 28, 28), np.uint8)
    x[:, 6:22, 12:16] = 255
    x[:, 0, 0] = np.arange(200)
    bar = Split(x, np.zeros(200, np.int32))
    rows, columns = np.mgrid[:28, :28] - 13.5
    inside = np.hypot(rows, columns) < 13  # without the number in the corner

    def mean(of: np.ndarray, images: np.ndarray) -> np.ndarray:
        return (images * inside * of).sum(axis=(1, 2)) / (images * inside).sum(axis=(1, 2))

    def ends(values: np.ndarray) -> list[float]:
        return [values.min(), values.max()]

    moved = distorted(split=bar, shift=3)
    for way in (rows, columns):
        assert ends(mean(way, moved)) == pytest.approx([-3, 3], abs=0.1)
    size = np.sqrt((distorted(split=bar, scale=0.2) * inside).sum(axis=(1, 2)) / 64)
    assert ends(size) == pytest.approx([0.8, 1.2], abs=0.03)
    turned, sheared = distorted(split=bar, rotation=0.3), distorted(split=bar, shear=0.3)
    across, up, both = (mean(of, turned) for of in (columns**2, rows**2, columns * rows))
    assert ends(np.arctan2(2 * both, up - across) / 2) == pytest.approx([-0.3, 0.3], abs=0.02)
    slope = mean(columns * rows, sheared) / mean(rows**2, sheared)
    assert ends(slope) == pytest.approx([-0.3, 0.3], abs=0.02)


@pytest.mark.parametrize("first", [False, True], ids=["channels last", "channels first"])
def test_views_are_the_image_shifted_with_black_around(request: pytest.FixtureRequest, first: bool) -> None:
    if first:
        request.getfixturevalue("_channels_first")
    images = np.random.default_rng(0).random((3, *input_shape()), np.float32)
    views = [view.numpy().reshape(3, 28, 28) for view in shifted(images, 2)]
    around = np.pad(images.reshape(3, 28, 28), ((0, 0), (2, 2), (2, 2)))
    expected = [around[:, y : y + 28, x : x + 28] for y in range(5) for x in range(5)]
    np.testing.assert_array_equal(views, expected)
    (alone,) = shifted(images, 0)
    np.testing.assert_array_equal(alone, images)


def test_a_test_image_is_read_as_the_mean_of_its_views(
    request: pytest.FixtureRequest, digits: Digits
) -> None:
    """Scores and model of a stored run that was told to read each image from nine places."""
    cfg = experiment(request, "model=mlp", "model.units=16", "epochs=1", "test_shift=1")
    run = fit_tracked(cfg, digits)
    model = mlflow.keras.load_model(f"runs:/{run.info.run_id}/model")
    images = np.concatenate([x for x, _ in evaluation_batches(digits.test)])
    around = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    views = [around[:, y : y + 28, x : x + 28] for y in range(3) for x in range(3)]
    means = np.mean([model.predict(view, verbose=0) for view in views], axis=0)
    scores = run.data.metrics
    assert scores["test_accuracy"] == (means.argmax(axis=1) == digits.test.y).mean()
    right = means[np.arange(len(images)), digits.test.y]
    assert scores["test_loss"] == pytest.approx(-np.log(right).mean(), rel=1e-5)
    assert compose().test_shift == 0


@pytest.fixture
def _channels_first() -> Iterator[None]:
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


@pytest.mark.usefixtures("_channels_first")
def test_the_channel_is_first_where_keras_is_set_so() -> None:
    assert input_shape() == (1, 28, 28)
    x, _ = next(evaluation_batches(COUNTED).as_numpy_iterator())
    assert x.shape == (107, 1, 28, 28)
    np.testing.assert_array_equal(x[:, 0], COUNTED.x.astype(np.float32) / 255)
    assert build_model(compose("model=cnn"), 400).count_params() == 1_199_882


# What the store holds


def points(run_id: str, metric: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in mlflow.MlflowClient().get_metric_history(run_id, metric)]


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_store_holds_kerass_history_exactly(
    digits: Digits, request: pytest.FixtureRequest, tmp_path: Path, epochs: int
) -> None:
    cfg = experiment(request, f"epochs={epochs}", "model=mlp", "model.units=32")
    model = build_model(cfg, 400)
    with tracked_run(open_store(cfg.tracking), "run", {}) as run:
        tracker = TrackEpochs(run, Checkpoints(tmp_path, "fingerprint"), [], epochs)
        history = train(model, cfg, digits, [tracker]).history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for metric, values in history.items():
        assert points(run.id, metric) == list(enumerate(values))
    for metric in ("learning_rate", "epoch_seconds"):
        stored = points(run.id, metric)
        assert [step for step, _ in stored] == list(range(epochs))
        assert all(value > 0 for _, value in stored)
    assert {value for _, value in points(run.id, "learning_rate")} == {float(np.float32(0.001))}

    logged = mlflow.keras.load_model(f"runs:/{run.id}/model")
    images = np.concatenate([x for x, _ in evaluation_batches(digits.test).as_numpy_iterator()])
    np.testing.assert_array_equal(logged.predict(images, verbose=0), model.predict(images, verbose=0))


@pytest.fixture(scope="module")
def cfg() -> DictConfig:
    return compose(*SMALL, "optimizer=adam", "epochs=2", "batch_size=30", "tracking.experiment_name=finished")


@pytest.fixture(scope="module")
def finished(digits: Digits, cfg: DictConfig) -> Run:
    return fit_tracked(cfg, digits)


def artifact(run: Run, path: str) -> str:
    return mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{path}")


def test_a_run_ends_as_finished_under_a_name_that_says_what_it_is(finished: Run) -> None:
    assert finished.info.status == "FINISHED"
    assert finished.info.run_name == "adam small_cnn seed 0"
    assert "failure" not in finished.data.tags


def test_params_are_the_resolved_config_the_choices_and_kerass_optimizer(
    finished: Run, cfg: DictConfig
) -> None:
    params = finished.data.params
    assert params.items() >= {key: str(value) for key, value in flatten(cfg).items()}.items()
    assert params.items() >= CHOICES.items()
    assert params["keras_optimizer.name"] == "adam"
    assert float(params["keras_optimizer.learning_rate"]) == pytest.approx(0.001)


def test_tags_say_code_machine_and_data(finished: Run, digits: Digits) -> None:
    tags = finished.data.tags
    assert len(tags["fingerprint"]) == 16
    assert tags["data.sha256"] == digits.sha256
    assert tags["git.dirty"] in ("true", "false")
    assert len(tags["git.commit"]) == 40
    assert tags["threads"] == str(tf.config.threading.get_intra_op_parallelism_threads())
    assert tags["onednn"] in ("0", "1")
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}
    assert tags.items() >= (versions | {"mlflow": mlflow.__version__}).items()
    assert all(tags[key] for key in ("command", "cpu", "cores", "python", "hydra-core", "host_os"))
    assert "sweep" not in tags


def test_an_uncommitted_change_is_stored_with_the_run(finished: Run) -> None:
    files = {file.path for file in mlflow.MlflowClient().list_artifacts(finished.info.run_id)}
    assert ("uncommitted.diff" in files) == (finished.data.tags["git.dirty"] == "true")


def test_the_composed_config_and_the_models_summary_are_artifacts(finished: Run, cfg: DictConfig) -> None:
    assert OmegaConf.create(artifact(finished, "config.yaml")) == OmegaConf.create(
        OmegaConf.to_container(cfg, resolve=True)
    )
    summary = artifact(finished, "model.txt")
    assert "215,194" in summary
    assert "Conv2D" in summary


def test_the_data_set_is_an_input_with_a_digest_of_all_of_it(finished: Run, digits: Digits) -> None:
    assert finished.inputs
    (used,) = finished.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("mnist", digits.sha256[:16])
    assert str(ROOT / "src/handwriting/mnist.npz") in used.dataset.source


def test_the_test_set_is_read_once_at_the_end(finished: Run) -> None:
    for metric in ("test_loss", "test_accuracy"):
        assert [step for step, _ in points(finished.info.run_id, metric)] == [1]


def test_the_logged_model_loads_and_scores_the_same_to_the_bit(finished: Run, digits: Digits) -> None:
    logged = mlflow.keras.load_model(f"runs:/{finished.info.run_id}/model")
    assert weights_digest(logged) == finished.data.tags["weights.final"]
    outputs = [logged(images, training=False) for images, _ in evaluation_batches(digits.test)]
    right = np.concatenate(outputs)[np.arange(len(digits.test)), digits.test.y]
    assert finished.data.metrics["test_loss"] == pytest.approx(-np.log(right).mean(), rel=1e-6)
    predicted = np.concatenate(outputs).argmax(axis=1)
    assert finished.data.metrics["test_accuracy"] == (predicted == digits.test.y).mean()
    # Keras's own, which averages in float32.
    scores = logged.evaluate(evaluation_batches(digits.test), verbose=0, return_dict=True)
    for metric in ("loss", "accuracy"):
        assert scores[metric] == pytest.approx(finished.data.metrics[f"test_{metric}"], rel=1e-5)


def test_a_picture_of_the_wrong_digits_is_stored(finished: Run) -> None:
    path = mlflow.artifacts.download_artifacts(f"runs:/{finished.info.run_id}/mistakes.png")
    assert Path(path).read_bytes().startswith(b"\x89PNG")


def test_the_logged_model_has_a_signature_and_pinned_requirements(finished: Run) -> None:
    info = mlflow.models.get_model_info(f"runs:/{finished.info.run_id}/model")
    assert [column.shape for column in info.signature.inputs] == [(-1, 28, 28, 1)]
    assert [column.shape for column in info.signature.outputs] == [(-1, 10)]
    path = Path(mlflow.artifacts.download_artifacts(f"runs:/{finished.info.run_id}/model/requirements.txt"))
    lines = path.read_text().split()
    assert {line.partition("==")[0] for line in lines} >= {"keras", "tensorflow", "numpy", "mlflow"}
    assert all("==" in line for line in lines)


def test_the_same_config_ends_in_the_same_weights(digits: Digits, request: pytest.FixtureRequest) -> None:
    """With dropout and a last batch that is smaller."""
    cfg = experiment(request, "model=mlp", "model.units=32", "epochs=2", "batch_size=30")
    ends = [fit_tracked(cfg, digits).data for cfg.force in (False, True)]
    cfg.seed = 1
    other = fit_tracked(cfg, digits).data
    assert len(runs_in(cfg.tracking)) == 3
    for tag in ("weights.initial", "weights.final"):
        assert ends[0].tags[tag] == ends[1].tags[tag] != other.tags[tag]
    seconds = {"epoch_seconds", "training_seconds"}
    assert all(ends[0].metrics[key] == ends[1].metrics[key] for key in ends[0].metrics.keys() - seconds)


def test_a_run_after_another_goes_on_from_its_weights_and_to_other_orders(
    digits: Digits, request: pytest.FixtureRequest
) -> None:
    small = ("model=mlp", "model.units=32", "epochs=2", "optimizer.learning_rate=0.01")
    cfg = experiment(request, *small, "optimizer=adam", "start=after_rmsprop")
    first = before(cfg)
    assert first is not None
    assert first.optimizer == compose("optimizer=rmsprop").optimizer
    assert before(first) is None
    choices = {"model": "mlp", "data": "mnist"}
    start = run_once(first, digits, {**choices, "optimizer": "rmsprop", "start": "fresh"})
    run_once(cfg, digits, {**choices, "optimizer": "adam", "start": "after_rmsprop"}, start)
    second, one = runs_in(cfg.tracking)
    assert (second.info.run_name, one.info.run_name) == (
        "adam mlp after_rmsprop seed 0",
        "rmsprop mlp seed 0",
    )
    assert second.data.tags["weights.initial"] == one.data.tags["weights.final"]
    assert second.data.tags["starts_from"] == start == one.info.run_id
    assert second.data.params["start"] == "after_rmsprop"

    epoch = tf.Variable(0, dtype=tf.int64)
    seeding = SeedEpoch(0, epoch, first=2)
    seeding.set_model(build_model(cfg, 400))
    seeding.on_epoch_begin(1)
    assert int(epoch) == 3, "the order of an epoch that the first run has not seen"


def test_a_clock_that_jumps_back_loses_no_point(
    digits: Digits, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = experiment(request, "model=mlp", "model.units=32", "epochs=4")
    begin = TrackEpochs.on_epoch_begin

    def stop_at_2(self: TrackEpochs, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(TrackEpochs, "on_epoch_begin", stop_at_2)
        with pytest.raises(KeyboardInterrupt):
            fit_tracked(cfg, digits)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 86_400)
    fit_tracked(cfg, digits)
    (run,) = runs_in(cfg.tracking)
    assert run.info.status == "FINISHED"
    for metric in ("loss", "val_accuracy"):
        stored = points(run.info.run_id, metric)
        assert sorted(step for step, _ in stored) == [0, 1, 2, 3]
        assert run.data.metrics[metric] == dict(stored)[3], "the last epoch's, not the latest clock's"
    assert run.data.metrics["epoch_seconds"] > 0


def test_both_optimizers_start_from_the_same_weights() -> None:
    def start(*overrides: str) -> str:
        return weights_digest(build_model(compose(*SMALL, *overrides), 400))

    assert start("optimizer=adam") == start("optimizer=rmsprop") == start("seed=0") != start("seed=1")


def test_a_run_whose_loss_becomes_nan_fails_and_says_where(
    digits: Digits, request: pytest.FixtureRequest
) -> None:  # fmt: skip
    cfg = experiment(request, "model=mlp", "optimizer=sgd", "optimizer.learning_rate=1e20")
    said = "the loss became nan in epoch 1, step 1 to 16. Try a smaller optimizer.learning_rate than 1e+20"
    with pytest.raises(UserError) as caught:
        fit_tracked(cfg, digits)
    (run,) = runs_in(cfg.tracking)
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"] == f"UserError: {caught.value}"
    assert artifact(run, "traceback.txt").startswith("Traceback")
    assert not any(name.startswith("test_") for name in run.data.metrics)
    assert str(caught.value) == said


def test_no_password_gets_into_the_store(
    digits: Digits, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    uri = "postgresql://me:geheim@db.example:5432/mlflow"
    monkeypatch.setattr("sys.argv", ["train", f"tracking.uri={uri}"])
    cfg = experiment(request)
    experiment_id = open_store(cfg.tracking)
    cfg.tracking.uri = uri
    with tracked_run(experiment_id, "run", {"command": command_line()}) as run:
        log_setting(run, cfg, CHOICES, build_model(cfg, 400), "")
    stored: Any = mlflow.MlflowClient(store).get_run(run.id)
    assert stored.data.params["tracking.uri"] == "postgresql://***@db.example:5432/mlflow"
    assert "geheim" not in f"{stored.data.params}{stored.data.tags}{artifact(stored, 'config.yaml')}"
    assert "***@db.example" in artifact(stored, "config.yaml")
    assert "***@db.example" in stored.data.tags["command"]
