"""A database server that holds a store: its address, its driver, a connection, MLflow's tables in it.

SQLAlchemy takes a fifth of a second to import, MLflow three: each is imported by what needs it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handwriting.errors import UserError, redact

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROOT_SETTING = "MLFLOW_DEFAULT_ARTIFACT_ROOT"  # what MLflow's own server calls it
PATIENCE = 10  # s until a PostgreSQL that says nothing is given up; psycopg waits for more than two minutes
LOCK = 0x4D4C_666C_6F77  # of PostgreSQL's own kind; any number that nobody else takes in this database


def check_address(uri: str) -> None:
    """Make sure that an address means what it seems to, so that its password can be told from the rest.

    Raises:
        UserError: a name or a password has signs that end it; the message shows none of it.
    """
    if re.search(r"[\s/@\[\]]", uri.partition("://")[2].rpartition("@")[0]):
        raise UserError(
            "in the address of a store the signs @ / [ ] and blanks of a name or a password are written as "
            "%40 %2F %5B %5D %20"
        )


def check_driver(uri: str) -> None:
    """Make sure that what connects to a database is installed.

    Raises:
        UserError: it is not, or there is no such thing; says what to install or to write.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    scheme = uri.partition("://")[0]
    try:
        make_url(uri).get_dialect().import_dbapi()
    except (ArgumentError, ValueError) as error:
        raise UserError(
            "the address of a database is KIND://NAME:PASSWORD@HOST:PORT/DATABASE, such as "
            f"postgresql://me@tracking.lab/mlflow. This one, which begins with {scheme}://, is none"
        ) from error
    except ImportError as error:
        if scheme in ("postgresql", "postgresql+psycopg"):
            needs = "psycopg 3, which is not installed: make extras, or pip install 'psycopg[binary]'"
        else:
            needs = f"{error.name}, which is not installed"
        if scheme == "postgresql+psycopg2":
            needs += ". psycopg 3 takes the same address as postgresql://: make extras"
        raise UserError(f"{scheme}:// needs {needs}") from error


@contextmanager
def connected(uri: str) -> "Iterator[Connection]":
    """Yield a connection to a database.

    Raises:
        UserError: it does not open.
    """
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import SQLAlchemyError

    url = make_url(uri)
    arguments: dict[str, Any] = {}
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        arguments["connect_timeout"] = PATIENCE
    engine = create_engine(url, connect_args=arguments)
    try:
        try:
            connection = engine.connect()
        except SQLAlchemyError as error:
            reason = redact(" ".join(str(getattr(error, "orig", error)).split()))
            if url.password:
                reason = reason.replace(str(url.password), "***")
            raise UserError(f"the store {redact(uri)} cannot be opened: {reason}") from error
        with connection:
            yield connection
    finally:
        engine.dispose()


def named_root() -> str:
    """Return the root under which the files of new experiments go.

    Raises:
        UserError: it is not named, or is no such thing. MLflow alone takes the current directory.
    """
    root = os.environ.get(ROOT_SETTING, "")
    right = f"{ROOT_SETTING}=s3://BUCKET/FOLDER, or a folder that all machines have, from its / on"
    if not root:
        raise UserError(f"where the files of runs go must be named beside a database: {right}")
    if not ("://" in root or Path(root).is_absolute()) or redact(root) != root:
        raise UserError(f"it must be {right}, without a password. Received: {redact(root)}")
    return root


def is_whole(connection: "Connection") -> bool:
    """Tell whether MLflow has made its tables and, which it does last, the first experiment."""
    from sqlalchemy import column, func, inspect, select, table

    if not inspect(connection).has_table("experiments"):
        return False
    count = select(func.count(column("experiment_id"))).select_from(table("experiments"))
    return bool(connection.execute(count).scalar())


def create(uri: str, artifacts: str) -> None:
    """Let MLflow make its tables; one machine at a time, where that is PostgreSQL.

    A process that ends meanwhile leaves none there, or five with which the next one goes on.

    Args:
        uri: of a database that is not whole.
        artifacts: the root of the first experiment's files; MLflow's default is the current directory.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import func, select

    with connected(uri) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_lock(LOCK)))  # until the connection is closed
        SqlAlchemyStore(uri, artifacts)  # type: ignore[no-untyped-call]
