"""The comparison: from a table of runs to one table per question, paired by seed (design, section 6).

`verdict.py` puts it in words, `figures.py` in pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from handwriting.analysis.comparable import select
from handwriting.analysis.paired import COLUMNS, judged, paired_difference

TARGETS = (0.98, 0.985, 0.99)  # of val_accuracy
ALL_PAIRS_UP_TO = 20  # arms
_FLOAT32 = float(np.finfo(np.float32).eps)  # Keras's metrics are rounded to it


@dataclass(frozen=True)
class Comparison:
    """What the runs say.

    An arm is one value of what was swept, or one combination of values where several keys were.

    Args:
        metric: what is compared, such as test_accuracy.
        keys: what was swept, such as ("optimizer",), which stands there too where nothing was.
        arms: one row per arm, its label the index: n, finished runs; failed, unfinished; for each of metric,
            test_accuracy, test_loss, val_accuracy (of the last epoch), best_epoch (the first with the highest
            val_accuracy, counted from 1) and training_seconds the mean, and under `<name>_sd` the standard
            deviation over seeds (n - 1).
        pairs: one row per two arms: first, second; columns of `paired.paired_difference`, of second less
            first; first_won, tied, second_won; p_holm, needed and verdict as in `paired.judged`; better, the
            arm that is, or "".
        runs: one row per run compared: all columns received, and arm, seed, value (of the metric).
        left_out: one row per other run, with the column reason.
        times: one row per run and target: run_id, arm, seed, target, epochs (the first that reached it is 1)
            and seconds (sum of epoch_seconds up to its end, NaN where unknown); both inf where never reached.
        targets: one row per arm and target: n, reached, median_epochs, median_seconds; inf where half of the
            runs or more never got there.
        remarks: sentences that belong beside every number.
    """

    metric: str
    keys: tuple[str, ...]
    arms: pd.DataFrame
    pairs: pd.DataFrame
    runs: pd.DataFrame
    left_out: pd.DataFrame
    times: pd.DataFrame
    targets: pd.DataFrame
    remarks: tuple[str, ...]


def compare(
    runs: pd.DataFrame,
    epochs: pd.DataFrame,
    by: Sequence[str] | None = None,
    metric: str = "test_accuracy",
    baseline: str | None = None,
    targets: Sequence[float] = TARGETS,
) -> Comparison:
    """Compare the arms of a sweep, two by two, over the seeds that both have.

    Args:
        runs: one row per run, named as by `mlflow.search_runs`: run_id, status, start_time, params.* (text),
            tags.*, metrics.* (the last value); also name, if there is one.
        epochs: one row per run and epoch: run_id, epoch (from 0), val_accuracy, epoch_seconds.
        by: what was swept; by default all settings that differ. Where other settings differ too, runs of one
            setting are compared and the others left out, never pooled.
        metric: what is compared. Less is better of names that end in loss, seconds or epoch.
        baseline: the arm that differences are counted from, where there is such an arm; by default the first
            in natural order. More than 20 arms are compared with it only, not each with each.
        targets: levels of val_accuracy, from 0 to 1.

    Raises:
        UserError: there are no runs, or none that handwriting.train made, or no such setting.
    """
    chosen = select(runs, by, metric)
    arms = sorted(chosen.arms, key=lambda arm: arm != baseline)  # keeps the order of the others
    used = chosen.used
    ids = pd.Index(used["run_id"])
    curves = epochs[ids.get_indexer(epochs["run_id"]) >= 0].sort_values(["run_id", "epoch"])
    curves = curves.astype(dict.fromkeys(("epoch", "val_accuracy", "epoch_seconds"), float))
    times = times_to(targets, curves, used)
    remarks = list(chosen.remarks)
    without = len(ids) - curves.dropna(subset="val_accuracy")["run_id"].nunique()
    if without:
        remarks.append(f"No val_accuracy per epoch, so counted as not reached: {without} of {len(ids)} runs")
    if len(arms) > ALL_PAIRS_UP_TO:
        couples = [(arms[0], arm) for arm in arms[1:]]
        remarks.append(f"{len(arms)} arms: each is compared with {arms[0]}, not each with each")
    else:
        couples = list(combinations(arms, 2))
    return Comparison(
        metric=metric,
        keys=chosen.keys,
        arms=_table_of_arms(used, chosen.left_out, curves, arms, metric),
        pairs=_table_of_pairs(used, couples, lower_is_better(metric)),
        runs=used,
        left_out=chosen.left_out,
        times=times,
        targets=_table_of_targets(times, arms),
        remarks=tuple(remarks),
    )


def lower_is_better(metric: str) -> bool:
    """Tell whether less of a metric is better."""
    return metric.endswith(("loss", "seconds", "epoch"))


def times_to(targets: Sequence[float], curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return when each run first reached each target: the table `times` of a `Comparison`.

    Args:
        targets: levels of val_accuracy.
        curves: one row per run and epoch, sorted by both.
        runs: run_id, arm, seed.
    """
    by_run = curves.groupby("run_id")
    # Without one epoch's seconds the sum is unknown from there on.
    unknown = curves["epoch_seconds"].isna() | (by_run.cumcount() != curves["epoch"])
    seconds = by_run["epoch_seconds"].cumsum().mask(unknown.groupby(curves["run_id"]).cummax())
    ends = curves[["run_id", "val_accuracy"]].assign(epochs=curves["epoch"] + 1, seconds=seconds)
    tables = []
    for target in targets:
        # 0.99 in float32 may be a little less.
        reached = ends[ends["val_accuracy"] >= target - _FLOAT32].drop_duplicates("run_id")
        table = runs[["run_id", "arm", "seed"]].assign(target=target)
        table = table.merge(reached[["run_id", "epochs", "seconds"]], on="run_id", how="left")
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
    best = curves.sort_values(["val_accuracy", "epoch"], ascending=[False, True]).drop_duplicates("run_id")
    best_epoch = best.dropna(subset="val_accuracy").set_index("run_id")["epoch"] + 1
    values = pd.DataFrame({"arm": used["arm"], metric: used["value"]})
    for name in ("test_accuracy", "test_loss", "val_accuracy", "training_seconds"):
        if name != metric:
            values[name] = used.get(f"metrics.{name}", pd.Series()).astype(float)
    values["best_epoch"] = used["run_id"].map(best_epoch).astype(float)
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
    used: pd.DataFrame, couples: Sequence[tuple[str, str]], less_is_better: bool
) -> pd.DataFrame:
    table = pd.DataFrame(couples, columns=["first", "second"])
    values = used.pivot(index="seed", columns="arm", values="value")
    # Of an arm without a usable run, a column of NaN.
    values = values.reindex(columns=sorted({arm for couple in couples for arm in couple}))
    found = [paired_difference((values[b] - values[a]).dropna().to_numpy(float)) for a, b in couples]
    pairs = judged(pd.DataFrame(found, columns=COLUMNS))
    won = ["above", "below"] if less_is_better else ["below", "above"]
    pairs = pairs.rename(columns=dict(zip(won, ["first_won", "second_won"], strict=True)))
    second_is = (pairs["difference"] < 0) == less_is_better
    better = table["second"].where(second_is, table["first"])
    return pd.concat([table, pairs.assign(better=better.where(pairs["verdict"] == "better", ""))], axis=1)
