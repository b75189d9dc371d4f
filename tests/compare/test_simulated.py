"""Simulated sweeps of equal arms; `make simulate` has thousands of them through the whole of `compare`."""

import math

import numpy as np
import pandas as pd
import pytest

from handwriting.compare.sequential import replay
from handwriting.compare.statistics import LEVEL, paired_differences
from handwriting.tracking.plans import LOOKS
from simulate import KINDS, MARGIN, Draw, table, tuned, whole

SWEEPS, WHOLE, TUNED = 1_000, 30, 500


def rule(kind: Draw, seed: int) -> tuple[int, bool]:
    """Return when the rule ends a sweep, and whether it says "better"."""
    first, second = kind(np.random.default_rng([KINDS.index(kind), seed]), LOOKS[-1])
    lost = np.isnan(first).astype(int) - np.isnan(second)
    last = replay(second - first, MARGIN, lost.tolist())[-1]
    return last.n, last.outcome == "better"


@pytest.mark.parametrize("kind", KINDS[:4], ids=lambda kind: kind.__name__)
def test_of_equal_arms_one_is_said_to_be_better_in_at_most_5_in_100(kind: Draw) -> None:
    by_rule = [rule(kind, seed) for seed in range(SWEEPS)]
    better = np.mean([said for _, said in by_rule])
    assert better <= LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / SWEEPS)
    found = pd.DataFrame([whole(kind, seed) for seed in range(WHOLE)])
    assert list(zip(found["seeds"], found["better"], strict=True)) == by_rule[:WHOLE], "compare says the same"
    first, second, row = table(found, WHOLE)
    assert first.count("|") == second.count("|") == row.count("|")


def better_when_tuned(numbers: tuple[int, int], apart: bool, sweeps: int = TUNED) -> float:
    """Return how often one of two equal arms is "better" on six seeds, each at its best of so many."""
    found = [tuned(numbers, apart, seed)[: LOOKS[0]] for seed in range(sweeps)]
    rows = paired_differences(found)
    return float((((rows["low"] > 0) | (rows["high"] < 0)) & (rows["p"] < LEVEL)).mean())


@pytest.mark.parametrize("numbers", [(10, 10), (1, 10)])
def test_of_equal_arms_that_were_tuned_one_is_better_in_at_most_5_in_100(numbers: tuple[int, int]) -> None:
    assert better_when_tuned(numbers, apart=True) <= LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / TUNED)


def test_the_seeds_that_chose_would_call_the_best_of_many_better() -> None:
    """So they are refused."""
    assert better_when_tuned((1, 40), apart=False, sweeps=300) > 2 * LEVEL
