"""The arms of a comparison, two by two."""

from collections.abc import Sequence
from itertools import combinations, islice

import numpy as np
import pandas as pd

from handwriting.compare.statistics import paired_differences, with_verdicts

ALL_PAIRS_UP_TO = 40  # arms; above, each is compared with the baseline only


def table_of_pairs(used: pd.DataFrame, arms: Sequence[str], more_is_better: bool) -> pd.DataFrame:
    """Return one row per pair of arms, see `Comparison.pairs`."""
    few = len(arms) <= ALL_PAIRS_UP_TO
    couples = list(islice(combinations(arms, 2), None if few else len(arms) - 1))
    table = pd.DataFrame(couples, columns=["first", "second"])
    # Of an arm without a usable run, a column of NaN.
    values = used.pivot(index="seed", columns="arm", values="value").reindex(columns=list(arms))
    columns = {arm: values[arm].to_numpy(float) for arm in arms}
    differences = [columns[second] - columns[first] for first, second in couples]
    found = paired_differences([row[~np.isnan(row)] for row in differences])
    won = ["below", "above"] if more_is_better else ["above", "below"]
    pairs = with_verdicts(found).rename(columns=dict(zip(won, ["first_won", "second_won"], strict=True)))
    second_is = (pairs["difference"] > 0) == more_is_better
    better = table["second"].where(second_is, table["first"])
    return pd.concat([table, pairs.assign(better=better.where(pairs["verdict"] == "better", ""))], axis=1)


def against(pairs: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Return the pairs that hold an arm, with it as the first: differences are the other arm's minus its."""
    others = pairs[pairs["second"] == arm]
    swapped = others.rename(
        columns={
            "first": "second", "second": "first", "first_won": "second_won", "second_won": "first_won",
        }
    ).assign(difference=0 - others["difference"], low=0 - others["high"], high=0 - others["low"])  # fmt: skip
    # A pair's first arm stands before its second in the sweep's order, so those that were turned come first.
    return pd.concat([swapped[list(pairs)], pairs[pairs["first"] == arm]], ignore_index=True)


def difference_of(pair: pd.Series) -> str:
    """Return the difference's name: the second arm minus the first."""
    return f"{pair['second']} \N{MINUS SIGN} {pair['first']}"


def verdict_of(pair: pd.Series) -> str:
    """Return the verdict on a pair in a few words."""
    return f"{pair['better']} is better" if pair["better"] else pair["verdict"]
