"""What kind a value of an open group must be: its own file says so, as no schema does.

`optimizer.nesterov=yess` is a text that Keras takes for true.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hydra.conf import RuntimeConf
from omegaconf import MISSING, DictConfig, OmegaConf

from handwriting.config import GROUPS, ROOT
from handwriting.errors import UserError
from handwriting.keys import key_of

# What a value must be, by that of the member's own file.
_KINDS = {
    bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping",
}  # fmt: skip


def check_kinds(cfg: DictConfig, runtime: RuntimeConf) -> None:
    """Refuse values of open groups that are of another kind than those in the files of the chosen members.

    Numbers that have a range are left to `check_config`. Free is what has no value in a file, or null, an
    interpolation or a `_target_`; and null may stand for anything but true and false.

    Args:
        cfg: a composed config.
        runtime: Hydra's own notes on it, `hydra.runtime`: the chosen members and the folders searched.

    Raises:
        UserError: what the value must be, the file that says so, and what was received.
    """
    _check_choices(runtime)
    folders = _folders(runtime)
    for key, choice in (
        ("optimizer", "optimizer"),
        ("schedule", "schedule"),
        ("model", "model"),
        ("start.optimizer", "optimizer@start.optimizer"),
    ):
        part = OmegaConf.select(cfg, key)
        if part is None:
            continue
        written = _written(folders, choice.partition("@")[0], str(runtime.choices.get(choice)))
        for name, value in _nodes(OmegaConf.to_container(part, resolve=True)):
            own, file = written.get(name, (None, None))
            full = f"{key}.{name}"
            entry = key_of(full)
            has_range = entry is not None and entry.holds is not None and not isinstance(value, dict)
            right = _KINDS.get(type(own))
            if right is None or has_range or _comes_later(own) or _comes_later(value):
                continue
            if right != _KINDS.get(type(value)) and (value is not None or isinstance(own, bool)):
                raise UserError(f"{full} must be {right}, as in {file}. Received: {value}")


def _check_choices(runtime: RuntimeConf) -> None:
    """Refuse several members of a group, and a file's name; Hydra takes both."""
    for group in (*GROUPS, "tuning", "experiment"):
        choice = runtime.choices.get(group, "")
        if choice is not None and choice.endswith(".yaml"):
            name = choice.removesuffix(".yaml")
            raise UserError(f"{group} takes a member's name: {group}={name}. Received: {choice}")
        if choice == "":
            raise UserError(
                f"{group} takes one member: {group}=MEMBER. Several are a sweep: -m {group}=ONE,OTHER"
            )


def own_values(runtime: RuntimeConf, group: str, member: str) -> dict[str, Any]:
    """Return the values that a member's own file has, by key; `runtime` as for `check_kinds`."""
    return {key: value for key, (value, _) in _written(_folders(runtime), group, member).items()}


def _folders(runtime: RuntimeConf) -> tuple[Path, ...]:
    return tuple(Path(source.path) for source in runtime.config_sources if source.schema == "file")


@cache
def _written(folders: tuple[Path, ...], group: str, member: str) -> dict[str, tuple[Any, Path]]:
    """Return each value of a member's file, and of members that it is based on, by key, with the file."""
    name = f"{group}/{member}.yaml"
    file = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if file is None:
        return {}
    values = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(values, dict)
    found: dict[str, tuple[Any, Path]] = {}
    for base in values.pop("defaults", []):
        if isinstance(base, str) and base != "_self_":
            found |= _written(folders, group, base)
    homes = (ROOT, Path.cwd())
    shown = next((file.relative_to(home) for home in homes if file.is_relative_to(home)), file)
    return found | {key: (value, shown) for key, value in _nodes(values)}


def _nodes(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of a mapping and of the mappings in it: ("inner", {"size": 3}), ("inner.size", 3)."""
    for key, value in values.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from _nodes(value, f"{prefix}{key}.")


def _comes_later(value: Any) -> bool:
    """Tell whether a value stands for another: what a `_target_` makes, an interpolation, or `???`."""
    if isinstance(value, dict):
        return "_target_" in value
    return isinstance(value, str) and (value == MISSING or "${" in value)
