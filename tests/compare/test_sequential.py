"""The sequential rule: against worked examples, over all signs, and over simulated sweeps."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from handwriting.compare.sequential import FUTILE_FROM, WIDTHS, replay
from handwriting.tracking.plans import LOOKS

SIMULATIONS = 300
LEVEL = 0.05


def outcome(differences: Sequence[float] | np.ndarray, **more: object) -> str:
    looks = replay(np.array(differences, float), **more)  # type: ignore[arg-type]
    return looks[-1].outcome if looks else "no look"


@pytest.mark.parametrize(
    ("differences", "p", "low", "high", "ends"),
    [
        ([0.15, 0.17, 0.26, 0.17, 0.32, 0.35], [0.03125], 0.0959, 0.3775, "better"),
        ([-0.15, -0.07, -0.44, 0.11, 1.29, -0.23], [0.9375], -0.9295, 1.0995, ""),
        (
            np.random.default_rng(2).normal(0.8, 1, 20).round(2),
            [0.25, 0.10938, 0.03809, 0.03378], 0.1448, 1.434, "better",
        ),
        (
            np.random.default_rng(3).normal(0.8, 1, 20).round(2),
            [0.375, 0.52344, 0.16992, 0.12576, 0.03237], -0.0429, 1.3769, "none",
        ),
    ],
)  # fmt: skip
def test_the_rule_as_worked_out_by_another_program(
    differences: Sequence[float], p: list[float], low: float, high: float, ends: str
) -> None:
    looks = replay(np.array(differences))
    assert [look.n for look in looks] == list(LOOKS[: len(p)])
    assert [round(look.p, 5) for look in looks] == p
    assert (looks[-1].low, looks[-1].high) == pytest.approx((low, high), abs=5e-4)
    assert [look.outcome for look in looks] == [*[""] * (len(p) - 1), ends]


def by_counting(steps: Sequence[int], lengths: Sequence[int]) -> list[tuple[float, bool]]:
    """Return p of each look at whole numbers, and whether it is better: flip by flip, in fractions."""
    ended: set[tuple[int, ...]] = set()  # beginnings of flips that would have ended a sweep
    looks = []
    for number, (n, width) in enumerate(zip(lengths, map(Fraction, map(str, WIDTHS)), strict=False)):
        squares = sum(step * step for step in steps[:n])
        far = {
            flip: math.inf
            if any(flip[:look] in ended for look in lengths[:number])
            else abs(sum(sign * step for sign, step in zip(flip, steps, strict=False)))
            for flip in product((1,), *[(1, -1)] * (n - 1))
        }
        own = (1,) * n
        p = sum(other >= far[own] for other in far.values()) / len(far)
        # |t| >= width, squared, without a root.
        beyond = {
            flip
            for flip, away in far.items()
            if away == math.inf or away**2 * (n - 1 + width**2) >= width**2 * n * squares
        }
        looks.append((p, p <= LEVEL and own in beyond and squares > 0))
        if len(beyond) > len(far) // 20:
            limit = sorted(far.values(), reverse=True)[len(far) // 20]
            beyond = {flip for flip in beyond if far[flip] > limit}
        ended |= beyond
    return looks


def drawn(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return n whole numbers, as differences in hundredths."""
    draws: dict[str, Callable[[], np.ndarray]] = {
        "none": lambda: rng.normal(0, 100, n),
        "normal": lambda: rng.normal(80, 100, n),
        "few steps": lambda: rng.integers(-1, 4, n),
        "near each other": lambda: rng.normal(100, 30, n),
        "some near 0": lambda: np.where(rng.random(n) < 0.3, rng.normal(0, 10, n), 100),
    }
    return np.rint(draws[kind]()).astype(int)


@pytest.mark.parametrize("kind", ["none", "normal", "few steps", "near each other", "some near 0"])
def test_the_rule_is_what_counting_flips_one_by_one_gives(kind: str) -> None:
    """Where many flips go far enough to end a sweep, only the farthest 5 % do, and of equals none or all."""
    rng, outcomes = np.random.default_rng(0), set()
    for _ in range(30):
        steps = drawn(kind, rng, 12)
        looks = replay(steps / 100)
        counted = by_counting(steps.tolist(), LOOKS[:3])
        for look, (p, better) in zip(looks, counted, strict=False):
            ends = "better" if better else "none" if look.n == 12 and p > 0.5 else ""
            assert (look.p, look.outcome) == (p, ends), steps
            outcomes.add((look.n, look.outcome))
        assert looks[-1].outcome or look.n == 12
    assert (12, "none") in outcomes if kind == "none" else {(6, "better"), (8, "better")} <= outcomes


@pytest.mark.parametrize("kind", ["normal", "few steps", "near each other"])
def test_with_lost_seeds_it_is_what_counting_gives_with_and_without_them(kind: str) -> None:
    """Each look has the lost seeds before its last pair, by the largest difference that it has seen."""
    rng, taken = np.random.default_rng(0), 0
    for _ in range(30):
        steps, signs = drawn(kind, rng, 10), np.zeros(10, int)
        places = rng.choice(10, 2, replace=False)
        signs[places] = rng.choice([-1, 1], 2)
        differences = np.where(signs == 0, steps / 100, math.nan)
        pairs = np.flatnonzero(signs == 0)
        for number, look in enumerate(replay(differences, lost=signs.tolist()), start=1):
            most = np.abs(steps[pairs[: look.n]]).max()
            ends = [pairs[n - 1] + 1 for n in LOOKS[:number]]
            filled = np.where(signs == 0, steps, signs * most)[: ends[-1]]
            p, better = by_counting(steps[pairs].tolist(), LOOKS[:number])[-1]
            if signs[: ends[-1]].any():
                p_filled, better_filled = by_counting(filled.tolist(), ends)[-1]
                same = filled.sum() * steps[pairs[: look.n]].sum() > 0
                p, better = max(p, p_filled), better and better_filled and same
            assert (look.p, look.outcome) == (p, "better" if better else ""), (steps, signs)
            taken += better
    assert taken, "with lost seeds too it may be better"


DISTANCES = {
    "normal": np.abs(np.random.default_rng(0).normal(size=12)).round(3),
    "equal": np.ones(12),
    "one large": np.array([1.0, 1, 1, 1, 1, 30, 1, 1, 1, 1, 1, 1]),
    "zeros": np.array([0.0, 0.4, 0, 0.3, 0.5, 0, 0.2, 0.1, 0, 0.6, 0, 0.3]),
    "steps": np.array([0.01, 0.02, 0.01, 0.03, 0.01, 0.02, 0.02, 0.01, 0.04, 0.01, 0.02, 0.01]),
    "falling": 0.5 ** np.arange(12.0).round(6),
}


@pytest.mark.parametrize("n", [6, 8, 12])
@pytest.mark.parametrize("kind", DISTANCES)
def test_of_all_signs_that_chance_may_give_at_most_5_in_100_are_better(kind: str, n: int) -> None:
    """At all looks up to the n-th difference together."""
    distances = DISTANCES[kind][:n]
    signs = np.array(list(product((1, -1), repeat=n)))[: 2 ** (n - 1)]  # and as many mirror images
    better = [outcome(distances * row) == "better" for row in signs]
    assert np.mean(better) <= LEVEL
    if kind == "equal":
        assert any(better), "the test can fail"


def test_looks_do_not_depend_on_what_comes_after_them_and_do_on_the_order_of_seeds() -> None:
    differences = np.random.default_rng(3).normal(0.8, 1, 20).round(2)
    for n in range(21):
        due = [look for look in LOOKS if look <= n]
        assert replay(differences[:n]) == replay(differences)[: len(due)]
    assert replay(differences[::-1]) != replay(differences)


def test_another_unit_and_the_other_direction_change_nothing_else() -> None:
    differences = np.random.default_rng(2).normal(0.8, 1, 20).round(2)
    for factor in (-1, 0.01, 1000):
        assert [(look.n, look.p, look.outcome) for look in replay(factor * differences)] == [
            (look.n, look.p, look.outcome) for look in replay(differences)
        ]


def test_no_difference_at_all_is_never_better() -> None:
    assert [look.outcome for look in replay(np.zeros(20))] == ["", "", "none"]


def test_it_ends_where_the_interval_lies_within_the_margin() -> None:
    near = [0.01, -0.02, 0.02, -0.01, 0.01, -0.02]
    assert outcome(near, margin=0.1) == "same"
    assert outcome(near, margin=0.02) == ""
    one_end = [-0.2, 0.05, -0.15, 0.02, -0.1, 0.03]  # -0.232 to 0.115
    assert outcome(one_end, margin=0.2) == outcome([-x for x in one_end], margin=0.2) == ""
    assert outcome(one_end, margin=0.24) == outcome([-x for x in one_end], margin=0.24) == "same"
    assert outcome([0.03, 0.04, 0.03, 0.05, 0.04, 0.03], margin=0.1) == "better", "that says more"


def test_nothing_is_looked_for_where_p_is_above_a_half_from_12_pairs_on() -> None:
    balanced = [1, -1.1, 0.9, -1, 1.2, -1, 1, -0.9, 1, -1.1, 0.8, -1]
    looks = replay(np.array(balanced, float))
    assert [look.p > 0.5 for look in looks] == [True, True, True]
    assert [look.outcome for look in looks] == ["", "", "none"]
    assert FUTILE_FROM == 12


def test_a_seed_without_a_pair_is_passed_over() -> None:
    whole = [0.15, 0.17, 0.26, 0.17, 0.32, 0.35]
    assert not replay(np.array([*whole[:3], math.nan, *whole[3:5]])), "five pairs are none to look at"
    assert replay(np.array([*whole[:3], math.nan, *whole[3:]])) == replay(np.array(whole))


def test_a_seed_that_failed_in_one_arm_never_helps_the_other_sides_case() -> None:
    whole, nan = [0.15, 0.17, 0.26, 0.17, 0.32, 0.35], math.nan
    against = outcome([*whole[:3], nan, *whole[3:]], lost=[0, 0, 0, -1, 0, 0, 0])
    with_it = outcome([*whole[:3], nan, *whole[3:]], lost=[0, 0, 0, 1, 0, 0, 0])
    assert (against, with_it) == ("", "better")
    near = [0.01, -0.02, 0.02, -0.01, 0.01, -0.02]
    assert outcome([nan, *near], margin=0.1, lost=[1, 0, 0, 0, 0, 0, 0]) == "", (
        "a failure is no small difference"
    )
    # As far as any that was seen: by their mean, it would be better.
    assert outcome([1.1, 0.9, 1.3, nan, 1.1, 0.7, 1.2, 1.7, 1.5], lost=[0, 0, 0, -1, *[0] * 5]) == ""
    # So many that they show the other direction, and none follows.
    assert outcome([*[nan] * 14, *whole], lost=[*[-1] * 14, *[0] * 6]) == ""
    # After the look it is not known yet.
    assert outcome([*whole, nan], lost=[0, 0, 0, 0, 0, 0, -1]) == "better"


@pytest.mark.parametrize("lost", [(2,), (0, 7), (3, 4, 9)])
def test_lost_seeds_never_make_more_signs_better_than_there_were(lost: tuple[int, ...]) -> None:
    n = 8 + len(lost)
    distances = np.abs(np.random.default_rng(1).normal(size=n)).round(3)
    for signs in product((1, -1), repeat=n):
        if signs[0] < 0:
            continue
        row = distances * signs
        row[list(lost)] = math.nan
        told = [sign if place in lost else 0 for place, sign in enumerate(signs)]
        if outcome(row, lost=told) == "better":
            without = [look.outcome for look in replay(row)]
            assert "better" in without


@pytest.mark.parametrize(
    ("effect", "found", "seeds"),
    [(0.0, None, (13.5, 17.0)), (1.0, 0.85, (10.5, 13.0)), (2.75, 0.99, (6.0, 6.4))],
)
def test_simulated_sweeps_end_as_often_and_as_early_as_they_should(
    effect: float, found: float | None, seeds: tuple[float, float]
) -> None:
    """Effects in standard deviations of the differences; `make simulate` has more of them."""
    rng = np.random.default_rng(0)
    ended = [replay(rng.normal(effect, 1, LOOKS[-1]))[-1] for _ in range(SIMULATIONS)]
    better = np.mean([look.outcome == "better" for look in ended])
    if found is None:
        assert better <= LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / SIMULATIONS)
    else:
        assert better >= found
    assert seeds[0] <= np.mean([look.n for look in ended]) <= seeds[1]


def test_the_interval_holds_the_truth_at_all_looks_together_in_95_of_100() -> None:
    rng = np.random.default_rng(1)
    differences = rng.normal(size=(4000, LOOKS[-1]))
    holds = np.ones(4000, bool)
    for n, width in zip(LOOKS, WIDTHS, strict=True):
        part = differences[:, :n]
        holds &= np.abs(part.mean(axis=1)) <= width * part.std(axis=1, ddof=1) / math.sqrt(n)
    assert 0.94 <= holds.mean() <= 0.96
