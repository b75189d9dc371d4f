"""The tables beside a page: tidy, numbers as numbers, with every setting."""

from pathlib import Path

import pandas as pd
import pytest
from made_runs import compared, epochs_of, sweep
from made_stores import made, spread

from handwriting.compare import LoadedRuns, load_runs, report
from handwriting.compare.files import tidy_tables


def read(page: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(page.with_name(f"{name}.csv"))


def test_tables_are_tidy_with_numbers_as_numbers_and_every_setting(tmp_path: Path) -> None:
    store = spread(made(tmp_path, 16), "optimizer.learning_rate", ["0.001", "0.01"])
    page = report(store)
    runs, epochs, arms, pairs = (read(page, name) for name in ("runs", "epochs", "arms", "pairs"))
    assert len(runs) == 16
    for name in ("test_accuracy", "optimizer.learning_rate", "batch_size", "model.setting7", "seed"):
        assert pd.api.types.is_numeric_dtype(runs[name]), name
    assert set(runs["optimizer.learning_rate"]) == {0.001, 0.01}
    assert {"run_id", "arm", "optimizer", "model", "git.commit"} < set(runs)
    assert len(epochs) == 16 * 10
    assert not epochs.duplicated(["run_id", "epoch"]).any()
    assert epochs.merge(runs, on=["run_id", "arm", "seed"]).shape[0] == 160
    means = runs.groupby("arm")["test_accuracy"].mean()
    assert arms.set_index("arm")["test_accuracy"].to_dict() == pytest.approx(means.to_dict())
    assert len(pairs) == 6
    assert ((pairs["low"] <= pairs["difference"]) & (pairs["difference"] <= pairs["high"])).all()


def test_a_setting_that_is_called_as_another_column_is_told_from_it() -> None:
    runs = [{**run, "params.arm": "left", "params.test_loss": "7", "experiment_id": "1"} for run in sweep()]
    tables = tidy_tables(LoadedRuns("e", "s", pd.DataFrame(runs), epochs_of(*runs)), compared(runs))
    table = tables["runs"]
    assert table.columns.is_unique
    assert set(table["setting.arm"]) == {"left"}
    assert set(table["setting.test_loss"]) == {"7"}
    assert set(table["arm"]) == {"rmsprop", "adam"}
    assert not [name for name in table if "tracking" in name]


def test_a_run_that_is_left_out_has_its_reason_in_a_table(tmp_path: Path) -> None:
    store = made(tmp_path, 6)
    first = load_runs(store).runs["run_id"][0]
    store.client.set_terminated(first, "FAILED")
    left_out = read(report(store), "left_out")
    assert list(left_out["name"]) == ["rmsprop cnn seed 0"]
    assert list(left_out["reason"]) == ["FAILED"]
