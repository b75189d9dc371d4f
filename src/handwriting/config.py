"""The typed schema of the configuration, and what of it is refused before TensorFlow is imported.

Importing it makes the schema and the resolvers that conf/ uses known to Hydra.
"""

import copy
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from handwriting.errors import UserError, nearest
from handwriting.targets import check_target

ROOT = Path(__file__).parents[2]
GROUPS = ("optimizer", "schedule", "model", "data", "augmentation", "start")  # that decide a result


@dataclass
class DataConfig:
    """Where the images come from and how many of them are used; `targets` are for reports only."""

    path: str = MISSING
    sha256: str | None = None
    validation_size: int = MISSING
    validation_on_test: bool = False
    limit_train: int | None = None
    limit_test: int | None = None
    targets: list[float] = field(default_factory=list)


@dataclass
class TrackingConfig:
    """Where runs are stored: an MLflow tracking URI and the name of an experiment in it.

    A sweep tells each of its jobs its own name and the place of the job's arm among its arms, from 0.
    """

    uri: str = MISSING
    experiment_name: str = MISSING
    sweep: str = ""
    arm: int | None = None


@dataclass
class AugmentationConfig:
    """How far training images are distorted at most: radians, share of size, slope, pixels."""

    rotation: float = MISSING
    scale: float = MISSING
    shear: float = MISSING
    shift: float = MISSING


@dataclass
class StartConfig:
    """What the run goes on from: the weights of a run with another optimizer, or random ones for None."""

    optimizer: dict[str, Any] | None = None


@dataclass
class Config:
    """All that determines a run.

    `optimizer`, `schedule`, `model` and the members of `metrics` and `callbacks` are open: they go to their
    `_target_`.
    """

    optimizer: dict[str, Any] = MISSING
    schedule: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    data: DataConfig = MISSING
    augmentation: AugmentationConfig = MISSING
    tracking: TrackingConfig = MISSING
    start: StartConfig = MISSING
    metrics: list[Any] = field(default_factory=list)
    callbacks: list[Any] = field(default_factory=list)
    batch_size: int = MISSING
    epochs: int = MISSING
    label_smoothing: float = MISSING
    test_shift: int = MISSING
    seed: int = MISSING
    threads: int | None = None
    force: bool = False


ConfigStore.instance().store(name="schema", node=Config)
OmegaConf.register_new_resolver("root", lambda: str(ROOT), replace=True)


def compose(*overrides: str) -> DictConfig:
    """Compose conf/ as the command does, outside of it."""
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return hydra.compose("config", list(overrides))


# Ranges by key: (what is right, test). Keys of `optimizer` are looked at where they are present.
RANGES: dict[str, tuple[str, Any]] = {
    "batch_size": ("at least 1", lambda x: x >= 1),
    "epochs": ("at least 1", lambda x: x >= 1),
    "label_smoothing": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "test_shift": ("from 0 to 3, in pixels", lambda x: 0 <= x <= 3),
    "seed": ("from 0 to 4294967295", lambda x: 0 <= x < 2**32),
    "threads": ("at least 1, or null for every core", lambda x: x is None or x >= 1),
    "data.validation_size": ("at least 2, one for each class", lambda x: x >= 2),
    "data.limit_train": ("at least 2, or null for all", lambda x: x is None or x >= 2),
    "data.limit_test": ("at least 1, or null for all", lambda x: x is None or x >= 1),
    "optimizer.learning_rate": ("a number > 0", lambda x: 0 < x < math.inf),
    "optimizer.momentum": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "optimizer.rho": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "optimizer.beta_1": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "optimizer.beta_2": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "optimizer.epsilon": ("a number > 0", lambda x: 0 < x < math.inf),
    "optimizer.weight_decay": ("a number >= 0, or null", lambda x: x is None or 0 <= x < math.inf),
    "schedule.warmup": ("above 0 and below 1, a share of the steps", lambda x: 0 < x < 1),
    "augmentation.rotation": ("from 0 to 3.1416, in radians", lambda x: 0 <= x <= 3.1416),
    "augmentation.scale": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "augmentation.shear": ("a number >= 0", lambda x: 0 <= x < math.inf),
    "augmentation.shift": ("a number >= 0, in pixels", lambda x: 0 <= x < math.inf),
    "model.dropout": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "model.units": ("at least 1", lambda x: x >= 1),
}


def check_config(cfg: DictConfig) -> None:
    """Refuse values that are out of range or make no sense together.

    Raises:
        UserError: what is wrong, what would be right, and what was received.
    """
    _check_keys(cfg)
    values = flatten(cfg)
    for key, value in values.items():
        right, test = RANGES.get(key.removeprefix("start."), ("", None))
        if test is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number or value is None) or not _holds(test, value):
            raise UserError(f"{key} must be {right}. Received: {value}")
    for key, part in parts(cfg):
        if not isinstance(part, dict) or not isinstance(part.get("_target_"), str):
            raise UserError(f"{key}._target_ must name a function or class. Received: none")
        for place, target in called(key, part):
            if not isinstance(target, str):
                raise UserError(f"{place} must name a function or class. Received: {target}")
            check_target(place, target)
        if key.endswith("optimizer") and "learning_rate" not in part:
            raise UserError(f"{key}.learning_rate has no value. Give one: +{key}.learning_rate=0.001")
        if key.startswith("metrics") and part.get("better", "more") not in ("more", "less"):
            raise UserError(f"{key}.better must be more or less. Received: {part['better']}")
    if not cfg.tracking.experiment_name.strip():
        raise UserError("tracking.experiment_name must not be empty. Received: ''")


def _check_keys(cfg: DictConfig) -> None:
    """Refuse keys that do not exist, or follow from others, or have no value."""
    # Hydra lets `+typo=1` and `~epochs` past a schema.
    for prefix, node, schema in (
        ("", cfg, Config),
        ("data.", cfg.get("data"), DataConfig),
        ("augmentation.", cfg.get("augmentation"), AugmentationConfig),
        ("tracking.", cfg.get("tracking"), TrackingConfig),
        ("start.", cfg.get("start"), StartConfig),
    ):
        keys = [f"{prefix}{known.name}" for known in fields(schema)]
        found = [f"{prefix}{key!s}" for key in node or ()]
        for name in sorted(set(found) - set(keys)):
            raise UserError(f"{name}: there is no such key.{nearest(name, keys)}")
        for name in sorted(set(keys) - set(found)):
            raise UserError(f"{name} has no value. Give one: {name}=VALUE")
    for key in ("model.input_shape", "model.classes", "schedule.peak", "schedule.steps"):
        if OmegaConf.select(cfg, key) is not None:
            raise UserError(f"{key} follows from the data and the training. Leave it out")
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise UserError(f"{missing[0]} has no value. Give one: {missing[0]}=VALUE")


def called(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield each `_target_` that Hydra calls to make a part, with its key."""
    if isinstance(node, list):
        for place, item in enumerate(node):
            yield from called(f"{key}[{place}]", item)
    elif isinstance(node, dict):
        if "_target_" in node:
            yield f"{key}._target_", node["_target_"]
        if node.get("_recursive_", True):
            for name, value in node.items():
                yield from called(f"{key}.{name}", value)


def parts(cfg: DictConfig) -> Iterator[tuple[str, Any]]:
    """Yield what is made by a `_target_`, with its key: ("optimizer", {...}), ("metrics[0]", {...})."""
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    for key in ("optimizer", "schedule", "model"):
        yield key, values[key]
    if values["start"]["optimizer"]:
        yield "start.optimizer", values["start"]["optimizer"]
    for key in ("metrics", "callbacks"):
        yield from ((f"{key}[{place}]", part) for place, part in enumerate(values[key]))


def start_config(cfg: DictConfig) -> DictConfig | None:
    """Return the config of the run whose weights this one starts from; None where they are random."""
    if cfg.start.optimizer is None:
        return None
    first = copy.deepcopy(cfg)
    first.optimizer, first.start.optimizer, first.force = cfg.start.optimizer, None, False
    return first


def _holds(test: Any, value: Any) -> bool:
    try:
        return bool(test(value))
    except TypeError:  # None where a number must stand
        return False


def flatten(cfg: DictConfig) -> dict[str, Any]:
    """Return the resolved config as one level: {"optimizer.learning_rate": 0.001, ...}."""
    flat: dict[str, Any] = {}

    def visit(node: Any, prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                visit(value, f"{prefix}{key}.")
            else:
                flat[prefix + key] = value

    visit(OmegaConf.to_container(cfg, resolve=True), "")
    return flat


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
