"""What must be said about the runs of a comparison, in sentences."""

from collections.abc import Iterable, Sequence

import pandas as pd

COMPUTING = ("git.commit", "tensorflow", "keras", "numpy", "cpu", "onednn", "threads")
_MOST = 8  # sentences of one kind; left_out.csv beside the report has all


def remarks_on(
    used: pd.DataFrame, left_out: pd.DataFrame, keys: Sequence[str], inner: Sequence[str]
) -> list[str]:
    """Return sentences about runs that are left out, lack a partner, or differ in more than what was swept.

    Args:
        used: the runs compared, with arm, seed and the columns of their tags and parameters.
        left_out: the others, with reason.
        keys: what was swept.
        inner: columns of the members of swept groups, such as params.optimizer.rho.
    """
    return [
        *_about_left_out(left_out),
        *_about_seeds(used),
        *_about_settings(used, inner),
        *_about_computing(used),
        *([] if "model" in keys else _about_weights(used)),
    ]


def few(items: Iterable[object], most: int = 5) -> str:
    """Return "a, b, c and 9 more"."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def count(number: int, noun: str) -> str:
    """Return "1 run" or "2 runs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def short(value: object) -> str:
    """Return a value as text; of a digest, which is longer than 31 characters, the first 12."""
    text = "missing" if pd.isna(value) else str(value)
    return text[:12] if len(text) > 31 and " " not in text else text


def _about_left_out(left_out: pd.DataFrame) -> list[str]:
    said = [
        f"Left out: {count(len(rows), 'run')} ({reason}): {few(rows['name'])}"
        for reason, rows in left_out.groupby("reason", sort=False)
    ]
    return _capped(said, len(said))


def _about_seeds(used: pd.DataFrame) -> list[str]:
    seeds = used.groupby("arm")["seed"].agg(set)
    everywhere = set(used["seed"])
    lacking = seeds[seeds.map(len) < len(everywhere)]
    said = [
        f"Unpaired: {arm} has no result for seed {few(sorted(everywhere - own))}; another arm has"
        for arm, own in lacking.head(_MOST).items()
    ]
    return _capped(said, len(lacking))


def _capped(said: list[str], number: int) -> list[str]:
    more = [f"And {number - _MOST} more remarks like the last"] if number > _MOST else []
    return said[:_MOST] + more


def _about_settings(used: pd.DataFrame, inner: Sequence[str]) -> list[str]:
    # What all arms have and that differs between them, such as the learning rate of two optimizers.
    both = [one for one in inner if not one.endswith("._target_") and used[one].notna().all()]
    return [
        f"The arms differ in {one.removeprefix('params.')} too: {_by_arm(used, one)}"
        for one in both
        if used[one].nunique() > 1
    ]


def _about_computing(used: pd.DataFrame) -> list[str]:
    said = []
    for name in COMPUTING:
        column = f"tags.{name}"
        if column in used and used[column].nunique(dropna=False) > 1:
            seconds = "; seconds compare only where it is the same" if name in ("cpu", "threads") else ""
            said.append(f"Pooled although {name} differs: {_by_arm(used, column)}{seconds}")
    dirty = used.get("tags.git.dirty", pd.Series(dtype=str)) == "true"
    if dirty.any():
        said.append(
            f"{count(dirty.sum(), 'run')} of {len(used)} were made with uncommitted changes; "
            "each such run has them in uncommitted.diff"
        )
    return said


def _by_arm(used: pd.DataFrame, column: str) -> str:
    counts = used[column].map(short).groupby(used["arm"], sort=False).value_counts()
    return few(f"{arm} {value} ({count(number, 'run')})" for (arm, value), number in counts.items())


def _about_weights(used: pd.DataFrame) -> list[str]:
    if "tags.weights.initial" not in used:
        return []
    starts = used.groupby("seed")["tags.weights.initial"].nunique()
    seeds = list(starts.index[starts > 1])
    return [f"Not the same initial weights in all arms: seed {few(seeds)}"] if seeds else []
