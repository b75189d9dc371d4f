"""What a config names, made: the compiled model with its schedule, optimizer and metrics; callbacks."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import hydra
import keras
import tensorflow as tf
from omegaconf import DictConfig

from handwriting.config import parts
from handwriting.data import Dataset
from handwriting.errors import UserError
from handwriting.precision import FLOAT32
from handwriting.targets import why
from handwriting.tracking import names
from handwriting.training.batches import input_shape
from handwriting.training.updates import in_one_pass

STEPS_PER_EXECUTION = 32  # of the batches that TensorFlow runs before Python has a turn
FEWER_JOBS = "in a sweep, fewer jobs at once: hydra.launcher.jobs=N"


@dataclass(frozen=True)
class Built:
    """What a run is trained with.

    Args:
        model: compiled.
        callbacks: the user's.
        metrics: the user's; the model computes them too.
        better: the tags that say of these whether more or less is better, where that is known.
    """

    model: keras.Model
    callbacks: list[keras.callbacks.Callback]
    metrics: list[keras.metrics.Metric]
    better: dict[str, str]


def build(cfg: DictConfig, dataset: Dataset) -> Built:
    """Build all that the config names. One seed gives the same weights, whatever optimizer and precision.

    A schedule is as long as all of the run's steps.

    Raises:
        UserError: something that a `_target_` names cannot be loaded, does not take what the config gives, or
            is of another kind, or does not fit into memory; or two metrics have one name.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(cfg.seed)
    keras.config.set_dtype_policy(cfg.precision)
    named = dict(parts(cfg))
    shape = input_shape(dataset.image_shape)
    model = _made("model", named["model"], input_shape=shape, classes=len(dataset.classes))
    _last_layer(model).dtype_policy = FLOAT32  # in less, probabilities and the loss would lose digits
    steps = cfg.epochs * -(-len(dataset.train) // cfg.batch_size)
    rate = _made("schedule", named["schedule"], peak=cfg.optimizer.learning_rate, steps=steps)
    optimizer = _made("optimizer", named["optimizer"], learning_rate=rate)
    in_one_pass(optimizer)
    metrics: list[keras.metrics.Metric] = []
    callbacks: list[keras.callbacks.Callback] = []
    better: dict[str, str] = {}
    taken = {names.ACCURACY, names.LOSS, names.LEARNING_RATE, names.EPOCH_SECONDS}
    for key, part in named.items():
        if key.startswith("callbacks"):
            callbacks.append(_checked(key, _made(key, part), keras.callbacks.Callback))
        elif key.startswith("metrics"):
            told = part.pop("better", None)
            metric = _checked(key, _made(key, part), keras.metrics.Metric)
            if metric.name in taken:
                raise UserError(f"{key} needs a name of its own: name=NAME. Received: {metric.name}")
            taken.add(metric.name)
            metrics.append(metric)
            # What Keras's own callbacks go by, such as EarlyStopping(mode="auto"); a user's own has none.
            keras_says = {"up": "more", "down": "less"}.get(getattr(metric, "_direction", None) or "", "")
            better |= {names.BETTER + metric.name: told or keras_says} if told or keras_says else {}
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=cfg.label_smoothing),
        metrics=[names.ACCURACY, *metrics],
        steps_per_execution=STEPS_PER_EXECUTION,
        jit_compile=False,  # XLA takes five times as long for this network on a CPU
    )
    return Built(model, callbacks, metrics, better)


@contextmanager
def within_memory(cfg: DictConfig, model: keras.Model) -> Iterator[None]:
    """Work with a built model.

    Raises:
        UserError: memory ran out; says for what, how large the model is, and what would help.
    """
    try:
        yield
    except Exception as error:
        what = _too_large(error)
        if what is None:
            raise
        size = f" The model has {model.count_params():,} parameters." if model.built else ""
        raise UserError(
            f"memory ran out: {what}.{size} Try a smaller batch_size than {cfg.batch_size}, "
            f"a smaller model or, {FEWER_JOBS}"
        ) from error


def _too_large(error: BaseException | None) -> str | None:
    """Return what did not fit into memory, or None where an error has another cause."""
    while error is not None:
        text = str(error)
        if isinstance(error, MemoryError):
            return text or "an object of Python's did not fit"
        if isinstance(error, tf.errors.ResourceExhaustedError):
            if found := re.search(r"shape\[([\d,]+)\] and type (\w+)", text):
                return _tensor(found[1].split(","), found[2])
            # Other allocators name no shape; a full disk is the same error, and not meant.
            if found := re.search(r".*(?:memory|alloc).*", text, re.IGNORECASE):
                return found[0].strip()
        # What TensorFlow says of zeros that do not fit, such as an optimizer begins with.
        if isinstance(error, tf.errors.InvalidArgumentError) and "Cannot parse tensor from proto" in text:
            proto = text.rpartition("Cannot parse tensor from proto")[2]
            return _tensor(re.findall(r"size: (\d+)", proto), re.findall(r"DT_(\w+)", proto)[0].lower())
        error = error.__cause__ or error.__context__
    return None


def _tensor(shape: list[str], dtype: str) -> str:
    size = math.prod(map(int, shape)) * tf.as_dtype(dtype).size / 1e9
    return f"a tensor of {' × '.join(shape)} ({size:,.1f} GB) did not fit"


def _made(key: str, part: Mapping[str, Any], **more: Any) -> Any:
    """Return what a `_target_` makes of its arguments."""
    target = part["_target_"]
    try:
        hydra.utils.get_object(target)
    except Exception as error:
        raise UserError(f"{key}: {target} cannot be loaded: {why(error)}") from error
    try:
        return hydra.utils.instantiate(dict(part), **more)
    except hydra.errors.InstantiationException as error:
        if (what := _too_large(error)) is not None:
            raise UserError(
                f"{key}: memory ran out when {target} was made: {what}. Try a smaller one or, {FEWER_JOBS}"
            ) from error
        reason = why(error)
        if "input_shape" in more and "output size would be zero or negative" in reason:  # Keras's words
            said = f"needs larger images than {more['input_shape']}; model=mlp takes any"
        else:
            said = "does not take these values"
        raise UserError(f"{key}: {target} {said}: {reason}") from error


def _last_layer(model: keras.Layer) -> keras.Layer:
    while isinstance(model, keras.Model) and model.layers:
        model = model.layers[-1]
    return model


def _checked(key: str, made: Any, kind: type) -> Any:
    if not isinstance(made, kind):
        raise UserError(f"{key} must make a Keras {kind.__name__}. Received: {type(made).__name__}")
    return made
