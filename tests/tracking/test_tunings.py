"""What the store keeps of a tuning: the plan, then the choice."""

from dataclasses import replace
from pathlib import Path

import pytest

from handwriting.errors import UserError
from handwriting.tracking import Store, names
from handwriting.tracking.tunings import Tuning, chosen_by, keep_tuning, tunings_in

PLAN = Tuning(
    "mine", "mine-tuning-12345678", "0123", {"a": {"epochs": "choice(1, 2)"}, "b": {}}, 2, (7, 8), (0, 1)
)
CHOSEN = replace(PLAN, chosen={"a": 1, "b": 0}, verdict="mine-87654321", at=5)


def test_the_store_keeps_a_tuning_and_what_it_chose_in_its_place(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    experiment_id = store.open_experiment("mine")

    def kept() -> list[Tuning]:
        return tunings_in(store.client.get_experiment(experiment_id).tags)

    keep_tuning(store, experiment_id, PLAN)
    assert kept() == [PLAN]
    keep_tuning(store, experiment_id, CHOSEN)
    assert kept() == [CHOSEN]
    until_clear = replace(PLAN, sweep="mine-tuning-00000000", verdict_seeds=None, at=3)
    keep_tuning(store, experiment_id, until_clear)
    assert kept() == [until_clear, CHOSEN], "in the order in which they chose"
    with pytest.raises(
        UserError, match=r"^the tuning is too long to be stored: \d+ letters, of at most 5000"
    ):
        keep_tuning(store, experiment_id, replace(PLAN, seeds=tuple(range(names.LONGEST_TAG))))
    assert kept() == [until_clear, CHOSEN], "nothing stored is lost"


def test_a_choice_holds_as_long_as_nothing_differs_that_it_follows_from() -> None:
    assert chosen_by(PLAN, [CHOSEN]) == CHOSEN
    assert chosen_by(replace(PLAN, verdict_seeds=None), [CHOSEN]) == CHOSEN, "other seeds may judge it"
    assert chosen_by(PLAN, [PLAN]) is None, "it has not chosen yet"
    assert chosen_by(replace(PLAN, jobs="4567"), [CHOSEN]) is None, "other code, or other seeds"
    assert chosen_by(replace(PLAN, sweep="mine-tuning-99999999"), [CHOSEN]) is None
