"""The champion is what the verdict says, its history is kept, and nothing replaces it in silence."""

import multiprocessing
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from promoted_runs import IMAGES, answer, command, give_model, made, network
from sqlalchemy import create_engine, text

from handwriting.errors import UserError
from handwriting.serving.champion import (
    CHALLENGER,
    CHAMPION,
    Event,
    back,
    best_run,
    candidate,
    champions,
    history,
    promote,
    version_of,
)
from handwriting.tracking import Store

NAME = "letters"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of two stores; making one takes seconds, copying it none."""
    leads = {"clear": 0.002, "unclear": -0.0004}
    folders = {name: tmp_path_factory.mktemp(name) for name in leads}
    for name, folder in folders.items():
        made(folder, leads[name])
    return folders


@pytest.fixture
def clear(stores: dict[str, Path], tmp_path: Path) -> Store:
    """Return a store where adam is better."""
    return Store(f"sqlite:///{shutil.copytree(stores['clear'], tmp_path / 'clear')}/mlflow.db")


@pytest.fixture
def unclear(stores: dict[str, Path], tmp_path: Path) -> Store:
    """Return a store where there is no difference."""
    return Store(f"sqlite:///{shutil.copytree(stores['unclear'], tmp_path / 'unclear')}/mlflow.db")


def promoted(store: Store, anyway: str | None = None, name: str = NAME) -> tuple[str, str]:
    return promote(store, answer(store), "report", name, anyway)


def number(store: Store, alias: str) -> str | None:
    version = version_of(store, NAME, alias)
    return None if version is None else str(version.version)


def change(store: Store, statement: str) -> None:
    engine = create_engine(store.uri)
    with engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount
    engine.dispose()


def test_the_better_arms_best_run_by_validation_becomes_the_champion(clear: Store) -> None:
    found = candidate(answer(clear).comparison)
    assert (found.arm, found.wins, found.runs) == ("adam", True, 8)
    runs = clear.client.search_runs([clear.client.get_run(found.run_id).info.experiment_id])
    of_adam = [run for run in runs if run.data.params["optimizer"] == "adam"]
    best = max(of_adam, key=lambda run: run.data.metrics["val_accuracy"])
    assert found.run_id == best.info.run_id
    assert found.run_id != max(of_adam, key=lambda run: run.data.metrics["test_accuracy"]).info.run_id

    assert promoted(clear) == (CHAMPION, "1")
    version = version_of(clear, NAME, CHAMPION)
    assert version is not None
    assert version.run_id == found.run_id
    assert version.tags["verdict"].startswith("rmsprop against adam in test_accuracy: adam is better")
    of_run = clear.client.get_run(found.run_id).data.tags
    kept = ("fingerprint", "data.sha256", "model.sha256", "pictures.sha256", "git.commit")
    assert {key: version.tags[key] for key in kept} == {key: of_run[key] for key in kept}
    assert version.tags["sweep"] == "synthetic-00000000"
    assert version.tags["report"] == "report"
    assert [(event.version, event.how) for event in history(clear, NAME)] == [("1", "verdict")]


def test_mlflows_ways_load_the_champion(clear: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    promoted(clear)
    mlflow.set_tracking_uri(clear.uri)
    right = network(1).predict(IMAGES[..., None] / np.float32(255), verbose=0)
    found = mlflow.pyfunc.load_model(f"models:/{NAME}@champion").predict(IMAGES)
    np.testing.assert_allclose(found, right, rtol=1e-5)
    assert list(found) == ["circle", "cross", "line"]
    found = mlflow.keras.load_model(f"models:/{NAME}@champion").predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found, right, rtol=1e-5)


def test_without_a_better_arm_there_is_a_challenger_and_no_champion(unclear: Store) -> None:
    found = candidate(answer(unclear).comparison)
    assert not found.wins
    assert found.arm == answer(unclear).comparison.choice.best
    assert promoted(unclear) == (CHALLENGER, "1")
    assert (number(unclear, CHAMPION), number(unclear, CHALLENGER)) == (None, "1")
    assert history(unclear, NAME) == []


def test_anyway_needs_a_reason_and_stores_it(unclear: Store) -> None:
    assert promoted(unclear) == (CHALLENGER, "1")
    assert promoted(unclear, "half the memory") == (CHAMPION, "1")
    assert number(unclear, CHALLENGER) is None, "one version is one of the two"
    (event,) = history(unclear, NAME)
    assert (event.how, event.why) == ("anyway", "half the memory")
    version = version_of(unclear, NAME, CHAMPION)
    assert version is not None
    assert version.tags["reason"] == "half the memory"
    assert "no difference" in version.tags["verdict"]
    assert promoted(unclear) == (CHAMPION, "1"), "it stays what it was"


def test_the_only_arm_needs_no_verdict(clear: Store) -> None:
    change(clear, "DELETE FROM runs WHERE run_uuid IN "
           "(SELECT run_uuid FROM params WHERE key = 'optimizer' AND value = 'adam')")  # fmt: skip
    assert promoted(clear) == (CHAMPION, "1")
    assert [(event.how, event.why) for event in history(clear, NAME)] == [
        ("only arm", "rmsprop is the only arm.")
    ]


def test_a_better_arm_of_three_is_better_than_each_other(clear: Store) -> None:
    comparison = answer(clear).comparison
    pairs = comparison.pairs.copy()
    object.__setattr__(comparison, "arms", comparison.arms.reindex(["rmsprop", "adam", "sgd"]).fillna(0))
    assert not candidate(comparison).wins, "nothing is known of sgd"
    more = pairs.assign(first="sgd")
    object.__setattr__(comparison, "pairs", pd.concat([pairs, more], ignore_index=True))
    assert candidate(comparison).wins


def test_promoted_twice_it_is_one_version_and_one_event(clear: Store) -> None:
    assert promoted(clear) == promoted(clear) == (CHAMPION, "1")
    assert len(history(clear, NAME)) == 1
    assert len(clear.client.search_model_versions(f"name = '{NAME}'")) == 1


def next_best(store: Store) -> None:
    """Let another run of adam be the best by validation, with a model of its own."""
    run_id, *_ = best_run(answer(store).comparison, "adam")
    for table in ("metrics", "latest_metrics"):
        change(store, f"UPDATE {table} SET value = 0.5 WHERE key = 'val_accuracy' AND run_uuid = '{run_id}'")  # noqa: S608
    give_model(store, best_run(answer(store).comparison, "adam")[0], 2)


def test_back_returns_to_the_one_before_and_the_history_is_a_list(clear: Store) -> None:
    with pytest.raises(UserError, match="letters has had no champion: there is none to go back to"):
        back(clear, NAME)
    for version in ("1", "2", "3"):
        assert promoted(clear) == (CHAMPION, version)
        next_best(clear)
    gone, now = back(clear, NAME)
    assert (gone.version, now.version, number(clear, CHAMPION)) == ("3", "2", "2")
    assert back(clear, NAME)[1].version == number(clear, CHAMPION) == "1"
    with pytest.raises(UserError, match="letters has had 1 champion: there is none"):
        back(clear, NAME)
    assert promoted(clear) == (CHAMPION, "4")
    assert back(clear, NAME)[1].version == "1"
    events = [(event.version, event.how) for event in history(clear, NAME)]
    assert events == [("1", "verdict"), ("2", "verdict"), ("3", "verdict"), ("2", "back"), ("1", "back"),
                      ("4", "verdict"), ("1", "back")]  # fmt: skip
    assert [event.at for event in history(clear, NAME)] == sorted(event.at for event in history(clear, NAME))


def test_going_back_is_a_stack() -> None:
    def event(version: str, how: str = "verdict") -> Event:
        return Event(version, 0, how, "")

    past = [event("1"), event("2"), event("1", "back"), event("3"), event("1", "back")]
    assert champions(past) == [event("1")]
    assert champions([]) == []


def test_a_champion_of_other_images_or_classes_is_not_replaced_in_silence(clear: Store) -> None:
    promoted(clear)
    before = number(clear, CHAMPION)
    change(clear, f"UPDATE tags SET value = '{'1' * 64}' WHERE key = 'data.sha256'")  # noqa: S608
    change(clear, "UPDATE metrics SET value = 0.5 WHERE key = 'val_accuracy'")
    next_best(clear)
    said = r"version 1, was trained on other images \(the same classes\): data.sha256 000000000000, not 1111"
    with pytest.raises(UserError, match=said):
        promoted(clear)
    assert number(clear, CHAMPION) == before
    give_model(clear, candidate(answer(clear).comparison).run_id, 3, ("a", "b", "c"))
    with pytest.raises(UserError, match=r"other images \(other classes\).*--name ANOTHER.*--anyway REASON"):
        promoted(clear)
    assert promoted(clear, name="others") == (CHAMPION, "1")
    assert promoted(clear, "the old images were wrong")[0] == CHAMPION


def test_a_model_that_is_not_as_it_was_recorded_is_not_promoted(clear: Store, tmp_path: Path) -> None:
    for file in tmp_path.rglob("model.keras"):
        file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(UserError, match="is not what the run recorded"):
        promoted(clear)
    assert version_of(clear, NAME, CHAMPION) is None


@pytest.mark.parametrize("call", ["create_model_version", "set_model_version_tag", "set_registered_model_tag",
                                  "set_registered_model_alias"])  # fmt: skip
def test_interrupted_anywhere_the_champion_stays_and_the_same_command_goes_on(
    clear: Store, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    promoted(clear)
    next_best(clear)

    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, call, end)
        with pytest.raises(KeyboardInterrupt):
            promoted(clear)
    assert number(clear, CHAMPION) == "1"
    assert promoted(clear) == (CHAMPION, "2")
    assert [event.version for event in history(clear, NAME)] == ["1", "2"]


def _promote_at_once(uri: str) -> None:
    promoted(Store(uri))


def test_several_at_once_make_one_version(clear: Store) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(_promote_at_once, [clear.uri] * 3)
    assert len(clear.client.search_model_versions(f"name = '{NAME}'")) == 1
    assert len(history(clear, NAME)) == 1


def test_the_command_says_what_it_did_and_why(unclear: Store) -> None:
    first = command(unclear)
    assert first.returncode == 0, first.stderr
    version = unclear.client.get_model_version_by_alias("synthetic", CHALLENGER)
    assert "rmsprop against adam in test_accuracy: no difference" in first.stdout
    assert "\n\nsynthetic@challenger is version 1: adam, seed " in first.stdout
    assert "the best of its 8 runs by validation (99." in first.stdout
    assert "No arm is better than each other, so it is a challenger and not the champion.\n" in first.stdout
    report = unclear.client.get_run(version.tags["report"])
    assert report.data.tags["verdict"] == version.tags["verdict"]
    again = command(unclear, "--anyway", "it is smaller")
    assert "It is the champion all the same: it is smaller.\n" in again.stdout
    listed = command(unclear, "--history").stdout
    assert listed.endswith("version   1  anyway    it is smaller\n")
    refused = command(unclear, "--back")
    said = "error: synthetic has had 1 champion: there is none to go back to\n"
    assert (refused.returncode, refused.stderr) == (1, said)


def test_a_name_that_mlflow_does_not_take_is_refused(unclear: Store) -> None:
    with pytest.raises(UserError, match="a/b: a model cannot have this name"):
        promoted(unclear, name="a/b")
