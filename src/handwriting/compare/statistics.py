"""Statistics of paired differences: Student's interval, the sign-flip test, Holm's correction.

Why these and not others: simulated sweeps, in tests/compare/test_statistics.py.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

PAIRS_NEEDED = 6  # with 5, the sign-flip test's p is 2/2**5 = 0.0625 at best
LEVEL = 0.05
RESAMPLES = 9_999  # with 13 pairs or fewer, SciPy takes all 2**n flips, else so many at random,
SIGNS = 5_000_000  # or fewer, so that a test draws no more signs than this, and holds no more: a second
# Metrics are float32, so equal steps of accuracy differ in the seventh digit. In whole millionths they are
# equal, and so are sums of them, which the test compares.
RESOLUTION = 1e-6
COLUMNS = ("n", "difference", "low", "high", "above", "tied", "below", "p")


def paired_differences(columns: Sequence[np.ndarray]) -> pd.DataFrame:
    """Return n, mean, interval, wins and p of each comparison, one row each.

    Args:
        columns: of each comparison, second arm minus first, one value for each seed that both have.

    Returns:
        n; difference, the mean (NaN for n = 0); low and high, the 95 % interval of the mean from Student's t
        (NaN for n < 2); above, tied and below, the pairs where the second arm has more, the same (to a
        millionth) and less; p, two-sided, of the sign-flip test (1 for n < 2).
    """
    rows = pd.DataFrame(index=range(len(columns)), columns=list(COLUMNS), dtype=float)
    lengths = np.array([len(column) for column in columns], dtype=int)
    for n in np.unique(lengths):  # all of one length at once: SciPy takes as long for one as for dozens
        those = np.flatnonzero(lengths == n).tolist()
        rows.loc[those] = _of_one_length(np.stack([columns[i] for i in those], axis=1))
    return rows.astype(dict.fromkeys(("n", "above", "tied", "below"), int))


def _of_one_length(differences: np.ndarray) -> np.ndarray:
    """Return the COLUMNS of comparisons with n differences each, shape (n, comparisons), one row for each."""
    (n, several), steps = differences.shape, np.rint(differences / RESOLUTION)
    p = _sign_flip_p(steps) if n > 1 else np.ones(several)
    counts = [(steps > 0).sum(axis=0), (steps == 0).sum(axis=0), (steps < 0).sum(axis=0)]
    return np.stack([np.full(several, n), *intervals(differences), *counts, p], axis=1)


def intervals(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each column's mean, NaN for no rows, and the ends of its 95 % interval, NaN for fewer than 2."""
    from scipy import stats  # 0.6 s: what cannot be compared is refused before

    n, several = differences.shape
    mean = differences.mean(axis=0) if n else np.full(several, math.nan)
    half = stats.t.ppf(1 - LEVEL / 2, n - 1) * stats.sem(differences) if n > 1 else math.nan
    return mean, mean - half, mean + half


def _sign_flip_p(steps: np.ndarray) -> np.ndarray:
    """Return of each column how often chance signs take the sum at least as far from 0."""
    from scipy import stats

    draws = min(RESAMPLES, max(999, SIGNS // len(steps)))
    test = stats.permutation_test(
        (steps,), np.sum, permutation_type="samples", vectorized=True, n_resamples=draws, rng=0,
        batch=max(1, SIGNS // steps.size),
    )  # fmt: skip
    return np.asarray(test.pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p values corrected for being several (Holm 1979), in the order received.

    SciPy has only corrections of the false discovery rate.
    """
    order = np.argsort(p)
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(raised, 1.0)
    return corrected


def with_verdicts(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `paired_differences` and the columns p_holm, needed and verdict.

    "too few seeds to tell" below six pairs, which the correction does not count; "better", of one arm or the
    other, where the interval leaves out 0 and p_holm < 0.05; else "no difference shown", or again "too few
    seeds to tell" below `needed`, the number of pairs with which the smallest possible p passes Holm whatever
    the other pairs of arms show.
    """
    enough = (pairs["n"] >= PAIRS_NEEDED).to_numpy()
    p = pairs["p"].to_numpy().copy()
    p[enough] = holm(p[enough])
    needed = math.floor(math.log2(2 * max(1, (pairs["n"] > 0).sum()) / LEVEL)) + 1
    leaves_out_0 = ((pairs["low"] > 0) | (pairs["high"] < 0)).to_numpy()
    cases = [enough & leaves_out_0 & (p < LEVEL), (pairs["n"] < needed).to_numpy()]
    words = np.select(cases, ["better", "too few seeds to tell"], "no difference shown")
    return pairs.assign(p_holm=p, needed=needed, verdict=words)
