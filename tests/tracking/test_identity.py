"""What a run is known by: the setting, the data and the code."""

import ast
from pathlib import Path

import pytest

from handwriting.config import check_config, compose
from handwriting.tracking.identity import PACKAGE, code_of, definitions, difference, files_of, identify


def fingerprint_of(*overrides: str, data: str = "digest") -> str:
    words = [word for override in overrides for word in override.split()]
    return identify(compose(*words), data).fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("optimizer.learning_rate=1e-3", "optimizer.learning_rate=0.001"),
        ("optimizer.momentum=0", "optimizer.momentum=0.0"),
        ("force=false", "force=true"),
        ("tracking.uri=sqlite:////a/mlflow.db", "tracking.uri=http://localhost:5000"),
        ("tracking.experiment_name=a", "tracking.experiment_name=b"),
        ("data.path=/a/mnist.npz", "data.path=/b/copy.npz"),
        ("data.sha256=null", "data.sha256=digest"),
        ("tracking.sweep=a", "tracking.sweep=b"),
        ("tracking.arm=null", "tracking.arm=1"),
        ("training=notebook", "experiment=rmsprop_vs_adam"),
    ],
)
def test_what_changes_no_result_changes_no_fingerprint(one: str, other: str) -> None:
    assert fingerprint_of(one) == fingerprint_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("optimizer.learning_rate=0.001", "optimizer.learning_rate=0.0010001"),
        ("optimizer=rmsprop", "optimizer=adam"),
        ("optimizer.weight_decay=null", "optimizer.weight_decay=0"),
        ("model=cnn", "model=small_cnn"),
        ("seed=0", "seed=1"),
        ("threads=1", "threads=2"),  # the last bits
        ("epochs=1", "epochs=10"),
        ("batch_size=32", "batch_size=64"),
        ("data.validation_size=5000", "data.validation_size=5001"),
        ("data.limit_train=null", "data.limit_train=1000"),
        ("data.validation_on_test=false", "data.validation_on_test=true"),
        ("metrics=[]", "metrics=[{_target_:keras.metrics.F1Score,average:macro}]"),
        ("callbacks=[]", "callbacks=[{_target_:keras.callbacks.EarlyStopping}]"),
        ("start=fresh", "start=after_rmsprop"),
        ("start=after_rmsprop", "start=after_rmsprop start.optimizer.learning_rate=0.01"),
    ],
)
def test_what_changes_a_result_changes_the_fingerprint(one: str, other: str) -> None:
    assert fingerprint_of(one) != fingerprint_of(other)


def test_other_data_changes_the_fingerprint() -> None:
    assert fingerprint_of(data="a") != fingerprint_of(data="b")


def test_seed_0_is_a_seed() -> None:
    cfg = compose("seed=0")
    check_config(cfg)
    assert identify(cfg, "digest").setting["seed"] == 0


CODE = b"""
'''Of a module.'''
import math

RATE = 0.1  # a comment


def build(units, rate=RATE):
    \"\"\"Of a function.\"\"\"
    return math.floor(units * rate)


class Layer:
    def call(self, x):
        return x
"""


def test_comments_docstrings_and_layout_are_no_code() -> None:
    other = (
        CODE.replace(b"# a comment", b"")
        .replace(b"Of a", b"Said of a")
        .replace(b"units, rate=RATE", b"units,\n  rate=RATE")
    )
    assert other != CODE
    assert definitions(other) == definitions(CODE)
    assert definitions(ast.unparse(ast.parse(CODE)).encode()) == definitions(CODE)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b"units * rate", b"units + rate", "a.py: build"),
        (b"rate=RATE", b"rate=0.2", "a.py: build"),
        (b"return x", b"return -x", "a.py: Layer"),
        (b"RATE = 0.1", b"RATE = 0.2", "a.py: RATE"),
        (b"import math", b"import cmath as math", "a.py: its other lines"),
        (b"class Layer", b"class Other", "a.py: Layer, Other"),
    ],
)
def test_a_change_is_named_by_file_and_definition(before: bytes, after: bytes, said: str) -> None:
    old, new = definitions(CODE), definitions(CODE.replace(before, after))
    assert difference({"a.py": old, "b.py": old}, {"a.py": new, "b.py": old}) == said
    assert difference({"a.py": old}, {}) == "a.py: Layer, RATE, build, its other lines"


def test_the_code_of_a_run_is_that_of_training_and_data_and_of_the_targets_own_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mynetworks.py").write_text(
        "import keras\nfrom mylayers import wide\n\ndef tiny(): return wide()\n"
    )
    (tmp_path / "mylayers.py").write_text("def wide(): return 1\n")
    (tmp_path / "bystander.py").write_text("def idle(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    targets = ("keras.optimizers.Adam", "mynetworks.tiny", "handwriting.training.models.build_cnn")
    assert files_of(targets) == {f"{name}.py": tmp_path / f"{name}.py" for name in ("mynetworks", "mylayers")}
    code = code_of(targets)
    ours = {
        str(path.relative_to(PACKAGE))
        for room in ("data", "training")
        for path in (PACKAGE / room).glob("*.py")
    }
    assert set(code) == ours | {"mynetworks.py", "mylayers.py"}
    assert "build_cnn" in code["training/models.py"]
    with_target = compose("+model.units=1", "model._target_=mynetworks.tiny")
    before = identify(with_target, "digest")
    (tmp_path / "mylayers.py").write_text("def wide(): return 2\n")
    code_of.cache_clear()
    files_of.cache_clear()
    after = identify(with_target, "digest")
    assert before.fingerprint != after.fingerprint
    assert (before.setting_digest, before.arm) == (after.setting_digest, after.arm)
    assert difference(before.code, after.code) == "mylayers.py: wide"
    nested = compose("+model.activation={_target_:mylayers.wide}")
    assert set(identify(nested, "digest").modules) == {"mylayers.py"}, "what a part is made with counts too"
