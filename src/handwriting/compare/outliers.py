"""Seeds that decide a comparison: far from all others, and the answer is another without them."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from handwriting.compare.pairs import difference_of
from handwriting.compare.statistics import PAIRS_NEEDED, RESOLUTION, intervals
from handwriting.tracking import names

# Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers: beyond 3.5 standard deviations, as the median
# absolute deviation estimates one of normal values.
_FAR, _DEVIATION = 3.5, 1.4826


def deciding_seeds(
    used: pd.DataFrame, pairs: pd.DataFrame, arms: Collection[str], metric: names.Metric
) -> list[str]:
    """Return a sentence for each seed that alone decides between one of `arms` and another.

    Without it the mean has the other sign, or the interval holds 0 and did not, or did not and does.
    """
    values = used.pivot(index="seed", columns="arm", values="value")
    meant = pairs["first"].isin(arms) | pairs["second"].isin(arms)
    said = []
    for _, pair in pairs[meant & (pairs["n"] >= PAIRS_NEEDED)].iterrows():
        differences = values[pair["second"]].to_numpy() - values[pair["first"]].to_numpy()
        paired = ~np.isnan(differences)
        differences, seeds = differences[paired], values.index[paired]
        for place in outlying(differences):
            without = np.delete(differences, place)[:, np.newaxis]
            mean, low, high = (float(column[0]) for column in intervals(without))
            holds_0 = pair["low"] <= 0 <= pair["high"]
            if mean * pair["difference"] < 0 or (low <= 0 <= high) != holds_0:
                said.append(
                    f"Seed {seeds[place]} decides: without it {difference_of(pair)} is "
                    f"{_shown(metric, mean, low, high)}, not "
                    f"{_shown(metric, pair['difference'], pair['low'], pair['high'])}"
                )
    return said


def outlying(differences: np.ndarray) -> list[int]:
    """Return the places of differences that are far from the median."""
    steps = np.rint(differences / RESOLUTION)
    distances = np.abs(steps - np.median(steps))
    return np.flatnonzero(distances > _FAR * _DEVIATION * np.median(distances)).tolist()


def _shown(metric: names.Metric, mean: float, low: float, high: float) -> str:
    ends = f"{metric.change(low)} to {metric.change(high)}"
    return f"{metric.change(mean)}{metric.points} (95 % interval {ends})"
