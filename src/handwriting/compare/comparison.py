"""The comparison: from a table of runs to one table per question, paired by seed.

`wording.py` puts it in words, `figures.py` in pictures.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
import pandas as pd

from handwriting.compare.caveats import caveats_of
from handwriting.compare.select import select
from handwriting.compare.statistics import COLUMNS, paired_difference, with_verdicts
from handwriting.errors import UserError
from handwriting.tracking import names

ALL_PAIRS_UP_TO = 20  # arms
_FLOAT32 = float(np.finfo(np.float32).eps)  # Keras's metrics are rounded to it
_TARGETS = "params.data.targets"


@dataclass(frozen=True)
class Comparison:
    """What the runs say.

    An arm is one value of what was swept, or one combination of values where several keys were.

    Args:
        metric: what is compared, and which way is better.
        keys: what was swept, such as ("optimizer",), which stands there too where nothing was.
        arms: one row per arm, its label the index, in the sweep's order: n, finished runs; failed,
            unfinished; for each of metric, test_accuracy, test_loss, val_accuracy (of the last epoch),
            best_epoch (the first with the highest val_accuracy, counted from 1) and training_seconds the
            mean, and under `<name>_sd` the standard deviation over seeds (n - 1).
        pairs: one row per two arms: first, second; columns of `statistics.paired_difference`, of second minus
            first; first_won, tied, second_won; p_holm, needed and verdict as in `statistics.with_verdicts`;
            better, the arm that is, or "".
        runs: one row per run compared: all columns received, and arm, seed, value (of the metric).
        left_out: one row per other run, with the column reason.
        times: one row per run and target: run_id, arm, seed, target, epochs (the first that reached it is 1)
            and seconds (sum of epoch_seconds up to its end, NaN where unknown); both inf where never reached.
        targets: one row per arm and target: n, reached, median_epochs, median_seconds; inf where half of the
            runs or more never got there.
        caveats: sentences that belong beside every number.
    """

    metric: names.Metric
    keys: tuple[str, ...]
    arms: pd.DataFrame
    pairs: pd.DataFrame
    runs: pd.DataFrame
    left_out: pd.DataFrame
    times: pd.DataFrame
    targets: pd.DataFrame
    caveats: tuple[str, ...]


def compare(
    runs: pd.DataFrame,
    epochs: pd.DataFrame,
    by: Sequence[str] | None = None,
    metric: str = names.TEST_ACCURACY,
    where: Sequence[str] = (),
) -> Comparison:
    """Compare the arms of a sweep, two by two, over the seeds that both have.

    The first arm is the one that differences are counted from. More than 20 arms are compared with it only,
    not each with each.

    Args:
        runs: one row per run, as `load.load_runs` returns them: run_id, name, status, start_time, params.*
            and tags.* (text), metrics.* (the last value).
        epochs: one row per run and epoch: run_id, epoch (from 0), val_accuracy, epoch_seconds.
        by: what was swept; by default all settings that differ.
        metric: what is compared.
        where: KEY=VALUE of parameters or tags: runs with another value are left out. Of several values for
            one key, any.

    Raises:
        UserError: there are no runs, or none that handwriting.train made, or no such setting or metric; the
            runs differ in other settings than `by`, or in their data; or nobody knows whether more or less
            of the metric is better.
    """
    keys, arms, runs = select(runs, by, metric, where)
    chosen = runs["reason"] == ""
    used, left_out = runs[chosen].drop(columns="reason").astype({"seed": int}), runs[~chosen]
    ids = pd.Index(used["run_id"])
    curves = epochs[ids.get_indexer(epochs["run_id"]) >= 0].sort_values(["run_id", "epoch"])
    curves = curves.astype(dict.fromkeys(("epoch", names.VAL_ACCURACY, names.EPOCH_SECONDS), float))
    times = _times_to(_stored_targets(used), curves, used)
    caveats = caveats_of(used, left_out, keys)
    without = len(ids) - curves.dropna(subset=names.VAL_ACCURACY)["run_id"].nunique()
    if without and len(times):
        caveats.append(
            f"No {names.VAL_ACCURACY} per epoch, so counted as not reached: {without} of {len(ids)} runs"
        )
    many = len(arms) > ALL_PAIRS_UP_TO
    couples = list(islice(combinations(arms, 2), len(arms) - 1 if many else None))
    if many:
        caveats.append(f"{len(arms)} arms: each is compared with {arms[0]}, not each with each")
    known = _metric(metric, used)
    return Comparison(
        metric=known,
        keys=tuple(keys),
        arms=_table_of_arms(used, left_out, curves, arms, metric),
        pairs=_table_of_pairs(used, couples, bool(known.more_is_better)),
        runs=used,
        left_out=left_out,
        times=times,
        targets=_table_of_targets(times, arms),
        caveats=tuple(caveats),
    )


def _metric(name: str, used: pd.DataFrame) -> names.Metric:
    """Return how a metric is read, as the runs' tags tell it where it is none of ours."""
    key = names.BETTER + names.base(name)
    told = used[f"tags.{key}"].dropna().unique() if f"tags.{key}" in used else []
    metric = names.metric(name, {key: told[0]} if len(told) == 1 else {})
    if metric.more_is_better is None and len(used):
        raise UserError(
            f"{name}: the runs do not say whether more or less of it is better, and it cannot be guessed. "
            "Their config can: `better: more` or `better: less` in the metric's entry under `metrics`"
        )
    return metric


def _stored_targets(used: pd.DataFrame) -> list[float]:
    """Return the levels of val_accuracy that the runs' data set names, stored as "[0.98, 0.99]"."""
    found: set[float] = set()
    for text in used[_TARGETS].dropna().unique() if _TARGETS in used else []:
        try:
            found.update(map(float, ast.literal_eval(text) or []))
        except (ValueError, TypeError, SyntaxError):  # anybody may have stored it
            continue
    return sorted(found)


def _times_to(targets: Sequence[float], curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
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


def _table_of_targets(times: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    groups = times.assign(reached=np.isfinite(times["epochs"])).groupby(["target", "arm"])
    table = groups.agg(n=("epochs", "size"), reached=("reached", "sum"))
    for name in ("epochs", "seconds"):
        table[f"median_{name}"] = groups[name].agg("median")
    table["median_seconds"] = table["median_seconds"].mask(groups["seconds"].count() < table["n"])
    levels = pd.MultiIndex.from_product([sorted(times["target"].unique()), arms], names=["target", "arm"])
    return table.reindex(levels.intersection(table.index, sort=False)).reset_index()


def _table_of_arms(
    used: pd.DataFrame, left_out: pd.DataFrame, curves: pd.DataFrame, arms: Sequence[str], metric: str
) -> pd.DataFrame:
    best = curves.sort_values([names.VAL_ACCURACY, "epoch"], ascending=[False, True])
    best = best.drop_duplicates("run_id").dropna(subset=names.VAL_ACCURACY).set_index("run_id")
    values = pd.DataFrame({"arm": used["arm"], metric: used["value"]})
    for name in (names.TEST_ACCURACY, names.TEST_LOSS, names.VAL_ACCURACY, names.TRAINING_SECONDS):
        if name != metric:
            values[name] = used.get(f"metrics.{name}", pd.Series()).astype(float)
    values[names.BEST_EPOCH] = used["run_id"].map(best["epoch"] + 1).astype(float)
    by_arm = values.groupby("arm")
    # A missing value makes a mean unknown, not another mean.
    mean, deviation = by_arm.mean(skipna=False), by_arm.std(skipna=False)
    table = pd.DataFrame(index=pd.Index(arms, name="arm"))
    table["n"] = by_arm.size().reindex(arms, fill_value=0)
    failed = left_out["reason"] == "FAILED"
    unfinished = left_out["reason"].eq(left_out["status"]) & ~failed
    for name, which in (("failed", failed), ("unfinished", unfinished)):
        table[name] = left_out[which].groupby("arm").size().reindex(arms, fill_value=0)
    for name in mean:
        table[name], table[f"{name}_sd"] = mean[name], deviation[name]
    return table


def _table_of_pairs(
    used: pd.DataFrame, couples: Sequence[tuple[str, str]], more_is_better: bool
) -> pd.DataFrame:
    table = pd.DataFrame(couples, columns=["first", "second"])
    values = used.pivot(index="seed", columns="arm", values="value")
    # Of an arm without a usable run, a column of NaN.
    values = values.reindex(columns=sorted({arm for couple in couples for arm in couple}))
    found = [paired_difference((values[b] - values[a]).dropna().to_numpy(float)) for a, b in couples]
    pairs = with_verdicts(pd.DataFrame(found, columns=COLUMNS))
    won = ["below", "above"] if more_is_better else ["above", "below"]
    pairs = pairs.rename(columns=dict(zip(won, ["first_won", "second_won"], strict=True)))
    second_is = (pairs["difference"] > 0) == more_is_better
    better = table["second"].where(second_is, table["first"])
    return pd.concat([table, pairs.assign(better=better.where(pairs["verdict"] == "better", ""))], axis=1)
