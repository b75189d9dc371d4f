"""Runs and their epochs, out of the store as two tables, in a handful of queries for any number of runs.

`mlflow.search_runs` builds an object for each value and has the epochs of one run and one metric only: of
thousands of runs, minutes (LOG.md). A database is read directly instead, and only a server through MLflow.
"""

import pandas as pd
from sqlalchemy import Connection, Select, column, create_engine, inspect, select, table
from sqlalchemy.engine import make_url

from handwriting.analysis.remarks import COMPUTING
from handwriting.analysis.stored import NOTHING, PER_EPOCH, Stored, by_epoch, choose
from handwriting.errors import UserError

# Of a run's tags, what a comparison looks at; at 10,000 runs the others take a second.
TAGS = ("sweep", "data.sha256", "weights.initial", "git.commit", "git.dirty", *COMPUTING)

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
