"""From checked arrays to batches: what an epoch sees is a pure function of (seed, epoch)."""

import keras
import tensorflow as tf

from handwriting.data import IMAGE_SHAPE, Split

EVALUATION_BATCH = 500


def input_shape() -> tuple[int, ...]:
    """Return an image's shape with its one channel, last or first as Keras's setting says."""
    first = keras.config.image_data_format() == "channels_first"
    return (1, *IMAGE_SHAPE) if first else (*IMAGE_SHAPE, 1)


def training_batches(split: Split, batch_size: int, seed: int, epoch: tf.Variable) -> tf.data.Dataset:
    """Return the batches of the epoch whose number, from 0, stands in `epoch` when iteration begins.

    The order is a stateless shuffle keyed by (seed, epoch): it needs no history, so a resumed run sees
    what the undisturbed one would have seen. The last batch is the smaller rest.
    """
    count = len(split)
    steps = -(-count // batch_size)

    def batches_of_epoch(_: tf.Tensor) -> tf.data.Dataset:
        key = tf.stack([tf.constant(seed, tf.int64), epoch.read_value()])
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=key)
        starts = tf.data.Dataset.range(0, count, batch_size)
        return starts.map(lambda start: order[start : start + batch_size])

    batches = tf.data.Dataset.from_tensors(0).flat_map(batches_of_epoch)
    return _images(batches.apply(tf.data.experimental.assert_cardinality(steps)), split)


def evaluation_batches(split: Split) -> tf.data.Dataset:
    """Return the whole of a split in its own order."""
    return _images(tf.data.Dataset.range(len(split)).batch(EVALUATION_BATCH), split)


def _images(indices: tf.data.Dataset, split: Split) -> tf.data.Dataset:
    """Turn batches of indices into images, float32 from 0 to 1 with a channel axis, and labels."""
    shape = input_shape()
    images, labels = tf.constant(split.x.reshape(-1, *shape)), tf.constant(split.y)

    def gather(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(tf.gather(images, batch), tf.float32) / 255.0, tf.gather(labels, batch)

    options = tf.data.Options()
    # In TF 2.21 closing an iterator waits for autotune's sleeping thread: seconds in each epoch.
    options.autotune.enabled = False
    return indices.map(gather).prefetch(4).with_options(options)
