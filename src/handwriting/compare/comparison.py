"""The comparison: from a table of runs to one table per question, paired by seed.

`wording.py` puts it in words, `figures/` in pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from handwriting.compare import pairs as two_by_two
from handwriting.compare.about_tuned import about_settings
from handwriting.compare.caveats import capped, caveats_of
from handwriting.compare.doubts import doubts_of
from handwriting.compare.last_look import at_last_look, parted
from handwriting.compare.levels import checked, levels_of, table_of_targets, times_to
from handwriting.compare.outliers import deciding_seeds
from handwriting.compare.question import Choice, choose, kind_of, settings_of, twin, values_of
from handwriting.compare.select import select
from handwriting.compare.sequential import Look
from handwriting.compare.statistics import SAME
from handwriting.compare.tuned import Tuned
from handwriting.errors import UserError
from handwriting.tracking import names
from handwriting.tracking.plans import Plan

MARGIN = 0.1  # points of a metric in per cent: a difference that does not matter, where nobody says another
_SHOWN = (names.TEST_ACCURACY, names.TEST_LOSS, names.VAL_ACCURACY, names.TRAINING_SECONDS)


@dataclass(frozen=True)
class Comparison:
    """What the runs say.

    An arm is one value of what was swept, or one combination of values where several keys were, or what a
    sweep gave a name.

    Args:
        metric: what is compared, and which way is better: the verdict's metric.
        keys: what was swept, such as ("optimizer",), which stands there too where nothing was.
        baseline: the first arm in the sweep's order, whether it has runs or not.
        choice: which arm is the best, by the metric that settings are chosen by.
        question: "two" arms, or fewer; one "number" that was swept, with three values or more; "two numbers",
            every value of one with every value of the other; or "several" arms.
        numbers: the keys that are the number or the two numbers.
        values: one row per arm, one column per key (numbers where all its values are, NaN where an arm has
            none, else text), and group, a short label of the keys that are no numbers.
        settings: every setting of each arm, as text: one row per key, one column per arm, "" where it has no
            such key.
        arms: one row per arm, its label the index, in the sweep's order: n, finished runs; failed,
            unfinished; for each of metric, the choice's metric, test_accuracy, test_loss, val_accuracy (of
            the last epoch), best_epoch (the first with the highest val_accuracy, counted from 1) and
            training_seconds the mean, and under `<name>_sd` the standard deviation over seeds (n - 1).
        pairs: one row per two arms: first, second; columns of `statistics.paired_differences`, of second
            minus first; first_won, tied, second_won; p_holm, needed, within and verdict as in
            `statistics.with_verdicts`; lost, the seeds whose run failed in one of the two arms; better, the
            arm that is, or "". After looks, interval, p and verdict are the last look's.
        runs: one row per run compared: all columns received, and arm, seed, value (of the metric).
        left_out: one row per other run, with the column reason.
        times: one row per run and target: run_id, arm, seed, target, epochs (the first that reached it is 1)
            and seconds (sum of epoch_seconds up to its end, NaN where unknown); both inf where never reached.
        targets: one row per arm and target: n, reached, median_epochs, median_seconds; inf where half of the
            runs or more never got there.
        margin: a difference that does not matter, as values are stored; None where there is none.
        plan: how many seeds were planned before the first ran; None where that is not known.
        looks: those that the plan had and that were due; the last one is what the pair says.
        deciding: sentences on seeds that alone decide between two arms.
        tuned: the tuning that chose the arms' settings; None where none did.
        caveats: sentences that belong beside every number.
    """

    metric: names.Metric
    keys: tuple[str, ...]
    baseline: str
    choice: Choice
    question: str
    numbers: tuple[str, ...]
    values: pd.DataFrame
    settings: pd.DataFrame
    arms: pd.DataFrame
    pairs: pd.DataFrame
    runs: pd.DataFrame
    left_out: pd.DataFrame
    times: pd.DataFrame
    targets: pd.DataFrame
    margin: float | None
    plan: Plan | None
    looks: tuple[Look, ...]
    deciding: tuple[str, ...]
    tuned: Tuned | None
    caveats: tuple[str, ...]

    @property
    def sequential(self) -> bool:
        """Tell whether the verdict is that of looks that were planned."""
        return self.plan is not None and bool(self.plan.looks) and len(self.arms) == 2


def compare(
    runs: pd.DataFrame,
    epochs: pd.DataFrame,
    by: Sequence[str] | None = None,
    metric: str = names.TEST_ACCURACY,
    where: Sequence[str] = (),
    targets: Sequence[float] = (),
    more_is_better: bool | None = None,
    margin: float | None = None,
    plan: Plan | None = None,
    tuned: Tuned | None = None,
) -> Comparison:
    """Compare the arms of a sweep, two by two, over the seeds that both have.

    The first arm is the baseline, which differences are counted from. More than 40 arms are compared with it
    only, not each with each. Two arms that were planned with looks are compared as at the last look that was
    due: what was run beyond it is left out.

    Args:
        runs: one row per run, as `load.load_runs` returns them: run_id, name, status, start_time, params.*
            and tags.* (text), metrics.* (the last value), and place and label of its arm, where known.
        epochs: one row per run and epoch: run_id, epoch (from 0), val_accuracy, epoch_seconds.
        by: what was swept; by default the arms that the sweep named, or all settings that differ.
        metric: what is compared.
        where: KEY=VALUE of parameters or tags: runs with another value are left out. Of several values for
            one key, any.
        targets: levels of val_accuracy, as 0.98, to tell the time until each; by default from what the runs
            reached.
        more_is_better: of a metric of which nobody else knows.
        margin: a difference that does not matter, in the metric's own unit: 0.1 is 0.1 points of per cent.
            By default the plan's, or 0.1 points; of another metric none.
        plan: of the sweep.
        tuned: what chose the arms' settings; runs with one of its seeds are left out.

    Raises:
        UserError: there are no runs, or none that handwriting.train made, or no such setting or metric; the
            runs differ in other settings than `by`, or in their data; a target is no fraction; or nobody
            knows whether more or less of the metric is better, or it is known to be the other way.
    """
    asked = checked(targets)
    keys, arms, runs = select(runs, by, metric, where, tuned.tuning.seeds if tuned else ())
    known = _metric(metric, runs[runs["reason"] == ""], more_is_better)
    margin = _margin(known, margin, plan)
    looks: list[Look] | None = None
    if plan is not None and plan.looks and len(arms) == 2:
        looks, runs = at_last_look(runs, arms, known, margin, plan)
    used, left_out = parted(runs)
    ids = pd.Index(used["run_id"])
    curves = epochs[ids.get_indexer(epochs["run_id"]) >= 0].sort_values(["run_id", "epoch"])
    curves = curves.astype(dict.fromkeys(("epoch", names.VAL_ACCURACY, names.EPOCH_SECONDS), float))
    times = times_to(asked or levels_of(curves, used), curves, used)
    settings = settings_of(runs[runs["arm"] != ""], arms)
    values = values_of(settings, keys)
    kind, numbers = kind_of(values, keys)
    chooses = twin(known, used)
    table = _table_of_arms(used, left_out, curves, arms, (known.name, chooses.name))
    choice = choose(table[chooses.name], chooses, settings, values, numbers)
    looked = left_out[left_out["seed"] <= used["seed"].max()] if looks else left_out
    seeds = two_by_two.by_seed(used, looked, arms, bool(known.more_is_better))
    pairs = two_by_two.table_of_pairs(seeds, margin, looks)

    caveats = [*(about_settings(tuned) if tuned else ()), *caveats_of(used, left_out, keys)]
    without = len(ids) - curves.dropna(subset=names.VAL_ACCURACY)["run_id"].nunique()
    if without and len(times):
        caveats.append(
            f"No {names.VAL_ACCURACY} per epoch, so counted as not reached: {without} of {len(ids)} runs"
        )
    deciding = capped(deciding_seeds(seeds, pairs, {arms[0], choice.best}, known))
    caveats += [*choice.edges, *(deciding if len(arms) > 2 else []), *doubts_of(seeds, pairs)]
    if len(arms) > 2 and choice.best:
        caveats.append(
            f"The best of {len(arms)} settings was chosen on the seeds that are compared here, and a choice "
            "among many looks better than it is: judge it on seeds of its own"
        )
    if len(arms) > two_by_two.ALL_PAIRS_UP_TO:
        caveats.append(f"{len(arms)} arms: each is compared with {arms[0]}, not each with each")
    return Comparison(
        metric=known,
        keys=tuple(keys),
        baseline=arms[0],
        choice=choice,
        question=kind,
        numbers=numbers,
        values=values,
        settings=settings,
        arms=table,
        pairs=pairs,
        runs=used,
        left_out=left_out,
        times=times,
        targets=table_of_targets(times, arms),
        margin=margin,
        plan=plan,
        looks=tuple(looks or ()),
        deciding=tuple(deciding),
        tuned=tuned,
        caveats=tuple(caveats),
    )


def against(comparison: Comparison, arm: str) -> pd.DataFrame:
    """Return the pairs that hold an arm, with it as the first: differences are the other arm's minus its."""
    return two_by_two.against(comparison.pairs, arm)


def verdict_of(comparison: Comparison, pair: pd.Series, better: str = "{better} is better") -> str:
    """Return the verdict on a pair in a few words, and `better` with the arm's name where one is."""
    verdict, margin = str(pair["verdict"]), margin_of(comparison)
    if pair["better"]:
        return better.format(better=pair["better"]) + (f", by less than {margin}" if pair["within"] else "")
    return f"no difference larger than {margin}" if verdict == SAME else verdict


def margin_of(comparison: Comparison) -> str:
    """Return the margin in words: "0.1 points"; nothing where there is none."""
    metric, margin = comparison.metric, comparison.margin
    return "" if margin is None else f"{margin * metric.factor:.3g}{metric.points}"


def ranked(comparison: Comparison) -> list[str]:
    """Return the arms as a table for people has them.

    Two stand in the sweep's order; several with the best first; with numbers, by group and then by value.
    """
    arms, choice = comparison.arms, comparison.choice
    if comparison.question == "two":
        return list(arms.index)
    if comparison.numbers:
        groups = list(dict.fromkeys(comparison.values["group"]))
        rows = comparison.values.assign(group=comparison.values["group"].map(groups.index))
        return list(rows.sort_values(["group", *comparison.numbers], kind="stable").index)
    means = arms[choice.metric.name]
    return list(means.sort_values(ascending=not choice.metric.more_is_better, kind="stable").index)


def _margin(metric: names.Metric, margin: float | None, plan: Plan | None) -> float | None:
    """Return the margin as values are stored: what is asked, or planned, or by default."""
    if margin is not None:
        return margin / metric.factor
    if plan is not None and plan.margin is not None and metric.name == names.TEST_ACCURACY:
        return plan.margin
    return MARGIN / metric.factor if metric.unit == "%" else None


def _metric(name: str, used: pd.DataFrame, more_is_better: bool | None) -> names.Metric:
    """Return how a metric is read: as the vocabulary, the user or the runs' tags tell."""
    key = names.BETTER + names.base(name)
    told = used[f"tags.{key}"].dropna().unique() if f"tags.{key}" in used else []
    ours = names.metric(name).more_is_better
    if more_is_better is not None and ours not in (None, more_is_better):
        raise UserError(
            f"{name}: {'more' if ours else 'less'} of it is better. "
            f"Leave --{'less' if ours else 'more'}-is-better out"
        )
    metric = names.metric(name, {key: told[0]} if len(told) == 1 else {})
    if more_is_better is not None:
        metric = replace(metric, more_is_better=more_is_better)
    if metric.more_is_better is None and len(used):
        raise UserError(
            f"{name}: the runs do not say whether more or less of it is better, and it cannot be guessed. "
            "Add --more-is-better or --less-is-better; or their config says it, with `better: more` or "
            "`better: less` in the metric's entry under `metrics`"
        )
    return metric


def _table_of_arms(
    used: pd.DataFrame,
    left_out: pd.DataFrame,
    curves: pd.DataFrame,
    arms: Sequence[str],
    compared: Sequence[str],
) -> pd.DataFrame:
    best = curves.sort_values([names.VAL_ACCURACY, "epoch"], ascending=[False, True])
    best = best.drop_duplicates("run_id").dropna(subset=names.VAL_ACCURACY).set_index("run_id")
    metric, *others = dict.fromkeys([*compared, *_SHOWN])
    values = pd.DataFrame({"arm": used["arm"], metric: used["value"]})
    for name in others:
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
