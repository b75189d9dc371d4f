"""A comparison in words: one sentence, tables of text, and Markdown for MLflow's description."""

import html

import numpy as np
import pandas as pd

from handwriting.compare.caveats import count, few
from handwriting.compare.comparison import Comparison
from handwriting.compare.statistics import PAIRS_NEEDED
from handwriting.tracking import names

DESCRIPTION_LENGTH = 5000  # characters that MLflow takes as an experiment's tag


def sentence(comparison: Comparison) -> str:
    """Return the verdict in plain words, one sentence for two arms."""
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
    if len(pairs) == 1:
        return " ".join([_of_pair(comparison, pairs.iloc[0]), *_about_failed(arms)])
    better = pairs[pairs["verdict"] == "better"]
    said = [_of_pair(comparison, row) for _, row in better.head(6).iterrows()]
    if len(better) > 6:
        said.append(f"One arm is better in {count(len(better) - 6, 'more pair')}.")
    for words in ("no difference shown", "too few seeds to tell"):
        rows = pairs[pairs["verdict"] == words]
        if len(rows):
            shown = [f"{row['first']} against {row['second']}" for _, row in rows.head(6).iterrows()]
            titles = "; ".join([*shown, *([f"{len(rows) - 6} more pairs"] if len(rows) > 6 else [])])
            low, high, needed = rows["n"].min(), rows["n"].max(), rows["needed"].iloc[0]
            n = count(high, "paired seed") if low == high else f"{low} to {high} paired seeds"
            enough = f", where {needed} are needed" if words.startswith("too few") else ""
            said.append(f"{titles}: {words} ({n}{enough}).")
    return " ".join([*said, *_about_failed(arms)])


def _about_failed(arms: pd.DataFrame) -> list[str]:
    # Not by chance: a run that diverges fails, and what is compared are those that did not.
    failed = arms["failed"][arms["failed"] > 0]
    whose = few(f"{count(n, 'run')} of {arm}" for arm, n in failed.items())
    return [f"Failed, and in no pair: {whose}."] if whose else []


def _of_pair(comparison: Comparison, row: pd.Series) -> str:
    first, second, metric = row["first"], row["second"], comparison.metric
    title = f"{first} against {second} in {metric.name}"
    if row["verdict"] == "too few seeds to tell":
        return (
            f"{title}: too few seeds to tell ({count(row['n'], 'paired seed')}; fewer than {row['needed']} "
            f"cannot show a difference). Run it with seed=range({row['needed']}) or more."
        )
    p = f"{row['p_holm']:.2g} after Holm's correction" if len(comparison.pairs) > 1 else f"{row['p']:.2g}"
    ties = f", {row['tied']} tied" if row["tied"] else ""
    return (
        f"{title}: {verdict_of(row)} ({difference_of(row)} is {metric.change(row['difference'])}"
        f"{metric.points}, 95 % interval {_interval(metric, row)}, {count(row['n'], 'paired seed')}, "
        f"{second} ahead in {row['second_won']}{ties}, p = {p})."
    )


def difference_of(pair: pd.Series) -> str:
    """Return the difference's name: the second arm minus the first."""
    return f"{pair['second']} \N{MINUS SIGN} {pair['first']}"


def verdict_of(pair: pd.Series) -> str:
    """Return the verdict on a pair in a few words."""
    return f"{pair['better']} is better" if pair["better"] else pair["verdict"]


def tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Return text tables for people, by their titles: arms, paired differences, time to target."""
    arms, targets, metric = comparison.arms, comparison.targets, comparison.metric
    columns = {
        "runs": arms["n"],
        **{name: arms[name] for name in ("failed", "unfinished") if arms[name].any()},
    }
    for name in [name.removesuffix("_sd") for name in arms if name.endswith("_sd")]:
        known = metric if name == metric.name else names.metric(name)
        columns[known.title] = [
            known.shown(mean) + ("" if np.isnan(sd) else f" ± {known.shown(sd)}")
            for mean, sd in arms[[name, f"{name}_sd"]].to_numpy()
        ]
    found = {"Arms: mean ± standard deviation over seeds": pd.DataFrame(columns, arms.index).reset_index()}
    rows = [
        {
            "difference": difference_of(pair),
            "mean" + ("," + metric.points if metric.points else ""): metric.change(pair["difference"]),
            "95 % interval": _interval(metric, pair),
            "pairs": pair["n"],
            "won, tied, lost": f"{pair['second_won']}, {pair['tied']}, {pair['first_won']}",
            "p": f"{pair['p']:.2g}",
            **({"p (Holm)": f"{pair['p_holm']:.2g}"} if len(comparison.pairs) > 1 else {}),
            "verdict": verdict_of(pair),
        }
        for _, pair in comparison.pairs.iterrows()
    ]
    if rows:
        found[f"Paired differences in {metric.name}"] = pd.DataFrame(rows)
    if len(targets):
        found["Time to target, of the finished runs; one that never gets there counts as not reached"] = (
            pd.DataFrame(
                {
                    names.VAL_ACCURACY: [level(target) for target in targets["target"]],
                    "arm": targets["arm"],
                    "reached": [f"{a} of {b}" for a, b in targets[["reached", "n"]].to_numpy()],
                    "median epochs": [_time(x) for x in targets["median_epochs"]],
                    "median seconds": [_time(x) for x in targets["median_seconds"]],
                }
            )
        )
    return found


def level(target: float) -> str:
    """Return a level of val_accuracy as text, as "98.5%"."""
    known = names.metric(names.VAL_ACCURACY)
    return f"{target * known.factor:.6g}{known.unit}"


def method(comparison: Comparison) -> str:
    """Return how the verdict was reached, for the foot of a page."""
    several = len(comparison.pairs) > 1
    correction = f", corrected by Holm for {len(comparison.pairs)} pairs of arms" if several else ""
    # With these, arms see other examples, or the same in another order.
    others = any(key.partition(".")[0] in ("start", "data") for key in comparison.keys)
    same = "" if others else ": with one seed, all arms see the same examples in the same order"
    return (
        f"Paired by seed{same}. Interval: "
        f"Student's t on the differences. p: two-sided sign-flip test{correction}. “Better” is said where "
        f"the interval leaves out 0 and p < 0.05, and never below {PAIRS_NEEDED} pairs."
    )


def markdown(comparison: Comparison, limit: int = DESCRIPTION_LENGTH) -> str:
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


def _interval(metric: names.Metric, pair: pd.Series) -> str:
    return "-" if np.isnan(pair["low"]) else f"{metric.change(pair['low'])} to {metric.change(pair['high'])}"


def _time(value: float) -> str:
    return "not reached" if np.isinf(value) else "-" if np.isnan(value) else f"{value:.3g}"
