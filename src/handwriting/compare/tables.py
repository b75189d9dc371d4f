"""A comparison in tables of text, for people."""

import numpy as np
import pandas as pd

from handwriting.compare.comparison import Comparison, against, ranked, verdict_of
from handwriting.compare.pairs import difference_of, p_of
from handwriting.compare.statistics import PAIRS_NEEDED
from handwriting.compare.tuned import Tuned
from handwriting.tracking import names
from handwriting.tracking.labels import shortest


def tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Return text tables for people, by their titles.

    Of several arms first each against the best and the baseline; then arms, paired differences of two arms,
    and time to target.
    """
    metric, targets = comparison.metric, comparison.targets
    several = comparison.question != "two"
    found = {}
    if several:
        found[f"Each arm against the best and the baseline in {metric.name}, by pairs"] = _each(comparison)
    arms = comparison.arms.loc[ranked(comparison)]
    columns = {
        "runs": arms["n"],
        **{name: arms[name] for name in ("failed", "unfinished") if arms[name].any()},
    }
    for name in [name.removesuffix("_sd") for name in arms if name.endswith("_sd")]:
        known = next((m for m in (metric, comparison.choice.metric) if m.name == name), names.metric(name))
        columns[known.title] = [mean_of(known, arm) for _, arm in arms.iterrows()]
    found["Arms: mean ± standard deviation over seeds"] = pd.DataFrame(columns, arms.index).reset_index()
    if not several and len(comparison.pairs):
        found[f"Paired differences in {metric.name}"] = _table_of_pairs(comparison)
    if comparison.tuned is not None:
        found["Tuning: each arm's settings, the best first"] = _table_of_settings(comparison.tuned)
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


def _table_of_settings(tuned: Tuned) -> pd.DataFrame:
    """Return one row per setting that was tried, of each arm the best first."""
    metric, settings = names.metric(names.VAL_ACCURACY), tuned.settings.reset_index()
    order = {arm: place for place, arm in enumerate(tuned.tuning.arms)}
    settings = settings.assign(place=settings["arm"].map(order))
    # The chosen one is the first of equal ones.
    settings = settings.sort_values(
        ["place", "value", "number"], ascending=[True, False, True], ignore_index=True
    )
    rows = settings.rename(columns={"value": metric.name, "sd": f"{metric.name}_sd"})
    columns = {
        "setting": settings["setting"],
        metric.title: [mean_of(metric, row) for _, row in rows.iterrows()],
        "failed": [f"{n} of {len(tuned.tuning.seeds)}" if n else "" for n in settings["failed"]],
        **{shortest(key, tuned.keys): settings[key] for key in tuned.keys},
    }
    table = pd.DataFrame(columns)
    table.insert(1, "chosen", ["yes" if chosen else "" for chosen in settings["chosen"]])
    return table if settings["failed"].any() else table.drop(columns="failed")


def _each(comparison: Comparison) -> pd.DataFrame:
    """Return one row per arm: its mean, and its paired difference to the best and to the baseline."""
    best, baseline = comparison.choice.best, comparison.baseline
    order = ranked(comparison)
    means = pd.DataFrame({"arm": order})
    for metric in dict.fromkeys([comparison.choice.metric, comparison.metric]):
        means[metric.title] = [mean_of(metric, comparison.arms.loc[arm]) for arm in order]
    if best == baseline:
        others = {"the best, the baseline": best}
    else:  # where each is compared with the baseline only, of the best there is nothing to show
        whole = len(comparison.pairs) == len(order) * (len(order) - 1) // 2
        others = {"the best": best} if best and whole else {}
        others["the baseline"] = baseline
    parts = [_to_one(comparison, arm, what) for what, arm in others.items()]
    return pd.concat([means, *parts], axis="columns")


def _to_one(comparison: Comparison, arm: str, what: str) -> pd.DataFrame:
    """Return each arm's paired difference to one of them, which the columns call `what`."""
    metric, pairs, rows = comparison.metric, against(comparison, arm).set_index("second"), []
    for other in ranked(comparison):
        if other == arm:
            rows.append([what, "", "", ""])
            continue
        pair = pairs.loc[other]
        verdict = verdict_of(comparison, pair, "worse" if pair["better"] == arm else "better")
        difference, interval = metric.change(pair["difference"]), interval_of(metric, pair)
        # Holm's correction does not count a pair that has too few seeds by itself.
        p = p_of(pair["p_holm"]) if pair["n"] >= PAIRS_NEEDED else "-"
        rows.append([difference, interval, p, verdict])
    known = what.removeprefix("the ").partition(",")[0]
    columns = [f"\N{MINUS SIGN} {known}{_unit(metric)}", f"95 % interval ({known})", f"p, Holm ({known})"]
    return pd.DataFrame(rows, columns=[*columns, f"verdict ({known})"])


def _table_of_pairs(comparison: Comparison) -> pd.DataFrame:
    metric = comparison.metric
    return pd.DataFrame(
        {
            "difference": difference_of(pair),
            f"mean{_unit(metric)}": metric.change(pair["difference"]),
            interval_name(comparison): interval_of(metric, pair),
            "pairs": pair["n"],
            "won, tied, lost": f"{pair['second_won']}, {pair['tied']}, {pair['first_won']}",
            "p": p_of(pair["p"]),
            "verdict": verdict_of(comparison, pair),
        }
        for _, pair in comparison.pairs.iterrows()
    )


def mean_of(metric: names.Metric, arm: pd.Series) -> str:
    """Return "98.7 ± 0.1" of a row of arms."""
    sd = arm[f"{metric.name}_sd"]
    return metric.shown(arm[metric.name]) + ("" if np.isnan(sd) else f" ± {metric.shown(sd)}")


def interval_of(metric: names.Metric, pair: pd.Series) -> str:
    """Return a pair's interval: "+0.1 to +0.3", or "-" where there is none."""
    return "-" if np.isnan(pair["low"]) else f"{metric.change(pair['low'])} to {metric.change(pair['high'])}"


def interval_name(comparison: Comparison) -> str:
    """Return what an interval is: of one look, or of all that were planned."""
    return "95 % interval" + (" at all looks" if comparison.sequential else "")


def level(target: float) -> str:
    """Return a level of val_accuracy as text, as "98.5%"."""
    known = names.metric(names.VAL_ACCURACY)
    return f"{target * known.factor:.6g}{known.unit}"


def _unit(metric: names.Metric) -> str:
    return f",{metric.points}" if metric.points else ""


def _time(value: float) -> str:
    return "not reached" if np.isinf(value) else "-" if np.isnan(value) else f"{value:.3g}"
