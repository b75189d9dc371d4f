"""The typed schema of the configuration, and what of it is refused before TensorFlow is imported."""

import copy
import hashlib
import json
import math
import os
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from handwriting.errors import UserError, nearest, redact
from handwriting.store import ROOT, store_folder


@dataclass
class DataConfig:
    """Where the images come from and how many of them are used."""

    path: str = MISSING
    sha256: str | None = None
    validation_size: int = MISSING
    validation_on_test: bool = False
    limit_train: int | None = None
    limit_test: int | None = None


@dataclass
class TrackingConfig:
    """Where runs are stored: an MLflow tracking URI and the name of an experiment in it."""

    uri: str = MISSING
    experiment_name: str = MISSING


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
    """All that determines a run. `optimizer`, `schedule`, `model` are open: they go to their `_target_`."""

    optimizer: dict[str, Any] = MISSING
    schedule: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    data: DataConfig = MISSING
    augmentation: AugmentationConfig = MISSING
    tracking: TrackingConfig = MISSING
    start: StartConfig = MISSING
    batch_size: int = MISSING
    epochs: int = MISSING
    label_smoothing: float = MISSING
    test_shift: int = MISSING
    seed: int = MISSING
    threads: int | None = None
    force: bool = False


def register() -> None:
    """Make the schema and the resolvers that conf/ uses known to Hydra."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("root", lambda: str(ROOT), replace=True)
    OmegaConf.register_new_resolver("store_folder", lambda uri: str(store_folder(uri)), replace=True)


def compose(*overrides: str) -> DictConfig:
    """Compose conf/ as the command does, outside of it."""
    register()
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return hydra.compose("config", list(overrides))


# Ranges by key: (what is right, test). Keys of `optimizer` are looked at where they are present.
_RANGES: dict[str, tuple[str, Any]] = {
    "batch_size": ("at least 1", lambda x: x >= 1),
    "epochs": ("at least 1", lambda x: x >= 1),
    "label_smoothing": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "test_shift": ("from 0 to 3, in pixels", lambda x: 0 <= x <= 3),
    "seed": ("from 0 to 4294967295", lambda x: 0 <= x < 2**32),
    "threads": ("at least 1, or null for every core", lambda x: x is None or x >= 1),
    "data.validation_size": ("at least 10, one for each digit", lambda x: x >= 10),
    "data.limit_train": ("at least 10, or null for all", lambda x: x is None or x >= 10),
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
    "augmentation.shift": ("from 0 to 28, in pixels", lambda x: 0 <= x <= 28),
    "model.dropout": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "model.units": ("at least 1", lambda x: x >= 1),
}


def check_config(cfg: DictConfig) -> None:
    """Refuse values that are out of range or make no sense together.

    Raises:
        UserError: what is wrong, what would be right, and what was received.
    """
    # Hydra lets `+typo=1` and `~epochs` past a schema.
    for prefix, node, schema in (
        ("", cfg, Config),
        ("data.", cfg.get("data"), DataConfig),
        ("augmentation.", cfg.get("augmentation"), AugmentationConfig),
        ("tracking.", cfg.get("tracking"), TrackingConfig),
        ("start.", cfg.get("start"), StartConfig),
    ):
        keys = [f"{prefix}{field.name}" for field in fields(schema)]
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
    values = flatten(cfg)
    for key, value in values.items():
        right, test = _RANGES.get(key.removeprefix("start."), ("", None))
        if test is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number or value is None) or not _holds(test, value):
            raise UserError(f"{key} must be {right}. Received: {value}")
    for group in ("optimizer", "schedule", "model", *(["start.optimizer"] if cfg.start.optimizer else [])):
        if not isinstance(values.get(f"{group}._target_"), str):
            raise UserError(f"{group}._target_ must name a function or class. Received: none")
        if group.endswith("optimizer") and f"{group}.learning_rate" not in values:
            raise UserError(f"{group}.learning_rate has no value. Give one: +{group}.learning_rate=0.001")
    scheme = urlsplit(cfg.tracking.uri).scheme
    if scheme not in ("sqlite", "http", "https", "postgresql", "mysql", "mssql"):
        raise UserError(
            "tracking.uri must be a database or a server, such as sqlite:////folder/mlflow.db or "
            f"http://localhost:5000: MLflow has closed its file store. Received: {redact(cfg.tracking.uri)}"
        )
    if not cfg.tracking.experiment_name.strip():
        raise UserError("tracking.experiment_name must not be empty. Received: ''")


def before(cfg: DictConfig) -> DictConfig | None:
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


def identity(cfg: DictConfig, data_sha256: str) -> dict[str, Any]:
    """Return what determines a run's result: the resolved config and the digest of the data.

    Less the paths and the tracking. The number of threads is part of it, and the kernels too: both change
    the last bits, and training makes much of them (LOG.md).
    """
    values = flatten(cfg)
    for key in ("data.path", "tracking.uri", "tracking.experiment_name", "force"):
        del values[key]
    values |= {
        "data.sha256": data_sha256,
        "threads": cfg.threads or cores(),
        "onednn": os.environ["TF_ENABLE_ONEDNN_OPTS"],
    }
    # A number counts by its value: 1 is 1.0, as 1e-3 is 0.001.
    return {key: float(value) if type(value) is int else value for key, value in values.items()}


def fingerprint(values: Any) -> str:
    """Return 16 hex digits that name plain values."""
    canonical = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
