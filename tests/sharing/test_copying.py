"""A copy is whole, is one, and is finished by whoever comes next."""

import multiprocessing
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from shared_runs import IMAGES, a_run, bring, ends_at, new_store, runs_of, unequal

from handwriting.sharing.contents import models_of
from handwriting.sharing.copying import Copier, store_id
from handwriting.sharing.exchange import Exchange
from handwriting.tracking import Store, names
from handwriting.tracking.model import load_picture_model
from handwriting.tracking.plans import Plan, keep_plan, plans_in
from handwriting.tracking.run import tracked_run


@pytest.fixture
def source(tmp_path: Path) -> Store:
    store = new_store(tmp_path / "source")
    a_run(store)
    return store


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return new_store(tmp_path / "target")


def test_a_copy_has_all_that_the_run_has_and_a_second_look_finds_nothing_to_do(
    source: Store, target: Store
) -> None:
    (run_id,) = runs_of(source)
    assert bring(source, target) == [run_id]
    assert unequal(source, target) == []
    assert bring(source, target) == []
    (copy_id,) = runs_of(target)
    run, copy = source.client.get_run(run_id), target.client.get_run(copy_id)
    assert copy.data.tags[names.ORIGIN] == f"{store_id(source)}/{run_id}"
    (model,), (copied) = models_of(source.client, run), models_of(target.client, copy)
    assert copied[0].tags[names.ORIGIN] == f"{store_id(source)}/{model.model_id}"
    assert copied[0].tags[names.CREATED] == str(model.creation_timestamp)
    load_picture_model(target, copy_id)  # with the digests that the run recorded


def test_what_changes_after_the_copy_is_copied_and_no_more(source: Store, target: Store) -> None:
    bring(source, target)
    other = a_run(source, "rmsprop seed 0")
    assert bring(source, target) == [other]
    source.client.set_tag(other, names.SWEEP, "signs-0123abcd signs-4567abcd")
    assert bring(source, target) == [other]
    assert unequal(source, target) == []


def test_a_run_is_running_in_the_copy_until_it_is_over(source: Store, target: Store) -> None:
    copier = Copier(source, target)
    experiment = source.open_experiment("signs")
    mlflow.set_tracking_uri(source.uri)
    try:
        with tracked_run(source, experiment, "sgd seed 0", {}) as run:
            for epoch in range(3):
                run.log_epoch({names.LOSS: float(epoch)}, epoch)
                copy = target.client.get_run(copier.copy(run.id))
                assert (copy.info.status, copy.data.metrics[names.LOSS]) == ("RUNNING", epoch)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert target.client.get_run(copier.copy(run.id)).info.status == "FAILED"
    with tracked_run(source, experiment, "sgd seed 0", {}, run.id):
        again = target.client.get_run(copier.copy(run.id))
        assert (again.info.status, names.FAILURE in again.data.tags) == ("RUNNING", False)
    bring(source, target)
    assert unequal(source, target) == []


def test_an_epoch_more_is_two_requests(source: Store, target: Store) -> None:
    copier = Copier(source, target)
    experiment = source.open_experiment("signs")
    mlflow.set_tracking_uri(source.uri)
    with tracked_run(source, experiment, "sgd seed 0", {}) as run:
        run.log_dataset("signs", "signs.npz", IMAGES, np.arange(4), "5" * 64)
        for epoch in range(3):
            run.log_epoch({names.LOSS: float(epoch)}, epoch)
            with ends_at(10**6, KeyboardInterrupt()) as made:
                copier.copy(run.id)
            assert epoch == 0 or made == ["log_batch", "set_tag"]
        run.log_text("0" * 40, "process-1/commit.txt")
        with ends_at(10**6, KeyboardInterrupt()) as made:
            copier.copy(run.id)
        assert made == ["log_artifact", "set_tag"]
    bring(source, target)
    assert unequal(source, target) == []


def test_a_shared_store_that_was_set_back_gets_all_again(source: Store, target: Store) -> None:
    copier = Copier(source, target)
    experiment = source.open_experiment("signs")
    mlflow.set_tracking_uri(source.uri)
    with tracked_run(source, experiment, "sgd seed 0", {}) as run:
        run.log_epoch({names.LOSS: 0.0}, 0)
        copy = copier.copy(run.id)
        with closing(sqlite3.connect(target.folder / "mlflow.db")) as connection:
            connection.execute("DELETE FROM metrics WHERE run_uuid = ?", (copy,))
            connection.commit()
        run.log_epoch({names.LOSS: 1.0}, 1)
        copier.copy(run.id)
    copier.copy(run.id)
    bring(source, target)
    assert unequal(source, target) == []


def test_tags_that_name_other_runs_name_their_copies(source: Store, target: Store) -> None:
    (first,) = runs_of(source)
    later = a_run(source, "adam seed 0 again", {names.REPEATS: first, names.STARTS_FROM: "0" * 32})
    copier = Copier(source, target)
    copy = target.client.get_run(copier.copy(later))
    assert copy.data.tags[names.REPEATS] == copier.copy(first)
    assert copy.data.tags[names.STARTS_FROM] == "0" * 32  # gone from both
    bring(source, target)
    assert unequal(source, target) == []


def test_plans_of_two_machines_stand_side_by_side(source: Store, target: Store, tmp_path: Path) -> None:
    other = new_store(tmp_path / "other")
    a_run(other)
    for store, seeds in ((source, (0, 1)), (other, (2, 3)), (other, (0, 1))):
        keep_plan(store, store.open_experiment("signs"), "signs-0123abcd", Plan(seeds))
    for store in (source, other, source):
        source.client.set_tag(runs_of(source)[0], "look", str(store))
        bring(store, target)
    tags = target.client.get_experiment(target.open_experiment("signs")).tags
    assert [plan.seeds for plan in plans_in(tags[names.plan_of("signs-0123abcd")])] == [(0, 1), (2, 3)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_interrupted_at_any_write_the_next_copy_is_whole_and_alone(
    source: Store, tmp_path: Path, after: bool
) -> None:
    with ends_at(10**6, KeyboardInterrupt()) as made:
        bring(source, new_store(tmp_path / "all"))
    assert len(made) > 12
    for call in range(len(made)):
        target = new_store(tmp_path / f"target-{call}")
        with ends_at(call, KeyboardInterrupt(), after), pytest.raises(KeyboardInterrupt):
            bring(source, target)
        for copy in runs_of(target):
            finished = target.client.get_run(copy).info.status == "FINISHED"
            assert not finished or unequal(source, target) == [], "a copy that is FINISHED is whole"
        bring(source, target)
        assert unequal(source, target) == []


def test_what_one_run_lacks_holds_up_no_other(source: Store, target: Store) -> None:
    a_run(source, "rmsprop seed 0")
    refused = MlflowException.invalid_parameter_value("too long")
    with ends_at(0, refused):
        found = list(Exchange(source, target).bring())
    assert [problem for _, problem in found] == ["is not copied: too long", None]


def test_a_store_that_was_moved_or_copied_has_the_same_runs(
    source: Store, target: Store, tmp_path: Path
) -> None:
    bring(source, target)
    shutil.copytree(source.folder, tmp_path / "moved")
    moved = new_store(tmp_path / "moved")
    assert bring(moved, target) == []
    new = a_run(moved, "rmsprop seed 0")
    assert bring(moved, target) == [new]
    assert len(runs_of(target)) == 2


def _bring_at_once(uris: tuple[str, str]) -> None:
    bring(Store(uris[0]), Store(uris[1]))


def test_several_at_once_make_one_copy(source: Store, target: Store) -> None:
    target.client.search_experiments()  # made
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(_bring_at_once, [(source.uri, target.uri)] * 3)
    assert unequal(source, target) == []


def test_a_second_copy_that_a_lost_answer_left_is_deleted(source: Store, target: Store) -> None:
    (run_id,) = runs_of(source)
    Copier(source, target).copy(run_id)
    (copy,) = (target.client.get_run(each) for each in runs_of(target))
    target.client.create_run(
        copy.info.experiment_id,
        copy.info.start_time,
        {names.ORIGIN: copy.data.tags[names.ORIGIN]},
        copy.info.run_name,
    )
    source.client.set_tag(run_id, "changed", "yes")
    bring(source, target)
    assert unequal(source, target) == []


def test_a_copy_that_somebody_has_deleted_is_not_made_again(source: Store, target: Store) -> None:
    (run_id,) = bring(source, target)
    target.client.delete_run(runs_of(target)[0])
    source.client.set_tag(run_id, "changed", "yes")
    assert bring(source, target) == []
    assert runs_of(target) == []
