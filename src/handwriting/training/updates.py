"""Weights updated in one pass over memory, by kernels of TensorFlow's, in place of one pass an operation.

Adam's twelve passes are an eighth to a quarter of a step in bfloat16; LOG.md has what was measured. XLA
over the whole update was tried: a third of the gain, and most of a second to compile.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def in_one_pass(optimizer: keras.Optimizer) -> None:
    """Let a kernel make the optimizer's steps, if TensorFlow has one with its formula.

    Its config, its variables, and all that it does besides, such as decay and clipping, stay Keras's. A step
    is the same but for rounding. An optimizer of one's own keeps its own.
    """
    other = getattr(optimizer, "amsgrad", False) or getattr(optimizer, "centered", False)
    if type(optimizer) not in KERNELS or other:
        return
    apply, more = KERNELS[type(optimizer)]
    with_keras = optimizer.update_step

    def update_step(gradient: Any, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        if isinstance(gradient, tf.IndexedSlices):  # of an embedding: some of its rows
            return with_keras(gradient, variable, learning_rate)
        rate, gradient = (tf.cast(value, variable.dtype) for value in (learning_rate, gradient))
        place = optimizer._get_variable_index(variable)
        apply(var=variable.handle, lr=rate, grad=gradient, **more(optimizer, place, variable))
        return None

    optimizer.update_step = update_step


def _adam(optimizer: Any, place: int, variable: tf.Variable) -> dict[str, Any]:
    steps = tf.cast(optimizer.iterations + 1, variable.dtype)
    return {
        "m": optimizer._momentums[place].value.handle,
        "v": optimizer._velocities[place].value.handle,
        "beta1": optimizer.beta_1,
        "beta2": optimizer.beta_2,
        "beta1_power": tf.pow(tf.constant(optimizer.beta_1, variable.dtype), steps),
        "beta2_power": tf.pow(tf.constant(optimizer.beta_2, variable.dtype), steps),
        "epsilon": optimizer.epsilon,
    }


def _rmsprop(optimizer: Any, place: int, variable: tf.Variable) -> dict[str, Any]:
    momentum = _momentum(optimizer, optimizer._momentums, place, variable)
    return {
        "ms": optimizer._velocities[place].value.handle,
        "mom": momentum.handle,
        "rho": optimizer.rho,
        "momentum": optimizer.momentum,
        "epsilon": optimizer.epsilon,
    }


def _sgd(optimizer: Any, place: int, variable: tf.Variable) -> dict[str, Any]:
    momentum = _momentum(optimizer, optimizer.momentums, place, variable)
    return {"accum": momentum.handle, "momentum": optimizer.momentum, "use_nesterov": optimizer.nesterov}


def _momentum(optimizer: Any, momentums: list[Any], place: int, variable: tf.Variable) -> tf.Variable:
    """Return the optimizer's momentum or, where it has none, memory for the one that the kernel writes."""
    if optimizer.momentum:
        return momentums[place].value
    unused = vars(optimizer).setdefault("unused_momentums", {})
    if place not in unused:
        with tf.init_scope():
            unused[place] = tf.Variable(tf.zeros_like(variable))
    return unused[place]


KERNELS: dict[type, tuple[Callable[..., Any], Callable[[Any, int, tf.Variable], dict[str, Any]]]] = {
    keras.optimizers.Adam: (tf.raw_ops.ResourceApplyAdam, _adam),
    keras.optimizers.AdamW: (tf.raw_ops.ResourceApplyAdam, _adam),
    keras.optimizers.RMSprop: (tf.raw_ops.ResourceApplyRMSProp, _rmsprop),
    keras.optimizers.SGD: (tf.raw_ops.ResourceApplyKerasMomentum, _sgd),
}
