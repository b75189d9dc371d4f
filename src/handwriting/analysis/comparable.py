"""Which runs may be compared: those that differ in what was swept and in the seed, and in nothing else.

Nothing is dropped in silence: each run that is left out is in a table, with the reason.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from handwriting.analysis.remarks import few, remarks_on, short
from handwriting.errors import UserError, nearest

# Other test images make another quantity.
_DATA = ["tags.data.sha256", "params.data.limit_test"]
# No settings: said where they differ (remarks.py), or written down once more from what is one. The data are
# known by their digest.
_NOT_SETTINGS = {"seed", "force", "threads", "data", "data.path", "data.sha256"}
_NOT_GROUPS = ("tracking.", "keras_optimizer.")


@dataclass(frozen=True)
class Selection:
    """Runs to compare, and what must be said about them.

    Args:
        keys: what was swept, less the seed, such as ("optimizer",), which stands there too where nothing was.
        arms: labels in natural order; of an arm without a usable run too.
        used: one finished run for each arm and seed: `runs` with the columns arm, seed and value.
        left_out: all the others, with the column reason; arm and seed where they are known.
        remarks: sentences.
    """

    keys: tuple[str, ...]
    arms: list[str]
    used: pd.DataFrame
    left_out: pd.DataFrame
    remarks: list[str]


def select(runs: pd.DataFrame, by: Sequence[str] | None, metric: str) -> Selection:
    """Return the runs whose `metric` may be compared; arguments and errors as for `compare.compare`."""
    if runs.empty:
        raise UserError("there are no runs to compare. Train some: make sweep, or make quick")
    runs = runs.sort_values("start_time").reset_index(drop=True)
    for column in ("params.seed", f"metrics.{metric}", _DATA[0]):
        if column not in runs:
            runs[column] = None
    if "name" not in runs:
        runs["name"] = runs.get("tags.mlflow.runName", runs["run_id"])
    seed = pd.to_numeric(runs["params.seed"], errors="coerce")
    runs = runs.assign(arm="", seed=seed, value=_finite(runs[f"metrics.{metric}"]), reason="")
    _leave_out(runs, seed.isna() | (seed % 1 != 0), "no seed is stored with it")
    _leave_out(runs, runs[_DATA[0]].isna(), "no digest of its data is stored with it")
    if (runs["reason"] != "").all():
        raise UserError(
            f"none of the {len(runs)} runs has the parameter seed and the tag data.sha256, which "
            "python -m handwriting.train stores. Name the experiment or the sweep of such runs"
        )
    ours = runs[(runs["reason"] == "") & (runs["status"] == "FINISHED")].dropna(axis="columns", how="all")
    known = [column.removeprefix("metrics.") for column in ours if column.startswith("metrics.")]
    if len(ours) and metric not in known:
        there = f"{nearest(metric, known)} There are: {few(known, 20)}"
        raise UserError(f"{metric}: no run has such a metric.{there}")
    keys = _checked(by, runs) if by else None
    if keys is None:
        _keep_one_setting(runs, _DATA)
        live = runs[runs["reason"] == ""]
        keys = _swept(live) or [key for key in ("optimizer",) if key in _settings(live)]
    for key in keys:
        if not nested(key, keys):
            _leave_out(runs, runs[f"params.{key}"].isna(), f"no {key} is stored with it")
    arms = _label(runs, keys)
    settings = _settings(runs)
    outer = [f"params.{key}" for key in settings if not nested(key, keys) and key not in keys]
    _keep_one_setting(runs, list(dict.fromkeys(_DATA + outer)))
    inner = [f"params.{key}" for key in settings if nested(key, keys) and key not in keys]
    live = runs[runs["reason"] == ""]
    several = live.groupby("arm")[inner].nunique(dropna=False).gt(1)
    shared = [one for one in inner if several[one].any() and live[one].notna().all()]
    if shared and live.groupby(shared)["arm"].nunique().max() == len(several):
        _keep_one_setting(runs, shared, arms=len(several))  # one that all arms have, before one for each
    for arm in several.index:
        _keep_one_setting(runs, inner, arm)
    left = set(runs.loc[runs["reason"] == "", "arm"])
    arms = [arm for arm in arms if arm in left]
    _keep_one_finished(runs, metric)
    compared = runs["reason"] == ""
    used = runs[compared].drop(columns="reason").astype({"seed": int})
    left_out = runs[~compared]
    remarks = remarks_on(used, left_out, keys, inner)
    return Selection(tuple(keys), arms, used, left_out, remarks)


def nested(key: str, groups: Iterable[str]) -> bool:
    """Tell whether a key belongs to one of `groups`, as optimizer.rho does to optimizer."""
    return any(key.startswith(f"{group}.") for group in groups)


def _finite(values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(numbers.abs() < 1e308)  # MLflow stores infinity as 1.8e308


def _leave_out(runs: pd.DataFrame, which: pd.Series, reason: str | pd.Series) -> None:
    runs["reason"] = runs["reason"].mask(which & (runs["reason"] == ""), reason)


def _settings(runs: pd.DataFrame) -> list[str]:
    names = [column.removeprefix("params.") for column in runs if column.startswith("params.")]
    return [name for name in names if name not in _NOT_SETTINGS and not name.startswith(_NOT_GROUPS)]


def _checked(by: Sequence[str], runs: pd.DataFrame) -> list[str]:
    known = _settings(runs.loc[runs["reason"] == ""].dropna(axis="columns", how="all"))
    for key in by:
        if key == "data" or f"params.{key}" in _DATA:
            raise UserError(f"{key}: results on different data cannot be compared. Name another key")
        if key not in known:
            raise UserError(
                f"{key}: there is no such setting among the runs.{nearest(key, known)} "
                f"There are: {few(known, 40)}"
            )
    return list(by)


def _swept(runs: pd.DataFrame) -> list[str]:
    """Return the settings that take several values, less those that follow from a group's chosen member."""
    columns = {key: runs[f"params.{key}"] for key in _settings(runs)}
    varying = [key for key, values in columns.items() if values.nunique(dropna=False) > 1]

    def follows(key: str) -> bool:
        return any(
            key.startswith(f"{group}.")
            and not runs.groupby(f"params.{group}")[f"params.{key}"].nunique(dropna=False).gt(1).any()
            for group in varying
        )

    def swept(key: str) -> bool:
        # What few runs have is a stranger's, and one value beside none is a setting that older runs lack.
        values = columns[key]
        return bool(values.nunique() > 1 and values.notna().mean() >= 0.5)

    whole = [key for key in varying if nested(key, varying) or swept(key)]
    return [key for key in whole if not follows(key)]


def _label(runs: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Write each run's arm into its row; return the labels, numbers in order of size, words of letters."""
    live = runs[runs["reason"] == ""]
    if not keys:
        runs.loc[live.index, "arm"] = "all runs"
        return ["all runs"]
    columns = [f"params.{key}" for key in keys]
    group = live.groupby(columns, dropna=False).ngroup()
    groups = {name.partition(".")[0] for name in _settings(runs) if "." in name}
    labels, places = {}, {}
    for number, row in live.groupby(group)[columns].head(1).set_axis(group.drop_duplicates()).iterrows():
        values = {key: value for key, value in zip(keys, row, strict=True) if pd.notna(value)}
        labels[number] = ", ".join(v if key in groups else f"{key}={v}" for key, v in values.items())
        places[number] = [(_number(value), str(value)) for value in row]
    runs.loc[live.index, "arm"] = group.map(labels)
    return [labels[number] for number in sorted(places, key=lambda number: places[number])]


def _number(text: str) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return -math.inf


def _keep_one_setting(
    runs: pd.DataFrame, columns: Sequence[str], arm: str | None = None, arms: int = 2
) -> None:
    """Leave out all runs, or all of an arm, but those of one setting.

    That is one that has two arms to compare, or `arms`, has most finished runs, is newest, in this order.
    """
    live = runs[(runs["reason"] == "") & (arm is None or runs["arm"] == arm)]
    varying = [one for one in columns if one in live and live[one].nunique(dropna=False) > 1]
    if not varying:
        return
    group = live.groupby(varying, dropna=False).ngroup()
    finished = live["status"] == "FINISHED"
    worth = pd.DataFrame(
        {
            "arms": live["arm"].where(finished).groupby(group).nunique().clip(upper=arms),
            "finished": finished.groupby(group).sum(),
            "newest": live["start_time"].groupby(group).max(),
        }
    )
    kept = worth.sort_values(["arms", "finished", "newest"]).index[-1]
    texts = live[varying].astype(object).where(live[varying].notna(), None).groupby(group).head(1)
    right = texts[group[texts.index] == kept].iloc[0]
    reasons = {
        group[index]: "; ".join(
            f"{name.partition('.')[2]} is {short(row[name])}, not {short(right[name])}"
            for name in varying
            if row[name] != right[name]
        )
        for index, row in texts.iterrows()
    }
    other = group[group != kept]
    _leave_out(runs, runs.index.isin(other.index), other.map(reasons).reindex(runs.index))


def _keep_one_finished(runs: pd.DataFrame, metric: str) -> None:
    finished = runs["status"] == "FINISHED"
    _leave_out(runs, finished & runs["value"].isna(), f"its {metric} is missing or not a number")
    pair = pd.MultiIndex.from_frame(runs[["arm", "seed"]])
    usable = finished & (runs["reason"] == "")
    again = ~finished & pair.isin(pair[usable])
    _leave_out(runs, again, runs["status"] + ", while another run of the same arm and seed finished")
    _leave_out(runs, ~finished, runs["status"])
    older = pd.Series(False, index=runs.index)
    older[usable] = runs[usable].duplicated(["arm", "seed"], keep="last")
    _leave_out(runs, older, "a newer run of the same arm and seed finished")
