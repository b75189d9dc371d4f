"""What is read of a real store: all of it as MLflow has it, and only what was meant."""

import math
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from sqlalchemy import create_engine, text

from handwriting.bench.synthetic import SWEEP, fill
from handwriting.compare import LoadedRuns, compare, load, load_runs
from handwriting.compare.load import PER_EPOCH
from handwriting.errors import UserError
from handwriting.tracking import Store, names

RUNS = 16


def made(folder: Path, runs: int) -> Store:
    """Return a store with so many synthetic runs."""
    store = Store(f"sqlite:///{folder}/mlflow.db")
    fill(store, runs)
    return store


def ids(store: Store, experiment: str = "synthetic") -> list[str]:
    found = store.client.get_experiment_by_name(experiment)
    assert found is not None
    return [run.info.run_id for run in store.client.search_runs([found.experiment_id])]


def from_server(store: Store) -> LoadedRuns:
    """Read a store as a server is read; MLflow's client is the same for both."""
    return load._from_server(store, None, None)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with 16 synthetic runs, eight pairs."""
    return made(tmp_path_factory.mktemp("filled"), RUNS)


def test_what_is_read_is_what_mlflow_reads(filled: Store) -> None:
    client, loaded = filled.client, load_runs(filled)
    mlflow.set_tracking_uri(filled.uri)
    theirs = mlflow.search_runs(experiment_names=["synthetic"]).set_index("run_id").sort_index()
    ours = loaded.runs.set_index("run_id").sort_index()
    assert len(ours) == RUNS
    columns = [name for name in ours if "." in name] + ["status", "artifact_uri"]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns], check_dtype=False)
    assert (ours["start_time"] == theirs["start_time"]).all()
    assert {name for name in set(theirs) - set(ours) if not name.startswith("tags.")} == {"end_time"}
    for run_id in ours.index[:2]:
        own = loaded.epochs[loaded.epochs["run_id"] == run_id].set_index("epoch")
        for metric in PER_EPOCH:
            history = {entry.step: entry.value for entry in client.get_metric_history(run_id, metric)}
            assert own[metric].to_dict() == history


def test_a_server_gives_the_same_comparison(filled: Store) -> None:
    ours, theirs = load_runs(filled), from_server(filled)
    assert (theirs.experiment, theirs.sweep) == (ours.experiment, ours.sweep) == ("synthetic", SWEEP)
    first, second = (compare(loaded.runs, loaded.epochs) for loaded in (ours, theirs))
    pd.testing.assert_frame_equal(first.pairs, second.pairs)
    pd.testing.assert_frame_equal(first.targets, second.targets)
    pd.testing.assert_frame_equal(first.arms, second.arms)


def test_of_the_users_metrics_the_epochs_and_the_better_way_are_read(tmp_path: Path) -> None:
    store = made(tmp_path, 4)
    for run_id in ids(store):
        store.client.set_tag(run_id, "better.f1", "more")
        store.client.set_tag(run_id, "callbacks.not_kept", "Mine")
        for key in ("f1", "val_f1", "validity"):
            store.client.log_metric(run_id, key, 0.5, step=3)
    for loaded in (load_runs(store), from_server(store)):
        assert set(loaded.epochs) == {"run_id", "epoch", *PER_EPOCH, "val_f1"}
        assert loaded.epochs["val_f1"].notna().sum() == 4
        assert set(loaded.runs["tags.better.f1"]) == {"more"}
        assert set(loaded.runs["tags.callbacks.not_kept"]) == {"Mine"}
        assert "machine0" not in {name.removeprefix("tags.") for name in load_runs(store).runs}


def test_the_arm_that_the_sweep_gave_a_run_is_read_and_that_of_another_sweep_is_not(tmp_path: Path) -> None:
    store = made(tmp_path, 6)
    first, second, third, fourth, *_ = ids(store)
    arms = {first: "10 adam, slow and  steady", second: "0 $5", third: "nothing", fourth: "1 "}
    for run_id, arm in arms.items():
        store.client.set_tag(run_id, names.arm_of(SWEEP), arm)
        store.client.set_tag(run_id, names.arm_of("other-1234abcd"), "7 of another sweep")
        store.client.set_tag(run_id, "host", "here")
    for loaded in (load_runs(store), from_server(store)):
        found = loaded.runs.set_index("run_id")
        assert found["place"].loc[[first, second, fourth]].to_list() == [10, 0, 1]
        assert found["label"].loc[[first, second]].to_list() == ["adam, slow and  steady", "$5"]
        assert (found["place"].isna().sum(), found["label"].isna().sum()) == (3, 4)
        assert set(found["experiment_id"]) == {"1"}
        assert found.loc[first, "tags.host"] == "here"
    everything = load_runs(store, experiment="synthetic").runs
    assert everything[["place", "label"]].isna().all(axis=None), "arms are those of one sweep"


def test_a_report_calls_arms_as_the_sweep_did(tmp_path: Path) -> None:
    store = made(tmp_path, RUNS)
    for run_id, optimizer in load_runs(store).runs[["run_id", "params.optimizer"]].to_numpy():
        arm = {"adam": "0 new, at $5", "rmsprop": "1 old"}[optimizer]
        store.client.set_tag(run_id, names.arm_of(SWEEP), arm)
    for loaded in (load_runs(store), from_server(store)):
        result = compare(loaded.runs, loaded.epochs)
        assert list(result.arms.index) == ["new, at $5", "old"]
        assert result.baseline == "new, at $5"
    loaded = load_runs(store, experiment="synthetic")
    assert list(compare(loaded.runs, loaded.epochs).arms.index) == ["rmsprop", "adam"]


def test_a_run_may_belong_to_several_sweeps_and_names_are_matched_whole(tmp_path: Path) -> None:
    store = made(tmp_path, 4)
    first, second, *_ = ids(store)
    store.client.set_tag(first, "sweep", f"{SWEEP} other_50%")
    store.client.set_tag(second, "sweep", f"{SWEEP}x Other_50%")
    assert set(load_runs(store, sweep="other_50%").runs["run_id"]) == {first}
    assert len(load_runs(store, sweep=SWEEP).runs) == 3
    with pytest.raises(UserError, match=r"no sweep 'other' with runs.*There are: "):
        load_runs(store, sweep="other")


def test_without_a_name_the_latest_sweep_is_read_and_without_a_sweep_the_latest_experiment(
    tmp_path: Path,
) -> None:
    store = made(tmp_path, 4)
    later = store.open_experiment("later")
    run_id = store.client.create_run(later, start_time=10**13).info.run_id
    assert load_runs(store).sweep == SWEEP, "a run of no sweep is no sweep"
    assert load_runs(store, experiment="later").runs["run_id"].to_list() == [run_id]
    store.client.set_tag(run_id, "sweep", "new")
    assert (load_runs(store).experiment, load_runs(store).sweep) == ("later", "new")
    for made_id in [*ids(store), run_id]:
        store.client.delete_tag(made_id, "sweep")
    assert (load_runs(store).experiment, load_runs(store).sweep) == ("later", "")
    store.client.delete_experiment(later)
    assert load_runs(store).experiment == "synthetic"


def test_a_result_that_is_no_number_is_read_as_none(tmp_path: Path) -> None:
    """MLflow stores NaN as 0 with a mark: the best loss there is."""
    store = made(tmp_path, RUNS)
    run_id, *_ = ids(store)
    store.client.log_metric(run_id, "test_loss", math.nan, step=10)
    for loaded in (load_runs(store), from_server(store)):
        result = compare(loaded.runs, loaded.epochs, metric="test_loss")
        assert result.left_out["run_id"].to_list() == [run_id]
        assert result.left_out["reason"].to_list() == ["its test_loss is missing or not a number"]


def test_a_run_deleted_between_two_queries_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(tmp_path, RUNS)
    original = load._wide

    def and_meanwhile(connection: object, kind: str, *more: object) -> pd.DataFrame:
        if kind == "params":
            with create_engine(store.uri).begin() as other:
                for name in ("params", "tags", "latest_metrics", "metrics", "runs"):
                    other.execute(text(f"DELETE FROM {name} WHERE run_uuid LIKE '%3'"))  # noqa: S608
        return original(connection, kind, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(load, "_wide", and_meanwhile)
    loaded = load_runs(store)
    result = compare(loaded.runs, loaded.epochs)
    assert result.pairs["n"].to_list() == [7]
    assert result.left_out["reason"].to_list() == ["no seed is stored with it"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"experiment": "syntetic"},
            "no experiment 'syntetic'.*Did you mean 'synthetic'.*There are: synthetic",
        ),
        ({"sweep": "quick"}, f"no sweep 'quick' with runs.*There are: {SWEEP}"),
    ],
)
def test_an_unknown_name_is_answered_with_those_that_there_are(
    filled: Store, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_runs(filled, **arguments)


def test_an_empty_store_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(UserError, match="the store has no runs"):
        load_runs(Store(f"sqlite:///{tmp_path}/mlflow.db"))
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="the store has no runs"):
        load_runs(made(tmp_path / "other", 0))


def test_reading_and_comparing_import_neither_mlflow_nor_tensorflow(filled: Store) -> None:
    code = (
        "import sys; from handwriting.tracking import Store; from handwriting import compare as room; "
        "loaded = room.load_runs(Store(sys.argv[1])); "
        "comparison = room.compare(loaded.runs, loaded.epochs); "
        "room.draw_figures(comparison, loaded.epochs); room.sentence(comparison); "
        "sys.exit(' '.join({'mlflow', 'tensorflow'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code, filled.uri], check=True)
