"""What every reader of a report looks for: network, data, settings, seeds, commit, machine and versions."""

import math
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import pandas as pd

from handwriting.compare.about_tuned import cost
from handwriting.compare.caveats import count, few, short
from handwriting.compare.comparison import Comparison, margin_of, ranked
from handwriting.compare.question import differing
from handwriting.tracking import Store, names
from handwriting.tracking.plans import LOOKS

LOCAL_UI = "http://127.0.0.1:5000"  # where `make ui` runs, if nothing else does


def facts_of(comparison: Comparison) -> dict[str, str]:
    """Return what the runs compared were made of, in words, by what it is; what nobody stored is left out."""
    runs = comparison.runs
    if runs.empty:
        return {}
    seeds = sorted(runs["seed"].unique())
    first, last = runs["start_time"].min(), runs["start_time"].max()
    digest = _values(runs, f"tags.{names.DATA}")
    found = {
        "network": _values(runs, "params.model"),
        "precision": _values(runs, "params.precision"),
        "data": _values(_sources(runs), "source") + (f", SHA-256 {digest}" if digest else ""),
        "seeds": f"{few(_ranges(seeds), 20)} ({count(len(seeds), 'seed')})",
        "plan": _plan(comparison),
        "tuning": cost(comparison.tuned) if comparison.tuned else "",
        "runs": f"{len(runs)} compared, {len(comparison.left_out)} left out",
        "compared metric": _about(comparison.metric),
        "settings chosen by": _about(comparison.choice.metric) if len(comparison.arms) > 2 else "",
        "commit": _values(runs, f"tags.{names.COMMIT}"),
        "uncommitted changes": _changes(runs),
        "machine": _values(runs, f"tags.{names.HOST}"),
        "processor": _values(runs, f"tags.{names.CPU}"),
        "threads": _values(runs, f"tags.{names.THREADS}"),
        "versions": ", ".join(
            f"{name} {found}" for name in names.LIBRARIES if (found := _values(runs, f"tags.{name}"))
        ),
        "started": f"{first:%Y-%m-%d %H:%M}" + (f" to {last:%Y-%m-%d %H:%M} UTC" if last > first else " UTC"),
        "training": _duration(runs),
    }
    return {key: text for key, text in found.items() if text}


def _plan(comparison: Comparison) -> str:
    """Return how many seeds were planned, in words; of those that were not, nothing is known."""
    plan = comparison.plan
    if plan is None:
        return ""
    margin = f"; margin {margin_of(comparison)}" if margin_of(comparison) else ""
    if not comparison.sequential:
        return f"{count(len(plan.seeds), 'seed')}, fixed{margin}"
    done = ", ".join(str(look.n) for look in comparison.looks) or "none yet"
    return f"seeds until clear, at most {LOOKS[-1]}, with looks at {few(LOOKS, 9)} (done: {done}){margin}"


def _sources(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the name of what each run's images came from: the path's; a member's may be overridden."""
    paths, members = (runs.get(f"params.{key}") for key in ("data.path", "data"))
    stems = None if paths is None else paths.map(lambda path: Path(path).stem, na_action="ignore")
    return pd.DataFrame({"source": members if stems is None else stems})


def settings_of(comparison: Comparison) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the settings in which arms differ, one row per arm, and those that all share, one per key."""
    settings = comparison.settings
    keys = sorted(differing(settings), key=lambda key: key not in comparison.keys)  # what was swept first
    apart = settings.loc[keys, ranked(comparison)].T.rename_axis("arm").reset_index()
    shared = settings.drop(index=keys).iloc[:, 0]
    shared = shared[shared != ""]
    return apart, pd.DataFrame({"setting": shared.index, "value": shared.to_numpy()})


def seeds_of(comparison: Comparison, ui: str) -> tuple[list[str], dict[int, list[tuple[str, str]]]]:
    """Return the columns of a table of seeds, and of each seed the metric as text and its run's address.

    Both are empty where an arm has no run with that seed; all addresses are where `ui`, that of MLflow's, is
    empty. Of two arms, the last column is their difference, which has no address.
    """
    metric, arms = comparison.metric, ranked(comparison)
    used = comparison.runs.set_index(["seed", "arm"])[["value", "experiment_id", "run_id"]]
    found = {
        key: (value, f"{ui}/#/experiments/{quote(experiment)}/runs/{quote(run)}" if ui else "")
        for key, value, experiment, run in used.itertuples(name=None)
    }
    seeds = sorted(comparison.runs["seed"].unique())
    rows = {}
    for seed in seeds:
        own = [found.get((seed, arm), (math.nan, "")) for arm in arms]
        rows[seed] = [("" if math.isnan(value) else metric.shown(value), address) for value, address in own]
        if len(arms) == 2:
            rows[seed].append((metric.change(own[1][0] - own[0][0]), ""))
    pair = [f"{arms[1]} \N{MINUS SIGN} {arms[0]}"] if len(arms) == 2 else []
    return ["seed", *arms, *pair], rows


def ui_of(store: Store) -> str:
    """Return the address of MLflow's UI on a store: the server's own, without a user's name and password."""
    if not store.uri.startswith("http"):
        return LOCAL_UI
    parts = urlsplit(store.uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _about(metric: names.Metric) -> str:
    which = {True: ", more is better", False: ", less is better", None: ""}[metric.more_is_better]
    return metric.title + which


def _values(runs: pd.DataFrame, column: str) -> str:
    """Return a column's value, or its values, each with its number of runs; nothing where none is stored."""
    values = runs[column].dropna().map(short) if column in runs else pd.Series(dtype=str)
    counts = values.value_counts()
    if len(counts) == 1 and len(values) == len(runs):
        return str(counts.index[0])
    return few(f"{value} ({count(number, 'run')})" for value, number in counts.items())


def _changes(runs: pd.DataFrame) -> str:
    known = runs.get(f"tags.{names.DIRTY}", pd.Series(dtype=str)).dropna()
    if known.empty:
        return ""
    return f"in {count((known == 'true').sum(), 'run')}" if (known == "true").any() else "none"


def _duration(runs: pd.DataFrame) -> str:
    seconds = runs.get(f"metrics.{names.TRAINING_SECONDS}", pd.Series(dtype=float)).dropna()
    if seconds.empty:
        return ""
    minutes = seconds.sum() / 60
    whole = f"{minutes:.3g} min" if minutes < 120 else f"{minutes / 60:.1f} h"
    return f"{whole} in all, {seconds.median():.3g} s a run (median)"


def _ranges(numbers: list[int]) -> list[str]:
    """Return whole numbers in order as "0–5", "7"."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in found]
