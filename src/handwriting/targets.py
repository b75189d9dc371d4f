"""What a `_target_` names: found, and judged as far as it can be, without importing it.

Importing it takes TensorFlow's seconds, and what is wrong is mostly a name.
"""

import ast
import importlib.util
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from hydra._internal.target_policy import _authorize_target_name  # `instantiate` asks it too, but imports
from hydra.errors import InstantiationException

from handwriting.errors import UserError, nearest

_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


def check_target(key: str, target: str) -> None:
    """Refuse a target that Hydra does not call, or whose module does not exist or does not define its name.

    Args:
        key: where it stands, such as model._target_.
        target: MODULE.NAME, in the current directory or an installed package.

    Raises:
        UserError: says which part of it is wrong.
    """
    try:
        _authorize_target_name(target, target, "")
    except InstantiationException as error:
        raise UserError(f"{key}: Hydra refuses {target}: {' '.join(str(error).split())}") from error
    spec, rest = find(target)
    if spec is None:
        modules = [path.stem for path in Path().glob("*.py")]
        name = target.partition(".")[0]
        raise UserError(
            f"{key}: there is no module '{name}', neither in the current directory nor installed."
            f"{nearest(name, modules)} Received: {target}"
        )
    if not rest:
        raise UserError(f"{key} must name a function or class in a module. Received: {target}, a module")
    if spec.origin is None or not spec.origin.endswith(".py"):
        return
    try:
        defined = _defined(Path(spec.origin))
    except SyntaxError as error:
        raise UserError(
            f"{key}: {target} cannot be loaded: {error.msg} ({spec.origin}, line {error.lineno})"
        ) from error
    if defined is not None and rest[0] not in defined:
        raise UserError(
            f"{key}: {spec.name} has no '{rest[0]}'.{nearest(rest[0], defined)} Received: {target}"
        )


def own_modules(target: str) -> dict[str, Path]:
    """Return the modules that a target's result depends on and that no package installed: {name: file}.

    Those are the target's own and, of the modules that they import, the same.
    """
    found: dict[str, Path] = {}
    waiting = [target]
    while waiting:
        spec, _ = find(waiting.pop())
        path = Path(spec.origin).resolve() if spec and spec.origin and spec.origin.endswith(".py") else None
        if spec is None or path is None or spec.name in found:
            continue
        if not any(path.is_relative_to(folder) for folder in _INSTALLED):
            found[spec.name] = path
            waiting += [spec.name.rpartition(".")[0], *_imported(ast.parse(path.read_bytes()), spec)]
    return found


def why(error: BaseException) -> str:
    """Return in one line what went wrong in somebody's code: the error at the root, and its place."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = ""
    if trace is not None and not any(
        Path(trace.tb_frame.f_code.co_filename).resolve().is_relative_to(folder) for folder in _INSTALLED
    ):
        place = f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
    text = " ".join(str(error).split())
    return (
        f"{text if isinstance(error, TypeError | ValueError) else f'{type(error).__name__}: {text}'}{place}"
    )


def find(dotted: str) -> tuple[ModuleSpec | None, list[str]]:
    """Return the deepest module of a dotted name, and what of the name is left; imports nothing."""
    first, *rest = dotted.split(".")
    try:
        spec = importlib.util.find_spec(first) if first else None
    except ValueError:  # of __main__
        spec = None
    while spec is not None and rest and spec.submodule_search_locations is not None:
        deeper = PathFinder.find_spec(f"{spec.name}.{rest[0]}", spec.submodule_search_locations)
        if deeper is None:
            break
        spec, rest = deeper, rest[1:]
    return spec, rest


@cache
def _defined(path: Path) -> frozenset[str] | None:
    """Return the names that a module's text defines at its top level; None where that cannot be told."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):  # also within `if` and `try`
        if isinstance(node, ast.Name) and node.id in ("setattr", "globals"):  # as TensorFlow adds keras
            return None
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return None if names & {"*", "__getattr__"} else frozenset(names)


def _imported(tree: ast.Module, spec: ModuleSpec) -> Iterator[str]:
    package = spec.name if spec.submodule_search_locations is not None else spec.name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            yield from (".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names)
