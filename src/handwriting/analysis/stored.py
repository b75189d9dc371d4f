"""The two tables that are read from a store, and which of its runs are meant."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from handwriting.analysis.remarks import few
from handwriting.errors import UserError, nearest
from handwriting.store import REPORTS

PER_EPOCH = ("val_accuracy", "val_loss", "epoch_seconds")
NOTHING = "the store has no runs. Train some: make sweep, or make quick"


@dataclass(frozen=True)
class Stored:
    """Runs of one experiment.

    Args:
        experiment: its name.
        sweep: the name of the sweep that they are of; empty for all runs of the experiment.
        runs: one row per run, named as by `mlflow.search_runs`: run_id, name, status, start_time (UTC),
            artifact_uri, params.* and tags.* (text; of the tags `read.TAGS`), metrics.* (the last value).
        epochs: one row per run and epoch: run_id, epoch (from 0), and PER_EPOCH.
    """

    experiment: str
    sweep: str
    runs: pd.DataFrame
    epochs: pd.DataFrame


def choose(places: pd.DataFrame, sweep: str | None, experiment: str | None) -> tuple[str, str]:
    """Return the experiment and the sweep to be read; an empty sweep is all runs of the experiment.

    Args:
        places: one row per run: experiment (its name, missing where it was deleted), start_time and sweep
            (the names it belongs to, separated by spaces, or missing).
        sweep: the wanted sweep's name.
        experiment: the wanted experiment's name.

    Raises:
        UserError: as for `read.read`.
    """
    places = places[places["experiment"].notna()].sort_values("start_time")
    places = places[~places["experiment"].str.endswith(REPORTS)]
    if places.empty:
        raise UserError(NOTHING)
    if experiment:
        known = list(places["experiment"].unique())
        if experiment not in known:
            raise _unknown("experiment", experiment, known)
        return experiment, ""
    swept = places.dropna(subset="sweep").assign(sweep=lambda frame: frame["sweep"].str.split())
    swept = swept.explode("sweep")
    if sweep:
        if sweep not in set(swept["sweep"]):
            raise _unknown("sweep", sweep, list(swept["sweep"].unique()))
        swept = swept[swept["sweep"] == sweep]
    if swept.empty:
        return str(places["experiment"].iloc[-1]), ""
    return str(swept["experiment"].iloc[-1]), str(swept["sweep"].iloc[-1])


def _unknown(what: str, name: str, known: Sequence[str]) -> UserError:
    there = f"There are: {few(known, 20)}" if known else f"There is no {what} with runs"
    return UserError(f"there is no {what} '{name}' with runs.{nearest(name, known)} {there}")


def by_epoch(long: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run and epoch of a table run_id, epoch, key, value; of two values the last."""
    last = long.drop_duplicates(["run_id", "epoch", "key"], keep="last")
    wide = last.pivot(index=["run_id", "epoch"], columns="key", values="value")
    return wide.reindex(columns=list(PER_EPOCH)).rename_axis(columns=None).reset_index()
