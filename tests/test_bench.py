"""The benchmark counts right, and its contestants work."""

import pandas as pd
import pytest

from handwriting.bench import parts
from handwriting.bench.contestants import Setting
from handwriting.bench.turns import in_turn, ratio
from handwriting.bench.work import work_of_epoch, work_of_layers
from handwriting.models import build_cnn


def test_the_work_of_the_notebooks_network_is_counted_as_by_hand() -> None:
    model = build_cnn((28, 28, 1), 10)
    by_hand = [2 * 26 * 26 * 9 * 32, 2 * 24 * 24 * 9 * 32 * 64, 2 * 9216 * 128, 2 * 128 * 10]
    assert work_of_layers(model) == by_hand
    step, forward = 3 * sum(by_hand) - by_hand[0], sum(by_hand)
    assert step == 71_487_744  # design: 71.5 MFLOP an image
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


def test_a_contestant_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)exit code 1:.*KeyError: 'nobody'"):
        in_turn({"nobody": [Setting("nobody")]}, 1)


def test_the_notebooks_code_and_ours_take_their_turns() -> None:
    names = ["notebook", "autolog", "ours"]
    turns = in_turn({name: [Setting(name, images=200)] for name in names}, 2)
    assert turns["contestant"].to_list() == names * 2
    assert turns["round"].to_list() == [1, 1, 1, 2, 2, 2]
    assert (turns["seconds"] > 0).all()
