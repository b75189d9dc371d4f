"""What a tuning came to: each arm's settings, the best of them, and what more of them would bring."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from handwriting.compare.caveats import count, few
from handwriting.compare.load import LoadedRuns, load_runs
from handwriting.compare.question import numbers_of
from handwriting.space import label_of, range_of
from handwriting.tracking import Store, names
from handwriting.tracking.plans import LOOKS
from handwriting.tracking.tunings import Tuning

WORST = 0.0  # accuracy: what a run counts as that failed, or that the store has no more


@dataclass(frozen=True)
class Tuned:
    """A tuning with its runs.

    Args:
        tuning: what was planned and chosen.
        runs: one row per run: arm, number (of its setting, 0 is the default), setting (its label), seed,
            status, value (validation accuracy, from 0 to 1; WORST where it failed), epochs, seconds.
        settings: one row per setting, the index (arm, number): setting, value (the mean over seeds), sd,
            failed (runs), chosen, and one column for each key that an arm tunes, as text, "" where it has
            no such key.
        budget: one row per arm and number of settings: arm, settings, best, sd: see `expected_best`.
        earlier: the sweeps that have judged other settings of the same arms on the same seeds.
    """

    tuning: Tuning
    runs: pd.DataFrame
    settings: pd.DataFrame
    budget: pd.DataFrame
    earlier: tuple[str, ...] = ()

    @property
    def keys(self) -> list[str]:
        """Return the keys that some arm tunes."""
        return keys_of(self.tuning)


def keys_of(tuning: Tuning) -> list[str]:
    """Return the keys that some arm tunes."""
    return list(dict.fromkeys(key_of(word) for own in tuning.arms.values() for word in own))


def key_of(word: str) -> str:
    """Return the key of an override's left side: a key that is added has a + before it."""
    return word.lstrip("+")


def tried(jobs: pd.DataFrame, tuning: Tuning) -> pd.DataFrame:
    """Return the runs of a tuning, each job once, as `Tuned.runs` less epochs and seconds.

    Args:
        jobs: one row per run, the newest of each label and seed last: label, seed, status, val_accuracy.
        tuning: what was planned.
    """
    newest = jobs.drop_duplicates(["label", "seed"], keep="last").set_index(["label", "seed"])
    rows = []
    for arm in tuning.arms:
        for number in range(tuning.settings):
            for seed in tuning.seeds:
                label = label_of(arm, number)
                run = newest.loc[(label, seed)] if (label, seed) in newest.index else None
                status = "NOT RUN" if run is None else str(run["status"])
                value = math.nan if run is None else float(run[names.VAL_ACCURACY])
                right = status == "FINISHED" and math.isfinite(value)
                rows.append((arm, number, label, seed, status, value if right else WORST))
    return pd.DataFrame(rows, columns=["arm", "number", "setting", "seed", "status", "value"])


def choose(runs: pd.DataFrame) -> dict[str, int]:
    """Return the number of each arm's best setting, by the mean over seeds; of equal ones the first.

    An arm of which no run finished has none.
    """
    trained = runs.loc[runs["status"] == "FINISHED", "arm"].unique()
    means = runs.groupby(["arm", "number"])["value"].mean()
    return {str(arm): int(means[arm].idxmax()) for arm in trained}


def load_tuned(store: Store, loaded: LoadedRuns) -> Tuned | None:
    """Return the tuning that chose the settings of a sweep's arms, with its runs; None where none did.

    Raises:
        UserError: its runs are gone from the store.
    """
    if loaded.tuning is None:
        return None
    own = load_runs(store, loaded.tuning.sweep)
    return tuned_of(loaded.tuning, own.runs, own.epochs, loaded.tunings)


def tuned_of(
    tuning: Tuning, runs: pd.DataFrame, epochs: pd.DataFrame, others: Sequence[Tuning] = ()
) -> Tuned:
    """Return a tuning with its runs.

    Args:
        tuning: what was planned and chosen.
        runs: those of its sweep, as `load.load_runs` returns them.
        epochs: theirs.
        others: the tunings of the same experiment.
    """
    runs = runs.sort_values("start_time")
    seeds = pd.to_numeric(runs.get("params.seed", pd.Series(index=runs.index)), errors="coerce")
    accuracy = runs.get(f"metrics.{names.VAL_ACCURACY}", pd.Series(index=runs.index)).astype(float)
    jobs = runs.assign(seed=seeds, **{names.VAL_ACCURACY: accuracy})
    table = tried(jobs, tuning)
    done = epochs.groupby("run_id")[names.EPOCH_SECONDS].agg(["size", "sum"])
    spent = jobs[["label", "seed", "run_id"]].merge(done, left_on="run_id", right_index=True, how="left")
    spent = spent.groupby(["label", "seed"])[["size", "sum"]].sum()  # of a run that was made anew, both
    spent = spent.set_axis(["epochs", "seconds"], axis="columns").reset_index()
    table = table.merge(spent, left_on=["setting", "seed"], right_on=["label", "seed"], how="left")
    table = table.drop(columns="label").fillna({"epochs": 0, "seconds": 0.0})
    keys = keys_of(tuning)
    params = [f"params.{key}" for key in keys]
    values = jobs.drop_duplicates("label", keep="last").set_index("label").reindex(columns=params)
    values = values.set_axis(keys, axis="columns").fillna("").astype(str)
    by_setting = table.groupby(["arm", "number", "setting"], sort=False)
    settings = by_setting["value"].agg(["mean", "std"]).set_axis(["value", "sd"], axis="columns")
    settings["failed"] = by_setting["status"].agg(lambda status: int(status.ne("FINISHED").sum()))
    settings = settings.reset_index().join(values, on="setting").fillna(dict.fromkeys(keys, ""))
    for arm, own in tuning.arms.items():  # what it does not tune is no setting of it here
        foreign = [key for key in keys if key not in map(key_of, own)]
        settings.loc[settings["arm"] == arm, foreign] = ""
    settings["chosen"] = [
        tuning.chosen.get(arm) == number
        for arm, number in zip(settings["arm"], settings["number"], strict=True)
    ]
    settings = settings.set_index(["arm", "number"])
    budget = pd.concat(
        [expected_best(settings.loc[arm, "value"].to_numpy()).assign(arm=arm) for arm in tuning.arms],
        ignore_index=True,
    )
    return Tuned(tuning, table, settings, budget, _earlier(tuning, others))


def expected_best(values: np.ndarray) -> pd.DataFrame:
    """Return what the best of k settings is expected to be, and its standard deviation, for k from 1 to all.

    The settings that were tried stand for all that might be: k are drawn of them, each as likely as any
    other, with replacement (Dodge et al. 2019, 1909.03004, section 3). So the best of as many as were tried
    is expected a little below the best that was found.

    Args:
        values: the mean of each setting, shape (n,).

    Returns:
        One row per k: settings (k), best, sd, in the unit of `values`.
    """
    ordered = np.sort(np.asarray(values, float))
    n = len(ordered)
    rows = []
    for k in range(1, n + 1):
        weights = np.diff((np.arange(n + 1) / n) ** k)  # that the best of k is the i-th smallest
        mean = weights @ ordered
        rows.append((k, mean, math.sqrt(max(0.0, weights @ (ordered - mean) ** 2))))
    return pd.DataFrame(rows, columns=["settings", "best", "sd"])


def edges(tuned: Tuned) -> list[str]:
    """Return a sentence for each chosen value beyond which none was tried, with the range to put there."""
    said = []
    for arm, ranges in tuned.tuning.arms.items():
        if arm not in tuned.tuning.chosen:
            continue
        own = tuned.settings.loc[arm]
        for word, text in ranges.items():
            values = numbers_of(own[key_of(word)])
            if values is None or values.nunique() < 3 or math.isnan(values[tuned.tuning.chosen[arm]]):
                continue
            best = values[tuned.tuning.chosen[arm]]
            if values.min() < best < values.max():
                continue
            range_ = range_of(word, text)
            wider = range_.widened(best) if range_ else ""
            line = f". Widen it in {tuned.tuning.file}.yaml, under {arm}: “{word}: {wider}”" if wider else ""
            said.append(
                f"The best {key_of(word)} of {arm}, {best:.4g}, is the "
                f"{'largest' if best == values.max() else 'smallest'} that was tried: the best may lie "
                f"beyond{line}"
            )
    return said


def crossing(tuned: Tuned) -> str:
    """Return which arm is expected to be the best with how many settings, in a sentence."""
    table = tuned.budget.pivot(index="settings", columns="arm", values="best")[list(tuned.tuning.arms)]
    leaders = [(arm, int(k)) for k, arm in table.idxmax(axis="columns").items()]
    parts: list[str] = []
    for arm, group in groupby(leaders, key=lambda pair: pair[0]):
        ks = [k for _, k in group]
        parts.append(
            f"{arm} {'' if parts else 'is ahead '}with {' to '.join(map(str, ks[:1] + ks[1:][-1:]))}"
        )
    cross = "The arms cross" if len(parts) > 1 else "The arms do not cross"
    return f"{cross}: by the expected best of so many settings, on validation, {', '.join(parts)}"


def by_default(tuned: Tuned) -> list[str]:
    """Return a sentence for each arm: what its best setting gained over its default, on validation."""
    metric, said = names.metric(names.VAL_ACCURACY), []
    seeds = _seeds(tuned.tuning)
    for arm, number in tuned.tuning.chosen.items():
        own = tuned.runs[tuned.runs["arm"] == arm].pivot(index="seed", columns="number", values="value")
        if number == 0:
            said.append(f"The best setting of {arm} is its default")
            continue
        gained = own[number] - own[0]
        won = int((gained > 0).sum())
        said.append(
            f"{arm} tuned against its default in {metric.name}: {metric.change(gained.mean())}"
            f"{metric.points} on {seeds}, ahead in {won} of {len(gained)}; these seeds chose it, so it looks "
            "better here than it is"
        )
    return said


def cost(tuned: Tuned) -> str:
    """Return what a tuning took: runs, epochs and minutes of training."""
    runs = tuned.runs
    failed = int((runs["status"] != "FINISHED").sum())
    return (
        f"{count(len(runs), 'run')}{f', {failed} failed' if failed else ''}, "
        f"{count(int(runs['epochs'].sum()), 'epoch')}, {runs['seconds'].sum() / 60:.3g} min of training"
    )


def about(tuning: Tuning) -> str:
    """Return what a verdict on tuned arms stands on, in a sentence."""
    return f"Each arm has the best of {tuning.settings} settings, chosen on validation with {_seeds(tuning)}."


def _seeds(tuning: Tuning) -> str:
    return f"seed{'s' if len(tuning.seeds) > 1 else ''} {few(tuning.seeds)}"


def about_settings(tuned: Tuned) -> list[str]:
    """Return what must be said of the settings that the arms have, in sentences."""
    said = [*edges(tuned), crossing(tuned), *by_default(tuned)]
    if tuned.earlier:
        said.append(
            f"Judged on the same seeds before, with other settings: {few(tuned.earlier)}. Whoever saw that "
            "verdict and tuned again has chosen by these seeds too: give the verdict others, "
            "tuning.verdict_seeds"
        )
    return said


def _earlier(tuning: Tuning, others: Sequence[Tuning]) -> tuple[str, ...]:
    def seeds(of: Tuning) -> set[int]:
        return set(range(LOOKS[-1]) if of.verdict_seeds is None else of.verdict_seeds)

    sweeps = (
        other.verdict
        for other in others
        if other.verdict not in ("", tuning.verdict)
        and other.at < tuning.at
        and set(other.arms) == set(tuning.arms)
        and seeds(other) & seeds(tuning)
    )
    return tuple(dict.fromkeys(sweeps))
