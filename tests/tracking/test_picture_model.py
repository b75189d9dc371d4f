"""A stored model takes pictures as a user has them, by MLflow's own ways, and says what it cannot take."""

from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from conftest import Opened
from handwriting.tracking import Store, names
from handwriting.tracking.model import load_picture_model
from handwriting.tracking.picture_model import images_of
from handwriting.tracking.run import tracked_run

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)
PICTURES[:, 0, :2] = 0, 255
GREY, COLOUR = (4, 5, 1), (4, 5, 3)
CLASSES = ("no", "yes")


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    end = keras.layers.Dense(2, activation="softmax")
    model = keras.Sequential([keras.Input(GREY), keras.layers.Flatten(), end])
    model.compile("adam", "categorical_crossentropy")
    return model


@pytest.fixture(scope="module")
def stored(store: str) -> tuple[Opened, str, str]:
    """Return the store, the id of a run, and the address of its model."""
    opened = Store(store), Store(store).open_experiment("pictures")
    with tracked_run(*opened, "run", {}) as run:
        digests = run.log_model(network(), 0, PICTURES[:1], CLASSES)
        run.set_tags({names.FINAL_WEIGHTS: "5ea1", **digests})
    mlflow.set_tracking_uri(opened[0].uri)
    return opened, run.id, f"runs:/{run.id}/model"


@pytest.mark.parametrize(
    "picture",
    [
        PICTURES[0],
        PICTURES,
        PICTURES[..., None],
        PICTURES[0, ..., None],
        PICTURES / 255,
        (PICTURES / 255).astype(np.float32),
        PICTURES.astype(np.int64),
        PICTURES.astype(float),
        np.asfortranarray(PICTURES),
    ],
    ids=["one", "several", "channel", "one with channel", "to 1", "float32", "int64", "to 255.0", "fortran"],
)
def test_whatever_a_picture_is_given_as_its_probabilities_are_the_networks(
    stored: tuple[Opened, str, str], picture: np.ndarray
) -> None:
    found = mlflow.pyfunc.load_model(stored[2]).predict(picture)
    right = network().predict(PICTURES[: len(found), ..., None] / 255, verbose=0)
    assert list(found) == list(CLASSES)
    np.testing.assert_allclose(found, right, rtol=1e-5)


def test_mlflows_keras_model_has_the_scaling_within_it(stored: tuple[Opened, str, str]) -> None:
    right = network().predict(PICTURES[..., None] / np.float32(255), verbose=0)
    for pictures in (PICTURES, PICTURES[..., None], PICTURES / 255):
        model = mlflow.keras.load_model(stored[2])  # anew: Keras's predict takes one number of axes only
        np.testing.assert_allclose(model.predict(pictures, verbose=0), right, rtol=1e-5)


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        (PICTURES[:, :3], "numbers from 0 to 255, or from 0 to 1 where none is larger, of shape (4, 5), "
         "(n, 4, 5), (4, 5, 1) or (n, 4, 5, 1). Received: shape (3, 3, 5)"),
        (PICTURES.reshape(3, 20), "Received: shape (3, 20)"),
        (PICTURES[None, None], "Received: shape (1, 1, 3, 4, 5)"),
        (PICTURES[:0], "Received: shape (0, 4, 5)"),
        (np.float32(3), "Received: shape ()"),
        (PICTURES * np.float32(1.5), "Received: 0 to 382.5 in picture 0"),
        (PICTURES - 10.0, "Received: -10 to 245 in picture 0"),
        (np.where(PICTURES[1, 0, 0] == PICTURES, np.nan, PICTURES), "nan to nan in picture"),
        (PICTURES / 200, "Received: up to 1.275, which is neither"),
        (np.zeros((4, 5)), "nothing is on picture 0: all its values are 0"),
        (np.stack([PICTURES[0], np.full((4, 5), 255)]), "nothing is on picture 1: all its values are 255"),
        (np.array([["a", "b"]]), "Received: <U1"),
        ([[1, 2], [3]], "inhomogeneous shape"),
        (PICTURES.astype(complex), "Received: complex128"),
    ],
    ids=["height", "flat", "deep", "none", "number", "above 255", "below 0", "nan", "above 1", "empty",
         "full", "text", "ragged", "complex"],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_what_was_expected(pictures: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match="picture") as caught:
        images_of(pictures, GREY)
    assert said in str(caught.value)


def test_a_colour_picture_has_three_channels() -> None:
    picture = np.arange(60, dtype=np.uint8).reshape(COLOUR)
    np.testing.assert_array_equal(images_of(picture, COLOUR), picture[None] / np.float32(255))
    with pytest.raises(ValueError, match=r"\(4, 5, 3\) or \(n, 4, 5, 3\)\. Received: shape \(4, 5\)"):
        images_of(picture[..., 0], COLOUR)


def test_mlflow_is_told_what_is_wrong_as_a_mistake_of_the_caller(stored: tuple[Opened, str, str]) -> None:
    """Its server answers 400 then."""
    with pytest.raises(MlflowException, match="nothing is on picture 0") as caught:
        mlflow.pyfunc.load_model(stored[2]).predict(np.zeros((4, 5)))
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_our_way_gives_the_same_and_knows_the_images(stored: tuple[Opened, str, str]) -> None:
    opened, run_id, uri = stored
    ours = load_picture_model(opened[0], run_id)
    assert ours.facts["image_shape"] == list(GREY)
    assert ours.facts["classes"] == list(CLASSES)
    np.testing.assert_array_equal(ours.predict(PICTURES), mlflow.pyfunc.load_model(uri).predict(PICTURES))


def test_mlflow_loads_no_file_that_was_spoilt(opened: Opened) -> None:
    with tracked_run(*opened, "spoilt", {}) as run:
        run.log_model(network(), 0, PICTURES[:1], CLASSES)
    (model,) = opened[0].client.search_logged_models([opened[1]], f"source_run_id = '{run.id}'")
    file = Path(model.artifact_location.removeprefix("file://"), "data/model.keras")
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="is not what was stored"):
        mlflow.pyfunc.load_model(model.artifact_location)


def test_the_model_is_stored_without_what_it_was_trained_with(stored: tuple[Opened, str, str]) -> None:
    """An optimizer or a metric of a user's own need not be known where the model is used."""
    assert not mlflow.keras.load_model(stored[2]).compiled
