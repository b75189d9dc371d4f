"""How many multiplications and additions training takes, and those of the matrix product beside it."""

import math
from typing import TYPE_CHECKING

from handwriting.bench.implementations import MATRIX, PRODUCTS

if TYPE_CHECKING:  # TensorFlow takes 5 s to import
    import keras

MATMUL_FLOPS = 2 * MATRIX**3 * PRODUCTS  # of an epoch of the implementation `matmul`


def layer_flops(model: "keras.Model") -> list[int]:
    """Return the operations that each layer with a kernel needs for one image, forward.

    Convolutions and dense layers; the rest is less than a hundredth of them.
    """
    return [
        2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        if hasattr(layer, "kernel")
    ]


def epoch_flops(model: "keras.Model", images: int) -> int:
    """Return the operations of training on `images`, and of validating on a tenth as many.

    A step is three times the forward pass (it, the gradient of its weights and that of its input), less the
    gradient of the first layer's input, which nobody asks for.
    """
    layers = layer_flops(model)
    return images * (3 * sum(layers) - layers[0]) + images // 10 * sum(layers)
