"""Every key: what it is, which values are right, and how a mistyped one is recognised.

Checks, error messages and `--help` all read this table. A key of an open group that is not in it is free.
"""

import difflib
import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple


class Key(NamedTuple):
    """What a key is, which values are right, and a test of a number that not every number passes."""

    what: str
    right: str
    holds: Callable[[Any], bool] | None = None


_WIDTH, _COLUMN = 100, 38  # of --help, and where its second column begins
_CALLED = "MODULE.NAME"
_TOLD = Key("", "told to a job by its sweep")  # nothing that a user sets, so not in --help

KEYS: dict[str, Key] = {
    "optimizer._target_": Key("what makes it; +optimizer.NAME=VALUE adds an argument", _CALLED),
    "optimizer.learning_rate": Key(
        "step size; the highest one of a schedule", "a number > 0", lambda x: 0 < x < math.inf
    ),
    "optimizer.momentum": Key(
        "share of the last update kept", "a number from 0 to below 1", lambda x: 0 <= x < 1
    ),
    "optimizer.rho": Key(
        "decay of the mean squared gradient", "a number from 0 to below 1", lambda x: 0 <= x < 1
    ),
    "optimizer.beta_1": Key(
        "decay of the first running mean", "a number from 0 to below 1", lambda x: 0 <= x < 1
    ),
    "optimizer.beta_2": Key(
        "decay of the second running mean", "a number from 0 to below 1", lambda x: 0 <= x < 1
    ),
    "optimizer.epsilon": Key("keeps a divisor off 0", "a number > 0", lambda x: 0 < x < math.inf),
    "optimizer.weight_decay": Key(
        "decay of the weights beside the loss",
        "a number >= 0, or null",
        lambda x: x is None or 0 <= x < math.inf,
    ),
    "optimizer.nesterov": Key("Nesterov's momentum", "true or false"),
    "optimizer.centered": Key("use the gradient's variance, not its mean square", "true or false"),
    "optimizer.amsgrad": Key("divide by the largest mean square so far", "true or false"),
    "schedule._target_": Key("what makes it from the peak rate and the number of steps", _CALLED),
    "schedule.warmup": Key(
        "share of the steps on the way up", "a number above 0 and below 1", lambda x: 0 < x < 1
    ),
    "model._target_": Key("what makes it from an image's shape and the number of classes", _CALLED),
    "model.units": Key(
        "width of the hidden layers", "a whole number, at least 1", lambda x: isinstance(x, int) and x >= 1
    ),
    "model.dropout": Key("share dropped in training", "a number from 0 to below 1", lambda x: 0 <= x < 1),
    "model.mean": Key("of the training images' pixels, from 0 to 1", "a number"),
    "model.deviation": Key("standard deviation of these pixels", "a number > 0", lambda x: 0 < x < math.inf),
    "data.path": Key("the images", "an .npz file, a folder of pictures or sklearn:digits"),
    "data.sha256": Key("what the file's digest must be", "64 hex digits, or null to accept any file"),
    "data.validation_size": Key(
        "training images for validation, the same share of each class",
        "a whole number, at least 2, one for each class",
        lambda x: x >= 2,
    ),
    "data.validation_on_test": Key("train on all images and watch the test set", "true or false"),
    "data.limit_train": Key(
        "use only so many training images",
        "a whole number, at least 2, or null for all",
        lambda x: x is None or x >= 2,
    ),
    "data.limit_test": Key(
        "use only so many test images",
        "a whole number, at least 1, or null for all",
        lambda x: x is None or x >= 1,
    ),
    "augmentation.rotation": Key(
        "turns a training image by up to so much",
        "a number from 0 to 3.1416, in radians",
        lambda x: 0 <= x <= 3.1416,
    ),
    "augmentation.scale": Key(
        "makes it larger or smaller by up to so much",
        "a number from 0 to below 1, a share of its size",
        lambda x: 0 <= x < 1,
    ),
    "augmentation.shear": Key(
        "slants it by up to so much",
        "a number >= 0, pixels to the side for each pixel up",
        lambda x: 0 <= x < math.inf,
    ),
    "augmentation.shift": Key(
        "moves it by up to so much, across and up",
        "a number >= 0, in pixels",
        lambda x: 0 <= x < math.inf,
    ),
    "tracking.uri": Key(
        "where runs are stored", "a database or a server, such as sqlite:////folder/mlflow.db"
    ),
    "tracking.mode": Key(
        "of a shared store: written here and copied there meanwhile, or there at once",
        "local_first or direct",
    ),
    "tracking.experiment_name": Key("the MLflow experiment that holds them", "a name"),
    "tracking.checkpoints": Key(
        "where another machine finds them; null: nowhere",
        "a folder from its / on, an address such as s3://BUCKET/FOLDER, or null",
    ),
    "tracking.sweep": _TOLD,
    "tracking.arm": _TOLD,
    "tracking.label": _TOLD,
    "tracking.tuning": _TOLD,
    "tracking.retries": _TOLD,
    "start.optimizer": Key(
        "starts from the weights of a run with this optimizer",
        "an optimizer, or null for random weights",
    ),
    "metrics": Key(
        "yours, beside loss and accuracy", "a list, as [{_target_: keras.metrics.F1Score, average: macro}]"
    ),
    "callbacks": Key(
        "yours, after ours", "a list, as [{_target_: keras.callbacks.EarlyStopping, monitor: val_loss}]"
    ),
    "batch_size": Key("images in a training step", "a whole number, at least 1", lambda x: x >= 1),
    "epochs": Key("passes over the training images", "a whole number, at least 1", lambda x: x >= 1),
    "label_smoothing": Key(
        "share of a label spread over all classes; in loss and val_loss, not in test_loss",
        "a number from 0 to below 1",
        lambda x: 0 <= x < 1,
    ),
    "test_shift": Key(
        "a test image is read as the mean of its views, shifted by up to so much",
        "a whole number from 0 to 3, in pixels; 0 reads each once, as it is",
        lambda x: 0 <= x <= 3,
    ),
    "precision": Key(
        "what layers compute in; weights, last layer and loss are float32",
        "a member of the group precision",
    ),
    "seed": Key(
        "initial weights, dropout, order of examples, validation split",
        "a whole number from 0 to 4294967295, or a sweep's until_clear",
        lambda x: isinstance(x, int) and 0 <= x < 2**32,
    ),
    "threads": Key(
        "TensorFlow's threads",
        "a whole number, at least 1, or null to share the cores among the jobs",
        lambda x: x is None or x >= 1,
    ),
    "hydra.launcher.jobs": Key(
        "jobs of a sweep at once",
        "a whole number, at least 1, or null for as many as cores and memory allow",
        lambda x: x is None or x >= 1,
    ),
    "hydra.launcher.address": Key("of a Ray cluster", "HOST:PORT, or null to make one of this machine"),
    "hydra.launcher.num_gpus": Key(
        "GPUs of each job", "a number >= 0, such as 0.5 to share one", lambda x: 0 <= x < math.inf
    ),
    "hydra.launcher.cluster": Key("that submitit hands jobs to", "slurm, or local for this machine"),
    "hydra.launcher.partition": Key("Slurm's", "a name, or null for Slurm's default"),
    "hydra.launcher.timeout_min": Key(
        "when Slurm ends a job", "a whole number of minutes, at least 1", lambda x: x >= 1
    ),
    "hydra.launcher.mem_gb": Key("memory of each job", "gigabytes, a number > 0", lambda x: 0 < x < math.inf),
    "hydra.launcher.queued": Key(
        "jobs in the queue or at work at a time", "a whole number, at least 1", lambda x: x >= 1
    ),
    "hydra.launcher.more": Key("other options of sbatch", "{NAME: VALUE}, such as {account: lab}, or null"),
    "hydra.launcher.retries": Key(
        "how often a job is begun again that was lost, or whose time was over",
        "a whole number, at least 0",
        lambda x: x >= 0,
    ),
    "force": Key("run again what is finished", "true or false"),
    "margin": Key(
        "a difference between arms that does not matter",
        "a number > 0, in points of test accuracy",
        lambda x: 0 < x < math.inf,
    ),
    "arms": Key(
        "the arms of a sweep by name, each with overrides of its own",
        'as {small: "batch_size=32", large: "batch_size=128 epochs=5"}, or null',
    ),
    "tuning": Key(
        "what python -m handwriting.tune tries for each arm, before it judges them",
        "a file in conf/tuning, or null",
    ),
}


def key_of(name: str) -> Key | None:
    """Return the entry of a key; the other optimizer that a run starts from has those of `optimizer`."""
    return KEYS.get(name) or KEYS.get(name.removeprefix("start."))


def holds(key: Key, value: Any) -> bool:
    """Tell whether a value is a number, or null, and passes the key's test."""
    if key.holds is None:
        return True
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        return False
    try:
        return bool(key.holds(value))
    except TypeError:  # null where a number must stand
        return False


def nearest_key(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'optimizer.learning_rate'?" for optimizer.lr; nothing where no key is like it."""
    found = meant(name, known)
    return f" Did you mean '{found}'?" if found else ""


def meant(name: str, known: Iterable[str]) -> str:
    """Return the key that a mistyped one means, or "".

    Their last parts are alike: the initials `lr`, a slip such as `batchsize`, or a part such as `rate`.
    """
    group, _, last = name.lower().rpartition(".")
    known = [key for key in known if key != name]
    near = [key for key in known if key.rpartition(".")[0] == group] if group else []
    by_last: dict[str, str] = {}
    for key in sorted(near or known, key=lambda key: key.count(".")):
        by_last.setdefault(key.rpartition(".")[2].lower(), key)
    asked = _letters(last)
    found = [word for word in by_last if "".join(part[:1] for part in word.split("_")) == asked]
    found += difflib.get_close_matches(last, by_last, n=1)
    found += [word for word in by_last if len(asked) > 2 and asked in _letters(word)]
    return by_last[found[0]] if found else ""


def _letters(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word)


def table(values: Mapping[str, Any]) -> str:
    """Return the lines of `--help`: each KEY=VALUE with what it is and which values are right."""
    lines = []
    for name, value in values.items():
        key = key_of(name)
        if key is _TOLD:
            continue
        given = f"{name}={_shown(value)}"
        if len(given) > _WIDTH:  # of a path the end says more
            given = f"{name}=…{given[len(name) + 2 - _WIDTH :]}"
        text = textwrap.wrap(f"{key.what}: {key.right}", _WIDTH - _COLUMN) if key else []
        if text and len(given) < _COLUMN - 1:
            given = given.ljust(_COLUMN) + text.pop(0)
        lines += [given, *(" " * _COLUMN + line for line in text)]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    """Return a value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)
