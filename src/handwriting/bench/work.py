"""What an image costs in floating-point work, and what the machine's own matrix product makes of it."""

import keras

from handwriting.bench.contestants import MATRIX, PRODUCTS

MATMUL_WORK = 2 * MATRIX**3 * PRODUCTS  # of a turn of the contestant `matmul`


def work_of_layers(model: keras.Model) -> list[int]:
    """Return the multiplications and additions that each layer with a kernel needs for one image, forward.

    Convolutions and dense layers; the rest is less than a hundredth of them.
    """
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, _ = layer.output.shape
            found.append(2 * height * width * layer.kernel.shape.num_elements())
        elif isinstance(layer, keras.layers.Dense):
            found.append(2 * layer.kernel.shape.num_elements())
    return found


def work_of_epoch(model: keras.Model, images: int) -> int:
    """Return the work of training on `images`, and of validating on a tenth as many.

    A step is three times the forward pass (it, the gradient of its weights and that of its input), less the
    gradient of the first layer's input, which nobody asks for.
    """
    layers = work_of_layers(model)
    return images * (3 * sum(layers) - layers[0]) + images // 10 * sum(layers)
