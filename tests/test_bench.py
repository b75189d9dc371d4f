"""The benchmark counts right, and its contestants work."""

from pathlib import Path

import pandas as pd
import pytest

from handwriting.bench import parts
from handwriting.bench.contestants import Setting
from handwriting.bench.figure import draw
from handwriting.bench.turns import in_turn, ratio
from handwriting.bench.work import work_of_epoch, work_of_layers
from handwriting.models import build_cnn


def test_the_work_of_the_notebooks_network_is_counted_as_by_hand() -> None:
    model = build_cnn((28, 28, 1), 10)
    by_hand = [2 * 26 * 26 * 9 * 32, 2 * 24 * 24 * 9 * 32 * 64, 2 * 9216 * 128, 2 * 128 * 10]
    assert work_of_layers(model) == by_hand
    step, forward = 3 * sum(by_hand) - by_hand[0], sum(by_hand)
    assert step == pytest.approx(71.5e6, rel=0.002)
    assert work_of_epoch(model, 100) == 100 * step + 10 * forward


def test_ratios_are_taken_within_a_round() -> None:
    """Each round is twice as slow as the one before: within each, one takes half as long as the other."""
    turns = pd.DataFrame(
        [
            (number, name, seconds * 2**number)
            for number in (1, 2, 3)
            for name, seconds in (("a", 1.0), ("b", 2.0))
        ],
        columns=["round", "contestant", "seconds"],
    )
    assert ratio(turns, "a", "b").to_list() == [0.5, 0.5, 0.5]
    (row,) = parts.rows("part", "ratio", {"a ÷ b": ratio(turns, "a", "b")}).to_dict("records")
    assert row == {
        "part": "part", "what": "a ÷ b", "n": 3, "median": 0.5, "least": 0.5, "most": 0.5, "unit": "ratio"
    }  # fmt: skip


def test_the_share_of_tracking_is_that_of_a_run_of_ten_epochs() -> None:
    once, each = parts.TRACKING
    found = pd.concat(
        [
            parts.rows("a run besides its epochs", "s", {name: pd.Series([1.0]) for name in (*once, *each)}),
            parts.rows("epoch of 5500 images, batch 32, adam", "s", {"untracked": pd.Series([22.0])}),
        ]
    )
    (row,) = parts.tracking_share(found).to_dict("records")
    assert row["median"] == pytest.approx((2 + 10 * 2) / (22.0 * 10 * 10))


def test_a_projection_lies_between_two_bounds_and_is_never_better_than_one_job_a_core() -> None:
    one, two = pd.Series([1000.0, 1000.0]), pd.Series([1600.0, 2020.0])
    found = parts.projected(one, two, 2)
    assert found["8 cores, projected, not contending"].to_list() == [8000, 8000]
    assert found["8 cores, projected, contending as here"].to_list() == [
        pytest.approx(8000 / (1 + 7 / 4)),
        8000,
    ]


def test_what_a_run_costs_is_measured_by_name(tmp_path: Path) -> None:
    found = parts.start_up(0, rounds=1)
    once, each = parts.TRACKING
    assert {*once, *each} < set(found["what"])
    assert (found["median"] > 0).all()
    images = ("epoch of 100 images, batch 32, adam", "jobs at once, 100 images each", "10 runs in the store")
    table = [parts.rows(part, "s", {"one": pd.Series([1.0, 2.0])}) for part in images]
    draw(pd.concat([found, *table]), tmp_path / "bench")
    assert (tmp_path / "bench.png").stat().st_size > 10_000


def test_a_contestant_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)exit code 1:.*KeyError: 'nobody'"):
        in_turn({"nobody": [Setting("nobody")]}, 1)


def test_the_notebooks_code_and_ours_take_their_turns() -> None:
    names = ["notebook", "autolog", "ours"]
    turns = in_turn({name: [Setting(name, images=200)] for name in names}, 2)
    assert turns["contestant"].to_list() == names * 2
    assert turns["round"].to_list() == [1, 1, 1, 2, 2, 2]
    assert (turns["seconds"] > 0).all()
