"""What a config names is made as its files say, or refused in one line."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from small_runs import experiment

from conftest import CONF, SMALL, fit_tracked, runs_in
from handwriting.config import compose
from handwriting.data import Dataset, Split
from handwriting.errors import UserError
from handwriting.training import build
from handwriting.training.batches import evaluation_batches, training_batches
from handwriting.training.building import within_memory
from handwriting.training.checkpoint import weights_digest

OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
TOP_2 = "{_target_: keras.metrics.TopKCategoricalAccuracy, k: 2, name: top_2_accuracy}"
F1 = "{_target_: keras.metrics.F1Score, average: macro}"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_a_training_step(dataset: Dataset, name: str) -> None:
    model = build(compose("model=mlp", "model.units=16", f"optimizer={name}"), dataset).model
    start = model.get_weights()
    few = Split(dataset.train.x[:32], dataset.train.y[:32])
    batches = training_batches(few, 10, 16, 0, tf.Variable(0, dtype=tf.int64))
    history = model.fit(batches, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all((old != new).any() for old, new in zip(start, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_set_as_its_file_says(dataset: Dataset, name: str) -> None:
    cfg = compose(f"optimizer={name}", "model=mlp", "model.units=4")
    resolved = build(cfg, dataset).model.optimizer.get_config()
    for key, value in cfg.optimizer.items():
        if key != "_target_":
            assert resolved[key] == (pytest.approx(value) if isinstance(value, float) else value)


def test_both_optimizers_start_from_the_same_weights(dataset: Dataset) -> None:
    def start(*overrides: str) -> str:
        return weights_digest(build(compose(*SMALL, *overrides), dataset).model)

    assert start("optimizer=adam") == start("optimizer=rmsprop") == start("seed=0") != start("seed=1")


def test_label_smoothing_is_kerass_and_off_unless_asked_for(dataset: Dataset) -> None:
    batch = next(iter(evaluation_batches(dataset.test, 10)))
    for smoothing in (0.0, 0.1):
        model = build(compose("model=mlp", "model.units=16", f"label_smoothing={smoothing}"), dataset).model
        right = batch[1].numpy() * (1 - smoothing) + smoothing / 10
        expected = -(right * np.log(model.predict(batch[0], verbose=0))).sum(axis=1).mean()
        assert model.evaluate(*batch, batch_size=500, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
    assert compose().label_smoothing == 0


def test_wrong_keywords_of_model_and_optimizer_are_the_users_mistake(dataset: Dataset) -> None:
    for override, group in (("+model.units=3", "model"), ("+optimizer.beta_1=0.9", "optimizer")):
        with pytest.raises(UserError, match=rf"^{group}: \S+ does not take these values: "):
            build(compose("optimizer=rmsprop", "model=cnn", override), dataset)


@pytest.mark.parametrize(
    ("metrics", "better"),
    [
        (TOP_2, {"better.top_2_accuracy": "more"}),
        (F1, {"better.f1_score": "more"}),
        ("{_target_: keras.metrics.MeanSquaredError}", {"better.mean_squared_error": "less"}),
        ("{_target_: keras.metrics.Sum}", {}),
        ("{_target_: keras.metrics.Sum, better: less}", {"better.sum": "less"}),
        (F1.replace("macro", "macro, better: less"), {"better.f1_score": "less"}),
        (f"{TOP_2}, {F1}", {"better.top_2_accuracy": "more", "better.f1_score": "more"}),
    ],
)
def test_a_metric_is_won_by_more_or_less_as_keras_or_the_config_says(
    metrics: str, better: dict[str, str], dataset: Dataset
) -> None:
    cfg = compose(f"metrics=[{metrics}]")
    assert build(cfg, dataset).better == better
    assert len(build(cfg, dataset).metrics) == len(cfg.metrics)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (f"{F1}, {F1}", "metrics[1] needs a name of its own: name=NAME. Received: f1_score"),
        (
            "{_target_: keras.metrics.CategoricalAccuracy, name: accuracy}",
            "metrics[0] needs a name of its own: name=NAME. Received: accuracy",
        ),
        (
            "{_target_: keras.metrics.Sum, name: epoch_seconds}",
            "metrics[0] needs a name of its own: name=NAME. Received: epoch_seconds",
        ),
        (
            f"{TOP_2}, {{_target_: keras.layers.ReLU}}",
            "metrics[1] must make a Keras Metric. Received: ReLU",
        ),
        (
            "{_target_: keras.metrics.F1Score, average: most}",
            "metrics[0]: keras.metrics.F1Score does not take these values: Invalid `average` argument value.",
        ),
        (
            "{_target_: keras.metrics.F1Score, beta: 2}",
            "metrics[0]: keras.metrics.F1Score does not take these values: F1Score.__init__() got an "
            "unexpected keyword argument 'beta'",
        ),
    ],
)
def test_a_wrong_metric_is_refused_in_one_line(dataset: Dataset, metrics: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        build(compose("model=mlp", f"metrics=[{metrics}]"), dataset)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_callbacks_are_made_in_their_order_and_what_is_none_is_refused(dataset: Dataset) -> None:
    names = ("EarlyStopping", "TerminateOnNaN")
    listed = ", ".join(f"{{_target_: keras.callbacks.{name}}}" for name in names)
    assert [
        type(made).__name__
        for made in build(compose("model=mlp", f"callbacks=[{listed}]"), dataset).callbacks
    ] == list(names)
    with pytest.raises(UserError) as caught:
        build(compose("model=mlp", f"callbacks=[{listed}, {F1}]"), dataset)
    assert str(caught.value) == "callbacks[2] must make a Keras Callback. Received: F1Score"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("needs_more", "import os\nimport not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("divides", "shares = [1, 2]\n\nhalf = 1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_wrong_in_ones_own_file_is_said_in_full(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / f"{name}.py"
    file.write_text(f"{text}\ndef tiny(input_shape, classes): ...\n")
    with pytest.raises(UserError) as caught:
        build(compose("model=cnn", f"model._target_={name}.tiny"), dataset)
    place = f"({file}, line {len(text.splitlines())})"
    assert str(caught.value) == f"model: {name}.tiny cannot be loaded: {said} {place}"


def test_an_error_within_ones_own_function_is_said_with_its_line(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "looks_up.py"
    file.write_text("def tiny(input_shape, classes):\n    return {}['wide']\n")
    with pytest.raises(UserError) as caught:
        build(compose("model=cnn", "model._target_=looks_up.tiny"), dataset)
    said = f"model: looks_up.tiny does not take these values: KeyError: 'wide' ({file}, line 2)"
    assert str(caught.value) == said


# More bytes than a process can address. TensorFlow waits 10 s for some to be freed, on any machine.
TOO_LARGE = """
import keras
from keras import layers

def to_build(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(10**15)])

def to_train(input_shape, classes):
    wide = [layers.Flatten(), layers.RepeatVector(2 * 10**9), layers.GlobalMaxPooling1D()]
    return keras.Sequential([keras.Input(input_shape), *wide, layers.Dense(classes, activation="softmax")])

class Slots(keras.optimizers.SGD):
    def build(self, variables):
        super().build(variables)
        self.add_variable((10**15,), name="slot")

def values(**named):
    raise MemoryError
"""


@pytest.fixture
def too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "too_large.py").write_text(TOO_LARGE)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "model._target_=too_large.to_build",
            "model: memory ran out when too_large.to_build was made: "
            "a tensor of 784 × 1000000000000000 (3,136,000,000.0 GB) did not fit",
        ),
        (
            "metrics=[{_target_: too_large.values}]",
            "metrics[0]: memory ran out when too_large.values was made: an object of Python's did not fit",
        ),
    ],
)
@pytest.mark.usefixtures("too_large")
def test_memory_that_runs_out_in_building_is_called_that(dataset: Dataset, override: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        build(compose("model=cnn", override), dataset)
    fewer = "Try a smaller one or, in a sweep, fewer jobs at once: hydra.launcher.jobs=N"
    assert str(caught.value) == f"{said}. {fewer}"


@pytest.mark.parametrize(
    ("override", "tensor", "parameters"),
    [
        ("model._target_=too_large.to_train", "32 × 1 × 2000000000 × 784 (200,704.0 GB)", "7,850"),
        ("optimizer._target_=too_large.Slots", "1000000000000000 (4,000,000.0 GB)", "1,199,882"),
    ],
)
@pytest.mark.usefixtures("too_large")
def test_memory_that_runs_out_in_training_fails_the_run_with_that_reason(
    dataset: Dataset, request: pytest.FixtureRequest, override: str, tensor: str, parameters: str
) -> None:
    cfg = experiment(request, "model=cnn", "optimizer=sgd", override)
    with pytest.raises(UserError) as caught:
        fit_tracked(cfg, dataset)
    assert str(caught.value) == (
        f"memory ran out: a tensor of {tensor} did not fit. The model has {parameters} parameters. "
        "Try a smaller batch_size than 32, a smaller model or, in a sweep, fewer jobs at once: "
        "hydra.launcher.jobs=N"
    )
    (run,) = runs_in(cfg.tracking)
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"] == f"UserError: {caught.value}"


def test_a_full_disk_is_not_called_memory(dataset: Dataset) -> None:
    cfg = compose("model=mlp", "model.units=16")
    with (
        pytest.raises(tf.errors.ResourceExhaustedError, match="No space left"),
        within_memory(cfg, build(cfg, dataset).model),
        tf.io.gfile.GFile("/dev/full", "w") as file,
    ):
        file.write("x")
