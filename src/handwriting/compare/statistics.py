"""Statistics of paired differences: Student's interval, the sign-flip test, Holm's correction, the margin.

Why these and not others: simulated sweeps, in tests/compare/test_statistics.py.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

PAIRS_NEEDED = 6  # with 5, the sign-flip test's p is 2/2**5 = 0.0625 at best
LEVEL = 0.05
EXACT_UP_TO = 24  # pairs, of which all flips are counted
RESAMPLES = 9_999  # of more pairs so many flips are drawn,
SIGNS = 5_000_000  # or fewer, so that a test draws no more signs than this, and holds no more: a second
POWER = 0.8  # with which a difference of the margin is to be found
LARGEST_N = 10_000  # seeds that anybody would run
# Metrics are float32, so equal steps of accuracy differ in the seventh digit. In whole millionths they are
# equal, and so are sums of them, which the test compares.
RESOLUTION = 1e-6
COLUMNS = ("n", "difference", "low", "high", "sd", "above", "tied", "below", "p", "p_paired")
BETTER, SAME, NONE, TOO_FEW = "better", "no larger difference", "no difference shown", "too few seeds to tell"


def paired_differences(
    columns: Sequence[np.ndarray], lost: Sequence[Sequence[int]] | None = None
) -> pd.DataFrame:
    """Return n, mean, interval, wins and p of each comparison, one row each.

    Args:
        columns: of each comparison, second arm minus first, one value for each seed that both have.
        lost: of each comparison, the signs of differences that are not known, as the run of one arm alone
            failed: -1 where it is the second's and more is better. In the test such a pair counts as lost by
            the largest difference; in nothing else.

    Returns:
        n; difference, the mean (NaN for n = 0); low and high, the 95 % interval of the mean from Student's t,
        and sd, the standard deviation (NaN for n < 2); above, tied and below, the pairs where the second arm
        has more, the same (to a millionth) and less; p_paired, two-sided, of the sign-flip test (1 for
        n < 2); and p, the same or, where it is larger, that with the lost pairs.
    """
    rows = pd.DataFrame(index=range(len(columns)), columns=list(COLUMNS), dtype=float)
    lengths = np.array([len(column) for column in columns], dtype=int)
    for n in np.unique(lengths):  # all of one length at once: SciPy takes as long for one as for dozens
        those = np.flatnonzero(lengths == n).tolist()
        rows.loc[those] = _of_one_length(np.stack([columns[i] for i in those], axis=1))
    for place, signs in enumerate(lost or ()):
        if len(signs) and lengths[place]:
            steps = np.rint(columns[place] / RESOLUTION)
            with_lost = np.concatenate([steps, np.abs(steps).max() * np.asarray(signs)])
            p = float(sign_flip_p(with_lost[:, np.newaxis])[0])
            turned = steps.sum() * with_lost.sum() <= 0  # what is better in pairs is not with the lost ones
            rows.loc[place, "p"] = max(rows.loc[place, "p"], 1.0 if turned and p < LEVEL else p)
    return rows.astype(dict.fromkeys(("n", "above", "tied", "below"), int))


def _of_one_length(differences: np.ndarray) -> np.ndarray:
    """Return the COLUMNS of comparisons with n differences each, shape (n, comparisons), one row for each."""
    (n, several), steps = differences.shape, np.rint(differences / RESOLUTION)
    p = sign_flip_p(steps) if n > 1 else np.ones(several)
    deviation = differences.std(axis=0, ddof=1) if n > 1 else np.full(several, math.nan)
    counts = [(steps > 0).sum(axis=0), (steps == 0).sum(axis=0), (steps < 0).sum(axis=0)]
    return np.stack([np.full(several, n), *intervals(differences), deviation, *counts, p, p], axis=1)


def intervals(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each column's mean, NaN for no rows, and the ends of its 95 % interval, NaN for fewer than 2."""
    from scipy import stats  # 0.6 s: what cannot be compared is refused before

    n, several = differences.shape
    mean = differences.mean(axis=0) if n else np.full(several, math.nan)
    half = stats.t.ppf(1 - LEVEL / 2, n - 1) * stats.sem(differences) if n > 1 else math.nan
    return mean, mean - half, mean + half


def sign_flip_p(steps: np.ndarray) -> np.ndarray:
    """Return of each column how often chance signs take the sum at least as far from 0.

    Exact up to EXACT_UP_TO rows: each sum is one of the first half's plus one of the second's, so that those
    beyond a limit are counted without making all 2**n of them (Horowitz and Sahni 1974). SciPy's
    `permutation_test` makes them all, or draws.

    Args:
        steps: differences in whole millionths, shape (n, comparisons).
    """
    if len(steps) <= EXACT_UP_TO:
        return np.array([_share_as_far(column) for column in steps.T])
    from scipy import stats

    draws = min(RESAMPLES, max(999, SIGNS // len(steps)))
    test = stats.permutation_test(
        (steps,), np.sum, permutation_type="samples", vectorized=True, n_resamples=draws, rng=0,
        batch=max(1, SIGNS // steps.size),
    )  # fmt: skip
    return np.asarray(test.pvalue)


def _share_as_far(steps: np.ndarray) -> float:
    """Return the share of all flips whose sum is at least as far from 0 as that of the steps."""
    far = abs(steps.sum())
    if far == 0:
        return 1.0
    half = len(steps) // 2
    first, second = _sums(steps[:half]), np.sort(_sums(steps[half:]))
    beyond = len(second) - np.searchsorted(second, far - first)  # whole numbers, so sums are exact
    return float(2 * beyond.sum() / 2 ** len(steps))  # those below -far are their mirror


def _sums(steps: np.ndarray) -> np.ndarray:
    """Return the sums of all flips."""
    sums = np.zeros(1)
    for step in steps:
        sums = np.concatenate([sums + step, sums - step])
    return sums


def holm(p: np.ndarray) -> np.ndarray:
    """Return p values corrected for being several (Holm 1979), in the order received.

    SciPy has only corrections of the false discovery rate.
    """
    order = np.argsort(p)
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(raised, 1.0)
    return corrected


def needed(pairs: int) -> int:
    """Return the fewest seeds with which the smallest possible p passes Holm, whatever other pairs show."""
    return math.floor(math.log2(2 * max(1, pairs) / LEVEL)) + 1


def with_verdicts(pairs: pd.DataFrame, margin: float | None = None) -> pd.DataFrame:
    """Return a table of `paired_differences` and the columns p_holm, needed, within and verdict.

    "too few seeds to tell" below six pairs, which the correction does not count; "better", of one arm or the
    other, where the interval leaves out 0 and p_holm < 0.05; else "no larger difference" where it is within
    the margin, "no difference shown", or again "too few seeds to tell" below `needed`, the number of pairs
    with which the smallest possible p passes Holm whatever the other pairs of arms show.

    A pair is within the margin where Student's interval is, at 90 % (Schuirmann 1987), or, of m pairs of
    arms, at 1 - 2 * 0.05 / m.
    """
    from scipy import stats

    n = pairs["n"].to_numpy()
    enough = n >= PAIRS_NEEDED
    p = pairs["p"].to_numpy().copy()
    p[enough] = holm(p[enough])
    several = max(1, (n > 0).sum())
    within = np.zeros(len(pairs), bool)
    if margin is not None:
        t = stats.t.ppf(1 - LEVEL / several, np.maximum(n - 1, 1))
        within = enough & (pairs["difference"].abs() + t * pairs["sd"] / np.sqrt(n) < margin).to_numpy()
    leaves_out_0 = ((pairs["low"] > 0) | (pairs["high"] < 0)).to_numpy()
    cases = [enough & leaves_out_0 & (p < LEVEL), within, n < needed(several)]
    words = np.select(cases, [BETTER, SAME, TOO_FEW], NONE)
    return pairs.assign(p_holm=p, needed=needed(several), within=within, verdict=words)


def seeds_to_find(difference: float, sd: float) -> float:
    """Return the fewest seeds, 6 or more, whose t test finds a difference in four sweeps of five.

    Inf above LARGEST_N. The power is that of the noncentral t distribution.

    Args:
        difference: the true mean of the paired differences, above 0.
        sd: their true standard deviation.
    """
    from scipy import stats

    def finds(n: int) -> bool:
        t, away = stats.t.ppf(1 - LEVEL / 2, n - 1), math.sqrt(n) * difference / sd
        return bool(stats.nct.sf(t, n - 1, away) + stats.nct.cdf(-t, n - 1, away) >= POWER)

    if sd == 0 or finds(PAIRS_NEEDED):
        return PAIRS_NEEDED
    low, high = PAIRS_NEEDED, 2 * PAIRS_NEEDED  # too few, and perhaps enough
    while not finds(high):
        low, high = high, 2 * high
        if low >= LARGEST_N:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if finds(middle) else (middle, high)
    return high


def sd_known_within(n: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a standard deviation, over its estimate from n values."""
    from scipy import stats

    low, high = stats.chi2.ppf([LEVEL / 2, 1 - LEVEL / 2], n - 1)
    return math.sqrt((n - 1) / high), math.sqrt((n - 1) / low)


def highest_rate(n: int) -> float:
    """Return the highest rate of an event that 0 of n seeds does not rule out at 95 %: 0.39 for n = 6."""
    return 1 - LEVEL ** (1 / n)
