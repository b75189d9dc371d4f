"""What this machine's store and a shared one have of each other's runs, and what each lacks."""

import time
from collections.abc import Iterator, Sequence

from filelock import FileLock, Timeout
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from handwriting.sharing import Wanted
from handwriting.sharing.copying import Copier, sweeps_of
from handwriting.sharing.states import begun_guests_in, finished_in, guests_in, states, wanted_in
from handwriting.tracking import Store, names
from handwriting.tracking.identity import digest

PAUSE, SHARE, LONGEST = 2.0, 20, 10.0  # s between two rounds: at least, as a multiple of one, at most
REMEMBERED = 60  # s for which it is taken as known what the shared store has
REFUSED = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")  # of one run; other errors are of the store


class Exchange:
    """Copies runs to the shared store, and those that others have finished from there.

    Args:
        own: of this machine, a database with its files.
        shared: any store.
    """

    def __init__(self, own: Store, shared: Store):
        self.own, self.shared = own, shared
        self.out = Copier(own, shared)
        self._back: Copier | None = None
        self._refused: dict[str, str] = {}  # states by run
        self._there: dict[str, str | None] = {}  # states of copies by origin; None of those that were deleted
        self._read_at: float | None = None
        self._took = 0.0  # s, the last round

    def look(self, only: Sequence[Wanted] | None = None) -> dict[str, str]:
        """Return the runs of which the shared store has no copy, or not as they are now: states by id.

        A copy that somebody has deleted is not made again. What is itself a copy is none of ours.

        Args:
            only: which runs are looked at; None for all.
        """
        guests = guests_in(self.own)
        chosen = None if only is None else sorted(self._ids(only) - guests.keys())
        found = states(self.own, chosen)
        there = self._copies(only)
        return {
            run_id: state
            for run_id, state in found.items()
            if run_id not in guests
            and there.get(origin := f"{self.out.source_id}/{run_id}", "") != state
            and (origin not in there or there[origin] is not None)
        }

    def left(self, only: Sequence[Wanted] | None = None) -> dict[str, str]:
        """Return what `look` finds, less what the shared store has refused as it is."""
        return {run: state for run, state in self.look(only).items() if self._refused.get(run) != state}

    def bring(self, only: Sequence[Wanted] | None = None) -> Iterator[tuple[Run, str | None]]:
        """Copy what is left; yield each run once it is copied, or with what the shared store refused.

        What was refused is tried again when the run has changed.

        Raises:
            MlflowException: the shared store does not answer.
        """
        started = time.monotonic()
        lock = FileLock(self.own.folder / f".sync-{digest(self.shared.uri)}.lock")  # one process at a time
        try:
            with lock:
                for run_id, state in self.left(only).items():
                    run, problem = self.own.client.get_run(run_id), None
                    try:
                        self.out.copy(run_id)
                        self._there[f"{self.out.source_id}/{run_id}"] = state
                    except FileNotFoundError:  # its files change at this moment
                        continue
                    except MlflowException as error:
                        if error.error_code not in REFUSED:
                            raise
                        self._refused[run_id] = state
                        problem = f"is not copied: {str(error).splitlines()[0]}"
                    yield run, problem
                self._join_sweeps(only)
            self._took = time.monotonic() - started
        except BaseException:
            self.forget()  # who knows what it has when it answers again
            raise

    @property
    def pause(self) -> float:
        """The seconds until the next round: training and the server have the rest of the time."""
        return max(PAUSE, min(SHARE * self._took, LONGEST))

    def forget(self) -> None:
        """Ask the shared store again what it has, at the next look."""
        self._read_at = None

    def fetch(self, wanted: Wanted) -> Iterator[Run]:
        """Copy what others have finished of the wanted runs, and this machine neither has nor works on.

        Yields:
            Each run of the shared store that was looked at.

        Raises:
            MlflowException: the shared store does not answer.
        """
        experiment = self.shared.client.get_experiment_by_name(wanted.experiment)
        if experiment is None or experiment.lifecycle_stage == "deleted":
            return
        own = self.own.open_experiment(wanted.experiment)
        if self._back is None:
            self._back = Copier(self.shared, self.own)
        self._back.look_again()
        for run in self._finished(experiment.experiment_id, own, wanted):
            fingerprint = run.data.tags.get(names.FINGERPRINT, "")
            try:
                with self.own.lock_of(own, fingerprint).acquire(timeout=0):
                    if self._lacks(own, fingerprint, self._back.origin_of(run)):
                        self._back.copy(run.info.run_id)
            except Timeout:  # it is being trained here
                pass
            yield run

    def copied(self) -> dict[str, str]:
        """Return the states of the copies that are known to be there, by this machine's run."""
        return {
            origin.rpartition("/")[2]: state for origin, state in self._there.items() if state is not None
        }

    def pairs(self) -> list[tuple[str, str]]:
        """Return the ids of this machine's own runs and of their copies."""
        copies = {origin: copy for origin, copy, _ in copies_in(self.shared, self.out.source_id)}
        runs = states(self.own)
        return [
            (run, copies[f"{self.out.source_id}/{run}"])
            for run in runs
            if f"{self.out.source_id}/{run}" in copies
        ]

    def _ids(self, only: Sequence[Wanted]) -> set[str]:
        return {run_id for wanted in only for run_id in wanted_in(self.own, wanted)}

    def _copies(self, only: Sequence[Wanted] | None) -> dict[str, str | None]:
        """Return the state of each copy there, None of one that was deleted; read now and then."""
        now = time.monotonic()
        if self._read_at is None or now - self._read_at > REMEMBERED:
            self._there.clear()
            self.out.look_again()
            for where in [""] if only is None else [each for wanted in only for each in _conditions(wanted)]:
                for deleted in (True, False):
                    for origin, _, state in copies_in(self.shared, self.out.source_id, deleted, where):
                        self._there[origin] = None if deleted else state
            self._read_at = now
        return self._there

    def _join_sweeps(self, only: Sequence[Wanted] | None) -> None:
        """Tell the shared store which sweeps of this machine use runs of others, too."""
        guests = guests_in(self.own)
        for run_id in guests.keys() if only is None else self._ids(only) & guests.keys():
            if sweeps_of(guests[run_id]) != guests[run_id].get(names.STATE):
                self.out.join_sweeps(self.own.client.get_run(run_id))

    def _finished(self, experiment: str, own: str, wanted: Wanted) -> Iterator[Run]:
        """Yield the wanted runs that are finished in the shared store, each once; no copies of ours."""
        known = finished_in(self.own, own) - begun_guests_in(self.own)
        asked = [f"tags.{names.SWEEP} LIKE '%{wanted.sweep}%'"] if wanted.sweep else []
        asked += [f"tags.{names.FINGERPRINT} = '{each}'" for each in wanted.fingerprints if each not in known]
        for where in asked:
            for run in self.shared.search([experiment], f"{where} AND attributes.status = 'FINISHED'"):
                tags = run.data.tags
                fingerprint = tags.get(names.FINGERPRINT, "")
                ours = tags.get(names.ORIGIN, "").startswith(f"{self.out.source_id}/")
                in_sweep = wanted.sweep in names.words(tags.get(names.SWEEP))
                asked_for = fingerprint in wanted.fingerprints or in_sweep
                if asked_for and not ours and fingerprint not in known:
                    known.add(fingerprint)
                    yield run

    def _lacks(self, own: str, fingerprint: str, origin: str) -> bool:
        """Tell whether no run here is finished with a fingerprint, and no copy of it was deleted here.

        A copy that was begun is finished all the same.
        """
        if fingerprint in finished_in(self.own, own) - begun_guests_in(self.own):
            return False
        return not any(self.own.search([own], f"tags.{names.ORIGIN} = '{origin}'", deleted=True))


def copies_in(
    target: Store, source_id: str, deleted: bool = False, where: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Return the origin, the id and the state of each copy of a store's runs."""
    experiments = [experiment.experiment_id for experiment in target.client.search_experiments()]
    for run in target.search(experiments, f"tags.{names.ORIGIN} LIKE '{source_id}/%'{where}", deleted):
        yield run.data.tags[names.ORIGIN], run.info.run_id, run.data.tags.get(names.STATE, "")


def _conditions(wanted: Wanted) -> list[str]:
    if wanted.sweep:
        return [f" AND tags.{names.SWEEP} LIKE '%{wanted.sweep}%'"]
    return [f" AND tags.{names.FINGERPRINT} = '{each}'" for each in wanted.fingerprints]
