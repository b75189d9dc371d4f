"""Runs that compute in less than float32: the same start, the last layer in float32, the same bits again."""

from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from small_runs import experiment

from conftest import SMALL, fit_tracked
from handwriting.config import compose
from handwriting.data import Dataset
from handwriting.precision import FLOAT32, PRECISIONS
from handwriting.tracking import Store, names
from handwriting.tracking.model import load_model
from handwriting.training import build, fit
from handwriting.training.building import Built
from handwriting.training.checkpoint import Checkpoint, weights_digest

MLP = ["model=mlp", "model.units=8", "optimizer=adam", "epochs=2"]
TINY = [*SMALL, *MLP]
LOWER = [name for name in PRECISIONS if name != FLOAT32]


@pytest.fixture(autouse=True)
def _float32_again() -> Iterator[None]:
    yield
    keras.config.set_dtype_policy(FLOAT32)


def built(dataset: Dataset, precision: str, *more: str) -> Built:
    return build(compose(*TINY, f"precision={precision}", *more), dataset)


@pytest.mark.parametrize("model", ["mlp", "cnn", "small_cnn", "deep_cnn"])
def test_one_seed_gives_the_same_weights_in_each_precision(dataset: Dataset, model: str) -> None:
    digests = {weights_digest(build(compose(*SMALL, f"model={model}", f"precision={p}"), dataset).model)
               for p in PRECISIONS}  # fmt: skip
    assert len(digests) == 1


@pytest.mark.parametrize("precision", LOWER)
def test_layers_compute_in_it_and_weights_the_last_layer_and_the_loss_in_float32(
    dataset: Dataset, precision: str
) -> None:
    model = built(dataset, precision).model
    policies = [layer.dtype_policy.name for layer in model.layers]
    assert policies == [precision] * (len(policies) - 1) + [FLOAT32]
    assert {weight.dtype for weight in model.weights} == {FLOAT32}
    assert model(dataset.test.x[:2, ..., None] / np.float32(255)).dtype == tf.float32
    assert model.loss.dtype == FLOAT32


def nested(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Build a network of a user's own whose last layer is a network with a softmax as its last layer."""
    head = keras.Sequential([layers.Dense(classes), layers.Softmax()])
    image = keras.Input(input_shape)
    return keras.Model(image, head(layers.Flatten()(image)))


def test_a_network_of_ones_own_ends_in_float32_too(dataset: Dataset) -> None:
    target = f"model._target_={__name__}.nested"
    model = built(dataset, "mixed_bfloat16", target, "~model.units", "~model.dropout").model
    found = model(dataset.test.x[:2, ..., None] / np.float32(255))
    assert found.dtype == tf.float32
    assert np.asarray(found).sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_after_a_lower_precision_float32_is_float32_again(dataset: Dataset) -> None:
    built(dataset, "mixed_bfloat16")
    assert {layer.dtype_policy.name for layer in built(dataset, FLOAT32).model.layers} == {FLOAT32}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_run_has_the_same_bits_and_goes_on_from_a_checkpoint_to_them(
    dataset: Dataset, precision: str
) -> None:
    cfg = compose(*TINY, f"precision={precision}")

    def trained() -> tuple[keras.Model, Checkpoint]:
        model = build(cfg, dataset).model
        cfg.epochs = 1
        fit(model, cfg, dataset, [])
        half = Checkpoint.of(model, [{}])
        cfg.epochs = 2
        fit(model, cfg, dataset, [], trained=1)
        return model, half

    (model, half), (again, _) = trained(), trained()
    assert weights_digest(model) == weights_digest(again)
    resumed = build(cfg, dataset).model
    half.restore(resumed)
    fit(resumed, cfg, dataset, [], trained=1)
    assert weights_digest(resumed) == weights_digest(model)
    assert np.isfinite(np.concatenate([weight.ravel() for weight in model.get_weights()])).all()
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (precision == "mixed_float16")
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


def test_a_run_says_its_precision_and_its_model_answers_as_it_did(
    dataset: Dataset, request: pytest.FixtureRequest
) -> None:
    cfg = experiment(request, *MLP, "precision=mixed_bfloat16")
    run = fit_tracked(
        cfg, dataset, {"optimizer": "adam", "model": "mlp", "start": "fresh", "precision": FLOAT32}
    )
    assert run.data.tags[names.PRECISION] == run.data.params["precision"] == "mixed_bfloat16", (
        "not the member that an experiment file has overridden"
    )
    store = Store(cfg.tracking.uri)
    model = load_model(store, run.info.run_id)
    images = dataset.test.x[..., None] / np.float32(255)
    right = np.asarray(model(images)).argmax(axis=1) == dataset.test.y
    assert right.mean() == pytest.approx(run.data.metrics["test_accuracy"])
    assert model(images[:1]).dtype == tf.float32
    other = fit_tracked(experiment(request, *MLP), dataset)
    assert other.data.tags[names.FINGERPRINT] != run.data.tags[names.FINGERPRINT]
    assert other.data.tags[names.INITIAL_WEIGHTS] == run.data.tags[names.INITIAL_WEIGHTS]
    assert other.data.tags[names.FINAL_WEIGHTS] != run.data.tags[names.FINAL_WEIGHTS]
