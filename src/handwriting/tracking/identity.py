"""What determines a run's result: the setting, the data and the code; a run is known by their digest."""

import ast
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from handwriting.config import OF_SWEEP, ROOT, called, cores, flatten, parts
from handwriting.targets import own_modules
from handwriting.tracking import names

PACKAGE = ROOT / "src" / "handwriting"
ROOMS = ("data", "training")  # whose code determines a result, whatever a config names

Code = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Identity:
    """All that determines a run's result.

    Args:
        setting: the resolved config, less paths and tracking, with the digest of the data.
        code: of each file, the digest of each definition.
        modules: the files of the user's own among them, by name.
    """

    setting: dict[str, Any]
    code: Code
    modules: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def setting_digest(self) -> str:
        """The digest of the setting alone: runs of two versions of the code have the same."""
        return digest(self.setting)

    def with_seed(self, seed: int) -> "Identity":
        """Return the identity of the same setting with another seed."""
        return Identity(self.setting | {"seed": float(seed)}, self.code, self.modules)

    @cached_property
    def fingerprint(self) -> str:
        """What the run is known by."""
        return digest([self.setting_digest, self.code])

    @cached_property
    def arm(self) -> str:
        """The digest of the setting without the seed."""
        return digest({key: value for key, value in self.setting.items() if key != "seed"})


def identify(cfg: DictConfig, data_sha256: str) -> Identity:
    """Return what determines the result of a checked config on data of a digest.

    The number of threads is part of it, and the kernels too: both change the last bits, and training makes
    much of them (LOG.md).
    """
    setting = flatten(cfg)
    for key in [*setting]:
        if key in ("data.path", "force") or key.startswith(("tracking.", *OF_SWEEP)):
            del setting[key]
    if (
        cfg.tracking.tuning
    ):  # it does not read the test set, so it is not the run of the same setting that does
        setting[names.TUNING] = cfg.tracking.tuning
    setting |= {
        names.DATA: data_sha256,
        names.THREADS: cfg.threads or cores(),
        names.ONEDNN: os.environ["TF_ENABLE_ONEDNN_OPTS"],
    }
    # A number counts by its value: 1 is 1.0, as 1e-3 is 0.001.
    setting = {key: float(value) if type(value) is int else value for key, value in setting.items()}
    targets = targets_of(cfg)
    return Identity(setting, code_of(targets), files_of(targets))


def targets_of(cfg: DictConfig) -> tuple[str, ...]:
    """Return all that a config has made: the values of its `_target_`, each once."""
    return tuple(sorted({target for key, part in parts(cfg) for _, target in called(key, part)}))


def digest(values: Any) -> str:
    """Return 16 hex digits that name plain values."""
    canonical = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@cache
def code_of(targets: tuple[str, ...]) -> Code:
    """Return the code that determines a result, by file and definition: of training, data and the targets.

    Comments, docstrings and layout do not count. Modules of installed packages are known by their versions.
    """
    ours = {str(path.relative_to(PACKAGE)): path for room in ROOMS for path in (PACKAGE / room).glob("*.py")}
    theirs = files_of(targets)
    return {name: definitions(path.read_bytes()) for name, path in sorted((ours | theirs).items())}


@cache
def files_of(targets: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of a user's own modules that targets need, by module: {"mymodels.py": ...}."""
    modules = {name: path for target in targets for name, path in own_modules(target).items()}
    return {f"{name}.py": path for name, path in modules.items() if not path.is_relative_to(PACKAGE)}


def definitions(text: bytes) -> dict[str, str]:
    """Return the digest of each definition of a module; "its other lines" are all that defines no name."""
    found: dict[str, list] = {}
    for node in ast.parse(text).body:
        name = "its other lines"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            name = ", ".join(ast.unparse(target) for target in targets)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        found.setdefault(name, []).append(_plain(node))
    return {name: digest(trees)[:8] for name, trees in found.items()}


def difference(before: Code, now: Code) -> str:
    """Return what differs between two versions of the code: "training/models.py: build_cnn"."""
    said = []
    for file in sorted(before.keys() | now.keys()):
        old, new = before.get(file, {}), now.get(file, {})
        names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        if names:
            said.append(f"{file}: {', '.join(names[:5])}{f' and {len(names) - 5} more' if names[5:] else ''}")
    return "; ".join(said)


def _plain(node: object) -> Any:
    """Return a syntax tree as plain values, without docstrings, and the same in every version of Python.

    `ast.dump` leaves out more in 3.13 than in 3.11.
    """
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            fields["body"] = node.body[1:]
    kept = {name: _plain(value) for name, value in fields.items() if value not in (None, [])}
    return [type(node).__name__, kept]
