"""A store of runs: where it lies, whether it can be written, its locks and its experiments.

MLflow, which takes seconds to import, is imported by what needs it: a mistake is said at once.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from handwriting.config import DIRECT, ROOT, TrackingConfig
from handwriting.errors import UserError, redact
from handwriting.tracking import database, names

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

URI_VARIABLE = "MLFLOW_TRACKING_URI"
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")


def default_uri() -> str:
    """Return the store that MLFLOW_TRACKING_URI names, else the one under mlruns/.

    Raises:
        UserError: the current directory is another checkout, such as a copy whose .venv was copied with it.
    """
    here = Path("src/handwriting/__init__.py")
    if here.exists() and not here.samefile(ROOT / here):
        raise UserError(
            f"this folder is a checkout, and the code that runs is that of another one, {ROOT}. "
            "make setup builds this one's own .venv"
        )
    return os.environ.get(URI_VARIABLE) or local_uri()


def local_uri() -> str:
    """Return the store under mlruns/, of this machine."""
    return f"sqlite:///{ROOT}/mlruns/mlflow.db"


def stores_of(tracking: TrackingConfig) -> "tuple[Store, Store | None]":
    """Return the store that runs are written to, and the shared one that they are copied to, if there is one.

    Raises:
        UserError: the URI is neither a database nor a server.
    """
    named = Store(tracking.uri)
    if named.database is not None or tracking.mode == DIRECT:
        return named, None
    return Store(local_uri()), named


class Store:
    """One store, made from an MLflow tracking URI.

    Args:
        uri: a database, such as sqlite:////folder/mlflow.db, or a server.

    Attributes:
        database: the absolute path of an SQLite file; None for other stores.
        folder: of artifacts, checkpoints, locks and logs: beside an SQLite file, else mlruns/.

    Raises:
        UserError: the URI is neither a database nor a server.
    """

    def __init__(self, uri: str):
        if urlsplit(uri).scheme not in SCHEMES:
            raise UserError(
                "tracking.uri must be a database or a server, such as sqlite:////folder/mlflow.db or "
                f"http://localhost:5000: MLflow has closed its file store. Received: {redact(uri)}"
            )
        self.uri = uri
        path = uri.removeprefix("sqlite:///").partition("?")[0]
        self.database = Path(path).absolute() if uri.startswith("sqlite:///") else None
        self.folder = self.database.parent if self.database else ROOT / "mlruns"

    def check(self, made: bool = False) -> None:
        """Make sure that runs can be written, and that an SQLite store is whole and in its own place.

        Args:
            made: refuse a store that is not there yet, which the first run makes.

        Raises:
            UserError: the database cannot be written; names it, the cause and the key to set.
        """
        if self.database is None:
            return
        if made and not self.database.exists():
            raise UserError(
                f"there is no store {self.database} yet. Train some runs: make sweep, or make quick"
            )
        try:
            with self.creating():
                (self.folder / database.ARTIFACTS).mkdir(exist_ok=True)
                if self.database.exists():
                    database.open_again(self.database)
        except (OSError, sqlite3.Error) as error:
            raise UserError(
                f"the store {self.database} cannot be written ({error}). Make it writable, or name another "
                "one: tracking.uri=sqlite:////folder/mlflow.db"
            ) from error

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say in one line why the store or the disk took something no more.

        What was stored before is whole: each write is one transaction, each checkpoint one rename.

        Raises:
            UserError: instead of MLflow's and the operating system's errors.
        """
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            # Of a copy that failed, the second name is the one in the store.
            place = getattr(error, "filename2", None) or getattr(error, "filename", None) or redact(self.uri)
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            if self.uri.startswith("http") and isinstance(error.__context__, OSError):
                reason = "the server does not answer"
            raise UserError(
                f"{place}: {reason}. What was stored is whole; mend the cause, and the same command goes on"
            ) from error

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client of this store, which is made where it is missing.

        The process's own functions of MLflow use it from then on.
        """
        self.check()

        import mlflow
        from sqlalchemy import Engine, event

        if not event.contains(Engine, "before_cursor_execute", _wait_for_busy_store):
            event.listen(Engine, "before_cursor_execute", _wait_for_busy_store, retval=True)
        if self.database:
            with self.creating():
                if not self.database.exists():
                    database.create(self.database)
        self.become_current()
        return mlflow.MlflowClient(self.uri)

    def become_current(self) -> None:
        """Let MLflow's own functions use this store.

        The environment stays as it is: MLflow would put this store in place of the one that the user named.
        """
        import mlflow

        named = {key: os.environ[key] for key in (URI_VARIABLE,) if key in os.environ}
        mlflow.set_tracking_uri(self.uri)
        os.environ.pop(URI_VARIABLE, None)
        os.environ.update(named)

    def open_experiment(self, name: str) -> str:
        """Return an experiment's id; make the store and the experiment where they are missing.

        Raises:
            UserError: the store cannot be written, or the experiment was deleted.
        """
        from mlflow.exceptions import MlflowException

        client = self.client
        with self.creating():
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                # A server decides itself where its artifacts go.
                location = (self.folder / database.ARTIFACTS).as_uri() if self.database else None
                try:
                    return client.create_experiment(name, artifact_location=location)
                except MlflowException as error:  # another machine, which our lock does not hold, was first
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    experiment = client.get_experiment_by_name(name)
                    assert experiment is not None
        if experiment.lifecycle_stage == "deleted":
            raise UserError(
                f"the experiment '{name}' was deleted. Restore it (mlflow experiments restore "
                f"-x {experiment.experiment_id}), or name another: tracking.experiment_name=NAME"
            )
        return experiment.experiment_id

    def creating(self) -> FileLock:
        """Return the lock that a process holds while it makes a database, an experiment or a data set.

        MLflow looks whether there is one and then makes it, in two steps: of several processes that start at
        once, all but one would fail.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".mlflow.lock")

    def lock_of(self, experiment_id: str, fingerprint: str) -> FileLock:
        """Return the lock of a run; the operating system drops it with the process that holds it."""
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{experiment_id}-{fingerprint}.lock")

    def is_live(self, run: "Run") -> bool:
        """Tell whether a process works on a run."""
        lock = self.lock_of(run.info.experiment_id, run.data.tags.get(names.FINGERPRINT, ""))
        try:
            with lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def checkpoints_of(self, run_id: str) -> Path:
        """Return the folder of a run's checkpoints."""
        return self.folder / "checkpoints" / run_id


def _wait_for_busy_store(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    """Let SQLite wait two minutes for another writer; MLflow gives up after 20 s in each session."""
    if statement.startswith("PRAGMA busy_timeout"):
        statement = f"PRAGMA busy_timeout = {database.BUSY_SECONDS * 1000};"
    return statement, parameters


OmegaConf.register_new_resolver("default_store", default_uri, replace=True)
OmegaConf.register_new_resolver("store_folder", lambda uri: str(Store(uri).folder), replace=True)
