"""A store of runs: where it lies, whether it can be written, its locks and its experiments.

MLflow, which takes seconds to import, is imported by what needs it: a mistake is said at once.
"""

import importlib.util
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from handwriting.config import ROOT
from handwriting.errors import UserError, nearest, redact
from handwriting.tracking import database, sql

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from sqlalchemy import Connection

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DATABASES = ("postgresql", "mysql", "mssql")  # in a server of theirs; each may name a driver, as KIND+DRIVER
STARTS = ("sqlite:///", "http://", "https://")


class Store:
    """One store, made from an MLflow tracking URI.

    Args:
        uri: a database, such as sqlite:////folder/mlflow.db, or a server.
        artifacts: the root under which the files of new experiments go; default: artifacts/ beside an SQLite
            file, what MLFLOW_DEFAULT_ARTIFACT_ROOT says for another database, and a server decides itself.

    Attributes:
        database: the absolute path of an SQLite file; None for other stores.
        folder: of artifacts, checkpoints, locks and logs: beside an SQLite file, else mlruns/.

    Raises:
        UserError: the URI is neither a database nor a server, or what connects to it is not installed.
    """

    def __init__(self, uri: str, artifacts: str | None = None):
        kind = uri.partition("://")[0].partition("+")[0]
        self._is_served = kind in DATABASES
        if not uri.startswith("sqlite:"):
            sql.check_address(uri)
        if not self._is_served and not uri.startswith(STARTS):
            raise UserError(
                "tracking.uri must be a database or a server, such as sqlite:////folder/mlflow.db or "
                "http://localhost:5000: MLflow has closed its file store. "
                f"Received: {redact(uri)}{nearest(kind, DATABASES)}"
            )
        if self._is_served:
            sql.check_driver(uri)
        self.uri, self._artifacts = uri, artifacts
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
        if self.database is None and not self._is_served:
            return
        there = self.database.exists() if self.database else self._is_whole()
        if made and not there:
            place = self.database or redact(self.uri)
            raise UserError(f"there is no store {place} yet. Train some runs: make sweep, or make quick")
        if self.database is None:
            if not there:
                self.artifact_root()
            return
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
    def connected(self) -> "Iterator[Connection]":
        """Yield a connection to the database that the store is.

        Raises:
            UserError: it does not open.
        """
        with sql.connected(self.uri) as connection:
            yield connection

    def _is_whole(self) -> bool:
        with self.connected() as connection:
            return sql.is_whole(connection)

    def artifact_root(self) -> str | None:
        """Return the root under which the files of new experiments go; None where a server decides.

        Raises:
            UserError: of a database that several machines reach it is not named, or is no such thing.
        """
        if self._artifacts or not (self._is_served or self.database):
            return self._artifacts
        if self.database:
            return (self.folder / database.ARTIFACTS).as_uri()
        return sql.named_root()

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

        if not event.contains(Engine, "before_cursor_execute", database.wait_for_others):
            event.listen(Engine, "before_cursor_execute", database.wait_for_others, retval=True)
        if self.database or self._is_served:
            with self.creating():
                if self._is_served and not self._is_whole():
                    sql.create(self.uri, str(self.artifact_root()))
                elif self.database and not self.database.exists():
                    database.create(self.database, str(self.artifact_root()))
        self.become_current()
        return mlflow.MlflowClient(self.uri)

    def become_current(self) -> None:
        """Let MLflow's own functions use this store.

        The environment stays as it is: MLflow would put this store in place of the one that the user named.
        """
        import mlflow

        named = os.environ.get(URI_VARIABLE)
        mlflow.set_tracking_uri(self.uri)
        if named is None:
            os.environ.pop(URI_VARIABLE, None)
        else:
            os.environ[URI_VARIABLE] = named

    def search(self, experiment_ids: list[str], where: str = "", deleted: bool = False) -> "Iterator[Run]":
        """Yield all runs of some experiments that fit a filter; MLflow's client gives a page at a time."""
        from mlflow.entities import ViewType

        which = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
        token: str | None = ""
        while token is not None:
            found = self.client.search_runs(experiment_ids, where, which, 1000, page_token=token or None)
            yield from found
            token = found.token or None

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
                root = self.artifact_root()
                self._check_files(name, root or "")
                try:
                    return client.create_experiment(name, artifact_location=root)
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
        self._check_files(name, experiment.artifact_location)
        return experiment.experiment_id

    def _check_files(self, experiment: str, address: str) -> None:
        """Make sure that this process can write an experiment's files."""
        if address.startswith("s3:") and importlib.util.find_spec("boto3") is None:
            raise UserError(
                f"{address} needs boto3, which is not installed: make extras, or pip install boto3"
            )
        proxied = "mlflow-artifacts:"
        is_servers_own = self.uri.startswith("http") or (self._artifacts or "").startswith(proxied)
        if address.startswith(proxied) and not is_servers_own:
            raise UserError(
                f"the files of the experiment '{experiment}' go through a server: "
                "name that, http://SERVER:PORT, in place of its database"
            )

    def creating(self) -> FileLock:
        """Return the lock that a process holds while it makes a database, an experiment or a data set.

        MLflow looks whether there is one and then makes it, in two steps: of several processes that start at
        once, all but one would fail.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".mlflow.lock")

    def lock_of(self, experiment_id: str, fingerprint: str) -> FileLock:
        """Return the lock of a run on this machine; it is dropped with the process that holds it."""
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{experiment_id}-{fingerprint}.lock")
