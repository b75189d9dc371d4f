"""What a `_target_` names is judged without importing it."""

import sys
from pathlib import Path

import hydra
import pytest

from handwriting.errors import UserError
from handwriting.targets import check_target, own_modules, why

FILE = """
import keras
from json import loads as parse

if keras:
    def tiny(input_shape, classes):
        pass
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mymodels.py").write_text(FILE)
    (tmp_path / "torn.py").write_text("def tiny(:\n    pass\n")
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "__init__.py").write_text("")
    (tmp_path / "mypackage" / "parts.py").write_text(
        "from . import other\nfrom .other import x\nclass Part: ...\n"
    )
    (tmp_path / "mypackage" / "other.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "target",
    [
        "keras.optimizers.Adam", "keras.optimizers.schedules.CosineDecay", "keras.metrics.F1Score",
        "tensorflow.keras.optimizers.Adam", "json.loads", "math.sin", "mymodels.tiny", "mymodels.parse",
        "mypackage.parts.Part", "mypackage.parts.Part.method", "handwriting.training.models.build_cnn",
    ],
)  # fmt: skip
def test_what_exists_is_accepted(mine: Path, target: str) -> None:
    check_target("model._target_", target)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mymodel.tiny", "there is no module 'mymodel', neither in the current directory nor installed. "
         "Did you mean 'mymodels'?"),
        ("mymodels.tinny", "mymodels has no 'tinny'. Did you mean 'tiny'?"),
        ("mypackage.part.Part", "mypackage has no 'part'."),
        ("keras.optimizers.Adma", "keras.optimizers has no 'Adma'. Did you mean 'Adamax'?"),
        ("keras.optimizers", "must name a function or class in a module. Received: keras.opt"),
        ("torn.tiny", "torn.tiny cannot be loaded: invalid syntax ("),
        ("", "there is no module ''"),
        (".x", "there is no module ''"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(mine: Path, target: str, said: str) -> None:
    loaded = set(sys.modules)
    with pytest.raises(UserError) as caught:
        check_target("model._target_", target)
    assert str(caught.value).startswith("model._target_")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not {"mymodels", "torn", "mypackage"} & (set(sys.modules) - loaded), "it was not imported"


@pytest.mark.parametrize(
    "target",
    [
        "os.system", "posix.system", "os.execv", "os.remove", "subprocess.Popen", "builtins.eval",
        "builtins.exec", "shutil.rmtree", "yaml.unsafe_load",
        "mymodels.tiny.__globals__", "hydra._internal.utils._locate",
    ],
)  # fmt: skip
def test_what_hydra_refuses_to_call_is_refused_in_its_words(mine: Path, target: str) -> None:
    with pytest.raises(hydra.errors.InstantiationException) as hydras:
        hydra.utils.instantiate({"_target_": target})
    with pytest.raises(UserError) as caught:
        check_target("model._target_", target)
    assert (
        str(caught.value) == f"model._target_: Hydra refuses {target}: {' '.join(str(hydras.value).split())}"
    )


def test_what_hydra_is_told_to_allow_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_INSTANTIATE_ALLOWLIST_OVERRIDE", "os.getpid:os.remove")
    check_target("model._target_", "os.remove")
    with pytest.raises(UserError, match=r"Hydra refuses os\.rename: .*ALLOWLIST_OVERRIDE=os\.rename"):
        check_target("model._target_", "os.rename")


def test_modules_that_a_users_module_imports_are_the_users_too(mine: Path) -> None:
    found = own_modules("mypackage.parts.Part")
    assert {name: path.name for name, path in found.items()} == {
        "mypackage.parts": "parts.py", "mypackage.other": "other.py", "mypackage": "__init__.py",
    }  # fmt: skip
    assert own_modules("keras.optimizers.Adam") == {}
    assert own_modules("json.loads") == {}


def test_the_cause_is_said_with_its_place(mine: Path) -> None:
    (mine / "broken.py").write_text("import json\n\nimport nobodys_module\n")
    with pytest.raises(ModuleNotFoundError) as caught:
        __import__("broken")
    assert (
        why(caught.value)
        == f"ModuleNotFoundError: No module named 'nobodys_module' ({mine}/broken.py, line 3)"
    )
    (mine / "zero.py").write_text("1 / 0\n")
    outer = RuntimeError("somewhere else")
    with pytest.raises(ZeroDivisionError) as zero:
        __import__("zero")
    outer.__cause__ = zero.value
    assert why(outer) == f"ZeroDivisionError: division by zero ({mine}/zero.py, line 1)"
