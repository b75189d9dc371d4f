"""Steps by TensorFlow's kernels are those of Keras's optimizers, but for rounding; others are not touched."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import small_runs  # noqa: F401  sets TensorFlow's threads, before any model is built here
import tensorflow as tf

from conftest import CONF
from handwriting.config import compose
from handwriting.data import Dataset
from handwriting.training import build
from handwriting.training.updates import KERNELS, in_one_pass

SHAPES = ((300, 70), (70,))
STEPS = 100
optimizers = keras.optimizers
MADE: dict[str, Callable[[], Any]] = {
    "adam": lambda: optimizers.Adam(0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-3),
    "adam by a schedule": lambda: optimizers.Adam(optimizers.schedules.CosineDecay(0.01, STEPS)),
    "adam of large gradients": lambda: optimizers.Adam(0.01, clipnorm=0.1, weight_decay=0.01),
    "adam, averaged": lambda: optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.01, rho=0.8, epsilon=1e-3),
    "rmsprop with momentum": lambda: optimizers.RMSprop(0.01, momentum=0.8),
    "sgd": lambda: optimizers.SGD(0.1),
    "sgd with momentum": lambda: optimizers.SGD(0.1, momentum=0.8),
    "sgd with nesterov": lambda: optimizers.SGD(0.1, momentum=0.8, nesterov=True),
}


def stepped(optimizer: Any) -> list[np.ndarray]:
    """Return weights, and all that the optimizer keeps, after steps against gradients of all sizes."""
    rng = np.random.default_rng(0)
    weights = [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in SHAPES]
    optimizer.build(weights)
    apply = tf.function(optimizer.apply)
    for _ in range(STEPS):
        apply([tf.constant(rng.normal(scale=10 ** rng.uniform(-4, 0), size=s), tf.float32) for s in SHAPES])
    return [np.asarray(kept) for kept in (*weights, *optimizer.variables)]


@pytest.mark.parametrize("name", MADE)
def test_a_kernels_steps_are_kerass(name: str) -> None:
    with_keras, with_kernel = MADE[name](), MADE[name]()
    in_one_pass(with_kernel)
    assert "update_step" in vars(with_kernel)
    assert with_kernel.get_config() | {"name": ""} == with_keras.get_config() | {"name": ""}
    found, expected = stepped(with_kernel), stepped(with_keras)
    assert len(found) == len(expected)
    assert not np.allclose(expected[0], stepped(optimizers.SGD(0.0))[0], atol=1e-2), "it has learned"
    for ours, keras_has in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, keras_has, rtol=1e-5, atol=1e-5)


def test_a_kernel_is_taken_for_each_optimizer_of_conf_that_has_one(dataset: Dataset) -> None:
    taken = set()
    for path in (CONF / "optimizer").glob("*.yaml"):
        model = build(compose("model=mlp", "model.units=4", f"optimizer={path.stem}"), dataset).model
        if "update_step" in vars(model.optimizer):
            taken.add(type(model.optimizer))
    assert taken == set(KERNELS)


class Careful(keras.optimizers.Adam):
    """An optimizer of one's own, with steps of its own."""


@pytest.mark.parametrize(
    "optimizer",
    [optimizers.Adam(amsgrad=True), optimizers.RMSprop(centered=True), optimizers.Lion(), Careful()],
)
def test_what_has_another_formula_keeps_its_own_steps(optimizer: Any) -> None:
    in_one_pass(optimizer)
    assert "update_step" not in vars(optimizer)


def test_rows_of_an_embedding_are_updated_by_keras() -> None:
    def after(kernel: bool) -> np.ndarray:
        optimizer = optimizers.SGD(0.5, momentum=0.0)
        if kernel:
            in_one_pass(optimizer)
        weights = keras.Variable(np.ones((4, 2), "float32"))
        optimizer.build([weights])
        optimizer.apply([tf.IndexedSlices(tf.ones((1, 2)), tf.constant([2]), tf.constant([4, 2]))])
        return np.asarray(weights)

    assert after(kernel=True).tolist() == after(kernel=False).tolist() == [[1, 1], [1, 1], [0.5, 0.5], [1, 1]]
