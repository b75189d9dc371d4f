"""What may be doubted in a verdict, in sentences."""

from collections.abc import Iterator

import pandas as pd

from handwriting.compare.caveats import capped, count, few
from handwriting.compare.pairs import BySeed, difference_of, p_of
from handwriting.compare.statistics import (
    EXACT_UP_TO,
    LEVEL,
    NONE,
    PAIRS_NEEDED,
    RESAMPLES,
    highest_rate,
)

_RARE = 0.1  # a share of runs that collapse, below which nobody asks


def doubts_of(seeds: BySeed, pairs: pd.DataFrame) -> list[str]:
    """Return sentences about verdicts that say less, or rest on less, than they seem to."""
    kinds = (_about_failed, _about_lost, _about_collapse, _about_intervals, _about_width, _about_draws)
    return [sentence for kind in kinds for sentence in capped(list(kind(seeds, pairs)))]


def _about_failed(seeds: BySeed, pairs: pd.DataFrame) -> Iterator[str]:
    for arm, (failed, all_runs) in seeds.often_failed().items():
        yield f"{arm} is never called better: {failed} of its {count(all_runs, 'run')} failed"


def _about_lost(seeds: BySeed, pairs: pd.DataFrame) -> Iterator[str]:
    for _, pair in pairs[(pairs["lost"] > 0) & (pairs["n"] >= PAIRS_NEEDED)].iterrows():
        yield (
            f"{count(pair['lost'], 'seed')} failed in one of {pair['first']} and {pair['second']} alone, and "
            f"counts in p as lost by the largest difference: {p_of(pair['p'])}, {p_of(pair['p_paired'])} "
            "without"
        )


def _about_collapse(seeds: BySeed, pairs: pd.DataFrame) -> Iterator[str]:
    better = pairs[pairs["better"] != ""]
    arms = dict.fromkeys([*better["first"], *better["second"]])
    sound = {arm: int(seeds.values[arm].count()) for arm in arms if not seeds.failed[arm].any()}
    few_seeds = {arm: n for arm, n in sound.items() if highest_rate(n) > _RARE}
    if few_seeds:
        fewest = min(few_seeds.values())
        whose = "failed, in each arm" if len(few_seeds) == len(arms) else f"of {few(few_seeds)} failed"
        yield (
            f"0 of {fewest} runs {whose}: that rules out only a rate above "
            f"{100 * highest_rate(fewest):.0f} %, and a rare failure that no seed here met may change the "
            "answer"
        )


def _about_intervals(seeds: BySeed, pairs: pd.DataFrame) -> Iterator[str]:
    apart = (pairs["low"] > 0) | (pairs["high"] < 0)
    by_lost = (pairs["p"] >= LEVEL) & (pairs["p_paired"] < LEVEL)  # said of the lost seeds
    shown = apart & (pairs["verdict"] == NONE) & (pairs["p_holm"] >= LEVEL) & ~by_lost
    for _, pair in pairs[shown].iterrows():
        said = (
            f"The interval of {difference_of(pair)} leaves out 0, and yet no difference is shown: p is "
            f"{p_of(pair['p_holm'])}"
        )
        if len(pairs) > 1 and pair["p"] < LEVEL:
            yield f"{said} after Holm's correction, and the interval is that of one pair alone"
        else:
            yield (
                f"{said}, and “better” needs both; the interval takes the differences for normal, the test "
                "does not"
            )


def _about_width(seeds: BySeed, pairs: pd.DataFrame) -> Iterator[str]:
    for _, pair in pairs[(pairs["n"] > 1) & (pairs["low"] == pairs["high"])].iterrows():
        yield (
            f"All {pair['n']} differences of {difference_of(pair)} are the same, so their interval has no "
            "width: it does not tell how far another seed's lies from them"
        )


def _about_draws(seeds: BySeed, pairs: pd.DataFrame) -> Iterator[str]:
    drawn = pairs[pairs["n"] > EXACT_UP_TO]
    smallest = 2 / (RESAMPLES + 1)
    if len(drawn) and smallest * len(pairs) >= LEVEL:
        yield (
            f"With more than {EXACT_UP_TO} pairs p is drawn, from {RESAMPLES:,} flips, and never below "
            f"{p_of(smallest)}: after Holm's correction for {len(pairs)} pairs of arms, no difference can "
            f"be shown ({few(drawn['second'], 3)})"
        )
