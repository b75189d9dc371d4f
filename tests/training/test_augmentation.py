"""Images are distorted by what is asked for, each by amounts of its own, in both orders of channels."""

import numpy as np
import pytest
import tensorflow as tf
from made_images import COUNTED, channels, made_dataset, numbers

from handwriting.config import AugmentationConfig, compose
from handwriting.data import Dataset, Split
from handwriting.training.augmentation import draw_amounts, shifted
from handwriting.training.batches import evaluation_batches, input_shape, training_batches

BOTH = pytest.mark.parametrize("order", ["last", "first"])


def distorted(batch_size: int = 500, split: Split = COUNTED, **limits: float) -> np.ndarray:
    """Return an epoch's images in the order of `split`, (n, 28, 28)."""
    chosen = AugmentationConfig(**{"rotation": 0, "scale": 0, "shear": 0, "shift": 0, **limits})
    epoch = tf.Variable(4, dtype=tf.int64)
    drawn, plain = (
        list(training_batches(split, 10, batch_size, 3, epoch, augmentation))
        for augmentation in (chosen, None)
    )
    for (_, labels), (_, expected) in zip(drawn, plain, strict=True):
        np.testing.assert_array_equal(labels, expected, "in the order of images that are not distorted")
    order = np.concatenate([numbers(x) for x, _ in plain])
    return np.concatenate([x for x, _ in drawn])[np.argsort(order)].reshape(-1, 28, 28)


def test_an_images_distortion_is_a_function_of_seed_epoch_and_index(dataset: Dataset) -> None:
    amounts = draw_amounts(50, 3, tf.constant(4, tf.int64)).numpy()
    np.testing.assert_array_equal(amounts, draw_amounts(50, 3, tf.constant(4, tf.int64)).numpy())
    for seed, epoch in ((3, 5), (2, 4), (4, 3)):
        assert (amounts != draw_amounts(50, seed, tf.constant(epoch, tf.int64)).numpy()).mean() > 0.99
    assert len(np.unique(amounts)) == amounts.size
    few = Split(dataset.train.x[:50].copy(), dataset.train.y[:50])
    few.x[:, 0, 0] = np.arange(50)  # a number that the order is known by
    affine = compose("augmentation=affine").augmentation
    # Sines and cosines differ in their last bit with the size of the batch they are taken of.
    np.testing.assert_allclose(distorted(50, few, **affine), distorted(7, few, **affine), atol=1e-4)
    np.testing.assert_array_equal(distorted(50, few), few.x / np.float32(255))


@BOTH
def test_distortions_are_of_the_size_that_is_asked_for(order: str) -> None:
    """A bright bar in the middle: how far it goes, how large it is, how it leans."""
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

    with channels(order):
        moved, sized = distorted(split=bar, shift=3), distorted(split=bar, scale=0.2)
        turned, sheared = distorted(split=bar, rotation=0.3), distorted(split=bar, shear=0.3)
    for way in (rows, columns):
        assert ends(mean(way, moved)) == pytest.approx([-3, 3], abs=0.1)
    size = np.sqrt((sized * inside).sum(axis=(1, 2)) / 64)
    assert ends(size) == pytest.approx([0.8, 1.2], abs=0.03)
    across, up, both = (mean(of, turned) for of in (columns**2, rows**2, columns * rows))
    assert ends(np.arctan2(2 * both, up - across) / 2) == pytest.approx([-0.3, 0.3], abs=0.02)
    slope = mean(columns * rows, sheared) / mean(rows**2, sheared)
    assert ends(slope) == pytest.approx([-0.3, 0.3], abs=0.02)


@BOTH
def test_all_channels_of_an_image_are_distorted_alike(order: str) -> None:
    """Each channel as if it were the whole image; in colour, neither square nor of one channel by chance."""
    colour = made_dataset((32, 24, 3), 10, "uint8").train
    affine, epoch = compose("augmentation=affine").augmentation, tf.Variable(1, dtype=tf.int64)

    def batch(x: np.ndarray) -> np.ndarray:
        split = Split(x, colour.y)
        with channels(order):
            ((images, _),) = training_batches(split, 10, len(split), 0, epoch, affine).as_numpy_iterator()
        return images if order == "last" else np.moveaxis(images, 1, -1)

    together = batch(colour.x)
    assert together.shape == colour.x.shape
    plain = np.sort(colour.x.reshape(len(colour), -1).sum(axis=1)) / 255
    assert (np.sort(together.reshape(len(colour), -1).sum(axis=1)) != plain).all()
    for channel in range(3):
        np.testing.assert_allclose(together[..., channel], batch(colour.x[..., channel])[..., 0], atol=1e-5)


@BOTH
def test_distortions_are_the_same_in_both_orders_of_channels(order: str) -> None:
    colour, epoch = made_dataset((32, 32, 3), 47, "uint8", 2).train, tf.Variable(2, dtype=tf.int64)
    affine = compose("augmentation=affine").augmentation
    ((expected, _),) = training_batches(colour, 47, 94, 0, epoch, affine).as_numpy_iterator()
    with channels(order):
        ((images, _),) = training_batches(colour, 47, 94, 0, epoch, affine).as_numpy_iterator()
    np.testing.assert_allclose(images if order == "last" else np.moveaxis(images, 1, -1), expected, atol=1e-5)


@BOTH
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 24, 3)], ids=str)
def test_views_are_the_image_shifted_with_black_around(shape: tuple[int, int, int], order: str) -> None:
    split = Split(np.random.default_rng(0).random((3, *shape), np.float32), np.arange(3, dtype=np.int32))
    around = np.pad(split.x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    height, width, _ = shape
    expected = [around[:, y : y + height, x : x + width] for y in range(5) for x in range(5)]
    with channels(order):
        ((images, _),) = evaluation_batches(split, 3)
        assert images.shape == (3, *input_shape(shape))
        views = [view.numpy() for view in shifted(images, 2)]
        (alone,) = shifted(images, 0)
    np.testing.assert_array_equal(
        views if order == "last" else [np.moveaxis(view, 1, -1) for view in views], expected
    )
    np.testing.assert_array_equal(alone, images)
