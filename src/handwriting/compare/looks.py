"""What a sweep until clear asks after each batch: is it clear, and if not, how many seeds come next?"""

from dataclasses import dataclass

import pandas as pd

from handwriting.compare.comparison import compare
from handwriting.compare.last_look import BEYOND
from handwriting.compare.load import load_runs
from handwriting.compare.pairs import by_seed
from handwriting.compare.wording import look_line
from handwriting.tracking import Store
from handwriting.tracking.plans import LOOKS


@dataclass(frozen=True)
class Standing:
    """Where a sweep until clear stands.

    Args:
        line: what its last look says, and what comes next.
        wanted: the paired seeds that the next look still lacks; 0 where none comes.
    """

    line: str
    wanted: int


def standing(store: Store, sweep: str) -> Standing:
    """Return where a sweep stands, from what the store has; the same for whoever asks."""
    loaded = load_runs(store, sweep)
    comparison = compare(loaded.runs, loaded.epochs, plan=loaded.plan)
    looks, left_out = comparison.looks, comparison.left_out
    beyond = left_out["reason"].str.startswith(BEYOND)
    used = pd.concat([comparison.runs, left_out[beyond]])
    seeds = by_seed(used, left_out[~beyond], list(comparison.arms.index), more_is_better=True)
    pairs = int(seeds.values.notna().all(axis=1).sum())
    often = [f"{n} of {of} runs of {arm}" for arm, (n, of) in seeds.often_failed().items() if n >= 3]
    if looks and looks[-1].outcome:
        return Standing(look_line(comparison), 0)
    if often:
        return Standing(f"no more seeds: {' and '.join(often)} failed, and such an arm is never better", 0)
    following = next(look for look in LOOKS if not looks or look > looks[-1].n)
    return Standing(look_line(comparison) if looks else "", following - pairs)
