"""How often the verdict is wrong, and how many seeds it takes: simulated sweeps whose truth is known.

    make simulate N=2000

Sweeps of equal arms until clear go through the whole of `compare`, as their runs would come from a store;
what concerns one look, or the rule alone, through the statistics. A table in Markdown, each share with its
standard error.
"""

import argparse
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent / "compare"))
from made_runs import epochs_of, run

from handwriting.compare import Comparison, compare, sequential
from handwriting.compare.sequential import replay
from handwriting.compare.statistics import BETTER, LEVEL, SAME, paired_differences, with_verdicts
from handwriting.compare.tuned import choose
from handwriting.tracking.plans import LOOKS, Plan

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
IMAGES, TRUE = 10_000, 0.99  # test images, and the share of them that a run reads on average
SPREAD = 0.001  # standard deviation of accuracy over seeds
COLLAPSED, OFTEN = 0.1, 0.1  # the accuracy of a run that collapsed, and how often one does, or fails
MARGIN = 0.001
UNTIL_CLEAR = Plan(tuple(range(LOOKS[-1])), LOOKS, MARGIN)


def normal(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw accuracies of two equal arms that are normal."""
    return rng.normal(TRUE, SPREAD, n), rng.normal(TRUE, SPREAD, n)


def images(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw accuracies of two equal arms that differ by which of the test images they read."""
    return rng.binomial(IMAGES, TRUE, n) / IMAGES, rng.binomial(IMAGES, TRUE, n) / IMAGES


def collapses(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw accuracies of two equal arms, of which either collapses now and then."""
    a, b = normal(rng, n)
    return np.where(rng.random(n) < OFTEN, COLLAPSED, a), np.where(rng.random(n) < OFTEN, COLLAPSED, b)


def failures(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw accuracies of two equal arms, either of which now and then has a run that fails: NaN."""
    a, b = normal(rng, n)
    return np.where(rng.random(n) < OFTEN, math.nan, a), np.where(rng.random(n) < OFTEN, math.nan, b)


def one_collapses(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw accuracies of two arms with one mean, of which the second alone collapses now and then."""
    a, b = normal(rng, n)
    low, drop = rng.random(n) < OFTEN, 0.01
    return a, b + drop * OFTEN / (1 - OFTEN) * ~low - drop * low


KINDS: tuple[Draw, ...] = (normal, images, collapses, failures, one_collapses)


def compared(arms: tuple[np.ndarray, np.ndarray], plan: Plan) -> Comparison:
    """Return the comparison of two arms' accuracies, by seed from 0."""
    runs = [
        run(name, seed, float(values[seed]))
        | {"tags.arm": str(place), "status": "FAILED" if math.isnan(values[seed]) else "FINISHED"}
        for seed in range(len(plan.seeds))
        for place, (name, values) in enumerate(zip(("rmsprop", "adam"), arms, strict=True))
    ]
    return compare(pd.DataFrame(runs), epochs_of(), plan=plan)


def whole(kind: Draw, seed: int) -> dict[str, object]:
    """Return what `compare` says of one sweep of equal arms until clear."""
    arms = kind(np.random.default_rng([KINDS.index(kind), seed]), LOOKS[-1])
    return _of_equal(kind, "until clear", compared(arms, UNTIL_CLEAR).pairs.iloc[0])


def one_look(kind: Draw, n: int, seed: int) -> dict[str, object]:
    """Return what the rule of one look says of the first n seeds of the same sweep."""
    arms = kind(np.random.default_rng([KINDS.index(kind), seed]), LOOKS[-1])
    first, second = (values[:n] for values in arms)
    differences, lost = second - first, np.isnan(first).astype(int) - np.isnan(second)
    rows = paired_differences([differences[~np.isnan(differences)]], [lost[lost != 0].tolist()])
    return _of_equal(kind, f"{n} seeds", with_verdicts(rows).iloc[0])


def _of_equal(kind: Draw, rule: str, pair: pd.Series) -> dict[str, object]:
    return {"what": kind.__name__.replace("_", " "), "rule": rule, "better": pair["verdict"] == BETTER,
            "interval holds the truth": pair["low"] <= 0 <= pair["high"], "seeds": pair["n"]}  # fmt: skip


def rule(effect: float, futile: bool, seed: int) -> dict[str, object]:
    """Return what the sequential rule says of differences with a mean of so many standard deviations."""
    differences = np.random.default_rng(seed).normal(effect, 1, LOOKS[-1])
    with patch.object(sequential, "FUTILE_P", sequential.FUTILE_P if futile else math.inf):
        last = replay(differences)[-1]
    what = f"difference of {effect} sd" + ("" if futile else ", without futility")
    return {"what": what, "rule": "until clear", "better": last.outcome == "better", "seeds": last.n}


def fixed(effect: float, n: int, seed: int) -> dict[str, object]:
    """Return what the rule of one look says of the same."""
    differences = np.random.default_rng(seed).normal(effect, 1, n)
    pair = with_verdicts(paired_differences([differences])).iloc[0]
    return {"what": f"difference of {effect} sd", "rule": f"{n} seeds", "better": pair["verdict"] == BETTER,
            "seeds": n}  # fmt: skip


def peeking(seed: int) -> dict[str, object]:
    """Return whether the rule of one look ever says "better" where it is asked after each seed."""
    differences = np.random.default_rng(seed).normal(0, 1, LOOKS[-1])
    rows = paired_differences([differences[:n] for n in range(LOOKS[0], LOOKS[-1] + 1)])
    better = ((rows["low"] > 0) | (rows["high"] < 0)) & (rows["p"] < LEVEL)
    return {"what": "difference of 0 sd, asked after each seed", "rule": "one look, 15 times",
            "better": better.any()}  # fmt: skip


def at_margin(sd: float, seed: int) -> list[dict[str, object]]:
    """Return whether a true difference of exactly the margin is said to be smaller."""
    differences = np.random.default_rng(seed).normal(MARGIN, sd * MARGIN, LOOKS[-1])
    what, found = f"difference of the margin, sd {sd} of it", []
    for n in (LOOKS[0], LOOKS[-1]):
        pair = with_verdicts(paired_differences([differences[:n]]), MARGIN).iloc[0]
        found.append({"what": what, "rule": f"{n} seeds", "no larger difference": pair["within"]})
    last = replay(differences, MARGIN)[-1]
    within = last.low > -MARGIN and last.high < MARGIN
    return [*found, {"what": what, "rule": "until clear", SAME: within, "seeds": last.n}]


def tuned(numbers: tuple[int, int], apart: bool, seed: int) -> np.ndarray:
    """Return the differences of two arms, each the best of so many settings that are all equal, by seed.

    Args:
        numbers: of settings that each arm tries, with six seeds.
        apart: whether the arms are judged on other seeds than those that chose, as the rule is.
        seed: of the simulated tuning.
    """
    rng, chose, judged = np.random.default_rng([*numbers, seed]), LOOKS[0], []
    luck = rng.normal(0, SPREAD, chose + LOOKS[-1])  # of a seed, the same for all settings of both arms
    for number in numbers:
        accuracy = TRUE + luck + rng.normal(0, SPREAD, (number, len(luck)))
        runs = pd.DataFrame(accuracy[:, :chose]).rename_axis("number").reset_index().melt("number")
        best = choose(runs.assign(arm="arm", status="FINISHED"))["arm"]
        judged.append(accuracy[best, chose if apart else 0 :][: LOOKS[-1]])
    return judged[1] - judged[0]


def of_tuned(numbers: tuple[int, int], apart: bool, seed: int) -> list[dict[str, object]]:
    """Return what both rules say of them."""
    differences = tuned(numbers, apart, seed)
    verdict = with_verdicts(paired_differences([differences[: LOOKS[0]]]))["verdict"].iloc[0]
    last = replay(differences)[-1]
    seeds = "others" if apart else "those that chose, which is refused"
    what = f"best of {numbers[0]} against best of {numbers[1]}, judged on {seeds}"
    return [
        {"what": what, "rule": "6 seeds", "better": verdict == BETTER, "seeds": LOOKS[0]},
        {"what": what, "rule": "until clear", "better": last.outcome == "better", "seeds": last.n},
    ]


def main() -> None:
    """Simulate on all cores, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=2_000)
    sweeps = parser.parse_args().sweeps
    tasks: list[Callable[[int], object]] = []
    for kind in KINDS:
        tasks += [*(partial(one_look, kind, n) for n in (6, 20)), partial(whole, kind)]
    for effect in (0, 0.5, 1, 2, 2.75):
        tasks += [*(partial(fixed, effect, n) for n in (6, 20)), partial(rule, effect, True)]
    tasks += [partial(rule, 0, False), peeking, *(partial(at_margin, sd) for sd in (0.1, 0.5))]
    for numbers in ((10, 10), (1, 10)):
        tasks += [partial(of_tuned, numbers, apart) for apart in (True, False)]
    found: list[dict[str, object]] = []
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        for number, task in enumerate(tasks, start=1):
            print(f"{number} of {len(tasks)} tasks", file=sys.stderr, flush=True)
            for rows in pool.map(task, range(sweeps), chunksize=20):
                found += rows if isinstance(rows, list) else [rows]  # type: ignore[list-item]
    print("\n".join(table(pd.DataFrame(found), sweeps)))


def table(found: pd.DataFrame, sweeps: int) -> Iterable[str]:
    """Yield the lines of a table in Markdown: shares in per cent with their standard error, mean seeds."""
    columns = ["better", SAME, "interval holds the truth", "seeds"]
    found = found.reindex(columns=["what", "rule", *columns])
    titles = " | ".join(f"{name}, %" for name in columns[:-1])
    yield f"| {sweeps:,} sweeps each | rule | {titles} | seeds |"
    yield "| " + " | ".join(["---"] * (len(columns) + 2)) + " |"
    for (what, name), rows in found.groupby(["what", "rule"], sort=False):
        shares = [_share(rows[column].dropna().astype(float)) for column in columns[:-1]]
        seeds = rows["seeds"].dropna().astype(float)
        yield f"| {what} | {name} | {' | '.join(shares)} | {f'{seeds.mean():.1f}' if len(seeds) else ''} |"


def _share(values: pd.Series) -> str:
    if values.empty:
        return ""
    mean = values.mean()
    return f"{100 * mean:.1f} ± {100 * math.sqrt(mean * (1 - mean) / len(values)):.1f}"


if __name__ == "__main__":
    main()
