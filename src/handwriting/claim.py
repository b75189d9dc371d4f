"""Which run a config is: one that is finished, one that is live, one to go on with, or a new one."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
from filelock import FileLock, Timeout
from mlflow.entities import Run
from omegaconf import DictConfig

from handwriting.errors import UserError
from handwriting.provenance import computing_tags
from handwriting.store import store_folder
from handwriting.tracking import open_store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """The right to work on the run of a config, while its lock is held.

    Args:
        run: the finished run, or the unfinished one to go on with; None for a new one.
        repeats: the id of the newest run of the same config, for a forced one; else empty.
    """

    experiment_id: str
    fingerprint: str
    run: Run | None
    repeats: str = ""

    @property
    def finished(self) -> bool:
        """Tell whether there is nothing left to do."""
        return self.run is not None and self.run.info.status == "FINISHED"

    def keep(self, sweep: str) -> None:
        """Leave a finished run as it is; let it belong to `sweep` too, unless that is empty."""
        assert self.run is not None
        name, run_id = self.run.info.run_name, self.run.info.run_id
        log.info("%s  is finished already: run %s. force=true runs it again", name, run_id)
        sweeps = joined(self.run.data.tags, sweep)
        if sweeps:
            mlflow.MlflowClient().set_tag(run_id, "sweep", sweeps)


@contextmanager
def claim(cfg: DictConfig, fingerprint: str, wait: bool = False) -> Iterator[Claim]:
    """Lock a config's run against other processes, and find out how far it is.

    Args:
        cfg: a checked config.
        fingerprint: what it is known by.
        wait: wait for another process that works on it, however long it takes.

    Raises:
        UserError: another process works on it, and `wait` is False.
    """
    experiment_id = open_store(cfg.tracking)
    lock = lock_of(cfg.tracking.uri, experiment_id, fingerprint)
    try:
        # 2 s: to list runs, a process holds their locks for a moment.
        lock.acquire(timeout=2)
    except Timeout:
        if not wait:
            raise UserError(
                f"the run with fingerprint {fingerprint} is live in another process, and is left to it. "
                "Wait for it, or end that process"
            ) from None
        log.info("waits for the run with fingerprint %s, which another process works on", fingerprint)
        lock.acquire()
    try:
        yield _find(experiment_id, fingerprint, cfg.force)
    finally:
        lock.release()


def joined(tags: Mapping[str, str], sweep: str) -> str:
    """Return the tag `sweep` of a run that belongs to one more: the names, separated by spaces."""
    return " ".join(dict.fromkeys([*tags.get("sweep", "").split(), *sweep.split()]))


def lock_of(uri: str, experiment_id: str, fingerprint: str) -> FileLock:
    """Return the lock of a run; the operating system drops it with the process that holds it."""
    folder = store_folder(uri) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{experiment_id}-{fingerprint}.lock")


def is_live(uri: str, run: Run) -> bool:
    """Tell whether a process works on a run."""
    lock = lock_of(uri, run.info.experiment_id, run.data.tags.get("fingerprint", ""))
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


def checkpoints_folder(uri: str, run_id: str) -> Path:
    """Return the folder of a run's checkpoints."""
    return store_folder(uri) / "checkpoints" / run_id


def _find(experiment_id: str, fingerprint: str, force: bool) -> Claim:
    runs = mlflow.search_runs(
        [experiment_id],
        filter_string=f"tags.fingerprint = '{fingerprint}'",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    finished = [run for run in runs if run.info.status == "FINISHED"]
    if force:
        return Claim(experiment_id, fingerprint, None, repeats=runs[0].info.run_id if runs else "")
    if finished:
        return Claim(experiment_id, fingerprint, finished[0])
    now = computing_tags()
    for run in runs:
        other = {key: run.data.tags.get(key) for key in now if run.data.tags.get(key) != now[key]}
        if not other:
            return Claim(experiment_id, fingerprint, run)
        log.warning(
            "run %s is not gone on with: it was made with %s; a new one is started", run.info.run_id, other
        )
    return Claim(experiment_id, fingerprint, None)
