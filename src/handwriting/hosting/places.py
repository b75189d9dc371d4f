"""Where a server keeps what it is given: that it can be written, and had from other machines."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from handwriting.errors import UserError, redact
from handwriting.tracking import Store


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the lock of the server whose files are in a folder.

    Raises:
        UserError: another one runs, or the folder cannot be written.
    """
    lock = FileLock(folder / ".server.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"a server runs already on {folder}. End it, or name another database") from error
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()


def place_of(artifacts: str) -> str:
    """Return where the server writes files.

    Raises:
        UserError: it is neither a folder nor a bucket, or cannot be written.
    """
    if artifacts.startswith("s3://"):
        check_bucket(artifacts)
        return artifacts
    folder = Path(artifacts.removeprefix("file://"))
    if "://" in str(artifacts.removeprefix("file://")):
        raise UserError(f"--artifacts must be a folder or s3://BUCKET/FOLDER. Received: {redact(artifacts)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder.absolute())
    except OSError as error:
        raise UserError(f"--artifacts: {folder} cannot be written ({error.strerror})") from error


def check_bucket(address: str) -> None:
    """Make sure that a bucket answers.

    Raises:
        UserError: it does not, or boto3 is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise UserError(f"{redact(address)} needs boto3, which is not installed: make extras") from error
    settings = Config(connect_timeout=10, read_timeout=10, retries={"total_max_attempts": 1})
    verify = False if os.environ.get("MLFLOW_S3_IGNORE_TLS", "").lower() in ("true", "1") else None
    where = os.environ.get("MLFLOW_S3_ENDPOINT_URL")
    try:
        client = boto3.client("s3", endpoint_url=where, verify=verify, config=settings)
        client.head_bucket(Bucket=urlsplit(address).netloc)
    except (BotoCoreError, ClientError, ValueError) as error:
        reason = redact(" ".join(str(error).split()))
        raise UserError(f"--artifacts: {redact(address)} does not answer: {reason}") from error


def check_experiments(store: Store) -> None:
    """Make a store's tables where they are missing, and make sure that all files can be had from elsewhere.

    Before the server starts: two processes that set up one empty database get in each other's way.

    Raises:
        UserError: an experiment's files lie beside an SQLite file: programs of other machines would look for
            them on their own disks.
    """
    for experiment in store.client.search_experiments():
        if store.database and not urlsplit(experiment.artifact_location).scheme.startswith(("mlflow", "s3")):
            raise UserError(
                f"{store.database} is a store of this machine: the files of its experiment "
                f"'{experiment.name}' are in {experiment.artifact_location}. Serve a new one, and make sync "
                "copies the runs"
            )
