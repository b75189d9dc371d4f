"""Plans in the store: each once, in the order in which they were made."""

import pytest

from conftest import Opened
from handwriting.tracking import Store, names
from handwriting.tracking.plans import LOOKS, Plan, keep_plan, plans_in

CLEAR = Plan(tuple(range(20)), LOOKS, 0.001)


def stored(store: Store, experiment_id: str) -> tuple[Plan, ...]:
    return plans_in(store.client.get_experiment(experiment_id).tags.get(names.plan_of("mine-0123")))


def test_plans_are_kept_in_order_and_the_same_one_again_changes_nothing(opened: Opened) -> None:
    store, experiment_id = opened
    scattered = Plan((0, 1, 2, 5, 7, 8), margin=0.002)
    for plan in (scattered, CLEAR, scattered, CLEAR, Plan((3,))):
        keep_plan(store, experiment_id, "mine-0123", plan)
    assert stored(store, experiment_id) == (scattered, CLEAR, Plan((3,)))
    keep_plan(store, experiment_id, "other-4567", Plan((0,)))
    assert len(stored(store, experiment_id)) == 3, "another sweep's are its own"
    text = store.client.get_experiment(experiment_id).tags[names.plan_of("mine-0123")]
    assert '"0-2,5,7-8"' in text
    assert '"0-19"' in text


def test_a_plan_that_is_too_long_for_a_tag_is_said_and_what_is_there_stays(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    store, experiment_id = opened
    keep_plan(store, experiment_id, "mine-0123", CLEAR)
    keep_plan(store, experiment_id, "mine-0123", Plan(tuple(range(0, 4000, 2))))
    assert stored(store, experiment_id) == (CLEAR,)
    assert "the plan of 2000 seeds is too long to be stored" in caplog.text


def test_of_a_store_without_plans_there_are_none() -> None:
    assert plans_in(None) == ()
