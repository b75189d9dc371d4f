"""What a store's runs are now, as one digest each: a look over a thousand takes a second."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sqlalchemy import ColumnElement, Select, column, select, table

from handwriting.sharing import Wanted
from handwriting.tracking import Store, names

# Of MLflow's tables, what makes a run, with the column that names it.
_PARTS = {
    "params": ("run_uuid", "key", "value"),
    "tags": ("run_uuid", "key", "value"),
    "metrics": ("run_uuid", "key", "value", "timestamp", "step", "is_nan"),
    "logged_models": ("source_run_id", "model_id", "status", "last_updated_timestamp_ms", "lifecycle_stage"),
}
_TAGS = table("tags", *map(column, _PARTS["tags"]))
_RUN = ("run_uuid", "name", "status", "start_time", "end_time", "artifact_uri", "lifecycle_stage")
_RUNS = table("runs", *map(column, (*_RUN, "experiment_id")))


def wanted_in(store: Store, wanted: Wanted) -> set[str]:
    """Return the ids of a database's runs of a sweep; without one, of those with a fingerprint."""
    if wanted.sweep:
        carries = (" " + _TAGS.c.value + " ").contains(f" {wanted.sweep} ", autoescape=True)
        chosen = (_TAGS.c.key == names.SWEEP) & carries
    else:
        chosen = (_TAGS.c.key == names.FINGERPRINT) & _TAGS.c.value.in_(wanted.fingerprints)
    return {str(run_id) for (run_id,) in _rows(store, select(_TAGS.c.run_uuid).where(chosen))}


def finished_in(store: Store, experiment_id: str) -> set[str]:
    """Return the fingerprints of a database's finished runs of an experiment."""
    done = (_RUNS.c.experiment_id == int(experiment_id)) & (_RUNS.c.status == "FINISHED")
    return _fingerprints(store, done)


def begun_guests_in(store: Store) -> set[str]:
    """Return the fingerprints of a database's copies that are not whole."""
    copies = select(_TAGS.c.run_uuid).where(_TAGS.c.key == names.ORIGIN)
    return _fingerprints(store, (_RUNS.c.status != "FINISHED") & _RUNS.c.run_uuid.in_(copies))


def guests_in(store: Store) -> dict[str, dict[str, str]]:
    """Return the tags of a database's runs that are copies, by the run's id."""
    copies = select(_TAGS.c.run_uuid).where(_TAGS.c.key == names.ORIGIN)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for run_id, key, value in _rows(store, select(_TAGS).where(_TAGS.c.run_uuid.in_(copies))):
        found[str(run_id)][str(key)] = str(value)
    return dict(found)


def states(store: Store, only: Collection[str] | None = None) -> dict[str, str]:
    """Return a digest of all that is stored of each run, by its id, the run that started first first.

    Of files, their size and the time of their last change.

    Args:
        store: a database with its files on this machine.
        only: the ids of the runs that are asked about; None for all.
    """
    with store.connected() as connection:
        active = _RUNS.c.lifecycle_stage == "active"
        chosen = select(*(_RUNS.c[name] for name in _RUN)).where(active).order_by(_RUNS.c.start_time)
        if only is not None:
            chosen = chosen.where(_RUNS.c.run_uuid.in_(only))
        found = {str(row.run_uuid): tuple(row) for row in connection.execute(chosen)}
        parts: dict[str, list[tuple]] = defaultdict(list)
        for name, columns in _PARTS.items():
            of = table(name, *map(column, columns))
            rows = select(of)
            if only is not None:
                rows = rows.where(of.c[columns[0]].in_(only))
            for row in connection.execute(rows):
                parts[str(row[0])].append((name, *row[1:]))
    return {each: _digest(run, parts[each]) for each, run in found.items()}


def folder_of(uri: str) -> Path:
    """Return the folder that an address of artifacts on this machine names."""
    return Path(url2pathname(urlsplit(uri).path))


def files_in(folder: Path) -> list[Path]:
    """Return all files below a folder; nothing where there is none."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _fingerprints(store: Store, which: ColumnElement[bool]) -> set[str]:
    runs = select(_RUNS.c.run_uuid).where(which, _RUNS.c.lifecycle_stage == "active")
    chosen = select(_TAGS.c.value).where(_TAGS.c.key == names.FINGERPRINT, _TAGS.c.run_uuid.in_(runs))
    return {str(value) for (value,) in _rows(store, chosen)}


def _rows(store: Store, asked: Select) -> list[tuple]:
    with store.connected() as connection:
        return [tuple(row) for row in connection.execute(asked)]


def _digest(run: tuple, parts: list[tuple]) -> str:
    values = dict(zip(_RUN, run, strict=True))
    folder = folder_of(values.pop("artifact_uri"))  # a store that was moved has the same runs
    files = [(file.relative_to(folder).as_posix(), file.stat()) for file in files_in(folder)]
    known = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]
    text = json.dumps([list(values.values()), sorted(parts, key=repr), known], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
