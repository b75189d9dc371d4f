"""What must be said about the runs of a comparison, in sentences."""

from collections.abc import Iterable, Sequence

import pandas as pd

from handwriting.tracking import names

_SENTENCES = 8  # of one kind; left_out.csv beside the report has all
_ARMS = 5  # each of which is named beside its values
_SPEED = (names.CPU, names.THREADS)


def caveats_of(used: pd.DataFrame, left_out: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Return sentences about runs that are left out, lack a partner, or differ in more than what was swept.

    Args:
        used: the runs compared, with arm, seed and the columns of their tags and parameters.
        left_out: the others, with reason.
        keys: what was swept.
    """
    kinds = (
        _about_left_out(left_out),
        _about_seeds(used),
        _about_settings(used, keys),
        _about_computing(used),
        _about_callbacks(used),
        [] if {"model", "start"} & set(keys) else _about_weights(used),
    )
    return [sentence for said in kinds for sentence in capped(said)]


def few(items: Iterable[object], limit: int = 5, sep: str = ", ") -> str:
    """Return "a, b, c and 9 more"."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return sep.join(texts[:limit]) + more


def count(number: int, noun: str) -> str:
    """Return "1 run" or "2 runs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def short(value: object, missing: str = "missing") -> str:
    """Return a value as text, `missing` for none; of a digest, as of all that is as long, 12 characters."""
    text = missing if pd.isna(value) else str(value)
    return text[:12] if len(text) > 31 and " " not in text else text


def capped(said: list[str]) -> list[str]:
    """Return the first sentences of one kind, and how many more there are."""
    more = len(said) - _SENTENCES
    return said[:_SENTENCES] + ([f"And {more} more sentences like the last"] if more > 0 else [])


def _about_left_out(left_out: pd.DataFrame) -> list[str]:
    return [
        f"Left out: {count(len(rows), 'run')} ({reason}): {few(rows['name'])}"
        for reason, rows in left_out.groupby("reason", sort=False)
    ]


def _about_seeds(used: pd.DataFrame) -> list[str]:
    everywhere = set(used["seed"])
    return [
        f"Unpaired: {arm} has no result for seed {few(sorted(everywhere - own))}; another arm has"
        for arm, own in used.groupby("arm", sort=False)["seed"].agg(set).items()
        if own < everywhere
    ]


def _about_settings(used: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    # What all arms have and that differs between them, such as the learning rate of two optimizers.
    inner = [name for name in used if any(name.startswith(f"params.{key}.") for key in keys)]
    inner = [name for name in inner if name.removeprefix("params.") not in keys]
    return [
        f"The arms differ in {name.removeprefix('params.')} too: {_by_arm(used, name)}"
        for name in inner
        if not name.endswith("._target_") and used[name].notna().all() and used[name].nunique() > 1
    ]


def _about_computing(used: pd.DataFrame) -> list[str]:
    said = []
    for name in names.COMPUTING:
        column = f"tags.{name}"
        if column in used and used[column].nunique(dropna=False) > 1:
            seconds = "; seconds compare only where it is the same" if name in _SPEED else ""
            missing = "unknown" if name == names.CODE else "missing"  # made before the code was stored
            said.append(f"Pooled although {name} differs: {_by_arm(used, column, missing)}{seconds}")
    dirty = used.get(f"tags.{names.DIRTY}", pd.Series(dtype=str)) == "true"
    if dirty.any():
        said.append(
            f"Made with uncommitted changes or files: {count(dirty.sum(), 'run')} of {len(used)}; each has "
            "them among its artifacts in MLflow, under process-0"
        )
    return said


def _about_callbacks(used: pd.DataFrame) -> list[str]:
    lost = used.dropna(subset=column) if (column := f"tags.{names.NOT_KEPT}") in used else used.head(0)
    if lost.empty:
        return []
    return [
        f"{count(len(lost), 'run')} of {len(used)} went on after a stop without what callbacks had learned "
        f"before it: {_by_arm(lost, column)}"
    ]


def _by_arm(used: pd.DataFrame, column: str, missing: str = "missing") -> str:
    """Return "adam 0.01 (7 runs), sgd 0.1 (7 runs)"; of many arms the values alone."""
    texts = used[column].map(lambda value: short(value, missing))
    if used["arm"].nunique() > _ARMS:
        return few(f"{value} ({count(n, 'run')})" for value, n in texts.value_counts().items())
    counts = texts.groupby(used["arm"], sort=False).value_counts()
    return few(f"{arm} {value} ({count(number, 'run')})" for (arm, value), number in counts.items())


def _about_weights(used: pd.DataFrame) -> list[str]:
    column = f"tags.{names.INITIAL_WEIGHTS}"
    if column not in used:
        return []
    starts = used.groupby("seed")[column].nunique()
    seeds = list(starts.index[starts > 1])
    return [f"Not the same initial weights in all arms: seed {few(seeds)}"] if seeds else []
