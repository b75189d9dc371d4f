"""From checked arrays to batches: what an epoch sees is a pure function of (seed, epoch)."""

from collections.abc import Callable

import keras
import tensorflow as tf

from handwriting.augment import amounts, distort, is_any
from handwriting.config import AugmentationConfig
from handwriting.data import CLASSES, IMAGE_SHAPE, Split

EVALUATION_BATCH = 500


def input_shape() -> tuple[int, ...]:
    """Return an image's shape with its one channel, last or first as Keras's setting says."""
    first = keras.config.image_data_format() == "channels_first"
    return (1, *IMAGE_SHAPE) if first else (*IMAGE_SHAPE, 1)


def training_batches(
    split: Split, batch_size: int, seed: int, epoch: tf.Variable, most: AugmentationConfig | None = None
) -> tf.data.Dataset:
    """Return the batches of the epoch whose number, from 0, stands in `epoch` when iteration begins.

    The order is a stateless shuffle keyed by (seed, epoch), and so are the distortions: they need no history,
    so a resumed run sees what the undisturbed one would have seen. The last batch is the smaller rest.

    Args:
        split: images and labels.
        batch_size: images in a batch.
        seed: the run's.
        epoch: of type int64.
        most: how far images are distorted; None for not at all.
    """
    count = len(split)
    steps = -(-count // batch_size)
    gather = _gatherer(split)

    def batches_of_epoch(_: tf.Tensor) -> tf.data.Dataset:
        number = epoch.read_value()
        key = tf.stack([tf.constant(seed, tf.int64), number])
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=key)
        starts = tf.data.Dataset.range(0, count, batch_size)
        indices = starts.map(lambda start: order[start : start + batch_size])
        if most is None or not is_any(most):
            return indices.map(gather)
        by = amounts(count, seed, number)

        def gather_distorted(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images, labels = gather(batch)
            return distort(images, tf.gather(by, batch), most), labels

        return indices.map(gather_distorted)

    batches = tf.data.Dataset.from_tensors(0).flat_map(batches_of_epoch)
    return _ahead(batches.apply(tf.data.experimental.assert_cardinality(steps)))


def evaluation_batches(split: Split) -> tf.data.Dataset:
    """Return the whole of a split in its own order."""
    return _ahead(tf.data.Dataset.range(len(split)).batch(EVALUATION_BATCH).map(_gatherer(split)))


def _gatherer(split: Split) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return what turns indices into images, float32 from 0 to 1 with a channel axis, and one-hot labels."""
    shape = input_shape()
    images, labels = tf.constant(split.x.reshape(-1, *shape)), tf.constant(split.y)

    def gather(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        digits = tf.one_hot(tf.gather(labels, batch), CLASSES)
        return tf.cast(tf.gather(images, batch), tf.float32) / 255.0, digits

    return gather


def _ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    # In TF 2.21 closing an iterator waits for autotune's sleeping thread: seconds in each epoch.
    options.autotune.enabled = False
    return batches.prefetch(4).with_options(options)
