"""How images are framed is learned from the images, so that a user's picture can be made like them."""

import dataclasses

import numpy as np
import pytest

from handwriting.config import compose
from handwriting.data import Ink, ink_of, load_dataset

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def mnist() -> np.ndarray:
    return load_dataset(compose("data=mnist").data, seed=0).train.x


def test_mnist_is_ink_of_20_pixels_by_its_centre_of_mass(mnist: np.ndarray) -> None:
    """As its makers say: size-normalised into 20 by 20, centred by mass in 28 by 28."""
    found = ink_of(mnist)
    assert found is not None
    assert (found.box, found.ground, found.by_mass) == (20, 0, True)
    assert 2 < found.stroke < 3


def test_dark_ink_on_light_is_known_as_such(mnist: np.ndarray) -> None:
    light, dark = ink_of(mnist), ink_of(255 - mnist)
    assert light is not None
    assert dark == dataclasses.replace(light, ground=1)


def test_scikit_learns_digits_fill_their_eight_pixels() -> None:
    found = ink_of(load_dataset(compose("data=digits8x8").data, seed=0).train.x)
    assert found is not None
    assert (found.box, found.ground, found.by_mass) == (8, 0, False)


@pytest.mark.parametrize(
    "images",
    [
        RNG.random((50, 16, 16)),
        RNG.integers(0, 256, (50, 16, 16, 3), np.uint8),
        np.zeros((50, 16, 16), np.uint8),
        np.stack([np.pad(np.ones((size, size)), (4, 16 - size)) for size in range(2, 12)]),
    ],
    ids=["noise", "colour", "empty", "of many sizes"],
)
def test_other_images_are_taken_whole(images: np.ndarray) -> None:
    assert ink_of(images) is None


def test_what_is_known_of_the_ink_goes_through_json(mnist: np.ndarray) -> None:
    found = ink_of(mnist)
    assert found is not None
    assert Ink.from_json(found.as_json()) == found
    assert Ink.from_json(None) is None
