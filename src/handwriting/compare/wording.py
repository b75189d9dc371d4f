"""A comparison in words: the verdict, the method, and Markdown for MLflow's description."""

import html

import pandas as pd

from handwriting.compare.about_tuned import about
from handwriting.compare.caveats import count, few
from handwriting.compare.comparison import Comparison, against, margin_of, verdict_of
from handwriting.compare.pairs import difference_of, p_of
from handwriting.compare.statistics import (
    LARGEST_N,
    NONE,
    PAIRS_NEEDED,
    SAME,
    TOO_FEW,
    sd_known_within,
    seeds_to_find,
)
from handwriting.compare.tables import interval_name, interval_of, mean_of, tables
from handwriting.tracking import names
from handwriting.tracking.plans import LOOKS


def sentence(comparison: Comparison) -> str:
    """Return the verdict in plain words: what failed first, one sentence for two arms, what decides it."""
    arms, pairs = comparison.arms, comparison.pairs
    ready = arms.index[arms["n"] > 0]
    if len(ready) == 0:
        return f"Nothing to compare: none of the {count(len(comparison.left_out), 'run')} can be used."
    if len(arms) == 1:
        return (
            f"Nothing to compare: all that can be used, {count(arms['n'].sum(), 'run')}, is of one arm "
            f"({ready[0]}). Sweep over two values or more of what you ask about."
        )
    if len(ready) == 1:
        return f"Nothing to compare: of {few(arms.index)} only {ready[0]} has a run that can be used."
    several = [*_about_best(comparison), *_about_others(comparison)]
    said = several if len(arms) > 2 else [_of_pair(comparison, pairs.iloc[0])]
    deciding = [f"{sentence}." for sentence in comparison.deciding] if len(arms) == 2 else []
    tuned = [about(comparison.tuned.tuning)] if comparison.tuned else []
    return " ".join([*_about_failed(arms), *said, *deciding, *tuned])


def _about_best(comparison: Comparison) -> list[str]:
    """Say which of several settings is the best, and whether it is better than the baseline."""
    choice, baseline = comparison.choice, comparison.baseline
    if not choice.best:
        return [f"No arm has a {choice.metric.name} to be chosen by."]
    itself = ", the baseline" if choice.best == baseline else ""
    said = [f"Best by {choice.metric.name}: {_with_mean(comparison, choice.best)}{itself}."]
    if comparison.numbers:
        groups = {group: arm for group, arm in choice.by_group.items() if arm != choice.best}
        said += [
            f"Best of {group}: {_with_mean(comparison, arm).removeprefix(f'{group}, ')}."
            for group, arm in groups.items()
        ]
    pairs = against(comparison, choice.best)
    if (pairs["verdict"] == TOO_FEW).all():
        needed = pairs["needed"].max()
        return [
            *said,
            f"Too few seeds to tell {choice.best} from any other arm in {comparison.metric.name} "
            f"({count(pairs['n'].max(), 'paired seed')}; with {len(comparison.arms)} arms "
            f"fewer than {needed} cannot show a difference). Run them with "
            f"{_seeds_key(comparison)}=range({needed}) or more.",
        ]
    if choice.best == baseline or not comparison.arms.loc[baseline, "n"]:
        return said
    pairs = against(comparison, baseline).set_index("second", drop=False)
    return [*said, _of_pair(comparison, pairs.loc[choice.best])]


def _about_others(comparison: Comparison) -> list[str]:
    """Say what is known of the best against the others, the baseline apart, in the compared metric."""
    best = comparison.choice.best or comparison.baseline
    pairs = against(comparison, best)
    if comparison.choice.best and (pairs["verdict"] == TOO_FEW).all():
        return []  # it is said of the best
    ready = comparison.arms.index[comparison.arms["n"] > 0]
    pairs = pairs[(pairs["second"] != comparison.baseline) & pairs["second"].isin(ready)]
    better = pairs["better"]
    kinds = {
        f"{best} is better in {comparison.metric.name} than": better == best,
        f"Better in {comparison.metric.name} than {best}:": (better != "") & (better != best),
        f"No difference larger than {margin_of(comparison)} between {best} and": pairs["verdict"] == SAME,
        f"No difference shown between {best} and": pairs["verdict"] == NONE,
        f"Too few seeds to tell {best} from": pairs["verdict"] == TOO_FEW,
    }
    named = {
        words: few(pairs.loc[which, "second"], sep="; ") for words, which in kinds.items() if which.any()
    }
    needed = f" ({pairs['needed'].max()} are needed)" if len(pairs) else ""
    return [
        f"{words} {arms}{needed if words.startswith('Too few') else ''}." for words, arms in named.items()
    ]


def _with_mean(comparison: Comparison, arm: str) -> str:
    """Return "adam (98.7 ± 0.1 %)", in the metric that arms are chosen by."""
    metric = comparison.choice.metric
    unit = f" {metric.unit}" if metric.unit in ("%", "s") else ""
    return f"{arm} ({mean_of(metric, comparison.arms.loc[arm])}{unit})"


def _about_failed(arms: pd.DataFrame) -> list[str]:
    # Not by chance: a run that diverges fails, and what is compared are those that did not.
    failed = arms["failed"][arms["failed"] > 0]
    whose = few(f"{count(n, 'run')} of {arm}" for arm, n in failed.items())
    return [f"Failed, and in no pair: {whose}."] if whose else []


def _of_pair(comparison: Comparison, row: pd.Series) -> str:
    first, second, metric = row["first"], row["second"], comparison.metric
    title = f"{first} against {second} in {metric.name}"
    if row["verdict"] == TOO_FEW and not comparison.looks:
        needed = row["needed"]
        planned = f", and the first look is at {needed})."
        key = _seeds_key(comparison)
        following = planned if comparison.sequential else f"). Run it with {key}=range({needed}) or more."
        return (
            f"{title}: {TOO_FEW} ({count(row['n'], 'paired seed')}; fewer than {needed} cannot show a "
            f"difference{following}"
        )
    verdict = verdict_of(comparison, row)
    if row["verdict"] == TOO_FEW:
        verdict = f"not clear at {row['n']} seeds"
        if metric.name == names.TEST_ACCURACY:  # by which the sweep ends
            verdict = f"not clear yet, and the next look is at {row['needed']} seeds"
    p = p_of(row["p_holm"]) + (" after Holm's correction" if len(comparison.pairs) > 1 else "")
    ties = f", {row['tied']} tied" if row["tied"] else ""
    return (
        f"{title}: {verdict} ({difference_of(row)} is {metric.change(row['difference'])}"
        f"{metric.points}, {interval_name(comparison)} {interval_of(metric, row)}, "
        f"{count(row['n'], 'paired seed')}, {second} ahead in {row['second_won']}{ties}, p = {p})."
        f"{_seeds_for_margin(comparison, row)}"
    )


def _seeds_key(comparison: Comparison) -> str:
    """Return the key that gives arms more seeds."""
    return "tuning.verdict_seeds" if comparison.tuned else "seed"


def _seeds_for_margin(comparison: Comparison, row: pd.Series) -> str:
    """Return how many seeds would find a difference of the margin, where none is shown and none ruled out."""
    if row["verdict"] != NONE or not comparison.margin or len(comparison.pairs) > 1 or row["lost"]:
        return ""
    low, high = sd_known_within(row["n"])
    fewest, about, most = (
        seeds_to_find(comparison.margin, row["sd"] * factor) for factor in (low, 1.0, high)
    )
    if about > LARGEST_N:
        return f" To find a difference of {margin_of(comparison)} would take more than {LARGEST_N:,} seeds."
    return (
        f" To find a difference of {margin_of(comparison)}, in four sweeps of five, would take about "
        f"{about:,} seeds ({fewest:,} to {f'{most:,}' if most <= LARGEST_N else f'more than {LARGEST_N:,}'}: "
        f"{count(row['n'], 'pair')} tell the spread within a factor of {low:.2f} to {high:.2f} only)."
    )


def look_line(comparison: Comparison) -> str:
    """Return what the last look says, in one line, and what comes next."""
    row, metric, look = comparison.pairs.iloc[0], comparison.metric, comparison.looks[-1]
    if look.outcome:
        following = f"{verdict_of(comparison, row)}, no more seeds"
    else:
        following = f"not clear, the next look is at {row['needed']} seeds"
    return (
        f"look at {look.n} seeds: {difference_of(row)} is {metric.change(look.difference)}{metric.points}, "
        f"{interval_name(comparison)} {interval_of(metric, row)}, p = {p_of(look.p)}: {following}"
    )


def method(comparison: Comparison) -> str:
    """Return how the verdict was reached, for the foot of a page."""
    several = len(comparison.pairs) > 1
    correction = f", corrected by Holm for {len(comparison.pairs)} pairs of arms" if several else ""
    choice, verdict = comparison.choice.metric.name, comparison.metric.name
    chosen = f"The best of several settings is chosen by {choice}; the verdict is on {verdict}. "
    # With these, arms see other examples, or the same in another order.
    others = any(key.partition(".")[0] in ("start", "data") for key in comparison.keys)
    same = "" if others else ": with one seed, all arms see the same examples in the same order"
    margin = margin_of(comparison)
    if comparison.sequential:
        looks = ", ".join(str(look) for look in LOOKS[:-1])
        within = f" “No difference larger than {margin}” is said where it lies within that." if margin else ""
        return (
            f"Paired by seed{same}. Seeds until clear, planned before the first run: looks at {looks} and "
            f"{LOOKS[-1]} seeds, each spending one per cent. The interval is Student's, widened to hold at "
            f"all looks.{within} p: two-sided sign-flip test, which also counts the flips that would have "
            "stopped earlier. “Better” is said where the interval leaves out 0 and p ≤ 0.05."
        )
    level = "the 90 % interval" if not several else f"the interval at 1 − 0.1 / {len(comparison.pairs)}"
    within = f" “No difference larger than {margin}” is said where {level} lies within it." if margin else ""
    return (
        f"{chosen if several else ''}Paired by seed{same}. Interval: "
        f"Student's t on the differences. p: two-sided sign-flip test{correction}. “Better” is said where "
        f"the interval leaves out 0 and p < 0.05, and never below {PAIRS_NEEDED} pairs.{within}"
    )


def markdown(comparison: Comparison, limit: int = names.LONGEST_TAG) -> str:
    """Return the comparison as Markdown of at most `limit` characters, without any markup of a run's own.

    What comes last goes first: where tables are too long, their later rows are left out, and it is said.
    """
    first, last = f"**{_safe(sentence(comparison))}**", method(comparison)
    caveats = "\n".join(f"- {_safe(caveat)}" for caveat in comparison.caveats)
    shown = tables(comparison)
    for rows in (50, 20, 10, 5, 2):
        parts = [f"### {title}\n\n{_grid(table, rows)}" for title, table in shown.items()]
        text = "\n\n".join([first, *([caveats] if caveats else []), *parts, last])
        if len(text) <= limit:
            return text
    return text[: limit - 1] + "…"


def _grid(table: pd.DataFrame, limit: int) -> str:
    rows = [[_safe(x) for x in row] for row in table.head(limit).to_numpy().tolist()]
    lines = [[_safe(x) for x in table.columns], ["---"] * table.shape[1], *rows]
    more = f"\n\n{len(table) - limit} more rows in the report" if len(table) > limit else ""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + more


def _safe(text: object) -> str:
    # Names of runs may be anybody's.
    marks = str.maketrans({mark: "\\" + mark for mark in "\\`*_[]|#"})
    return html.escape(" ".join(str(text).split()), quote=False).translate(marks)
