"""The networks: what they are made of, and that each learns from images of any shape or says why not."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from made_images import channels, made_dataset

from conftest import CONF
from handwriting.config import compose
from handwriting.data import Dataset, Split, load_dataset
from handwriting.errors import UserError
from handwriting.training import build, fit
from handwriting.training.batches import evaluation_batches, training_batches
from handwriting.training.callbacks import SeedEpoch
from handwriting.training.checkpoint import weights_digest
from handwriting.training.models import build_cnn

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
SETS = ("47 classes in colour", "5 classes of floats", "digits8x8")
TOO_SMALL = {("small_cnn", "digits8x8"), ("deep_cnn", "digits8x8")}


@cache
def images_of(name: str) -> Dataset:
    if name == "digits8x8":
        return load_dataset(compose("data=digits8x8", "data.limit_train=60").data, 0)
    return made_dataset((32, 32, 3), 47, "uint8", 2) if "47" in name else made_dataset((28, 28), 5, "float32")


def test_cnn_is_the_notebooks(dataset: Dataset) -> None:
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
    assert [x.rate for x in model.layers if isinstance(x, layers.Dropout)] == [0.25, 0.5]
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
    for copied, ours in zip(as_written.layers[:2], model.layers[:2], strict=True):
        copied.set_weights(ours.get_weights())
    few = Split(dataset.train.x[:320], dataset.train.y[:320])
    start, trained = model.get_weights(), []
    for network in (model, as_written):
        network.set_weights(start)
        optimizer = build(compose("model=cnn"), dataset).model.optimizer
        network.compile(optimizer, loss="categorical_crossentropy")
        epoch = tf.Variable(0, dtype=tf.int64)
        batches = training_batches(few, 10, 32, 0, epoch)
        network.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=[SeedEpoch(0, epoch)])
        trained.append(weights_digest(network))
    assert trained[0] == trained[1]


@pytest.mark.parametrize(
    ("model", "parameters"),
    [("cnn", 1_199_882), ("mlp", 669_706), ("small_cnn", 215_194), ("deep_cnn", 354_858)],
)
def test_parameter_counts_are_those_that_the_files_state(
    dataset: Dataset, model: str, parameters: int
) -> None:
    assert build(compose(f"model={model}"), dataset).model.count_params() == parameters
    assert f"{parameters:,} parameters" in (CONF / f"model/{model}.yaml").read_text()


def test_images_are_standardised_by_what_the_training_images_are() -> None:
    cfg = compose("model=small_cnn")
    with np.load(cfg.data.path) as file:
        pixels = file["x_train"]
    assert (round(pixels.mean() / 255, 4), round(pixels.std() / 255, 4)) == (
        cfg.model.mean,
        cfg.model.deviation,
    )


@pytest.mark.parametrize("images", SETS)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_trains_on_any_images_or_says_why_not(name: str, images: str) -> None:
    dataset = images_of(images)
    cfg = compose(f"model={name}", "epochs=1", "batch_size=32")
    if (name, images) in TOO_SMALL:
        for order, shape in (("last", "(8, 8, 1)"), ("first", "(1, 8, 8)")):
            with channels(order), pytest.raises(UserError) as caught:
                build(cfg, dataset)
            said = f"model: {cfg.model._target_} needs larger images than {shape}; model=mlp takes any: "
            assert str(caught.value).startswith(said)
            assert "\n" not in str(caught.value)
        return
    model = build(cfg, dataset).model
    assert model.output_shape == (None, len(dataset.classes))
    start = model.get_weights()
    model.run_eagerly = True  # a quarter of the time: most of it traced two graphs for a few steps
    history = fit(model, cfg, dataset, []).history
    assert np.isfinite(list(history.values())).all()
    assert all((old != new).any() for old, new in zip(start, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_the_same_in_both_orders_of_channels(name: str) -> None:
    """The same shapes of weights, and of one batch the same outputs and gradients."""
    dataset, found = images_of("47 classes in colour"), []
    few = Split(dataset.train.x[:8], dataset.train.y[:8])
    for order, shape in (("last", (32, 32, 3)), ("first", (3, 32, 32))):
        with channels(order):
            model = build(compose(f"model={name}"), dataset).model
            assert model.input_shape == (None, *shape)
            images, labels = next(iter(evaluation_batches(few, 47)))
            with tf.GradientTape() as tape:
                outputs = model(images, training=False)
                loss = tf.reduce_mean(keras.losses.categorical_crossentropy(labels, outputs))
            found.append([outputs, *tape.gradient(loss, model.trainable_variables)])
    for last, first in zip(*found, strict=True):
        assert last.shape == first.shape
        np.testing.assert_allclose(last, first, rtol=1e-3, atol=1e-4)
