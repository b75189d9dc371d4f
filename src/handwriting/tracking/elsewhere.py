"""Checkpoints where another machine finds them: in a folder that all share, or copied to an address.

An address goes through MLflow's own artifact repositories, which take the addresses and the credentials that
its stores take: s3://, gs://, abfss://, hdfs://, sftp://, mlflow-artifacts:/. fsspec takes the like, but
beside boto3 1.44, which MLflow's S3 needs, only an s3fs of 2020 can be installed.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from handwriting.config import TrackingConfig, is_address
from handwriting.errors import UserError, redact
from handwriting.tracking.store import Store

log = logging.getLogger(__name__)


def check_place(tracking: TrackingConfig) -> None:
    """Make sure that checkpoints can be kept where it is said, before the first job needs it.

    Raises:
        UserError: the folder cannot be written, or the address does not answer or is none.
    """
    place = tracking.checkpoints
    if place is None:
        return
    if is_address(place):
        Elsewhere(place, "", tracking.uri).check()
        return
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise UserError(
            f"tracking.checkpoints={place}: nothing can be written there ({error.strerror}). Name a folder "
            "that all machines share, or an address such as s3://BUCKET/FOLDER"
        ) from error


def where_kept(tracking: TrackingConfig) -> str:
    """Return in words where another machine goes on with a job that was begun on one that is lost."""
    if tracking.checkpoints:
        return (
            f"checkpoints: {redact(tracking.checkpoints)}. Another machine goes on after a job's last epoch"
        )
    return (
        "checkpoints: on each machine's own disk. Another machine begins a job from its start; "
        "tracking.checkpoints=FOLDER, which all share, or s3://BUCKET/FOLDER lets it go on"
    )


def place_of(tracking: TrackingConfig, store: Store, run_id: str) -> "tuple[Path, Elsewhere | None]":
    """Return the folder of a run's checkpoints, and where a copy of each goes too."""
    place = tracking.checkpoints
    if place is None or is_address(place):
        there = Elsewhere(place, run_id, store.uri) if place else None
        return store.folder / "checkpoints" / run_id, there
    return Path(place) / run_id, None


class Elsewhere:
    """A copy of one run's checkpoints at an address.

    Args:
        address: of a folder for all runs.
        run_id: of the run.
        tracking_uri: of the store, through whose server mlflow-artifacts:/ goes.
    """

    def __init__(self, address: str, run_id: str, tracking_uri: str):
        self.address = f"{address.rstrip('/')}/{run_id}".rstrip("/")
        self._tracking_uri = tracking_uri

    @cached_property
    def _there(self) -> Any:  # an ArtifactRepository; most of its methods are untyped
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(self.address, tracking_uri=self._tracking_uri)

    def check(self) -> None:
        """Make sure that the address answers; raises as `fetch`."""
        with self._errors():
            self._names()

    def fetch(self, folder: Path) -> None:
        """Bring each checkpoint that a folder lacks.

        Raises:
            UserError: the address does not answer, or is none.
        """
        with self._errors():
            for name in sorted(set(self._names()) - {path.name for path in folder.iterdir()}):
                temporary = folder / "fetched"
                self._there._download_file(name, str(temporary))  # `download_artifacts` makes it in place
                os.replace(temporary, folder / name)

    def put(self, path: Path, kept: set[str]) -> None:
        """Copy a checkpoint there, and leave there, of all, only it and those to be kept.

        Training goes on where the address takes nothing: what it takes next stands for this one too.
        """
        try:
            with self._errors():
                self._there.log_artifact(str(path))
                for name in set(self._names()) - kept:
                    self._there.delete_artifacts(name)
        except UserError as error:
            log.warning("%s: another machine would go on with the one before it", error)

    def remove(self) -> None:
        """Remove all of them there."""
        try:
            with self._errors():
                self._there.delete_artifacts()
        except UserError as error:
            log.warning("%s: they stay there", error)

    def _names(self) -> list[str]:
        return [found.path for found in self._there.list_artifacts() if not found.is_dir]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each kind of address has errors of its own
            reason = redact(str(error).strip().partition("\n")[0]) or type(error).__name__
            raise UserError(f"the checkpoints at {redact(self.address)}: {reason}") from error
