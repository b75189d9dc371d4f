"""What is said of a mistake, and what is not."""

import re
from pathlib import Path

import pytest

from handwriting.config import compose, flatten
from handwriting.errors import explain, nearest, redact


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("postgresql://me:geheim@db:5432/x", "postgresql://***@db:5432/x"),
        ("https://geheim@host/path", "https://***@host/path"),
        ("a=http://me:geheim@one b=http://me:geheim@two", "a=http://***@one b=http://***@two"),
        ("mysql://me:ge@heim@host/x", "mysql://***@host/x"),
        ("postgresql://db/x?user=me&password=geheim", "postgresql://db/x?user=me&password=***"),
        ("sqlite:////folder/mlflow.db", "sqlite:////folder/mlflow.db"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_redact_takes_passwords_out_of_addresses(address: str, clean: str) -> None:
    assert redact(address) == clean


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("adm", " Did you mean 'adam'?"),
        ("CNN", " Did you mean 'cnn'?"),
        ("Adam", " Did you mean 'adam'?"),
        ("x", ""),
    ],
)
def test_the_choice_most_like_a_name_is_offered_in_whatever_letters(name: str, said: str) -> None:
    assert nearest(name, ["cnn", "adam"]) == said


def said_of(*overrides: str) -> str:
    """Return what is said of a command line that cannot be composed."""
    try:
        compose(*overrides)
    except Exception as error:
        known = dict.fromkeys(flatten(compose()), "")
        return explain(error, lambda: known | {"model.units": "model=mlp"}) or ""
    raise AssertionError("it composes")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.lr=1", "there is no such key. Did you mean 'optimizer.learning_rate'? All keys: --help"),
        ("model.units=1", "there is no such key here; model=mlp has it"),
        ("model=cnn,mlp", "is several values. With -m in front they are a sweep: -m model=cnn,mlp"),
        ("seed=range(3)", "is several values. With -m in front they are a sweep: -m 'seed=range(3)'"),
        ("epochs=0,05", "a sweep: -m epochs=0,05. A decimal has a point: epochs=0.05"),
        ("epochs=0-2", "must be a whole number, at .* Received: 0-2. For a sweep: -m 'epochs=range(3)'"),
        ("epochs=2..4", "must be a whole number, at .* Received: 2..4. For a sweep: -m 'epochs=range(2,5)'"),
        ("epochs=2:4", "must be a whole number, at .* Received: 2:4. For a sweep: -m 'epochs=range(2,4)'"),
        ("epochs=[2,3]", "must be a whole number, at .* Received: [2, 3]. For a sweep: -m epochs=2,3"),
        ("epochs=ten", "must be a whole number, at least 1. Received: ten"),
        ("epochs=1e3", "must be a whole number, at least 1. Received: 1000.0"),
        ("force=maybe", "must be true or false. Received: maybe"),
        ("data.limit_test=all", "must be a whole number, at least 1, or null for all. Received: all"),
        ("metrics=x", "must be a list, as [{_target_: keras.metrics.F1Score, average: macro}]"),
        ("+seed=1", "is there already. Leave out the +: seed=VALUE"),
        ("data=/a/b.npz", "there is .* Images of your own: data.path=FILE.npz or FOLDER"),
        ("model=CNN", "there is no such file in conf/model. There are: .* Did you mean 'cnn'?"),
        ("optimizer:adam", "not in Hydra's grammar: a setting is KEY=VALUE, without spaces around the ="),
        ("seed=0,", "several values stand without spaces between them: -m seed=ONE,OTHER"),
        ("seed=range(3", "a bracket is not closed. In a shell the whole word stands in '...'"),
        ("data.path=~/x.npz", "not in Hydra's grammar: write your home out: data.path=$HOME/x.npz"),
        ("tracking.uri=http://me:geheim@a/b;c", "not .* quoted twice: 'tracking.uri=\"http://***@a/b;c\"'"),
        ("data.path=a;b", "not in Hydra's grammar: special signs are quoted twice: 'data.path=\"a;b\"'"),
        (
            "arms={a: epochs=1}",
            "within braces an override is quoted, and a name is not: 'arms={NAME: \"KEY=VALUE\"}'. .*",
        ),
    ],
)
def test_a_mistake_is_said_with_what_would_be_right(override: str, said: str) -> None:
    found = said_of(override)
    key = re.escape(re.split("[=:]", override.lstrip("+"))[0])
    right = re.escape(said).replace(r"\.\*", ".*")
    assert re.fullmatch(rf"{key}.* {right}", found), found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 3", ".yaml: epoch: there is no such key. Did you mean 'epochs'? All keys: --help"),
        ("epochs: x", ".yaml: epochs must be a whole number, at least 1. Received: x"),
        ("epochs:\n\t3", ".yaml, line 3: not YAML: found character '\\t' that cannot start any token"),
    ],
)
def test_a_mistake_in_a_file_is_said_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    found = said_of(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert found.endswith(f"experiment/mine{said}")


def test_an_error_of_ours_is_not_explained() -> None:
    assert explain(ZeroDivisionError()) is None
    assert explain(ValueError("x")) is None
