"""Runs and their epochs, out of the store as two tables, in a handful of queries for any number of runs.

`mlflow.search_runs` builds an object for each value and has the epochs of one run and one metric only: of
thousands of runs, minutes (LOG.md). A database is read directly instead, and only a server through MLflow.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from sqlalchemy import Connection, Select, column, inspect, or_, select, table

from handwriting.compare.caveats import few
from handwriting.errors import UserError, nearest
from handwriting.tracking import Store, names
from handwriting.tracking.plans import Plan, plans_in
from handwriting.tracking.tunings import Tuning, tunings_in

# Of a run's tags, what a comparison looks at, and those of names.BETTER; at 10,000 runs the others take a
# second.
TAGS = (
    names.SWEEP, names.ARM, names.COLOR, names.DATA, names.INITIAL_WEIGHTS, names.NOT_KEPT, names.DIRTY,
    names.TUNING, names.HOST, *names.COMPUTING,
)  # fmt: skip
PER_EPOCH = (names.VAL_ACCURACY, names.VAL_LOSS, names.EPOCH_SECONDS)
NOTHING = "the store has no runs. Train some: make sweep, or make quick"
TRIED_ALONE = (
    "these runs chose the settings of a tuning, and enter no verdict. The verdict is that of another sweep; "
    "where there is none yet, the same command as before goes on with it"
)

# Of MLflow's tables, what is read; each has some of these columns.
_COLUMNS = (
    "run_uuid", "name", "experiment_id", "status", "start_time", "lifecycle_stage", "artifact_uri",
    "key", "value", "step", "timestamp", "is_nan",
)  # fmt: skip
_TABLES = {
    name: table(name, *map(column, _COLUMNS))
    for name in ("experiments", "experiment_tags", "runs", "params", "tags", "latest_metrics", "metrics")
}


@dataclass(frozen=True)
class LoadedRuns:
    """Runs of one experiment.

    Args:
        experiment: its name.
        sweep: the name of the sweep that they are of; empty for all runs of the experiment.
        runs: one row per run, named as by `mlflow.search_runs`: run_id, name, status, start_time (UTC),
            artifact_uri, experiment_id (text), params.* and tags.* (text; of the tags TAGS), metrics.* (the
            last value), and of its arm in the sweep place (from 0) and label, missing where none is stored.
        epochs: one row per run and epoch: run_id, epoch (from 0), PER_EPOCH, and all other metrics val_*.
        plans: of the sweep, in the order in which they were made; of an experiment those of all its sweeps.
        tunings: of the experiment, in the order in which they chose.
    """

    experiment: str
    sweep: str
    runs: pd.DataFrame
    epochs: pd.DataFrame
    plans: tuple[Plan, ...] = ()
    tunings: tuple[Tuning, ...] = ()

    @property
    def plan(self) -> Plan | None:
        """Return the plan of a sweep that counts: the last with looks, which hold whatever else was run."""
        if not self.sweep:
            return None
        return next((plan for plan in reversed(self.plans) if plan.looks), (*self.plans, None)[-1])

    @property
    def tuning(self) -> Tuning | None:
        """Return the tuning that chose the settings of a sweep's arms: the last of several."""
        judged = (tuning for tuning in reversed(self.tunings) if self.sweep and tuning.verdict == self.sweep)
        return next(judged, None)


def load_runs(store: Store, sweep: str | None = None, experiment: str | None = None) -> LoadedRuns:
    """Return the runs of a sweep, of an experiment, or, where neither is named, of the latest sweep.

    Where no run belongs to a sweep, those of the experiment with the latest run.

    Raises:
        UserError: there is no such sweep or experiment (says which there are), or nothing at all; or the
            store cannot be opened.
    """
    if store.uri.startswith("http"):
        with store.errors():
            return _from_server(store, sweep, experiment)
    with store.connected() as connection:
        if not inspect(connection).has_table("runs"):  # what a mistaken first command leaves
            raise UserError(NOTHING)
        return _from_database(connection, sweep, experiment)


def earlier_looks(store: Store, experiment: str, title: str) -> list[int]:
    """Return how many paired seeds earlier reports of a title were on, each number once, as they came.

    Args:
        store: where the reports are.
        experiment: of the runs.
        title: the report's name.
    """
    if store.uri.startswith("http"):
        client = store.client
        with store.errors():
            reports = client.get_experiment_by_name(experiment + names.REPORTS)
            runs = client.search_runs([reports.experiment_id]) if reports else []
            own = [run.info.run_id for run in runs if run.data.tags.get(names.REPORT) == title]
            points = [point for run_id in own for point in client.get_metric_history(run_id, names.PAIRS)]
        values = [point.value for point in sorted(points, key=lambda point: point.timestamp)]
    else:
        metrics, tags = _TABLES["metrics"].c, _TABLES["tags"].c
        titled = select(tags.run_uuid).where(tags.key == names.REPORT, tags.value == title)
        pairs = select(metrics.value).where(
            metrics.run_uuid.in_(titled), metrics.key == names.PAIRS, ~metrics.is_nan
        )
        with store.connected() as connection:
            values = list(connection.execute(pairs.order_by(metrics.timestamp)).scalars())
    return list(dict.fromkeys(int(value) for value in values if math.isfinite(value)))


def _from_database(connection: Connection, sweep: str | None, experiment: str | None) -> LoadedRuns:
    runs, tags, experiments = _TABLES["runs"].c, _TABLES["tags"].c, _TABLES["experiments"].c
    is_sweep = tags.key == names.SWEEP
    everything = pd.read_sql(
        select(
            runs.run_uuid.label("run_id"), runs.name, runs.status, runs.start_time, runs.artifact_uri,
            runs.experiment_id, experiments.name.label("experiment"), tags.value.label("sweep"),
        )
        .select_from(_TABLES["runs"])
        .join(_TABLES["experiments"], experiments.experiment_id == runs.experiment_id)
        .outerjoin(_TABLES["tags"], (tags.run_uuid == runs.run_uuid) & is_sweep)
        .where(runs.lifecycle_stage == "active", experiments.lifecycle_stage == "active"),
        connection,
    )  # fmt: skip
    experiment, sweep, found = _choose(everything, sweep, experiment)
    chosen = select(runs.run_uuid).where(runs.experiment_id == int(found["experiment_id"].iloc[0]))
    if sweep:  # SQLite's LIKE takes a for A, so these may be a few more
        carries = (" " + tags.value + " ").contains(f" {sweep} ", autoescape=True)
        chosen = chosen.where(runs.run_uuid.in_(select(tags.run_uuid).where(is_sweep, carries)))
    found["start_time"] = pd.to_datetime(found["start_time"], unit="ms", utc=True)
    for prefix, kind in (("params", "params"), ("tags", "tags"), ("metrics", "latest_metrics")):
        found = found.merge(_wide(connection, kind, prefix, chosen, sweep), on="run_id", how="left")
    metrics = _TABLES["metrics"].c
    read = or_(metrics.key.in_(PER_EPOCH), metrics.key.startswith(names.VAL, autoescape=True))
    points = (
        select(metrics.run_uuid.label("run_id"), metrics.step.label("epoch"), metrics.key, metrics.value)
        .where(metrics.run_uuid.in_(chosen), read, ~metrics.is_nan)
    )  # fmt: skip
    if connection.dialect.name != "sqlite":  # which gives them as they were written; sorting takes it longer
        points = points.order_by(metrics.timestamp)
    epochs = pd.read_sql(points, connection)
    own = _TABLES["experiment_tags"].c
    stored = connection.execute(
        select(own.key, own.value).where(own.experiment_id == int(found["experiment_id"].iloc[0]))
    )
    return _loaded(experiment, sweep, found, epochs, {str(key): str(value) for key, value in stored})


def _wide(connection: Connection, kind: str, prefix: str, chosen: Select, sweep: str) -> pd.DataFrame:
    """Return one row per run and one column per key."""
    keyed = _TABLES[kind].c
    if kind == "tags":
        used = or_(
            keyed.key.in_([*TAGS, names.arm_of(sweep)]), keyed.key.startswith(names.BETTER, autoescape=True)
        )
    else:  # what Keras makes of the optimizer's parameters is there once more, and not compared
        used = ~keyed.key.startswith(names.KERAS_OPTIMIZER, autoescape=True)
    if kind == "latest_metrics":
        used &= ~keyed.is_nan  # which is stored as 0
    rows = select(keyed.run_uuid.label("run_id"), keyed.key, keyed.value)
    long = pd.read_sql(rows.where(keyed.run_uuid.in_(chosen), used), connection)
    wide = long.pivot(index="run_id", columns="key", values="value").add_prefix(f"{prefix}.")
    return wide.rename_axis(columns=None).reset_index()


def _from_server(store: Store, sweep: str | None, experiment: str | None) -> LoadedRuns:
    import mlflow

    from handwriting.tracking.histories import points_of

    client = store.client
    store.become_current()  # another store's client may have been made since
    titles = {found.experiment_id: found.name for found in client.search_experiments()}
    runs = mlflow.search_runs(list(titles))
    runs = runs.assign(experiment=runs["experiment_id"].map(titles), sweep=runs.get(f"tags.{names.SWEEP}"))
    runs = runs.assign(name=runs.get(f"tags.{names.RUN_NAME}"))
    experiment, sweep, found = _choose(runs, sweep, experiment)
    own = [name.removeprefix("metrics.") for name in found if name.startswith("metrics.val_")]
    keys = dict.fromkeys([*PER_EPOCH, *own])
    rows = [point for key in keys for point in points_of(store, list(found["run_id"]), key)]
    epochs = pd.DataFrame(rows, columns=["run_id", "epoch", "key", "value"])
    tags = client.get_experiment(found["experiment_id"].iloc[0]).tags
    return _loaded(experiment, sweep, found, epochs, tags)


def _loaded(
    experiment: str, sweep: str, runs: pd.DataFrame, epochs: pd.DataFrame, tags: Mapping[str, str]
) -> LoadedRuns:
    """Return runs with what an experiment's tags tell: its tunings, and its plans, of one sweep or of all.

    Args:
        experiment: its name.
        sweep: the name of the sweep, or "".
        runs: one row per run, with all tags TAGS.
        epochs: as `_by_epoch` takes them.
        tags: the experiment's.
    """
    keys = [names.plan_of(sweep)] if sweep else [key for key in tags if key.startswith(names.PLAN_OF)]
    plans = tuple(plan for key in keys for plan in plans_in(tags.get(key)))
    tunings = tuple(tunings_in(tags))
    return LoadedRuns(experiment, sweep, _with_arms(runs, sweep), _by_epoch(epochs), plans, tunings)


def _choose(runs: pd.DataFrame, sweep: str | None, experiment: str | None) -> tuple[str, str, pd.DataFrame]:
    """Return the experiment, the sweep and the runs that are meant, less these two columns.

    Args:
        runs: all of the store, with experiment, start_time and sweep (the names it belongs to, or missing).
        sweep: the wanted sweep's name.
        experiment: the wanted experiment's name.
    """
    runs = runs[~runs["experiment"].str.endswith(names.REPORTS)].sort_values("start_time")
    if runs.empty:
        raise UserError(NOTHING)
    if not sweep and not experiment:
        runs = runs[~runs["experiment"].str.endswith(names.TRIED)]
        if runs.empty:
            raise UserError(TRIED_ALONE)
    swept = runs.assign(sweep=runs["sweep"].map(names.words)).explode("sweep").dropna(subset="sweep")
    kind, name, there = ("experiment", experiment, runs) if experiment else ("sweep", sweep, swept)
    if name:
        known = list(there[kind].unique())
        if name not in known:
            those = f"There are: {few(known, 20)}" if known else f"There is no {kind} with runs"
            raise UserError(f"there is no {kind} '{name}' with runs.{nearest(name, known)} {those}")
        there = there[there[kind] == name]
    elif there.empty:
        kind, there = "experiment", runs
    experiment, sweep = there["experiment"].iloc[-1], there["sweep"].iloc[-1] if kind == "sweep" else ""
    meant = runs["sweep"].map(lambda tag: not sweep or sweep in names.words(tag))
    found = runs[meant & (runs["experiment"] == experiment)]
    return experiment, sweep, found.drop(columns=["experiment", "sweep"]).reset_index(drop=True)


def _with_arms(runs: pd.DataFrame, sweep: str) -> pd.DataFrame:
    """Return runs with the place and the label that the sweep gave their arms, out of its tag of each."""
    column = f"tags.{names.arm_of(sweep)}"
    tags = runs.get(column, pd.Series(index=runs.index)).astype(object)
    parts = tags.where(tags.notna(), "").str.partition(" ")
    return runs.drop(columns=column, errors="ignore").assign(
        experiment_id=runs["experiment_id"].astype(str),
        place=pd.to_numeric(parts[0], errors="coerce").astype(float),
        label=parts[2].where(parts[2] != ""),
    )


def _by_epoch(long: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run and epoch of a table run_id, epoch, key, value; of two values the last."""
    last = long.drop_duplicates(["run_id", "epoch", "key"], keep="last")
    wide = last.pivot(index=["run_id", "epoch"], columns="key", values="value")
    columns = dict.fromkeys([*PER_EPOCH, *wide.columns])
    return wide.reindex(columns=list(columns)).rename_axis(columns=None).reset_index()
