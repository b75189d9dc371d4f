"""Where things lie on disk, and whether they can be written. Needs no MLflow: it answers at once."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from handwriting.errors import UserError

ROOT = Path(__file__).parents[2]
REPORTS = "-reports"  # ends the name of an experiment that holds reports, no training runs
BUSY_SECONDS = 120  # for which a store that another process writes to is waited for


def default_uri() -> str:
    """Return the store that MLFLOW_TRACKING_URI names, else the one under mlruns/."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{ROOT}/mlruns/mlflow.db"


def sqlite_path(uri: str) -> Path | None:
    """Return the absolute path of the SQLite file that a tracking URI names; None for other stores."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]).absolute()


def store_folder(uri: str) -> Path:
    """Return the folder of artifacts, checkpoints and logs: beside an SQLite file, else mlruns/."""
    database = sqlite_path(uri)
    return database.parent if database else ROOT / "mlruns"


def check_store(uri: str) -> None:
    """Make sure that runs can be written, and let readers and one writer work side by side (WAL).

    The journal mode is set once and stays in the file.

    Raises:
        UserError: the database cannot be written; names it, the cause and the key to set.
    """
    database = sqlite_path(uri)
    if database is None:
        return
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        (database.parent / "artifacts").mkdir(exist_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise UserError(
            f"the store {database} cannot be written ({error}). Make it writable, or name another one: "
            "tracking.uri=sqlite:////folder/mlflow.db"
        ) from error
