"""From checked arrays to batches: what an epoch sees is a pure function of (seed, epoch)."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from handwriting.config import AugmentationConfig
from handwriting.data import Split
from handwriting.training.augmentation import distort, draw_amounts, is_any

EVALUATION_BATCH = 500


def input_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return an image's shape, its channels last or first as Keras's setting says."""
    height, width, channels = image_shape
    first = keras.config.image_data_format() == "channels_first"
    return (channels, height, width) if first else (height, width, channels)


def training_batches(
    split: Split,
    classes: int,
    batch_size: int,
    seed: int,
    epoch: tf.Variable,
    augmentation: AugmentationConfig | None = None,
) -> tf.data.Dataset:
    """Return the batches of the epoch whose number, from 0, stands in `epoch` when iteration begins.

    The order is a stateless shuffle keyed by (seed, epoch), and so are the distortions: they need no history,
    so a resumed run sees what the undisturbed one would have seen. The last batch is the smaller rest.

    Args:
        split: images and labels.
        classes: how many there are.
        batch_size: images in a batch.
        seed: the run's.
        epoch: of type int64.
        augmentation: how far images are distorted at most; None for not at all.
    """
    count = len(split)
    steps = -(-count // batch_size)
    gather = _gatherer(split, classes)

    def batches_of_epoch(_: tf.Tensor) -> tf.data.Dataset:
        number = epoch.read_value()
        key = tf.stack([tf.constant(seed, tf.int64), number])
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=key)
        starts = tf.data.Dataset.range(0, count, batch_size)
        indices = starts.map(lambda start: order[start : start + batch_size])
        if augmentation is None or not is_any(augmentation):
            return indices.map(gather)
        amounts = draw_amounts(count, seed, number)

        def gather_distorted(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images, labels = gather(batch)
            return distort(images, tf.gather(amounts, batch), augmentation), labels

        return indices.map(gather_distorted)

    batches = tf.data.Dataset.from_tensors(0).flat_map(batches_of_epoch)
    return _prefetched(batches.apply(tf.data.experimental.assert_cardinality(steps)))


def evaluation_batches(split: Split, classes: int) -> tf.data.Dataset:
    """Return the whole of a split in its own order."""
    return _prefetched(
        tf.data.Dataset.range(len(split)).batch(EVALUATION_BATCH).map(_gatherer(split, classes))
    )


def _gatherer(split: Split, classes: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return what turns indices into images, float32 from 0 to 1 with a channel axis, and one-hot labels."""
    x = split.x if split.x.ndim == 4 else split.x[..., np.newaxis]
    if keras.config.image_data_format() == "channels_first":
        x = np.moveaxis(x, -1, 1)
    images, labels = tf.constant(x), tf.constant(split.y)

    def gather(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        one_hot = tf.one_hot(tf.gather(labels, batch), classes)
        chosen = tf.gather(images, batch)
        return tf.cast(chosen, tf.float32) / 255.0 if chosen.dtype == tf.uint8 else chosen, one_hot

    return gather


def _prefetched(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    # In TF 2.21 closing an iterator waits for autotune's sleeping thread: seconds in each epoch.
    options.autotune.enabled = False
    return batches.prefetch(4).with_options(options)
