"""The statistics: against SciPy, by hand, and over simulated sweeps whose truth is known."""

import time
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from handwriting.compare.statistics import (
    highest_rate,
    holm,
    intervals,
    paired_differences,
    sd_known_within,
    seeds_to_find,
    sign_flip_p,
    with_verdicts,
)

# Student 1908: hours of sleep gained by ten patients with one drug more than with the other.
SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
SIMULATIONS = 1_000


def rows_of(differences: np.ndarray) -> pd.DataFrame:
    """Return one row for each column of differences, shape (seeds, comparisons)."""
    return paired_differences(list(differences.T))


def verdict_on(*differences: float) -> pd.Series:
    return with_verdicts(rows_of(np.array(differences, dtype=float)[:, None])).iloc[0]


@pytest.mark.parametrize("n", [2, 6, 9, 13])
def test_the_exact_p_is_scipys(n: int) -> None:
    steps = np.rint(np.random.default_rng(n).normal(0.4, 1, (n, 40)) * 10)  # with ties and zeros
    theirs = stats.permutation_test(
        (steps,), np.sum, permutation_type="samples", vectorized=True, n_resamples=9_999
    )
    assert sign_flip_p(steps) == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize(
    ("sd", "seeds"), [(0, 6), (0.086, 8), (0.155, 21), (0.2, 34), (0.618, 302), (5, np.inf)]
)
def test_the_seeds_that_find_a_difference_of_a_tenth(sd: float, seeds: float) -> None:
    """By the noncentral t distribution, as another program worked them out."""
    assert seeds_to_find(0.1, sd) == seeds


def test_what_six_seeds_tell_of_a_spread_and_of_a_rate() -> None:
    assert sd_known_within(6) == pytest.approx((0.62, 2.45), abs=0.005)
    assert highest_rate(6) == pytest.approx(0.393, abs=0.001)


def test_students_sleep_data_give_the_published_interval() -> None:
    row = verdict_on(*SLEEP)
    assert row["difference"] == pytest.approx(1.58)
    assert (round(row["low"], 2), round(row["high"], 2)) == (0.70, 2.46)
    assert (row["above"], row["tied"], row["below"]) == (9, 1, 0)
    # Only all signs as they are, or all turned, are as far from 0, and the zero may have either sign.
    assert row["p"] == 4 / 2**10
    assert row["verdict"] == "better"


@pytest.mark.parametrize("n", [2, 3, 6, 7, 10, 40])
def test_the_interval_is_scipys(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=n), rng.normal(size=n)
    low, high = stats.ttest_rel(b, a).confidence_interval(0.95)
    row = verdict_on(*(b - a))
    assert (row["low"], row["high"]) == pytest.approx((low, high))


@pytest.mark.parametrize("n", [2, 5, 6, 9, 12, 16])
def test_the_sign_flip_test_counts_every_flip(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.5, size=n).round(6)
    flips = np.array(list(product((1, -1), repeat=n))) @ differences
    assert verdict_on(*differences)["p"] == pytest.approx(
        np.mean(np.abs(flips) >= abs(differences.sum()) - 1e-12)
    )


def test_all_flips_of_up_to_24_pairs_are_counted() -> None:
    assert verdict_on(*np.ones(24))["p"] == 2 / 2**24


@pytest.mark.parametrize(("pairs", "level"), [(1, 0.05), (3, 0.05 / 3)])
def test_a_difference_is_within_the_margin_where_both_one_sided_t_tests_say_so(
    pairs: int, level: float
) -> None:
    """Of several pairs of arms at a level divided by their number, and never below six seeds."""
    rng, margin, n = np.random.default_rng(0), 1.0, 8
    seen = []
    for sd in np.linspace(0.3, 2, 100):
        differences = rng.normal(0.3, sd, (n, pairs))
        below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
        above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        found = with_verdicts(rows_of(differences), margin)["within"].to_list()
        assert found == (np.maximum(below, above) < level).tolist()
        seen += found
    assert 0.2 < np.mean(seen) < 0.8
    assert not with_verdicts(rows_of(np.zeros((5, 1))), margin)["within"].any()


@pytest.mark.parametrize(
    ("steps", "lost", "p"),
    [
        ([1, 2, 3, 4, 5, 6], [-1] * 6, 1786 / 2**12),  # flips with a sum of 15 or more, either way
        ([1, 1, 1, 1, 1, 1], [-1] * 6, 1.0),
        ([1, 1, 1, 1, 1, 1], [-1] * 20, 1.0),  # it would show the other way
        ([1, 1, 1, 1, 1, 1], [1] * 6, 2 / 2**6),  # what speaks for it does not count
        ([1, 1, 1, 1, 1, 1], [], 2 / 2**6),
    ],
)
def test_lost_pairs_raise_p_and_never_turn_it(steps: list[int], lost: list[int], p: float) -> None:
    row = paired_differences([np.array(steps, float)], [lost]).iloc[0]
    assert row["p"] == p
    assert row["p_paired"] == 2 / 2**6
    assert (row["n"], row["difference"]) == (6, np.mean(steps)), "in p alone"


def test_with_many_pairs_the_sign_flip_test_draws_flips_and_is_near_the_exact_value() -> None:
    differences = np.random.default_rng(0).normal(0.35, size=31)
    p = verdict_on(*differences)["p"]
    assert p == verdict_on(*differences)["p"], "the same data give the same p"
    # Exactly, in halves: the 2**31 sums' tail from two sorted lists.
    left = np.array(list(product((1, -1), repeat=15))) @ differences[:15]
    right = np.sort(np.array(list(product((1, -1), repeat=16))) @ differences[15:])
    over = len(right) - np.searchsorted(right, abs(differences.sum()) - left - 1e-9)
    exact = 2 * np.mean(over) / len(right)
    assert p == pytest.approx(exact, abs=5 * np.sqrt(exact / 9_999))
    assert 0 < verdict_on(*np.ones(100))["p"] <= 2 / 10_000, "a drawn p is never 0"


def test_equal_steps_that_float32_makes_unequal_count_as_equal() -> None:
    # Accuracies of 10,000 images: five steps up and one down.
    a = np.array([0.9862, 0.9917, 0.9872, 0.9883, 0.9894, 0.9905], np.float32).astype(float)
    b = np.array([0.9861, 0.9918, 0.9873, 0.9884, 0.9895, 0.9906], np.float32).astype(float)
    assert len(set(np.abs(b - a))) > 1, "rounding would decide"
    # Six of 64 flips turn one sign, one none; and their mirror images.
    assert verdict_on(*(b - a))["p"] == 14 / 64
    tie = verdict_on(1e-8)
    assert (tie["above"], tie["tied"], tie["below"]) == (0, 1, 0)


def test_below_six_pairs_it_is_too_few_seeds_to_tell_however_large_the_difference() -> None:
    assert verdict_on(1, 1.1, 0.9, 1, 1)["verdict"] == "too few seeds to tell"
    six = verdict_on(1, 1.1, 0.9, 1, 1, 1.2)
    assert (six["verdict"], six["p"]) == ("better", 2 / 64)


def test_better_takes_both_the_interval_and_the_test() -> None:
    only_interval = verdict_on(10, 11, 9, 10, 12, 10, 11, -1)
    assert only_interval["low"] > 0
    assert only_interval["p"] < 0.05
    # One large negative difference: few flips go further, yet the interval holds 0.
    only_test = verdict_on(1, 1, 1, 1, 1, 1, 1, 40)
    assert only_test["p"] < 0.05
    assert only_test["low"] < 0
    assert only_test["verdict"] == "no difference shown"


def test_no_difference_at_all_is_no_difference_shown() -> None:
    row = verdict_on(0, 0, 0, 0, 0, 0)
    assert (row["low"], row["high"], row["p"], row["tied"]) == (0, 0, 1, 6)
    assert row["verdict"] == "no difference shown"


def test_one_pair_has_no_interval_and_none_has_no_mean() -> None:
    row = verdict_on(0.5)
    assert (row["n"], row["difference"], row["p"]) == (1, 0.5, 1)
    assert np.isnan([row["low"], row["high"]]).all()
    none = with_verdicts(rows_of(np.empty((0, 1)))).iloc[0]
    assert none["n"] == 0
    assert np.isnan(none["difference"])
    assert none["verdict"] == "too few seeds to tell"


def test_holms_correction_is_as_worked_out_by_hand() -> None:
    # Sorted 0.01 0.02 0.03 0.04, times 4 3 2 1: 0.04 0.06 0.06 0.04, and never falling.
    assert holm(np.array([0.03, 0.01, 0.04, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])


def test_three_arms_need_seven_seeds() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(1, 0.01, size=(7, 3))
    six = with_verdicts(rows_of(differences[:6]))
    assert set(six["verdict"]) == {"too few seeds to tell"}
    assert six["p_holm"].to_list() == [3 * 2 / 64] * 3
    assert set(six["needed"]) == {7}
    assert set(with_verdicts(rows_of(differences))["verdict"]) == {"better"}
    # Pairs that cannot be tested are not counted.
    rows = paired_differences([differences[:6, 0], differences[:5, 1], differences[:5, 1]])
    assert with_verdicts(rows)["p_holm"][0] == 2 / 64


@pytest.mark.parametrize("n", [6, 13, 14, 31])
def test_many_comparisons_at_once_are_each_as_it_is_alone(n: int) -> None:
    """SciPy takes them in batches, and draws flips from 14 pairs on."""
    columns = list(np.random.default_rng(n).normal(0.4, size=(60, n)).round(4))
    columns[1], columns[3] = columns[1][:4], columns[3][:0]
    together = paired_differences(columns)
    alone = pd.concat([paired_differences([column]) for column in columns], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone)
    assert together["n"].to_list()[:4] == [n, 4, n, 0]


def test_780_pairs_of_six_seeds_take_less_than_a_second() -> None:
    columns = list(np.random.default_rng(0).normal(size=(780, 6)))
    paired_differences(columns[:1])  # imports SciPy
    before = time.process_time()
    assert len(paired_differences(columns)) == 780
    assert time.process_time() - before < 1


DRAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "lognormal": lambda rng, shape: rng.lognormal(size=shape) - np.exp(0.5),
    "two lognormal arms": lambda rng, shape: rng.lognormal(size=shape) - rng.lognormal(size=shape),
}


def simulated(kind: str, n: int, times: int = SIMULATIONS) -> np.ndarray:
    """Return differences of arms that do not differ in the mean, shape (n, times)."""
    return DRAWS[kind](np.random.default_rng(n), (n, times))


def said_better(differences: np.ndarray) -> float:
    """Return the share of comparisons, each judged on its own, in which an arm is said to be better."""
    rows = rows_of(differences)
    verdicts = [with_verdicts(rows.iloc[[i]])["verdict"].iloc[0] for i in range(len(rows))]
    return float(np.mean(np.array(verdicts) == "better"))


@pytest.mark.parametrize(
    ("kind", "n", "times", "limit"),
    [
        ("normal", 6, SIMULATIONS, 0.05),
        ("normal", 20, 300, 0.05),  # 10 ms each
        # Two arms alike in all but chance differ symmetrically, however skewed each is.
        ("two lognormal arms", 6, SIMULATIONS, 0.05),
        # Skewed differences of mean 0 are not what the test assumes: chance alone gives either sign as often.
        ("lognormal", 6, SIMULATIONS, 0.15),
    ],
)
def test_better_is_said_of_equal_arms_in_at_most_five_in_a_hundred(
    kind: str, n: int, times: int, limit: float
) -> None:
    said = said_better(simulated(kind, n, times))
    print(f"better, of equal arms, {kind}, n = {n}: {said:.3f}")
    assert said <= limit + 3 * np.sqrt(0.05 * 0.95 / times)


@pytest.mark.parametrize("n", [6, 20])
@pytest.mark.parametrize("kind", DRAWS)
def test_the_interval_covers_the_truth_in_93_to_97_of_100(kind: str, n: int) -> None:
    differences = simulated(kind, n)
    _, lows, highs = intervals(differences)
    covered = ((lows < 0) & (highs > 0)).mean()
    print(f"interval covers the truth, {kind}, n = {n}: {covered:.3f}")
    symmetric = kind in ("normal", "two lognormal arms")
    low, high = (0.93, 0.97 if kind == "normal" else 1) if symmetric else (0.80, 0.93)  # else too narrow
    assert low <= covered <= high


@pytest.mark.parametrize("n", [6, 20])
def test_a_true_difference_of_a_standard_deviation_is_found(n: int) -> None:
    table = rows_of(np.random.default_rng(n).normal(1, size=(n, 300)))
    # With six pairs p < 0.05 takes six of one sign. With twenty the test has the power of Student's t.
    beyond = stats.nct(n - 1, np.sqrt(n)).sf(stats.t.ppf(0.975, n - 1))
    power = stats.norm.cdf(1) ** 6 if n == 6 else beyond
    assert ((table["p"] < 0.05) & (table["low"] > 0)).mean() == pytest.approx(power, abs=0.08)
    assert not ((table["p"] < 0.05) & (table["high"] < 0)).any(), "never the wrong arm"
