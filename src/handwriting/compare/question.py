"""What kind of question a sweep asks, and which of its settings is the best.

A choice among settings goes by the validation metric. The test metric is for the verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from handwriting.compare.select import is_setting
from handwriting.tracking import names
from handwriting.tracking.labels import labels_of, shortest


@dataclass(frozen=True)
class Choice:
    """Which arm is the best by the metric that settings are chosen by.

    Args:
        metric: of the validation images, where the compared metric has such a twin, else that metric itself.
        best: the arm with the best mean of it; "" where no arm has a mean.
        by_group: the best arm of each group of `Comparison.values`.
        edges: a sentence for each best value that is the smallest or largest of those tried.
    """

    metric: names.Metric
    best: str
    by_group: dict[str, str]
    edges: tuple[str, ...]


def settings_of(runs: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """Return each arm's settings as text: one row per key, one column per arm, "" where an arm has none."""
    first = runs.drop_duplicates("arm").set_index("arm").reindex(list(arms))
    keys = [name.removeprefix("params.") for name in first if name.startswith("params.")]
    keys = [key for key in keys if is_setting(key)]
    table = first[[f"params.{key}" for key in keys]].set_axis(keys, axis="columns")
    return table.dropna(axis="columns", how="all").fillna("").astype(str).T


def differing(settings: pd.DataFrame) -> list[str]:
    """Return the keys in which arms differ."""
    return list(settings.index[settings.nunique(axis="columns") > 1])


def values_of(settings: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return what was swept: one row per arm, one column per key, and the column group.

    A key whose values are all numbers is a column of numbers, NaN where an arm has no such key. The group is
    a short label of the other keys, "" where there are none.
    """
    table = settings.reindex(list(keys)).fillna("").T
    numbers = {key: numbers_of(table[key]) for key in keys}
    words = [key for key in keys if numbers[key] is None and table[key].nunique() > 1]
    rows = [[(key, row[key]) for key in words if row[key]] for _, row in table.iterrows()]
    groups = {key.partition(".")[0] for key in settings.index if "." in key}
    table = table.assign(**{key: column for key, column in numbers.items() if column is not None})
    return table.assign(group=labels_of(rows, groups) if words else "")


def numbers_of(texts: pd.Series) -> pd.Series | None:
    """Return texts as numbers, NaN for "", or None where one is no finite number, or all are ""."""
    found = pd.to_numeric(texts.where(texts != ""), errors="coerce").astype(float)
    known = texts != ""
    return found if known.any() and found[known].abs().lt(math.inf).all() else None


def kind_of(values: pd.DataFrame, keys: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the kind of question, see `Comparison.question`, and the keys that are numbers in it."""
    if len(values) <= 2:
        return "two", ()
    numbers = tuple(key for key in keys if values[key].dtype == float and values[key].nunique() > 1)
    if not numbers or values[[*numbers]].isna().any(axis=None):
        return "several", ()
    by_group = values.groupby("group")
    whole = not values.duplicated(["group", *numbers]).any()
    if len(numbers) == 1 and whole and by_group[numbers[0]].nunique().max() >= 3:
        return "number", numbers
    sizes = by_group[[*numbers]].nunique()
    complete = whole and (sizes.prod(axis="columns") == by_group.size()).all()
    if len(numbers) == 2 and complete and len(values) >= 4 and (sizes >= 2).all(axis=None):
        return "two numbers", numbers
    return "several", ()


def twin(metric: names.Metric, runs: pd.DataFrame) -> names.Metric:
    """Return the metric of the validation images that stands for one of the test images, if runs have it."""
    name = names.VAL + names.base(metric.name)
    there = metric.name.startswith(names.TEST) and f"metrics.{name}" in runs
    return replace(metric, name=name) if there and runs[f"metrics.{name}"].notna().any() else metric


def choose(
    means: pd.Series,
    metric: names.Metric,
    settings: pd.DataFrame,
    values: pd.DataFrame,
    numbers: Sequence[str],
) -> Choice:
    """Return the best arms by their means of a metric; of equal ones the first."""
    known = means.dropna() * (1 if metric.more_is_better else -1)
    best = str(known.idxmax()) if len(known) else ""
    by_group = {str(group): str(own.idxmax()) for group, own in known.groupby(values["group"], sort=False)}
    tried = values.loc[known.index]
    edges = [
        _edge(shortest(key, numbers), group, settings.loc[key, arm], own[arm] == own.max())
        for group, arm in by_group.items()
        for key in numbers
        for own in [tried.loc[tried["group"] == group, key]]
        if own.nunique() >= 3 and own[arm] in (own.min(), own.max())
    ]
    return Choice(metric, best, by_group, tuple(edges))


def _edge(name: str, group: str, value: str, largest: bool) -> str:
    whose = f" of {group}" if group else ""
    return (
        f"The best {name}{whose}, {value}, is the {'largest' if largest else 'smallest'} that was tried: "
        "the best may lie beyond"
    )
