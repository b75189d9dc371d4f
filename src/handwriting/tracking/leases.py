"""Who may work on a run: one process at a time, whichever machines share the store.

Those of one folder have the operating system's own locks, which end with their process. Among machines the
store decides: MLflow stores a run's parameter once and never changes it, so of several processes that write
the same one a single one wins. That holds through a server and in its database alike, so that those who go
through the server and those who connect to PostgreSQL see each other; of PostgreSQL's advisory locks a server
says nothing.
"""

import hashlib
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from handwriting.tracking import names
from handwriting.tracking.run import asking_once
from handwriting.tracking.signals import signals_held
from handwriting.tracking.store import Store

log = logging.getLogger(__name__)

BEAT = 15.0  # s from one renewal to the next; of a thousand runs at once a small server takes 20 s (LOG.md)
ENDS = 90.0  # s without one, after which a holder ends itself: a server may be started again in the meantime
TAKEN = 120.0  # s without one, after which another may take its place; longer than ENDS by slow requests
LOOK = 1.0  # s from one look at another's lease to the next
GIVEN_UP = "given up"  # in a holder's place, where who has made a lease wants it no more
HOLDER = "holder."  # begins the parameter that names a lease's holder, its first, second, ...


def right_to(store: Store, experiment_id: str, fingerprint: str) -> "FileLock | Lease":
    """Return what a process holds while it works on a run."""
    if store.database:
        return store.lock_of(experiment_id, fingerprint)
    return Lease(store, experiment_id, fingerprint)


def live(store: Store, runs: Iterable[Run]) -> set[str]:
    """Return the ids of the runs that a process works on.

    Of leases, by the clocks of the two machines: these must agree within a minute. Who takes a lease over
    trusts no other clock than its own.
    """
    if store.database:
        return {run.info.run_id for run in runs if _is_locked(store, run)}
    found = store.search([store.open_experiment(names.LEASES)])
    held = {lease.data.tags.get(names.LEASE) for lease in found if _age(lease) < TAKEN}
    return {run.info.run_id for run in runs if _key(run.info.experiment_id, _fingerprint(run)) in held}


class Lease:
    """The right to a run, which its holder renews; who holds it ends its process when it is lost.

    A lease is a run of the experiment `leases`, which is deleted when it is given back. A process that finds
    none makes one and looks again; it holds the right when it is the newest holder of each that it has seen.
    Of two processes the one that looks last sees the other's, so that both want that one, and one gets it.
    Beside it the holder has the lock of its folder: who gets that too knows that the holder is gone.

    Args:
        store: a shared one.
        experiment_id: of the run's experiment.
        fingerprint: of the run.
    """

    def __init__(self, store: Store, experiment_id: str, fingerprint: str):
        self.store, self.fingerprint = store, fingerprint
        self.key = _key(experiment_id, fingerprint)
        self._lock = store.lock_of(experiment_id, fingerprint)
        self._place = _place(Path(self._lock.lock_file).parent)
        self.name = f"{platform.node()} process {os.getpid()} {uuid.uuid4().hex[:8]}-{self._place}"
        self.holder = ""  # the other one that was seen last
        self._said = False
        self._experiment = store.open_experiment(names.LEASES)
        self._held: list[str] = []
        self._seen: dict[str, tuple[tuple[str, ...], float]] = {}  # each lease, and since when it is as it is
        self._moved: set[str] = set()  # those that changed while we looked
        self._renewed = 0.0
        self._given_back = threading.Event()

    def acquire(self, timeout: float | None = None) -> None:
        """Get the right.

        Args:
            timeout: s to wait for another holder that is at work; None for as long as it takes. One that
                shows no life is watched for TAKEN seconds in any case, and then has lost it.

        Raises:
            Timeout: another process is at work.
        """
        began = _now()
        self._given_back.clear()
        self._lock.acquire(timeout=-1 if timeout is None else timeout)
        try:
            while self._blocked_by_the_living():
                if timeout is not None and _now() - began > timeout:
                    raise Timeout(self.key)
            for watch in (self._renew, self._end_in_time):
                threading.Thread(target=watch, daemon=True).start()
        except BaseException:
            self.release()
            raise

    @signals_held()
    def release(self) -> None:
        """Give it back; one that cannot be given back now is free when it is not renewed."""
        self._given_back.set()
        try:
            with suppress(MlflowException, OSError), asking_once():
                while self._held:
                    self.store.client.delete_run(self._held[-1])
                    self._held.pop()
        finally:
            self._lock.release()

    def _blocked_by_the_living(self) -> bool:
        """Tell whether another holder is at work, once that is known; False where the right is ours."""
        while (other := self._attempt()) is not None:
            time.sleep(LOOK)
            if self._is_at_work(other):
                return True
            if not self._said:
                self._said = True
                log.info(
                    "looks for at most %.0f s whether %s still works on the run with fingerprint %s",
                    TAKEN, _called(other), self.fingerprint,
                )  # fmt: skip
        return False

    @signals_held()
    def _attempt(self) -> Run | None:
        """Try to become the holder of each lease that is there; return the first that another one has."""
        client = self.store.client
        asked = _now()
        leases, made = self._leases(), ""
        if not leases:
            tags = {names.LEASE: self.key, names.BEAT: _stamp()}
            made = client.create_run(self._experiment, tags=tags, run_name=self.name).info.run_id
            leases = self._leases()
        for lease in leases:
            if not self._take(lease):
                self._give_up(made)
                return lease
        if not self._held:  # those who made them have all given way since
            return self._attempt()
        for run_id in self._held[1:]:  # one is enough; who looks from now on sees it
            client.delete_run(run_id)
        del self._held[1:]
        self._renewed = asked
        return None

    def _leases(self) -> list[Run]:
        """Return the leases of this right; all who look have them in the same order, so that one gets all."""
        found = self.store.search([self._experiment], f"tags.{names.LEASE} = '{self.key}'")
        there = [lease for lease in found if _holders(lease) != (GIVEN_UP,)]
        return sorted(there, key=lambda lease: lease.info.run_id)

    def _take(self, lease: Run) -> bool:
        """Become the next holder of a lease that nobody has, or whose holder shows no life; tell whether."""
        client, run_id, holders = self.store.client, lease.info.run_id, _holders(lease)
        is_gone = bool(holders and self._place) and holders[-1].endswith(self._place)  # we have its lock
        if holders and not is_gone and not self._is_silent(lease):
            self.holder = _called(lease)
            return False
        key = f"{HOLDER}{len(holders)}"
        with suppress(MlflowException):  # another was first, or has given it back
            client.log_param(run_id, key, self.name)
            client.set_tag(run_id, names.BEAT, _stamp())
        # Asked, not told by an error: an answer may be lost whose request was not.
        now = client.get_run(run_id)
        if _holders(now) == (GIVEN_UP,):
            return True  # it is none any more
        if _holders(now)[len(holders) :] != (self.name,) or now.info.lifecycle_stage != "active":
            return False
        self._held.append(run_id)
        if holders and not is_gone:
            log.warning(
                "takes over the run with fingerprint %s: %s has not renewed its lease for %.0f s. Where that "
                "still runs it ends itself", self.fingerprint, _called(lease), TAKEN,
            )  # fmt: skip
        return True

    def _give_up(self, made: str) -> None:
        """Delete what is ours alone: what we hold, and what we have made and nobody has taken."""
        client = self.store.client
        if made and made not in self._held:
            with suppress(MlflowException):  # another has taken it
                client.log_param(made, f"{HOLDER}0", GIVEN_UP)
            if _holders(client.get_run(made)) == (GIVEN_UP,):
                client.delete_run(made)
        for run_id in self._held:
            client.delete_run(run_id)
        self._held.clear()

    def _is_silent(self, lease: Run) -> bool:
        """Tell whether a lease has been as it is for TAKEN seconds, by this machine's clock."""
        state = (*_holders(lease), lease.data.tags.get(names.BEAT, ""))
        before, since = self._seen.setdefault(lease.info.run_id, (state, _now()))
        if before == state:
            return _now() - since > TAKEN
        self._seen[lease.info.run_id] = state, _now()
        self._moved.add(lease.info.run_id)
        return False

    def _is_at_work(self, lease: Run) -> bool:
        """Tell whether a lease's holder is known to be at work: it was renewed just now, or since we look."""
        return abs(_age(lease)) < 2 * BEAT or lease.info.run_id in self._moved

    def _renew(self) -> None:
        """Renew the lease until it is given back; end this process where it is another's."""
        run_id, client = self._held[0], self.store.client
        while not self._given_back.wait(BEAT):
            asked = _now()
            try:
                lease = client.get_run(run_id)
                if _holders(lease)[-1:] != (self.name,):
                    self._lost(f"{_called(lease)} has taken it over")
                client.set_tag(run_id, names.BEAT, _stamp())
                self._renewed = asked
            except (MlflowException, OSError) as error:
                log.debug("the lease of %s is not renewed: %s", self.fingerprint, error)

    def _end_in_time(self) -> None:
        """End this process where the lease could not be renewed, before another may take it over."""
        while not self._given_back.wait(LOOK / 2):
            if _now() - self._renewed > ENDS:
                self._lost(f"the store has not answered for {ENDS:.0f} s, and another may take it over")

    def _lost(self, reason: str) -> None:
        """End this process at once: it must write nothing more, not even how its run has ended."""
        if self._given_back.is_set():
            return
        at_last = threading.Timer(2, os._exit, (1,))  # where what it says is read by nobody
        at_last.daemon = True
        at_last.start()
        log.error(
            "error: this process no longer has the right to the run with fingerprint %s: %s. It ends; the "
            "same command goes on", self.fingerprint, reason,
        )  # fmt: skip
        os._exit(1)


def _is_locked(store: Store, run: Run) -> bool:
    try:
        with store.lock_of(run.info.experiment_id, _fingerprint(run)).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _fingerprint(run: Run) -> str:
    return str(run.data.tags.get(names.FINGERPRINT, ""))


def _key(experiment_id: str, fingerprint: str) -> str:
    return f"{experiment_id}-{fingerprint}"


def _holders(lease: Run) -> tuple[str, ...]:
    """Return the names of a lease's holders, the present one last."""
    return tuple(lease.data.params[f"{HOLDER}{number}"] for number in range(len(lease.data.params)))


def _called(lease: Run) -> str:
    """Return what the present holder of a lease is called by: HOST process 123."""
    return _holders(lease)[-1].rpartition(" ")[0] if _holders(lease) else "another process"


def _place(folder: Path) -> str:
    """Return what names a folder of this machine until that is started anew; empty where nothing does."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:  # not Linux
        return ""
    found = folder.stat()
    return hashlib.sha256(f"{started} {found.st_dev} {found.st_ino}".encode()).hexdigest()[:12]


def _stamp() -> str:
    """Return this machine's time, in ms since 1970: it is another one in each renewal."""
    return str(int(time.time() * 1000))


def _age(lease: Run) -> float:
    """Return the seconds since a lease was renewed, where its holder's clock and this machine's agree."""
    return time.time() - int(lease.data.tags.get(names.BEAT, 0)) / 1000


# A clock that goes on while a machine sleeps, where there is one.
_now: Callable[[], float] = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
