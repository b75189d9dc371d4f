"""Training images turned, scaled, sheared and shifted, each by amounts of its own in each epoch.

And test images seen from several places.
"""

import keras
import tensorflow as tf
from keras import layers

from handwriting.config import AugmentationConfig
from handwriting.data import IMAGE_SHAPE

AMOUNTS = 5  # rotation, scale, shear, shift across, shift up


def amounts(count: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Return what happens to each of `count` images in an epoch: (count, 5), from -1 to 1.

    A pure function of (seed, epoch, index), as the order of examples is; of another key than that.
    """
    key = tf.stack([tf.constant(seed, tf.int64), -1 - epoch])
    return tf.random.stateless_uniform((count, AMOUNTS), key, -1, 1)


def is_any(most: AugmentationConfig) -> bool:
    """Tell whether anything is done to the images."""
    return bool(most.rotation or most.scale or most.shear or most.shift)


def distort(images: tf.Tensor, by: tf.Tensor, most: AugmentationConfig) -> tf.Tensor:
    """Return images, float32, distorted about their middle; what comes in from outside is black.

    Args:
        images: (n, height, width, 1), or with the channel first where Keras is set so.
        by: (n, 5), from -1 to 1.
        most: what 1 stands for.
    """
    angle, scale, shear, across, up = tf.unstack(by, axis=1)
    cos, sin = tf.cos(angle * most.rotation), tf.sin(angle * most.rotation)
    size, shear = 1 + scale * most.scale, shear * most.shear
    # From a place in the result to the place in the image: sheared, then turned, then over the size.
    xx, xy = cos / size, (cos * shear - sin) / size
    yx, yy = sin / size, (sin * shear + cos) / size
    middle_x, middle_y = (IMAGE_SHAPE[1] - 1) / 2, (IMAGE_SHAPE[0] - 1) / 2
    x = middle_x + across * most.shift - xx * middle_x - xy * middle_y
    y = middle_y + up * most.shift - yx * middle_x - yy * middle_y
    zero = tf.zeros_like(x)
    return keras.ops.image.affine_transform(images, tf.stack([xx, xy, x, yx, yy, y, zero, zero], axis=1))


def shifted(images: tf.Tensor, by: int) -> list[tf.Tensor]:
    """Return (2 * by + 1)² views of the images: shifted by -by to by pixels down and across, black around."""
    padded = layers.ZeroPadding2D(by)(images)
    places = [(place, 2 * by - place) for place in range(2 * by + 1)]
    return [layers.Cropping2D((rows, columns))(padded) for rows in places for columns in places]
