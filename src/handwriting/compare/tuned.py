"""What a tuning came to: each arm's settings, the best of them, and what more of them would bring."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from handwriting.compare.load import LoadedRuns, load_runs
from handwriting.errors import UserError
from handwriting.space import Range, label_of, range_of
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

    @cached_property
    def ranges(self) -> dict[str, dict[str, Range]]:
        """Return of each arm the range of each key, which is as the tuning file has it."""
        read = {
            arm: {word: range_of(word, text) for word, text in own.items()}
            for arm, own in self.tuning.arms.items()
        }
        return {arm: {word: found for word, found in own.items() if found} for arm, own in read.items()}


def keys_of(tuning: Tuning) -> list[str]:
    """Return the keys that some arm tunes."""
    return list(dict.fromkeys(key_of(word) for own in tuning.arms.values() for word in own))


def key_of(word: str) -> str:
    """Return the key of an override's left side: a key that is added has a + before it."""
    return word.lstrip("+")


def tried_values(texts: pd.Series, range_: Range) -> pd.Series:
    """Return the values of a key as numbers, NaN where one is none, such as a default of null.

    Of choices, NaN for all where one is no number.
    """
    found = pd.to_numeric(texts, errors="coerce").astype(float)
    return found * math.nan if range_.choices and found.isna().any() else found


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
    """Return the tuning that chose the settings of a sweep's arms, with its runs.

    None where none did, or where its runs are gone from the store.
    """
    if loaded.tuning is None:
        return None
    try:
        own = load_runs(store, loaded.tuning.sweep)
    except UserError:
        return None
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
