"""What a `_target_` takes is read from its source, and only where it is certain."""

import inspect
import sys
from pathlib import Path

import keras
import pytest

from handwriting.errors import UserError
from handwriting.signatures import check_arguments, signature

FILE = """
import functools
import json
import torn
from keras.optimizers import Adam
from keras.saving import register_keras_serializable
from ours import thing as renamed, base
import ours

def tiny(input_shape, classes, filters=3, *, act): ...
def swallows(input_shape, **more): ...
def by_place(x, /, y): ...

@functools.cache
def wrapped(x): ...

@register_keras_serializable()
class Registered:
    def __init__(self, units): ...

class Careful(Adam): ...
class Named(Adam):
    def __init__(self, strength, **kwargs):
        self.strength = kwargs.pop("old", strength)
        super().__init__(**kwargs)
class Keeps(Adam):
    def __init__(self, **kwargs):
        self.all = kwargs
        super().__init__(**kwargs)
class Sometimes(Adam):
    def __init__(self, **kwargs):
        if kwargs:
            super().__init__(**kwargs)
class Refuses:
    def __init__(self, x, **kwargs):
        if kwargs:
            raise ValueError(kwargs)
class Logs:
    def __init__(self, x, **kwargs):
        if kwargs:
            print(kwargs)
class Plain: ...
class Below(base.Base):
    def __init__(self, y, **kwargs):
        super().__init__(**kwargs)
class Beside(ours.Base): ...
class Two(base.Base, Plain):
    def __init__(self, y, **kwargs):
        super().__init__(**kwargs)
class Made(base.New):
    def __init__(self, y): ...
class Meta(metaclass=type):
    def __init__(self, y): ...
class Unknown(json.nobody.Thing):
    def __init__(self, y): ...
class Outer:
    class Inner:
        def __init__(self, y): ...
class Torn(torn.Base): ...
class Set:
    __init__ = tiny

if json:
    def either(x): ...
else:
    def either(x, y): ...
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    (tmp_path / "starred.py").write_text("from json import *\ndef tiny(x): ...\n")
    (tmp_path / "torn.py").write_text("class Base(:\n")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "__init__.py").write_text("from .base import Base, thing\n")
    (tmp_path / "ours" / "base.py").write_text(
        "class Base:\n    def __init__(self, x, z=1): ...\ndef thing(a): ...\n"
        "class New:\n    def __new__(cls, **more): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("target", "takes", "needs"),
    [
        ("tiny", "input_shape classes filters act", "input_shape classes act"),
        ("Registered", "units", "units"),
        ("renamed", "a", "a"),
        ("Refuses", "x", "x"),
        ("Plain", "", ""),
        ("Below", "y x z", "y"),
        ("Beside", "x z", "x"),
    ],
)
def test_arguments_are_those_of_the_function_or_of_the_constructor_with_its_bases(
    mine: None, target: str, takes: str, needs: str
) -> None:
    assert signature(f"mine.{target}") == (tuple(takes.split()), tuple(needs.split()))


def test_a_class_of_keras_takes_what_its_base_takes(mine: None) -> None:
    found, careful, named = (
        signature(name) for name in ("keras.optimizers.Adam", "mine.Careful", "mine.Named")
    )
    assert found is not None
    assert named is not None
    assert careful == found
    assert set(named.takes) == {"strength", "old", *found.takes}
    assert {"learning_rate", "beta_1", "clipnorm", "use_ema"} <= set(found.takes)


@pytest.mark.parametrize(
    "target",
    [
        "mine.swallows", "mine.by_place", "mine.wrapped", "mine.Keeps", "mine.Sometimes", "mine.Logs",
        "mine.Two", "mine.Made", "mine.Meta", "mine.Unknown", "mine.Outer", "mine.Torn",
        "mine.Set", "mine.either", "mine.nobody", "starred.tiny",
        "mine.Plain.method", "nobodys.thing", "math.sin",
    ],
)  # fmt: skip
def test_what_is_not_certain_is_not_told(mine: None, target: str) -> None:
    assert signature(target) is None


@pytest.mark.parametrize("room", ["optimizers", "metrics", "callbacks", "initializers"])
def test_all_that_keras_takes_is_found_to_be_taken(room: str) -> None:
    """A wrong refusal would be worse than a late one."""
    told = 0
    for name, thing in vars(getattr(keras, room)).items():
        found = signature(f"keras.{room}.{name}") if inspect.isclass(thing) else None
        if found is None:
            continue
        told += 1
        for depth, owner in enumerate(kind for kind in thing.__mro__ if "__init__" in vars(kind)):
            if owner is object:
                break
            given = list(inspect.signature(owner.__init__).parameters.values())[1:]
            by_name = [item for item in given if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)]
            assert {item.name for item in by_name} <= set(found.takes), name
            if depth == 0 and by_name:
                assert set(found.needs) == {item.name for item in by_name if item.default is item.empty}, name
            if all(item.kind is not item.VAR_KEYWORD for item in given):
                break
    assert told > 3


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"filter": 3}, "model.filter: mine.tiny takes no 'filter'. Did you mean 'model.filters'? "
         "It takes: filters, act"),
        ({}, "model.act has no value, and mine.tiny needs one: +model.act=VALUE"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_without_importing(mine: None, call: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as caught:
        check_arguments("model", {"_target_": "mine.tiny", **call}, ("input_shape", "classes"))
    assert str(caught.value) == said
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    "call", [{"act": "relu", "_convert_": "all"}, {"_partial_": True}, {"_args_": [1, 2, 3], "x": 1}]
)
def test_what_fits_or_is_given_by_place_is_accepted(mine: None, call: dict[str, object]) -> None:
    check_arguments("model", {"_target_": "mine.tiny", **call}, ("input_shape", "classes"))


def test_a_function_that_cannot_take_what_a_run_passes_is_refused(mine: None) -> None:
    with pytest.raises(
        UserError, match=r"^model\._target_: mine\.Plain must take 'classes', which a run passes"
    ):
        check_arguments("model", {"_target_": "mine.Plain"}, ("classes",))
