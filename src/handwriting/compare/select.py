"""Which runs may be compared: those that differ in what was swept and in the seed, and in nothing else.

Runs that differ in more are refused, with the settings named; nothing is guessed. Nothing is dropped in
silence either: a run that is left out has the reason beside it.
"""

import math
from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from handwriting.compare.caveats import count, few, short
from handwriting.compare.load import TRIED_ALONE
from handwriting.errors import UserError, nearest
from handwriting.tracking import names
from handwriting.tracking.labels import labels_of

# Other test images make another quantity.
_DATA = {f"tags.{names.DATA}": names.DATA, "params.data.limit_test": "data.limit_test"}
# No settings: said where they differ (caveats.py), or they repeat another setting. The data are known by
# their digest. `arms`, `margin` and, of older runs, `data.targets` determine nothing.
_NOT_SETTINGS = {"seed", "force", "threads", "code", "data.path", "data.sha256", "data.targets", "arms"}
_NOT_GROUPS = ("tracking.", "arms.", names.KERAS_OPTIMIZER)
_STORED = ("place", "label")  # of its arm, by the sweep
TRIED = "it chose a setting, and enters no verdict"  # the reason of a tuning's run
NO_NUMBER = "is missing or not a number"  # ends the reason of a finished run that is left out


def select(
    runs: pd.DataFrame,
    by: Sequence[str] | None,
    metric: str,
    where: Sequence[str],
    chose: Collection[int] = (),
) -> tuple[list[str], list[str], pd.DataFrame]:
    """Choose one finished run for each arm and seed; arguments and errors as for `comparison.compare`.

    Runs of the seeds `chose` are left out: the arms' settings were chosen by these.

    Returns:
        What was swept, less the seed, such as ["optimizer"], which stands there too where nothing was; the
        arms' labels in the sweep's order, of an arm without a usable run too; the runs with arm, seed, value
        (of the metric) and reason: "" for those chosen.
    """
    if runs.empty:
        raise UserError("there are no runs to compare. Train some: make sweep, or make quick")
    runs = runs.sort_values("start_time").reset_index(drop=True)
    for column in (
        "params.seed",
        f"metrics.{metric}",
        f"tags.{names.DATA}",
        f"tags.{names.ARM}",
        f"tags.{names.TUNING}",
        *_STORED,
    ):
        if column not in runs:
            runs[column] = None
    seed = pd.to_numeric(runs["params.seed"], errors="coerce")
    value = pd.to_numeric(runs[f"metrics.{metric}"], errors="coerce").astype(float)
    value = value.where(value.abs() < 1e308)  # MLflow stores infinity as 1.8e308
    runs = runs.assign(arm="", seed=seed, value=value, reason="")
    _keep_where(runs, where)
    _write_numbers_alike(runs)
    _leave_out(runs, seed.isin(list(chose)), "its seed chose the settings, and judges none")
    _leave_out(runs, runs[f"tags.{names.TUNING}"].notna(), TRIED)
    _leave_out(runs, seed.isna() | (seed % 1 != 0), "no seed is stored with it")
    _leave_out(runs, runs[f"tags.{names.DATA}"].isna(), "no digest of its data is stored with it")
    ours = runs[runs["reason"] == ""].dropna(axis="columns", how="all")
    if (runs["reason"] == TRIED).all():
        raise UserError(TRIED_ALONE)
    if ours.empty:
        raise UserError(
            f"none of the {len(runs)} runs has the parameter seed and the tag {names.DATA}, which "
            "python -m handwriting.train stores. Name the experiment or the sweep of such runs"
        )
    finished = ours[ours["status"] == "FINISHED"].dropna(axis="columns", how="all")
    known = [column.removeprefix("metrics.") for column in finished if column.startswith("metrics.")]
    if len(finished) and metric not in known:
        there = f"{nearest(metric, known)} There are: {few(known, 20)}"
        raise UserError(f"{metric}: no run has such a metric.{there}")
    settings = [column.removeprefix("params.") for column in ours if column.startswith("params.")]
    settings = [key for key in settings if is_setting(key) and key != "data"]
    if by:
        _check_keys(by, settings)  # a mistyped key is said before what it would have chosen
    _refuse_mixed(ours, _DATA)
    named = not by and _are_named(ours, settings)
    keys = list(by) if by else _swept(ours, settings, named)
    for key in keys:
        if by and not _nested(key, keys):
            _leave_out(runs, runs[f"params.{key}"].isna(), f"no {key} is stored with it")
    arms = _label(runs, keys, settings, named)
    live = runs[runs["reason"] == ""]
    others = {f"params.{key}": key for key in settings if named or key not in keys}
    inner = {column: key for column, key in others.items() if named or _nested(key, keys)}
    _refuse_mixed(live, {column: key for column, key in others.items() if column not in inner}, keys)
    for arm, rows in live.groupby("arm", sort=False):
        _refuse_mixed(rows, inner, keys, f" within {arm}")
    _keep_newest_finished(runs, metric)
    return keys, arms, runs


def is_setting(key: str) -> bool:
    """Tell whether a parameter is a setting that a person chose for an arm."""
    return key not in _NOT_SETTINGS and not key.startswith(_NOT_GROUPS)


def _nested(key: str, groups: Iterable[str]) -> bool:
    """Tell whether a key belongs to one of `groups`, as optimizer.rho does to optimizer."""
    return any(key.startswith(f"{group}.") for group in groups)


def _leave_out(runs: pd.DataFrame, which: pd.Series, reason: str | pd.Series) -> None:
    runs["reason"] = runs["reason"].mask(which & (runs["reason"] == ""), reason)


def _keep_where(runs: pd.DataFrame, where: Sequence[str]) -> None:
    """Leave out the runs without one of the values that `where`, texts KEY=VALUE, names for a key."""
    for key in dict.fromkeys(text.partition("=")[0] for text in where):
        values = [text.removeprefix(f"{key}=") for text in where if text.startswith(f"{key}=")]
        # Of data.sha256 the parameter is the digest that was asked for, and the tag that of the data.
        own = "label" if key == "arm" else f"tags.{key}" if key == names.DATA else f"params.{key}"
        column = next((c for c in (own, f"tags.{key}") if c in runs), None)
        if column is None:
            known = [c.partition(".")[2] for c in runs if c.startswith(("params.", "tags."))]
            raise UserError(f"{key}: there is no such parameter or tag among the runs.{nearest(key, known)}")
        right = runs[column].astype(str).isin(values) | runs[column].map(short).isin(values)
        numbers = pd.to_numeric(pd.Series(values), errors="coerce").dropna()
        right |= pd.to_numeric(runs[column], errors="coerce").isin(numbers)  # 1e-2 is 0.01
        if not right.any():
            raise UserError(f"no run has {key}={' or '.join(values)}. There are: {_values(runs[column])}")
        _leave_out(runs, ~right, f"not {key}={' or '.join(values)}")


def _refuse_mixed(
    runs: pd.DataFrame, columns: dict[str, str], keys: Sequence[str] | None = None, within: str = ""
) -> None:
    """Raise a UserError where runs differ in one of `columns`, given with the name of each."""
    mixed = [column for column in columns if column in runs and runs[column].nunique(dropna=False) > 1]
    if mixed:
        said = few([f"{columns[column]} is {_values(runs[column])}" for column in mixed], sep="; ")
        first = columns[mixed[0]]
        by = "" if keys is None else f"compare by it too, --by {' '.join([*keys, first])}; "
        raise UserError(
            f"the runs differ in more than what is compared{within}: {said}. Ways out: {by}choose, as "
            f"--where {first}={short(runs[mixed[0]].mode(dropna=False)[0])}; or take one sweep, --sweep NAME"
        )


def _values(column: pd.Series) -> str:
    """Return "32 (14 runs), 64 (20 runs)"."""
    counts = column.map(short).value_counts()
    return few(f"{value} ({count(number, 'run')})" for value, number in counts.items())


def _check_keys(by: Sequence[str], settings: Sequence[str]) -> None:
    for key in by:
        if key == "data" or key in _DATA.values():
            raise UserError(f"{key}: results on different data cannot be compared. Name another key")
        if key not in settings:
            raise UserError(
                f"{key}: there is no such setting among the runs.{nearest(key, settings)} "
                f"There are: {few(settings, 40)}"
            )


def _write_numbers_alike(runs: pd.DataFrame) -> None:
    """Write a parameter's values that are one number, as 1 and 1.0 are, in one way."""
    for column in [name for name in runs if name.startswith("params.")]:
        texts = pd.Series(runs[column].dropna().unique(), dtype=object)
        numbers = pd.to_numeric(texts, errors="coerce").dropna()
        if not numbers.is_unique:
            first = numbers.drop_duplicates()
            alike = numbers.map(dict(zip(first, texts[first.index], strict=True)))
            runs[column] = runs[column].replace(dict(zip(texts[alike.index], alike, strict=True)))


def _are_named(runs: pd.DataFrame, settings: Sequence[str]) -> bool:
    """Tell whether a sweep gave the arm of every run a label, and no setting two of them."""
    if runs.get("label", pd.Series([None])).isna().any():
        return False
    columns = [f"params.{key}" for key in [*settings, "threads"] if f"params.{key}" in runs]
    varying = [column for column in columns if runs[column].nunique(dropna=False) > 1]
    arms = runs[["label", *varying]].drop_duplicates()
    return not arms.duplicated(varying).any() if varying else len(arms) == 1


def _swept(runs: pd.DataFrame, settings: Sequence[str], named: bool) -> list[str]:
    """Return the settings that differ, less those that follow from a group's chosen member.

    Where no sweep named the arms, also less those that some runs lack: who made these runs knew nothing of
    it, so it was not swept.
    """
    columns = {key: runs[f"params.{key}"] for key in settings}
    varying = [key for key, values in columns.items() if values.nunique(dropna=False) > 1]

    def follows(key: str) -> bool:
        return any(
            key.startswith(f"{group}.")
            and not runs.groupby(f"params.{group}")[f"params.{key}"].nunique(dropna=False).gt(1).any()
            for group in varying
        )

    whole = [key for key in varying if named or _nested(key, varying) or columns[key].notna().all()]
    swept = [key for key in whole if not follows(key)]
    return swept or [key for key in ("optimizer",) if key in settings and key not in varying]


def _label(runs: pd.DataFrame, keys: Sequence[str], settings: Sequence[str], named: bool) -> list[str]:
    """Write each run's arm into its row; return the labels, in the sweep's order.

    Where that is not stored or the same, numbers in order of size, words of letters.
    """
    live = runs[runs["reason"] == ""]
    groups = {key.partition(".")[0] for key in settings if "." in key}
    rows = live[[f"params.{key}" for key in keys]].to_numpy(object).tolist()
    pairs = [[(key, value) for key, value in zip(keys, row, strict=True) if pd.notna(value)] for row in rows]
    labels = live["label"].to_list() if named else labels_of(pairs, groups)
    runs.loc[live.index, "arm"] = labels
    here, first = (pd.to_numeric(live[name], errors="coerce") for name in ("place", f"tags.{names.ARM}"))
    places = here.astype(float).fillna(first).fillna(math.inf)
    natural = [[(_number(value), str(value)) for value in row] for row in rows]
    return list(dict.fromkeys(label for *_, label in sorted(zip(places, natural, labels, strict=True))))


def _number(text: str) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return -math.inf


def _keep_newest_finished(runs: pd.DataFrame, metric: str) -> None:
    finished = runs["status"] == "FINISHED"
    _leave_out(runs, finished & runs["value"].isna(), f"its {metric} {NO_NUMBER}")
    pair = pd.MultiIndex.from_frame(runs[["arm", "seed"]])
    usable = finished & (runs["reason"] == "")
    again = ~finished & pair.isin(pair[usable])
    _leave_out(runs, again, runs["status"] + ", while another run of the same arm and seed finished")
    _leave_out(runs, ~finished, runs["status"])
    older = pd.Series(False, index=runs.index)
    older[usable] = runs[usable].duplicated(["arm", "seed"], keep="last")
    _leave_out(runs, older, "a newer run of the same arm and seed finished")
