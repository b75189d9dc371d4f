"""Which arguments a `_target_` takes, read from its source: calling it would import TensorFlow first.

A wrong refusal is worse than a late one: whatever is not certain counts as unknown, and is left to Keras.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from handwriting.errors import UserError
from handwriting.keys import nearest_key
from handwriting.targets import find

_HYDRAS = ("_target_", "_recursive_", "_convert_", "_partial_", "_args_")

# These return what they decorate.
_HARMLESS = ("keras_export", "register_keras_serializable")
# Keras has the back end's own base class between these two, which passes on what it is given.
_IN_BETWEEN = {
    "keras.src.optimizers.optimizer.Optimizer": "keras.src.optimizers.base_optimizer.BaseOptimizer"
}


class Signature(NamedTuple):
    """The names of the arguments that something takes, and of those that it needs."""

    takes: tuple[str, ...]
    needs: tuple[str, ...]


def signature(target: str) -> Signature | None:
    """Return what the function or class that a target names takes by name; None where that is not certain.

    Args:
        target: MODULE.NAME, in the current directory or an installed package.
    """
    place = _place(target)
    return _signature(*place) if place is not None else None


def check_arguments(key: str, call: Mapping[str, Any], passed: Iterable[str]) -> None:
    """Refuse arguments that a `_target_` does not take, and the lack of one that it needs.

    Args:
        key: where it stands, such as optimizer.
        call: the `_target_` with its arguments, as in the config.
        passed: the names of further arguments that it gets.

    Raises:
        UserError: names the argument and what the target takes.
    """
    target = call["_target_"]
    taken = signature(target)
    if taken is None or "_args_" in call:
        return
    given = [str(name) for name in call if name not in _HYDRAS]
    free = [name for name in taken.takes if name not in passed]
    for name in given:
        if name not in taken.takes:
            there = f" It takes: {', '.join(free)}" if free else ""
            near = nearest_key(f"{key}.{name}", [f"{key}.{known}" for known in free])
            raise UserError(f"{key}.{name}: {target} takes no '{name}'.{near}{there}")
    for name in passed:
        if name not in taken.takes:
            raise UserError(f"{key}._target_: {target} must take '{name}', which a run passes to it")
    for name in taken.needs:
        if name not in given and name not in passed and not call.get("_partial_"):
            how = f": +{key}.{name}=VALUE" if "[" not in key else ""  # Hydra adds nothing to a list
            raise UserError(f"{key}.{name} has no value, and {target} needs one{how}")


def _place(dotted: str) -> tuple[str, Path, str] | None:
    """Return the module that holds a name, its file, and the name in it."""
    spec, rest = find(_IN_BETWEEN.get(dotted, dotted))
    if spec is None or spec.origin is None or not spec.origin.endswith(".py") or len(rest) != 1:
        return None
    return spec.name, Path(spec.origin), rest[0]


@cache
def _signature(module: str, path: Path, name: str) -> Signature | None:
    bound = _bound(path, name)
    if isinstance(bound, ast.FunctionDef):
        own, rest = _arguments(bound)
        return own if rest == "none" and _plain(bound) else None
    if isinstance(bound, ast.ClassDef):
        return _of_class(module, path, bound)
    target = _imported(module, path, bound, name) if isinstance(bound, ast.ImportFrom) else None
    return signature(target) if target is not None else None


def _of_class(module: str, path: Path, node: ast.ClassDef) -> Signature | None:
    """Return what a class's constructor takes, with what it passes on to that of its base."""
    constructors = [
        item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"
    ]
    names = [name for item in ast.walk(node) for name in _bound_by(item)]
    makes_its_own = node.keywords or "__new__" in names  # a metaclass
    if not _plain(node) or makes_its_own or names.count("__init__") != len(constructors) or constructors[1:]:
        return None
    bases = []
    for base in node.bases:
        dotted = _dotted(module, path, ast.unparse(base))
        taken = signature(dotted) if dotted is not None else None
        if taken is None:  # also where it makes its instances in a way of its own
            return None
        bases.append(taken)
    if not constructors:
        return bases[0] if len(bases) == 1 else None if bases else Signature((), ())
    own, rest = _arguments(constructors[0])
    own = own._replace(takes=own.takes[1:], needs=own.needs[1:])  # self
    if constructors[0].decorator_list or rest == "unknown" or (rest == "passed on" and len(bases) != 1):
        return None
    inherited = bases[0].takes if rest == "passed on" else ()
    return own._replace(takes=tuple(dict.fromkeys((*own.takes, *inherited))))


def _arguments(function: ast.FunctionDef) -> tuple[Signature, str]:
    """Return a function's arguments, and what becomes of those that it does not name.

    That is "none" where it takes no others, else as `_fate` has it.
    """
    given = function.args
    rest, extra = _fate(function, given.kwarg.arg) if given.kwarg is not None else ("none", ())
    names = [item.arg for item in given.args]
    needs = names[: len(names) - len(given.defaults)]
    by_name = dict(zip((item.arg for item in given.kwonlyargs), given.kw_defaults, strict=True))
    needs += [name for name, default in by_name.items() if default is None]
    return Signature((*names, *by_name, *extra), tuple(needs)), "unknown" if given.posonlyargs else rest


def _fate(function: ast.FunctionDef, kwargs: str) -> tuple[str, tuple[str, ...]]:
    """Return what a constructor does with arguments that it does not name, and which it takes out of them.

    They are "refused" by an `if kwargs: raise`, or "passed on" by `super().__init__(**kwargs)`. With any
    other use it is "unknown".
    """
    fate, understood, extra = "unknown", 0, []
    for statement in function.body:
        if isinstance(statement, ast.If) and _is(statement.test, kwargs) and not statement.orelse:
            if isinstance(statement.body[0], ast.Raise):
                fate = "refused"
                understood += sum(_is(node, kwargs) for node in ast.walk(statement))
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            call = statement.value
            if ast.unparse(call.func) == "super().__init__":
                passed = [word for word in call.keywords if word.arg is None and _is(word.value, kwargs)]
                fate = "passed on" if passed and fate == "unknown" else fate
                understood += len(passed)
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "pop"
            and _is(node.func.value, kwargs)
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            extra.append(str(node.args[0].value))
            understood += 1
    all_uses = sum(_is(node, kwargs) for node in ast.walk(function))
    return (fate if understood == all_uses else "unknown"), tuple(extra)


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _plain(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Tell whether its decorators leave it as it is."""
    made = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
    return all(ast.unparse(item).rpartition(".")[2] in _HARMLESS for item in made)


@cache
def _bindings(path: Path) -> dict[str, list[ast.AST]]:
    """Return what binds each name anywhere in a module; {"*": ...} where names come in unseen."""
    found: dict[str, list[ast.AST]] = {}
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return {"*": []}
    for node in ast.walk(tree):
        for name in _bound_by(node):
            found.setdefault(name, []).append(node)
    return found


def _bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.Name) and node.id in ("setattr", "globals", "exec"):
        yield "*"
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id


def _bound(path: Path, name: str) -> ast.AST | None:
    """Return the one thing that binds a name; None where several do, or it cannot be told."""
    found = _bindings(path)
    return found[name][0] if len(found.get(name, [])) == 1 and "*" not in found else None


def _imported(module: str, path: Path, node: ast.ImportFrom, name: str) -> str:
    """Return the whole name of what `from ... import ... as name` binds."""
    alias = next(alias for alias in node.names if (alias.asname or alias.name) == name)
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    above = package[: len(package) + 1 - node.level] if node.level else []
    return ".".join([*above, *filter(None, [node.module]), alias.name])


def _dotted(module: str, path: Path, written: str) -> str | None:
    """Return the whole name of a base class, as `base.Thing` where `base` is imported."""
    first, dot, rest = written.partition(".")
    bound = _bound(path, first)
    if isinstance(bound, ast.ClassDef):
        return f"{module}.{written}"
    if isinstance(bound, ast.ImportFrom):
        return _imported(module, path, bound, first) + dot + rest
    if isinstance(bound, ast.Import):
        return next((written for alias in bound.names if alias.asname is None), None)
    return None
