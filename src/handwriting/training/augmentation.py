"""Training images turned, scaled, sheared and shifted, each by amounts of its own in each epoch.

And test images seen from several places.
"""

import keras
import tensorflow as tf
from keras import layers

from handwriting.config import AugmentationConfig

AMOUNTS = 5  # rotation, scale, shear, shift across, shift up


def draw_amounts(count: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Return what happens to each of `count` images in an epoch: (count, 5), from -1 to 1.

    Depends only on (seed, epoch, index). Uses another key than the shuffle, so the two are independent.
    """
    key = tf.stack([tf.constant(seed, tf.int64), -1 - epoch])
    return tf.random.stateless_uniform((count, AMOUNTS), key, -1, 1)


def is_any(limits: AugmentationConfig) -> bool:
    """Tell whether anything is done to the images."""
    return bool(limits.rotation or limits.scale or limits.shear or limits.shift)


def distort(images: tf.Tensor, amounts: tf.Tensor, limits: AugmentationConfig) -> tf.Tensor:
    """Return images, float32, distorted about their middle; what comes in from outside is black.

    Args:
        images: (n, height, width, channels), or with the channels first where Keras is set so.
        amounts: (n, 5), from -1 to 1.
        limits: what 1 stands for.
    """
    angle, scale, shear, across, up = tf.unstack(amounts, axis=1)
    cos, sin = tf.cos(angle * limits.rotation), tf.sin(angle * limits.rotation)
    size, shear = 1 + scale * limits.scale, shear * limits.shear
    # From a place in the result to the place in the image: sheared, then turned, then over the size.
    xx, xy = cos / size, (cos * shear - sin) / size
    yx, yy = sin / size, (sin * shear + cos) / size
    first = keras.config.image_data_format() == "channels_first"
    height, width = images.shape[2:] if first else images.shape[1:3]
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    x = middle_x + across * limits.shift - xx * middle_x - xy * middle_y
    y = middle_y + up * limits.shift - yx * middle_x - yy * middle_y
    zero = tf.zeros_like(x)
    return keras.ops.image.affine_transform(images, tf.stack([xx, xy, x, yx, yy, y, zero, zero], axis=1))


def shifted(images: tf.Tensor, by: int) -> list[tf.Tensor]:
    """Return (2 * by + 1)² views of the images: shifted by -by to by pixels down and across, black around."""
    padded = layers.ZeroPadding2D(by)(images)
    places = [(place, 2 * by - place) for place in range(2 * by + 1)]
    return [layers.Cropping2D((rows, columns))(padded) for rows in places for columns in places]
