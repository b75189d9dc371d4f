"""The arms of a comparison, two by two."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
import pandas as pd

from handwriting.compare.select import NO_NUMBER
from handwriting.compare.sequential import Look
from handwriting.compare.statistics import (
    BETTER,
    LEVEL,
    NONE,
    SAME,
    TOO_FEW,
    needed,
    paired_differences,
    with_verdicts,
)
from handwriting.tracking.plans import LOOKS

ALL_PAIRS_UP_TO = 40  # arms; above, each is compared with the baseline only


@dataclass(frozen=True)
class BySeed:
    """What each seed came to in each arm.

    Args:
        values: of the metric; one row per seed, in order, one column per arm, NaN without a usable run.
        failed: whether the arm's run of that seed failed; of the same shape.
        more_is_better: of the metric.
    """

    values: pd.DataFrame
    failed: pd.DataFrame
    more_is_better: bool

    def differences(self, first: str, second: str) -> np.ndarray:
        """Return of each seed the second arm's value minus the first's, NaN where one has none."""
        return np.asarray(self.values[second].to_numpy(float) - self.values[first].to_numpy(float))

    def lost(self, first: str, second: str) -> np.ndarray:
        """Return of each seed the sign that the difference has where one arm alone failed, else 0."""
        usable, failed = self.values.notna(), self.failed
        ahead = (failed[first] & usable[second]).astype(int) - (failed[second] & usable[first]).astype(int)
        return (ahead if self.more_is_better else -ahead).to_numpy()

    def often_failed(self) -> dict[str, tuple[int, int]]:
        """Return the arms half of whose runs failed, with how many of how many."""
        failed, usable = self.failed.sum(), self.values.notna().sum()
        return {
            str(arm): (int(failed[arm]), int(failed[arm] + usable[arm]))
            for arm in failed.index[(failed > 0) & (failed >= usable)]
        }


def by_seed(used: pd.DataFrame, left_out: pd.DataFrame, arms: Sequence[str], more_is_better: bool) -> BySeed:
    """Return the runs of a comparison by seed.

    Failed is a run that ended so, or that finished without a number where others of its arm have one.
    """
    without = left_out["reason"].str.endswith(NO_NUMBER) & left_out["arm"].isin(used["arm"])
    gone = left_out[(left_out["reason"] == "FAILED") | without]
    values = used.pivot(index="seed", columns="arm", values="value")
    failed = pd.crosstab(gone["seed"].astype(int), gone["arm"]) > 0
    seeds = values.index.union(failed.index).astype(int)
    return BySeed(
        values.reindex(index=seeds, columns=list(arms)),  # of an arm without a usable run, a column of NaN
        failed.reindex(index=seeds, columns=list(arms), fill_value=False),
        more_is_better,
    )


def table_of_pairs(seeds: BySeed, margin: float | None, looks: Sequence[Look] | None = None) -> pd.DataFrame:
    """Return one row per pair of arms, see `Comparison.pairs`.

    Args:
        seeds: what each came to.
        margin: a difference that does not matter.
        looks: of two arms that were planned with looks, those that were due.
    """
    arms = list(seeds.values)
    few = len(arms) <= ALL_PAIRS_UP_TO
    couples = list(islice(combinations(arms, 2), None if few else len(arms) - 1))
    table = pd.DataFrame(couples, columns=["first", "second"])
    differences = [seeds.differences(*couple) for couple in couples]
    lost = [seeds.lost(*couple) for couple in couples] if seeds.failed.to_numpy().any() else []
    found = paired_differences(
        [row[~np.isnan(row)] for row in differences], [signs[signs != 0] for signs in lost]
    )
    pairs = with_verdicts(found, margin)
    if looks is not None:
        pairs = _as_at_last_look(pairs, looks, margin)
    pairs["lost"] = [int(np.abs(signs).sum()) for signs in lost] if lost else 0
    # Where runs failed, a difference within the margin is one of those that did not.
    pairs["within"] &= pairs["lost"] == 0
    pairs["verdict"] = pairs["verdict"].mask((pairs["verdict"] == SAME) & ~pairs["within"], NONE)
    won = ["below", "above"] if seeds.more_is_better else ["above", "below"]
    pairs = pairs.rename(columns=dict(zip(won, ["first_won", "second_won"], strict=True)))
    second_is = (pairs["difference"] > 0) == seeds.more_is_better
    better = table["second"].where(second_is, table["first"])
    withheld = better.isin(seeds.often_failed()) & (pairs["verdict"] == BETTER)
    pairs["verdict"] = pairs["verdict"].mask(withheld, NONE)
    return pd.concat([table, pairs.assign(better=better.where(pairs["verdict"] == BETTER, ""))], axis=1)


def _as_at_last_look(pairs: pd.DataFrame, looks: Sequence[Look], margin: float | None) -> pd.DataFrame:
    """Return the row of two arms with interval, p and verdict of the sequential rule."""
    if not looks:
        return pairs.assign(verdict=TOO_FEW, needed=LOOKS[0], within=False)
    look = looks[-1]
    within = margin is not None and -margin < look.low and look.high < margin
    kinds = {"better": BETTER, "same": SAME, "none": NONE, "": TOO_FEW}
    verdict = kinds[look.outcome]
    if verdict != BETTER and (within or verdict == SAME):  # the margin asked for may be another than planned
        verdict = SAME if within else NONE
    return pairs.assign(
        low=look.low, high=look.high, p=look.p, p_paired=look.p_paired, p_holm=look.p, verdict=verdict,
        within=within,
        needed=next((n for n in LOOKS if n > look.n), look.n),
    )  # fmt: skip


def seeds_needed(arms: int) -> int:
    """Return the fewest seeds that can show a difference between two of so many arms."""
    return needed(arms * (arms - 1) // 2 if arms <= ALL_PAIRS_UP_TO else arms - 1)


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


def p_of(p: float) -> str:
    """Return a p value in two digits, or in as many as it takes not to be rounded to the level."""
    texts = (f"{p:.{digits}g}" for digits in range(2, 18))
    return next(text for text in texts if (float(text) < LEVEL) == (p < LEVEL))
