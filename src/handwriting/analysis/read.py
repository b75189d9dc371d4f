"""Runs and their epochs, out of the store as two tables, in a handful of queries for any number of runs.

`mlflow.search_runs` builds an object for each value and has the epochs of one run and one metric only: of
thousands of runs, minutes (LOG.md). A database is read directly instead, and only a server through MLflow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from sqlalchemy import Connection, Select, column, create_engine, inspect, select, table
from sqlalchemy.engine import make_url

from handwriting.analysis.remarks import COMPUTING, few
from handwriting.errors import UserError, nearest
from handwriting.store import REPORTS

PER_EPOCH = ("val_accuracy", "val_loss", "epoch_seconds")
# Of a run's tags, what a comparison looks at; at 10,000 runs the others take a second.
TAGS = ("sweep", "data.sha256", "weights.initial", "git.commit", "git.dirty", *COMPUTING)
NOTHING = "the store has no runs. Train some: make sweep, or make quick"

_EXPERIMENTS = table("experiments", *map(column, ("experiment_id", "name", "lifecycle_stage")))
_RUNS = table(
    "runs",
    *map(
        column,
        ("run_uuid", "name", "experiment_id", "status", "start_time", "lifecycle_stage", "artifact_uri"),
    ),
)
_KEYED = {
    name: table(name, *map(column, ("run_uuid", "key", "value", "step", "is_nan")))
    for name in ("params", "tags", "latest_metrics", "metrics")
}


@dataclass(frozen=True)
class Stored:
    """Runs of one experiment.

    Args:
        experiment: its name.
        sweep: the name of the sweep that they are of; empty for all runs of the experiment.
        runs: one row per run, named as by `mlflow.search_runs`: run_id, name, status, start_time (UTC),
            artifact_uri, params.* and tags.* (text; of the tags TAGS), metrics.* (the last value).
        epochs: one row per run and epoch: run_id, epoch (from 0), and PER_EPOCH.
    """

    experiment: str
    sweep: str
    runs: pd.DataFrame
    epochs: pd.DataFrame


def read(uri: str, sweep: str | None = None, experiment: str | None = None) -> Stored:
    """Return the runs of a sweep, of an experiment, or, where neither is named, of the latest sweep.

    Where no run belongs to a sweep, those of the experiment with the latest run.

    Raises:
        UserError: there is no such sweep or experiment (says which there are), or nothing at all; or the
            server does not answer.
    """
    if uri.startswith("http"):
        from handwriting.analysis.server import read_server
        from handwriting.tracking import store_errors

        with store_errors(uri):
            return read_server(uri, sweep, experiment)
    engine = create_engine(make_url(uri))
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("runs"):  # what a mistaken first command leaves
                raise UserError(NOTHING)
            return _read(connection, sweep, experiment)
    finally:
        engine.dispose()


def _read(connection: Connection, sweep: str | None, experiment: str | None) -> Stored:
    experiments = pd.read_sql(
        select(_EXPERIMENTS.c.experiment_id, _EXPERIMENTS.c.name).where(
            _EXPERIMENTS.c.lifecycle_stage == "active"
        ),
        connection,
    )
    names = dict(zip(experiments["experiment_id"], experiments["name"], strict=True))
    tags, runs = _KEYED["tags"].c, _RUNS.c
    is_sweep = tags.key == "sweep"
    places = pd.read_sql(
        select(runs.experiment_id, runs.start_time, tags.value.label("sweep"))
        .select_from(_RUNS.outerjoin(_KEYED["tags"], (tags.run_uuid == runs.run_uuid) & is_sweep))
        .where(runs.lifecycle_stage == "active"),
        connection,
    )
    name, sweep = choose(places.assign(experiment=places["experiment_id"].map(names)), sweep, experiment)
    chosen = select(runs.run_uuid).where(
        runs.lifecycle_stage == "active",
        runs.experiment_id == next(number for number, one in names.items() if one == name),
    )
    if sweep:
        carries = select(tags.run_uuid).where(
            is_sweep, (" " + tags.value + " ").contains(f" {sweep} ", autoescape=True)
        )
        chosen = chosen.where(runs.run_uuid.in_(carries))
    found = pd.read_sql(
        select(
            runs.run_uuid.label("run_id"), runs.name, runs.status, runs.start_time, runs.artifact_uri
        ).where(runs.run_uuid.in_(chosen)),
        connection,
    )
    found["start_time"] = pd.to_datetime(found["start_time"], unit="ms", utc=True)
    for prefix, kind in (("params", "params"), ("tags", "tags"), ("metrics", "latest_metrics")):
        found = found.merge(_wide(connection, kind, prefix, chosen), on="run_id", how="left")
    if sweep:  # SQLite's LIKE takes a for A
        found = found[[pd.isna(names) or sweep in names.split() for names in found["tags.sweep"]]]
    return Stored(name, sweep, found, _epochs(connection, chosen))


def choose(places: pd.DataFrame, sweep: str | None, experiment: str | None) -> tuple[str, str]:
    """Return the experiment and the sweep to be read; an empty sweep is all runs of the experiment.

    Args:
        places: one row per run: experiment (its name, missing where it was deleted), start_time and sweep
            (the names it belongs to, separated by spaces, or missing).
        sweep: the wanted sweep's name.
        experiment: the wanted experiment's name.

    Raises:
        UserError: as for `read`.
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


def _wide(connection: Connection, kind: str, prefix: str, chosen: Select) -> pd.DataFrame:
    """Return one row per run and one column per key."""
    keyed = _KEYED[kind].c
    # What Keras makes of the optimizer's parameters is there once more, and not compared.
    used = keyed.key.in_(TAGS) if kind == "tags" else ~keyed.key.startswith("keras_optimizer.")
    if kind == "latest_metrics":
        used &= ~keyed.is_nan  # which is stored as 0
    rows = select(keyed.run_uuid.label("run_id"), keyed.key, keyed.value)
    long = pd.read_sql(rows.where(keyed.run_uuid.in_(chosen), used), connection)
    wide = long.pivot(index="run_id", columns="key", values="value").add_prefix(f"{prefix}.")
    return wide.rename_axis(columns=None).reset_index()


def _epochs(connection: Connection, chosen: Select) -> pd.DataFrame:
    metrics = _KEYED["metrics"].c
    long = pd.read_sql(
        select(metrics.run_uuid.label("run_id"), metrics.step.label("epoch"), metrics.key, metrics.value)
        .where(metrics.run_uuid.in_(chosen), metrics.key.in_(PER_EPOCH), ~metrics.is_nan),
        connection,
    )  # fmt: skip
    return by_epoch(long)


def by_epoch(long: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run and epoch of a table run_id, epoch, key, value; of two values the last."""
    last = long.drop_duplicates(["run_id", "epoch", "key"], keep="last")
    wide = last.pivot(index=["run_id", "epoch"], columns="key", values="value")
    return wide.reindex(columns=list(PER_EPOCH)).rename_axis(columns=None).reset_index()
