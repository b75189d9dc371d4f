"""Seeds that decide a comparison: the answer is another without one of them."""

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd

from handwriting.compare.caveats import few
from handwriting.compare.pairs import BySeed, difference_of
from handwriting.compare.statistics import (
    EXACT_UP_TO,
    LEVEL,
    PAIRS_NEEDED,
    RESOLUTION,
    intervals,
    paired_differences,
)
from handwriting.tracking import names

# Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers: beyond 3.5 standard deviations, as the median
# absolute deviation estimates one of normal values.
_FAR, _DEVIATION = 3.5, 1.4826


def deciding_seeds(
    seeds: BySeed, pairs: pd.DataFrame, arms: Collection[str], metric: names.Metric
) -> list[str]:
    """Return a sentence for each seed that alone decides between one of `arms` and another.

    Without it the mean has the other sign, or the interval holds 0 and did not, or did not and does, or p is
    no longer below 0.05, with the lost seeds and Holm's correction. Of the fewest seeds that can show
    anything, and of looks, p is not asked: one seed fewer has none. Where no arm is better, only seeds far
    from all others are tried: near the edge, there is always a seed without which it is crossed. So it is
    with more than 24 pairs, where one seed counts little and p is drawn, in a second each.
    """
    meant = pairs["first"].isin(arms) | pairs["second"].isin(arms)
    said = []
    for _, pair in pairs[meant & (pairs["n"] >= PAIRS_NEEDED) & (pairs["sd"] > 0)].iterrows():
        differences = seeds.differences(pair["first"], pair["second"])
        paired = ~np.isnan(differences)
        paired_seeds = seeds.values.index[paired]
        lost = seeds.lost(pair["first"], pair["second"])
        signs = lost[lost != 0].tolist()
        deciding = list(_deciding(differences[paired], signs, pair, _corrected(pairs, pair)))
        if len(deciding) > 1 and pair["better"]:
            named = few(paired_seeds[place] for place, *_ in deciding)
            said.append(
                f"It is close: {len(deciding)} of {pair['n']} seeds decide, {named}; without any one of them "
                f"{pair['better']} would not be better in {difference_of(pair)}"
            )
            continue
        for place, mean, low, high in deciding:
            said.append(
                f"Seed {paired_seeds[place]} decides: without it {difference_of(pair)} is "
                f"{_shown(metric, mean, low, high)}, not "
                f"{_shown(metric, pair['difference'], pair['low'], pair['high'])}"
            )
    return said


def _corrected(pairs: pd.DataFrame, pair: pd.Series) -> int:
    """Return what Holm's correction multiplies a pair's p by, as p are now."""
    return max(1, int(((pairs["n"] >= PAIRS_NEEDED) & (pairs["p"] >= pair["p"])).sum()))


def _deciding(
    differences: np.ndarray, lost: list[int], pair: pd.Series, correction: int
) -> Iterator[tuple[int, float, float, float]]:
    """Yield the place of each seed that decides, with mean and interval without it."""
    n = len(differences)
    _, start, end = (float(column[0]) for column in intervals(differences[:, np.newaxis]))
    widened = (pair["high"] - pair["low"]) / (end - start)  # to hold at all looks
    holds_0 = pair["low"] <= 0 <= pair["high"]
    each = pair["better"] and n <= EXACT_UP_TO
    for place in range(n) if each else outlying(differences):
        without = np.delete(differences, place)
        mean, low, high = (float(column[0]) for column in intervals(without[:, np.newaxis]))
        low, high = mean - widened * (mean - low), mean + widened * (high - mean)
        asked = each and n > pair["needed"]
        p = correction * paired_differences([without], [lost])["p"][0] if asked else 0.0
        if mean * pair["difference"] < 0 or (low <= 0 <= high) != holds_0 or p >= LEVEL:
            yield place, mean, low, high


def outlying(differences: np.ndarray) -> list[int]:
    """Return the places of differences that are far from the median."""
    steps = np.rint(differences / RESOLUTION)
    distances = np.abs(steps - np.median(steps))
    return np.flatnonzero(distances > _FAR * _DEVIATION * np.median(distances)).tolist()


def _shown(metric: names.Metric, mean: float, low: float, high: float) -> str:
    ends = f"{metric.change(low)} to {metric.change(high)}"
    return f"{metric.change(mean)}{metric.points} (95 % interval {ends})"
