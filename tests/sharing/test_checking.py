"""Whatever differs between a run and its copy is found."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from shared_runs import a_run, bring, new_store, unequal

from handwriting.tracking import Store


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = new_store(tmp_path_factory.mktemp("source"))
    a_run(store)
    return store


def sql(statement: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
            assert connection.execute(statement).rowcount > 0
            connection.commit()

    return change


def file(pattern: str, what: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        found = sorted(folder.rglob(pattern))
        assert found
        what(found[0])

    return change


DAMAGE = {
    "parameter": sql("UPDATE params SET value = '1' WHERE key = 'optimizer.7'"),
    "tag": sql("UPDATE tags SET value = 'x' WHERE key = 'sweep'"),
    "tag ": sql("DELETE FROM tags WHERE key = 'sweep'"),
    "point": sql("UPDATE metrics SET value = value + 1e-16 WHERE key = 'test_accuracy'"),
    "point ": sql("UPDATE metrics SET timestamp = timestamp + 1 WHERE key = 'loss' AND step = 1"),
    "point  ": sql("DELETE FROM metrics WHERE key = 'loss' AND step = 1"),
    "the run's status": sql("UPDATE runs SET status = 'FAILED'"),
    "the run's start": sql("UPDATE runs SET start_time = start_time + 1"),
    "the run's end": sql("UPDATE runs SET end_time = end_time + 1"),
    "data set": sql("UPDATE datasets SET dataset_schema = 'x'"),
    "data set ": sql("DELETE FROM input_tags"),
    "model": sql("UPDATE logged_model_params SET param_value = 'x' WHERE param_key = 'optimizer.7'"),
    "model ": sql("DELETE FROM logged_model_metrics WHERE metric_name = 'loss'"),
    "model  ": sql("UPDATE inputs SET step = 9 WHERE source_type = 'RUN_OUTPUT'"),
    "file": file("config.yaml", lambda path: path.write_text("seed: 1\n")),
    "file ": file("commit.txt", Path.unlink),
    "file of model": file("model.keras", lambda path: path.write_bytes(path.read_bytes() + b"\0")),
    "file of model ": file("pictures.json", Path.unlink),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_each_kind_of_damage_to_a_copy_is_found(source: Store, tmp_path: Path, what: str) -> None:
    target = new_store(tmp_path)
    bring(source, target)
    assert unequal(source, target) == []
    DAMAGE[what](tmp_path)
    found = unequal(source, new_store(tmp_path))
    assert found
    assert all(difference.startswith(what.strip()) for difference in found)
