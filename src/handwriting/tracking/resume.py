"""Which run a config is: one that is finished, one that is live, one to go on with, or a new one."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
from filelock import Timeout
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException

from handwriting.config import TrackingConfig
from handwriting.errors import UserError
from handwriting.tracking import names
from handwriting.tracking.identity import Identity, difference
from handwriting.tracking.leases import Lease, right_to
from handwriting.tracking.provenance import computing_tags
from handwriting.tracking.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What the store has of a config, and the right to work on it while that is held.

    Args:
        run: the finished run, or the unfinished one to go on with; None for a new one.
        repeats: the id of the newest run of the same config, for a forced one; else empty.
    """

    store: Store
    experiment_id: str
    identity: Identity
    run: Run | None
    repeats: str = ""

    @property
    def finished(self) -> bool:
        """Tell whether there is nothing left to do."""
        return self.run is not None and self.run.info.status == "FINISHED"

    def keep(self, tracking: TrackingConfig) -> None:
        """Leave a finished run as it is; let it belong to a sweep too, if there is one."""
        assert self.run is not None
        name, run_id = self.run.info.run_name, self.run.info.run_id
        if tracking.label:  # in this sweep; the run's own name is of the sweep that made it
            name = f"{tracking.label} seed {self.run.data.params['seed']}"
        log.info("%s  is finished already: run %s. force=true runs it again", name, run_id)
        tags = sweep_tags(tracking, self.run.data.tags)
        self.store.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def sweep_tags(tracking: TrackingConfig, stored: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that say to which sweep a run belongs, beside those stored; none without a sweep."""
    if not tracking.sweep:
        return {}
    return {
        names.SWEEP: names.joined(stored.get(names.SWEEP), tracking.sweep),
        names.arm_of(tracking.sweep): f"{tracking.arm} {tracking.label}",
    }


@contextmanager
def find_run(
    store: Store, experiment: str, identity: Identity, force: bool = False, wait: bool = False
) -> Iterator[Found]:
    """Hold a config's run against other processes, on whichever machine, and find out how far it is.

    Args:
        store: where it is looked for.
        experiment: the name of its experiment.
        identity: what it is known by.
        force: start a new one, whatever there is.
        wait: wait for another process that works on it, however long it takes.

    Raises:
        UserError: another process works on it, and `wait` is False.
    """
    experiment_id = store.open_experiment(experiment)
    right = right_to(store, experiment_id, identity.fingerprint)
    try:
        # 2 s: to list runs, a process holds their locks for a moment.
        right.acquire(timeout=2)
    except Timeout:
        whose = f" ({right.holder})" if isinstance(right, Lease) and right.holder else ""
        if not wait:
            raise UserError(
                f"the run with fingerprint {identity.fingerprint} is live in another process{whose}, and is "
                "left to it. Wait for it, or end that process"
            ) from None
        log.info(
            "waits for the run with fingerprint %s, which another process%s works on",
            identity.fingerprint, whose,
        )  # fmt: skip
        right.acquire()
    try:
        yield _find(store, experiment_id, identity, force)
    finally:
        right.release()


def _find(store: Store, experiment_id: str, identity: Identity, force: bool) -> Found:
    runs = _runs_with(experiment_id, names.FINGERPRINT, identity.fingerprint)
    if force:
        return Found(store, experiment_id, identity, None, repeats=runs[0].info.run_id if runs else "")
    finished = [run for run in runs if run.info.status == "FINISHED"]
    if finished:
        return Found(store, experiment_id, identity, finished[0])
    now = computing_tags()
    for run in runs:
        if names.ORIGIN in run.data.tags:  # a copy that is not whole: what it is of is another machine's
            continue
        other = {key: run.data.tags.get(key) for key in now if run.data.tags.get(key) != now[key]}
        if not other:
            return Found(store, experiment_id, identity, run)
        log.warning(
            "run %s is not gone on with: it was made with %s; a new run is started", run.info.run_id, other
        )
    if not runs:
        _say_what_other_code_did(store, experiment_id, identity)
    return Found(store, experiment_id, identity, None)


def _say_what_other_code_did(store: Store, experiment_id: str, identity: Identity) -> None:
    """Name the newest run of the same setting by another code, and what differs in the code."""
    for run in _runs_with(experiment_id, names.SETTING, identity.setting_digest)[:1]:
        done = "skipped" if run.info.status == "FINISHED" else "gone on with"
        try:
            path = store.client.download_artifacts(run.info.run_id, names.CODE_FILE)
            differs = difference(json.loads(Path(path).read_bytes()), identity.code)
        except (MlflowException, OSError, ValueError):
            differs = f"its {names.CODE_FILE} cannot be read"
        log.warning(
            "%s  run %s is not %s: the code differs in %s; a new run is started",
            run.info.run_name, run.info.run_id, done, differs,
        )  # fmt: skip


def _runs_with(experiment_id: str, tag: str, value: str) -> list[Run]:
    """Return the runs that have a tag, newest first."""
    found = mlflow.search_runs(
        [experiment_id],
        filter_string=f"tags.{tag} = '{value}'",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    return list(found)
