"""The SQLite file of a store: made in one step, and its addresses kept right when its folder is moved.

Each function is called by a process that holds the store's lock (`Store.creating`).
"""

import logging
import os
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from handwriting.errors import UserError

log = logging.getLogger(__name__)

BUSY_SECONDS = 120  # for which a store that another process writes to is waited for
ARTIFACTS = "artifacts"  # the folder beside the database
# Where MLflow keeps absolute addresses.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def create(database: Path, artifacts: str) -> None:
    """Let MLflow make its tables under another name, and give the file its own name when it is whole.

    MLflow alone makes them in place, in 1,683 statements, each for itself: a process that ends among them
    leaves a file that nobody can open again. The first experiment's address tells where the store was made.

    Args:
        database: what is made.
        artifacts: the root of the first experiment's files.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import Engine, event

    unfinished = database.with_name(f"{database.name}.unfinished")
    for left in _files_of(unfinished):
        left.unlink(missing_ok=True)
    event.listen(Engine, "connect", _do_not_wait_for_the_disk)
    try:
        made = SqlAlchemyStore(f"sqlite:///{unfinished}", artifacts)  # type: ignore[no-untyped-call]
    finally:
        event.remove(Engine, "connect", _do_not_wait_for_the_disk)
    made.engine.dispose()
    with closing(sqlite3.connect(unfinished)) as connection:
        # Readers and one writer work side by side. The mode is set once and stays in the file.
        connection.execute("PRAGMA journal_mode=WAL")
    with unfinished.open("rb") as file:
        os.fsync(file)
    for left in _files_of(database)[1:]:  # the log of another file, which would be taken for this one's
        left.unlink(missing_ok=True)
    os.replace(unfinished, database)


def _do_not_wait_for_the_disk(connection: sqlite3.Connection, _record: object) -> None:
    """Save half of the time: the file counts for nothing before all of it is on the disk."""
    connection.execute("PRAGMA synchronous=OFF")


def open_again(database: Path) -> None:
    """Make sure that runs can be written to a file, and that it is a whole store in its own folder.

    What earlier versions or MLflow alone left half made holds no run: it is set aside, so that it is made
    anew. A file without any table is nothing yet.

    Raises:
        UserError: the file is somebody else's database.
        sqlite3.Error: it cannot be written, or is none.
    """
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {name for (name,) in found}
        if tables and not {"alembic_version", "experiments", "runs"} & tables:
            raise UserError(
                f"{database} is a database of something else than MLflow (it has the table {min(tables)}). "
                "Name another one: tracking.uri=sqlite:////folder/mlflow.db"
            )
        whole = _count(connection, tables, "experiments") > 0  # MLflow makes the first one last
        if whole:
            _set_addresses(connection, tables, database.parent)
        empty = not whole and _count(connection, tables, "runs") == 0
        connection.execute("COMMIT")
        if not empty:
            connection.execute("PRAGMA journal_mode=WAL")  # of a store that MLflow alone made
            return
        connection.execute("PRAGMA journal_mode=DELETE")  # all of it is in the one file then
    if not tables:
        database.unlink()
        return
    aside = database.with_name(f"{database.name}.half-made-{datetime.now():%Y-%m-%dT%H-%M-%S}")
    os.replace(database, aside)
    log.warning(
        "the store %s was left half made, without a run; it is set aside as %s and made anew",
        database, aside.name,
    )  # fmt: skip


def wait_for_others(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    """Let SQLite wait two minutes for another writer; MLflow gives up after 20 s in each session."""
    if statement.startswith("PRAGMA busy_timeout"):
        statement = f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000};"
    return statement, parameters


def _set_addresses(connection: sqlite3.Connection, tables: set[str], folder: Path) -> None:
    """Let the addresses of a store that was moved or copied name its own folder, in this transaction."""
    before = _made_in(connection)
    if before is None or before == folder or (before.exists() and before.samefile(folder)):
        return
    changed = 0
    for table, column in ADDRESSES:
        if table in tables:
            for old, new in ((before.as_uri(), folder.as_uri()), (str(before), str(folder))):
                changed += connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608  # our own names
                    f"WHERE substr({column}, 1, ?) = ?",
                    (f"{new}/", len(old) + 2, len(old) + 1, f"{old}/"),
                ).rowcount
    log.warning("the store was moved or copied from %s: %d addresses name %s now", before, changed, folder)


def _made_in(connection: sqlite3.Connection) -> Path | None:
    """Return the folder in which a store was made, or was set right last; None where that is not known.

    Our experiments lie in FOLDER/artifacts, and the first one of a store that `create` made, below it.
    """
    query = "SELECT artifact_location FROM experiments ORDER BY experiment_id"
    for (address,) in connection.execute(query):
        path = Path(url2pathname(urlsplit(address).path))
        for place in (path, path.parent):
            if place.name == ARTIFACTS and urlsplit(address).scheme in ("", "file"):
                return place.parent
    return None


def _count(connection: sqlite3.Connection, tables: set[str], table: str) -> int:
    if table not in tables:
        return 0
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


def _files_of(database: Path) -> list[Path]:
    """Return an SQLite file and those that SQLite keeps beside it."""
    return [database, *(database.with_name(database.name + end) for end in ("-wal", "-shm", "-journal"))]
