"""The runs of a sweep that was planned with looks, as the last look that was due had them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from handwriting.compare.pairs import by_seed
from handwriting.compare.sequential import Look, replay
from handwriting.tracking import names
from handwriting.tracking.plans import LOOKS, Plan

BEYOND = "beyond the look"  # begins the reason of runs that no look has had


def at_last_look(
    runs: pd.DataFrame, arms: Sequence[str], metric: names.Metric, margin: float | None, plan: Plan
) -> tuple[list[Look], pd.DataFrame]:
    """Return the looks that were due, and the runs, of which those beyond the last look are left out."""
    used, left_out = parted(runs)
    planned = runs["seed"].isin(plan.seeds)
    seeds = by_seed(
        used[used["seed"].isin(plan.seeds)],
        left_out[left_out["seed"].isin(plan.seeds)],
        arms,
        bool(metric.more_is_better),
    )
    differences = seeds.differences(*arms)
    # What ends the sweep is the planned margin, on the metric that it was planned for.
    ends = plan.margin if metric.name == names.TEST_ACCURACY else margin
    looks = replay(differences, ends, seeds.lost(*arms).tolist())
    ran = (seeds.values.notna() | seeds.failed).all(axis=1).sum()
    if looks and not looks[-1].outcome and ran == len(plan.seeds):  # some failed, so no further look comes
        looks[-1] = replace(looks[-1], outcome="none")
    reason = "its seed is not of the plan"
    if looks:
        n = looks[-1].n
        last = seeds.values.index[np.flatnonzero(~np.isnan(differences))[n - 1]]
        planned &= runs["seed"] <= last
        reason = f"{BEYOND} at {n} seeds"
        if not looks[-1].outcome:
            reason += f"; the next is at {next(look for look in LOOKS if look > n)}"
    beyond = ~planned & (runs["reason"] == "")
    if looks and looks[-1].outcome:  # it is over: what failed since did not fail in it
        beyond |= runs["seed"] > last
    return looks, runs.assign(reason=runs["reason"].mask(beyond, reason))


def parted(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the runs that are compared, and those that are left out."""
    chosen = runs["reason"] == ""
    return runs[chosen].drop(columns="reason").astype({"seed": int}), runs[~chosen]
