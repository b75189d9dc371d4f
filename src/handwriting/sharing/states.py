"""What a store's runs are now, as one digest each: a look over a thousand takes a second."""

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sqlalchemy import column, create_engine, select, table

from handwriting.tracking import Store

# Of MLflow's tables, what makes a run, with the column that names it.
_PARTS = {
    "params": ("run_uuid", "key", "value"),
    "tags": ("run_uuid", "key", "value"),
    "metrics": ("run_uuid", "key", "value", "timestamp", "step", "is_nan"),
    "logged_models": ("source_run_id", "model_id", "status", "last_updated_timestamp_ms", "lifecycle_stage"),
}
_RUN = ("run_uuid", "name", "status", "start_time", "end_time", "artifact_uri", "lifecycle_stage")


def states(store: Store, run_id: str | None = None) -> dict[str, str]:
    """Return a digest of all that is stored of each run, by its id, the run that started first first.

    Of files, their size and the time of their last change.

    Args:
        store: a database with its files on this machine.
        run_id: of the only run that is asked about.
    """
    engine = create_engine(store.uri)
    try:
        with engine.connect() as connection:
            runs = table("runs", *map(column, _RUN))
            chosen = select(runs).where(runs.c.lifecycle_stage == "active").order_by(runs.c.start_time)
            if run_id:
                chosen = chosen.where(runs.c.run_uuid == run_id)
            found = {str(row.run_uuid): tuple(row) for row in connection.execute(chosen)}
            parts: dict[str, list[tuple]] = defaultdict(list)
            for name, columns in _PARTS.items():
                of = table(name, *map(column, columns))
                rows = select(of)
                if run_id:
                    rows = rows.where(of.c[columns[0]] == run_id)
                for row in connection.execute(rows):
                    parts[str(row[0])].append((name, *row[1:]))
    finally:
        engine.dispose()
    return {each: _digest(run, parts[each]) for each, run in found.items()}


def folder_of(uri: str) -> Path:
    """Return the folder that an address of artifacts on this machine names."""
    return Path(url2pathname(urlsplit(uri).path))


def files_in(folder: Path) -> list[Path]:
    """Return all files below a folder; nothing where there is none."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(run: tuple, parts: list[tuple]) -> str:
    values = dict(zip(_RUN, run, strict=True))
    folder = folder_of(values.pop("artifact_uri"))  # a store that was moved has the same runs
    files = [(file.relative_to(folder).as_posix(), file.stat()) for file in files_in(folder)]
    known = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]
    text = json.dumps([list(values.values()), sorted(parts, key=repr), known], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
