"""The sequential rule: looks at paired differences while seeds are added, and one level for all looks.

At each look the sign-flip test counts, beside the flips that take the sum as far from 0, those that would
have ended the sweep at an earlier look. As all flips are counted, at most 5 % of them say "better" at any
look, whatever the differences are, as long as chance gives each its sign.

Of the sources only the idea: group sequential tests spend their level by looks (Lan and DeMets 1983), and a
permutation test is exact on the flips themselves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handwriting.compare.statistics import LEVEL, RESOLUTION
from handwriting.tracking.plans import LOOKS

# Half the interval at each look, in standard errors: Student's t, widened so that all looks together hold the
# mean of normal differences in 95 % of sweeps. Each look spends one per cent.
WIDTHS = (4.024, 3.260, 2.885, 2.664, 2.516)
FUTILE_FROM, FUTILE_P = 12, 0.5  # pairs and p, from which on a difference is not looked for any more
_NEAR = 1e-9  # of the sum of all distances: sums that are one number, as floats have them


@dataclass(frozen=True)
class Look:
    """What a look at the first n pairs says.

    Args:
        n: paired seeds.
        difference: their mean, second arm minus first.
        low: end of the interval that holds at all looks together.
        high: its other end.
        p: of the sign-flip test, two-sided, with the flips that an earlier look would have ended; where it is
            larger, that with the lost seeds.
        p_paired: the same without the lost seeds.
        outcome: "better", "same" (the interval lies within the margin), "none" (no difference is shown, and
            none is looked for any more), or "" (more seeds).
    """

    n: int
    difference: float
    low: float
    high: float
    p: float
    p_paired: float
    outcome: str


def replay(
    differences: np.ndarray, margin: float | None = None, lost: Sequence[int] | None = None
) -> list[Look]:
    """Return the looks that were due, up to the one that ended the sweep.

    Args:
        differences: second arm minus first, of each seed in the order of seeds; NaN without a pair.
        margin: a difference that does not matter.
        lost: of each seed the sign of a difference that is not known, as only one arm's run failed; else 0.
            Such a pair counts as lost by the largest difference: "better" must hold with it too.
    """
    signs = np.zeros(len(differences)) if lost is None else np.asarray(lost, float)
    steps = np.rint(differences / RESOLUTION)
    complete = ~np.isnan(steps)
    seeds = np.flatnonzero(complete)  # the places of the complete pairs
    looks: list[Look] = []
    for number, (n, width) in enumerate(zip(LOOKS, WIDTHS, strict=True), start=1):
        if len(seeds) < n or (looks and looks[-1].outcome):
            break
        ends = [seeds[look - 1] + 1 for look in LOOKS[:number]]  # the seeds that each look had
        here = signs[: ends[-1]]
        p_paired, better = _tested(steps[seeds[:n]], LOOKS[:number])
        p = p_paired
        if here.any():
            filled = np.where(here != 0, here * np.abs(steps[seeds[:n]]).max(), steps[: ends[-1]])
            known = ~np.isnan(filled)
            p_lost, better_lost = _tested(filled[known], [int(known[:end].sum()) for end in ends])
            turned = np.nansum(filled) * np.nansum(steps[: ends[-1]]) <= 0
            p = max(p, 1.0 if turned and p_lost <= LEVEL else p_lost)
            better = better and better_lost and not turned
        found = differences[seeds[:n]]
        mean, half = found.mean(), width * found.std(ddof=1) / math.sqrt(n)
        same = margin is not None and -margin < mean - half and mean + half < margin and not here.any()
        over = n == LOOKS[-1] or (n >= FUTILE_FROM and p > FUTILE_P)
        outcome = "better" if better else "same" if same else "none" if over else ""
        looks.append(Look(n, float(mean), float(mean - half), float(mean + half), p, p_paired, outcome))
    return looks


def _tested(steps: np.ndarray, lengths: Sequence[int]) -> tuple[float, bool]:
    """Return p at the last of the looks at so many differences, and whether it says "better".

    Args:
        steps: in whole millionths.
        lengths: how many differences each look had.
    """
    near = _NEAR * np.abs(steps).sum()
    sums, called = steps[:1], np.zeros(1, bool)  # the first sign is fixed: two-sided
    for number, (n, width) in enumerate(zip(lengths, WIDTHS, strict=False), start=1):
        for step in steps[round(math.log2(len(sums))) + 1 : n]:
            sums = np.concatenate([sums + step, sums - step])
            called = np.concatenate([called, called])
        far = np.where(called, math.inf, np.abs(sums))
        # Where |t| >= width; t is largest for the largest sum, as all flips have one sum of squares.
        reach = width * math.sqrt(n * (steps[:n] ** 2).sum() / (n - 1 + width**2)) - near
        if number < len(lengths):
            new, most = far >= reach, math.floor(LEVEL * len(far))
            if new.sum() > most:  # ties are called whole or not at all
                new = far > np.partition(far, -most - 1)[-most - 1] + near
            called |= new
    p = float((far >= far[0] - near).mean())
    return p, bool(p <= LEVEL and far[0] >= reach and steps.any())
