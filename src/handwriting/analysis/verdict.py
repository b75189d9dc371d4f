"""A comparison in words: one sentence, tables of text, and Markdown for MLflow's description."""

import html
from collections.abc import Callable

import numpy as np
import pandas as pd

from handwriting.analysis.compare import Comparison
from handwriting.analysis.paired import PAIRS_NEEDED
from handwriting.analysis.remarks import count, few

DESCRIPTION = 5000  # characters that MLflow takes as an experiment's tag


def sentence(comparison: Comparison) -> str:
    """Return the verdict in plain words, one sentence for two arms."""
    arms, pairs = comparison.arms, comparison.pairs
    ready = arms.index[arms["n"] > 0]
    if len(ready) == 0:
        return f"Nothing to compare: none of the {count(len(comparison.left_out), 'run')} can be used."
    if len(arms) == 1:
        return (
            f"Nothing to compare: all that can be used, {count(arms['n'].sum(), 'run')}, is of one arm "
            f"({ready[0]}). "
            "Sweep over two values or more, such as optimizer=rmsprop,adam."
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
            names = "; ".join([*shown, *([f"{len(rows) - 6} more pairs"] if len(rows) > 6 else [])])
            least, most, needed = rows["n"].min(), rows["n"].max(), rows["needed"].iloc[0]
            n = count(most, "paired seed") if least == most else f"{least} to {most} paired seeds"
            enough = f", where {needed} are needed" if words.startswith("too few") else ""
            said.append(f"{names}: {words} ({n}{enough}).")
    return " ".join([*said, *_about_failed(arms)])


def _about_failed(arms: pd.DataFrame) -> list[str]:
    # Not by chance: a run that diverges fails, and what is compared are those that did not.
    failed = arms["failed"][arms["failed"] > 0]
    whose = few(f"{count(n, 'run')} of {arm}" for arm, n in failed.items())
    return [f"Failed, and in no pair: {whose}."] if whose else []


def _of_pair(comparison: Comparison, row: pd.Series) -> str:
    first, second, metric = row["first"], row["second"], comparison.metric
    title = f"{first} against {second} in {metric}"
    if row["verdict"] == "too few seeds to tell":
        return (
            f"{title}: too few seeds to tell ({count(row['n'], 'paired seed')}; fewer than {row['needed']} "
            f"cannot show a difference). Run it with seed=range({row['needed']}) or more."
        )
    words = f"{row['better']} is better" if row["better"] else row["verdict"]
    change = f"{_change(metric, row['difference'])}{_unit_of_change(metric).replace(',', '')}"
    p = f"{row['p_holm']:.2g} after Holm's correction" if len(comparison.pairs) > 1 else f"{row['p']:.2g}"
    ties = f", {row['tied']} tied" if row["tied"] else ""
    return (
        f"{title}: {words} ({second} less {first} is {change}, 95 % interval {_interval(metric, row)}, "
        f"{count(row['n'], 'paired seed')}, {second} ahead in {row['second_won']}{ties}, p = {p})."
    )


def tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Return text tables for people, by their titles: arms, paired differences, time to target."""
    arms, pairs, targets = comparison.arms, comparison.pairs, comparison.targets
    one_row = pd.DataFrame({"runs": arms["n"]})
    for name in ("failed", "unfinished"):
        if arms[name].any():
            one_row[name] = arms[name]
    for name in [name.removesuffix("_sd") for name in arms if name.endswith("_sd")]:
        show = _number(name)
        both = zip(arms[name], arms[f"{name}_sd"], strict=True)
        one_row[_titled(name)] = [
            "-" if np.isnan(mean) else show(mean) if np.isnan(sd) else f"{show(mean)} ± {show(sd)}"
            for mean, sd in both
        ]
    found = {"Arms: mean ± standard deviation over seeds": one_row.reset_index()}
    if len(pairs):
        metric = comparison.metric
        rows = {
            "difference": [f"{row['second']} less {row['first']}" for _, row in pairs.iterrows()],
            f"mean{_unit_of_change(metric)}": [_change(metric, x) for x in pairs["difference"]],
            "95 % interval": [_interval(metric, row) for _, row in pairs.iterrows()],
            "pairs": pairs["n"],
            "won, tied, lost": [
                f"{row['second_won']}, {row['tied']}, {row['first_won']}" for _, row in pairs.iterrows()
            ],
            "p": [f"{p:.2g}" for p in pairs["p"]],
            **({"p (Holm)": [f"{p:.2g}" for p in pairs["p_holm"]]} if len(pairs) > 1 else {}),
            "verdict": [
                f"{row['better']} is better" if row["better"] else row["verdict"]
                for _, row in pairs.iterrows()
            ],
        }
        found[f"Paired differences in {metric}"] = pd.DataFrame(rows)
    if len(targets):
        rows = {
            "val_accuracy": [f"{target:.1%}" for target in targets["target"]],
            "arm": targets["arm"],
            "reached": [f"{a} of {b}" for a, b in zip(targets["reached"], targets["n"], strict=True)],
            "median epochs": [_time(x) for x in targets["median_epochs"]],
            "median seconds": [_time(x) for x in targets["median_seconds"]],
        }
        found["Time to target, of the finished runs; one that never gets there counts as not reached"] = (
            pd.DataFrame(rows)
        )
    return found


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


def markdown(comparison: Comparison, most: int = DESCRIPTION) -> str:
    """Return the comparison as Markdown of at most `most` characters, without any markup of a run's own.

    What comes last goes first: where tables are too long, their later rows are left out, and it is said.
    """
    first, last = f"**{_safe(sentence(comparison))}**", method(comparison)
    remarks = "\n".join(f"- {_safe(remark)}" for remark in comparison.remarks)
    shown = tables(comparison)
    for rows in (50, 20, 10, 5, 2):
        parts = [f"### {title}\n\n{_grid(table, rows)}" for title, table in shown.items()]
        text = "\n\n".join([first, *([remarks] if remarks else []), *parts, last])
        if len(text) <= most:
            return text
    return text[: most - 1] + "…"


def _grid(table: pd.DataFrame, most: int) -> str:
    rows = [[_safe(x) for x in row] for row in table.head(most).to_numpy().tolist()]
    lines = [[_safe(x) for x in table.columns], ["---"] * table.shape[1], *rows]
    more = f"\n\n{len(table) - most} more rows in the report" if len(table) > most else ""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + more


def _safe(text: object) -> str:
    # Names of runs may be anybody's.
    marks = str.maketrans({mark: "\\" + mark for mark in "\\`*_[]|#"})
    return html.escape(" ".join(str(text).split()), quote=False).translate(marks)


def _number(name: str) -> Callable[[float], str]:
    if name.endswith("accuracy"):
        return lambda x: f"{100 * x:.3f}"
    return lambda x: f"{x:.1f}" if name.endswith(("seconds", "epoch")) else f"{x:.4g}"


def _titled(name: str) -> str:
    return f"{name}, %" if name.endswith("accuracy") else name


def _unit_of_change(metric: str) -> str:
    return ", points" if metric.endswith("accuracy") else ""


def _change(metric: str, value: float) -> str:
    if np.isnan(value):
        return "-"
    return f"{100 * value:+.3f}" if metric.endswith("accuracy") else f"{value:+.3g}"


def _interval(metric: str, row: pd.Series) -> str:
    return "-" if np.isnan(row["low"]) else f"{_change(metric, row['low'])} to {_change(metric, row['high'])}"


def _time(value: float) -> str:
    return "not reached" if np.isinf(value) else "-" if np.isnan(value) else f"{value:.3g}"
