"""Time to target: how many epochs and seconds until the validation accuracy is good enough."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from handwriting.errors import UserError
from handwriting.tracking import names

# Error rates that a person would name, in per cent, each about two thirds of the one before.
LADDER = tuple(
    round(step * 10.0**-power, 6) for power in range(-1, 3) for step in (5.0, 3.0, 2.0, 1.5, 1.0, 0.7)
)[:-1]
SHOWN = 3  # levels
_FLOAT32 = float(np.finfo(np.float32).eps)  # Keras's metrics are rounded to it


def checked(targets: Sequence[float]) -> list[float]:
    """Return levels of val_accuracy that a user names, in order.

    Raises:
        UserError: one is no fraction.
    """
    for target in targets:
        if not 0 < target < 1:
            raise UserError(
                f"a target is a {names.VAL_ACCURACY} above 0 and below 1, as 0.98. Received: {target:g}"
            )
    return sorted(set(targets))


def levels_of(curves: pd.DataFrame, runs: pd.DataFrame) -> list[float]:
    """Return the hardest levels that half of the runs of some arm reached, up to three, in order.

    A level that every run reached in its first epoch tells nothing, and is none.

    Args:
        curves: one row per run and epoch: run_id, epoch, val_accuracy.
        runs: one row per run: run_id, arm.
    """
    by_run = curves.groupby("run_id")[names.VAL_ACCURACY]
    highest = runs["run_id"].map(by_run.max()).fillna(-np.inf)
    first = runs["run_id"].map(curves[curves["epoch"] == 0].set_index("run_id")[names.VAL_ACCURACY])
    found = []
    for error in reversed(LADDER):
        target = round(1 - error / 100, 8)
        reached = highest >= target - _FLOAT32
        if reached.groupby(runs["arm"]).mean().ge(0.5).any():
            found.append(target)
        if len(found) == SHOWN:
            break
    return sorted(target for target in found if not (first >= target - _FLOAT32).all())


def times_to(targets: Sequence[float], curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return when each of `runs` first reached each target; `curves` sorted by run_id and epoch."""
    by_run = curves.groupby("run_id")
    # Without one epoch's seconds the sum is unknown from there on.
    unknown = curves[names.EPOCH_SECONDS].isna() | (by_run.cumcount() != curves["epoch"])
    seconds = by_run[names.EPOCH_SECONDS].cumsum().mask(unknown.groupby(curves["run_id"]).cummax())
    ends = curves[["run_id"]].assign(epochs=curves["epoch"] + 1, seconds=seconds)
    tables = [runs.head(0)[["run_id", "arm", "seed"]].assign(target=0.0, epochs=0.0, seconds=0.0)]
    for target in targets:
        # 0.99 in float32 may be a little less.
        reached = ends[curves[names.VAL_ACCURACY] >= target - _FLOAT32].drop_duplicates("run_id")
        table = runs[["run_id", "arm", "seed"]].assign(target=target)
        table = table.merge(reached, on="run_id", how="left")
        never = table["epochs"].isna()
        tables.append(
            table.assign(**{name: table[name].mask(never, np.inf) for name in ("epochs", "seconds")})
        )
    return pd.concat(tables, ignore_index=True)


def table_of_targets(times: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """Return one row per target and arm: n, reached, medians; inf where half of the runs never got there."""
    groups = times.assign(reached=np.isfinite(times["epochs"])).groupby(["target", "arm"])
    table = groups.agg(n=("epochs", "size"), reached=("reached", "sum"))
    for name in ("epochs", "seconds"):
        table[f"median_{name}"] = groups[name].agg("median")
    table["median_seconds"] = table["median_seconds"].mask(groups["seconds"].count() < table["n"])
    levels = pd.MultiIndex.from_product([sorted(times["target"].unique()), arms], names=["target", "arm"])
    return table.reindex(levels.intersection(table.index, sort=False)).reset_index()
