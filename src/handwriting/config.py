"""The typed schema of the configuration, and what of it is refused before TensorFlow is imported.

Importing it makes the schema and the resolvers that conf/ uses known to Hydra.
"""

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from handwriting.errors import UserError, as_sweep, redact
from handwriting.keys import KEYS, holds, key_of, nearest_key, table
from handwriting.precision import check_precision
from handwriting.signatures import check_arguments
from handwriting.targets import check_target

ROOT = Path(__file__).parents[2]
# What a run passes to a part, beside its own keys.
_PASSED = {"model": ("input_shape", "classes"), "schedule": ("peak", "steps")}
GROUPS = (
    "optimizer",
    "schedule",
    "model",
    "data",
    "augmentation",
    "start",
    "precision",
)  # that decide a result
OPEN_GROUPS = ("optimizer", "schedule", "model")  # whose members are made by a `_target_`
OF_SWEEP = ("arms", "margin", "tuning")  # keys that are nothing to one run
LOCAL_FIRST, DIRECT = "local_first", "direct"  # how runs get to a shared store
# What a sweep tells its jobs.
TOLD = tuple(f"tracking.{name}" for name in ("sweep", "arm", "label", "tuning", "retries"))


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
    """Where runs are stored: an MLflow tracking URI, the name of an experiment in it, how they get there, and
    where checkpoints are kept that another machine is to find.

    A sweep tells each of its jobs its own name, the place of the job's arm among its arms, from 0, and the
    arm's label; a tuning tells the arm that the job's setting is tried for; a launcher how often it has begun
    the job before.
    """

    uri: str = MISSING
    experiment_name: str = MISSING
    mode: str = LOCAL_FIRST
    checkpoints: str | None = None
    sweep: str = ""
    arm: int | None = None
    label: str = ""
    tuning: str = ""
    retries: int = 0


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
    `_target_`. `arms`, by their names, `margin` and `tuning` are a sweep's, and nothing to one run.
    `seed` is a whole number, or a sweep's until_clear.
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
    precision: str = MISSING
    seed: Any = MISSING
    threads: int | None = None
    force: bool = False
    arms: Any = None
    margin: float = MISSING
    tuning: Any = None


ConfigStore.instance().store(name="schema", node=Config)
OmegaConf.register_new_resolver("root", lambda: str(ROOT), replace=True)
OmegaConf.register_new_resolver("keys_help", lambda *, _root_: keys_help(_root_), replace=True)


def compose(*overrides: str) -> DictConfig:
    """Compose conf/ as the command does, outside of it."""
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return hydra.compose("config", list(overrides))


def check_config(cfg: DictConfig) -> None:
    """Refuse values that are out of range or make no sense together.

    Raises:
        UserError: what is wrong, what would be right, and what was received.
    """
    _check_keys(cfg)
    for name, value in flatten(cfg).items():
        check_value(name, value)
    for name, part in parts(cfg):
        if not isinstance(part, dict):
            raise UserError(f"{name} must be {{_target_: MODULE.NAME, ...}}. Received: {part}")
        if not isinstance(part.get("_target_"), str):
            raise UserError(f"{name}._target_ must name a function or class. Received: none")
        for place, target in called(name, part):
            if not isinstance(target, str):
                raise UserError(f"{place} must name a function or class. Received: {target}")
            check_target(place, target)
        if name.endswith("optimizer") and "learning_rate" not in part:
            raise UserError(f"{name}.learning_rate has no value. Give one: +{name}.learning_rate=0.001")
        if name.startswith("metrics") and part.get("better", "more") not in ("more", "less"):
            raise UserError(f"{name}.better must be more or less. Received: {part['better']}")
        for place, node in _calls(name, part):
            ours = ("better",) if place.startswith("metrics") and place == name else ()
            check_arguments(
                place, {key: node[key] for key in node if key not in ours}, _PASSED.get(place, ())
            )
    check_precision(cfg.precision)
    if cfg.tracking.mode not in (LOCAL_FIRST, DIRECT):
        raise UserError(f"tracking.mode must be {LOCAL_FIRST} or {DIRECT}. Received: {cfg.tracking.mode}")
    place = cfg.tracking.checkpoints
    if place is not None and not (is_address(place) or Path(place).is_absolute()):
        right = KEYS["tracking.checkpoints"].right
        raise UserError(f"tracking.checkpoints must be {right}. Received: {redact(place)}")
    if not cfg.tracking.experiment_name.strip():
        raise UserError("tracking.experiment_name must not be empty. Received: ''")


def is_address(place: str) -> bool:
    """Tell an address, such as s3://BUCKET/FOLDER, from a folder."""
    return ":/" in place


def check_value(name: str, value: Any) -> None:
    """Refuse a value that its key does not take, as a UserError."""
    key = key_of(name)
    if key is not None and not holds(key, value):
        raise UserError(f"{name} must be {key.right}. Received: {value}{as_sweep(name, str(value))}")


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
            raise UserError(f"{name}: there is no such key.{nearest_key(name, [*flatten(cfg), *keys])}")
        for name in sorted(set(keys) - set(found)):
            raise UserError(f"{name} has no value. Give one: {name}=VALUE")
    for part, passed in _PASSED.items():
        for key in (f"{part}.{name}" for name in passed):
            if OmegaConf.select(cfg, key) is not None:
                raise UserError(f"{key} follows from the data and the training. Leave it out")
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise UserError(f"{missing[0]} has no value. Give one: {missing[0]}=VALUE")


def called(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield each `_target_` that Hydra calls to make a part, with its key."""
    yield from ((f"{place}._target_", call["_target_"]) for place, call in _calls(key, node))


def _calls(key: str, node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each mapping with a `_target_` that Hydra calls to make a part, with its key."""
    if isinstance(node, list):
        for place, item in enumerate(node):
            yield from _calls(f"{key}[{place}]", item)
    elif isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        if node.get("_recursive_", True):
            for name, value in node.items():
                yield from _calls(f"{key}.{name}", value)


def parts(cfg: DictConfig) -> Iterator[tuple[str, Any]]:
    """Yield what is made by a `_target_`, with its key: ("optimizer", {...}), ("metrics[0]", {...})."""
    values: Any = {
        key: OmegaConf.to_container(cfg[key], resolve=True)
        for key in (*OPEN_GROUPS, "start", "metrics", "callbacks")
    }
    for key in OPEN_GROUPS:
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
    first.tracking.sweep, first.tracking.arm, first.tracking.label = "", None, ""  # it is no arm
    return first


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


def keys_help(root: DictConfig) -> str:
    """Return what `--help` says of the keys of a composed config."""
    values = flatten(OmegaConf.masked_copy(root, [str(key) for key in root if key != "hydra"]))
    launcher: Any = OmegaConf.to_container(root.hydra.launcher, resolve=True)
    own = {f"hydra.launcher.{name}": value for name, value in launcher.items()}
    values |= {name: value for name, value in own.items() if key_of(name)}
    return redact(table(values)).replace("$", "$$")  # Hydra's help is a template


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
