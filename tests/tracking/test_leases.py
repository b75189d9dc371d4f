"""The right to a run of a shared store: one process has it, on whichever machine, and who loses it ends."""

import contextlib
import importlib.util
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import Timeout

from clusters import PROGRAMS, SKIPPED, Cluster
from handwriting.orphans import orphans
from handwriting.sweeps.table import runs_of, table_of_jobs
from handwriting.tracking import ROOT_SETTING, Store, leases, names
from handwriting.tracking.leases import Lease
from servers import Gate, Server, wait_for

SHORT = ("1", "10", "15")  # s: BEAT, ENDS and TAKEN of a holder
SCRIPT = Path(__file__).with_name("hold_lease.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def shared(server: Server, tmp_path: Path) -> Store:
    return another(server.address, tmp_path)


def another(uri: str, folder: Path) -> Store:
    """Return a store as another machine has it: with locks in a folder of its own."""
    store = Store(uri)
    store.folder = folder
    return store


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(("BEAT", "ENDS", "TAKEN"), SHORT, strict=True):
        monkeypatch.setattr(leases, name, float(value))


@contextlib.contextmanager
def holder(
    uri: str, folder: Path, run: str, *times: str, experiment: str = "1"
) -> Iterator["subprocess.Popen[str]"]:
    """Start a process that has the right to a run; kill it at the end."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), uri, experiment, run, str(folder), *(times or SHORT)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "holds\n", process.stderr.read()
        yield process
        process.kill()


def there(store: Store) -> int:
    """Count the leases of a store."""
    return len(list(store.search([store.open_experiment(names.LEASES)])))


def beat(store: Store) -> str:
    """Return when the one lease of a store was renewed."""
    (lease,) = store.search([store.open_experiment(names.LEASES)])
    return lease.data.tags[names.BEAT]


def race(stores: list[Store], run: str, rounds: int) -> None:
    """Let one thread for each store have the right for a moment, again and again; never two at once."""
    inside, most, won, failed = 0, 0, 0, []
    count = threading.Lock()
    start = threading.Barrier(len(stores))

    def compete(store: Store) -> None:
        nonlocal inside, most, won
        try:
            for _ in range(rounds):
                start.wait()
                lease = Lease(store, "1", run)
                with contextlib.suppress(Timeout):
                    lease.acquire(timeout=0)
                    with count:
                        inside, won = inside + 1, won + 1
                        most = max(most, inside)
                    time.sleep(0.05)
                    with count:
                        inside -= 1
                    lease.release()
        except BaseException as error:
            failed.append(error)
            start.abort()

    threads = [threading.Thread(target=compete, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert most == 1
    assert won >= rounds, "they do not all give way to each other"
    assert there(stores[0]) == 0


def test_of_many_that_want_a_run_at_once_one_has_it(
    shared: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LOOK", 0.01)
    race([another(shared.uri, tmp_path / str(number)) for number in range(6)], "raced", 10)


@pytest.mark.skipif(not PROGRAMS, reason=SKIPPED)
@pytest.mark.skipif(not importlib.util.find_spec("psycopg"), reason="psycopg is missing: make extras")
def test_those_at_a_server_and_those_in_its_database_see_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LOOK", 0.01)
    monkeypatch.setenv(ROOT_SETTING, str(tmp_path / "files"))
    with Cluster() as cluster:
        inside = Store(cluster.database("leases"))
        inside.open_experiment("any")
        with Server(tmp_path, inside.uri) as server:
            uris = [inside.uri, server.address] * 3
            race([another(uri, tmp_path / str(number)) for number, uri in enumerate(uris)], "raced", 10)


def test_a_holder_that_is_killed_is_followed_at_once_by_one_that_has_its_lock(
    shared: Store, tmp_path: Path
) -> None:
    with holder(shared.uri, tmp_path, "killed here", "15", "90", "120") as process:
        with pytest.raises(Timeout):
            Lease(shared, "1", "killed here").acquire(timeout=0)
        process.kill()
        process.wait()
        began, lease = time.monotonic(), Lease(shared, "1", "killed here")
        lease.acquire()
        assert time.monotonic() - began < 5
        lease.release()


def test_a_holder_that_is_killed_is_followed_when_it_has_been_silent(
    shared: Store, tmp_path: Path, short: None
) -> None:
    with holder(shared.uri, tmp_path / "other", "killed") as process:
        time.sleep(float(SHORT[2]) + 1)  # a holder that is at work keeps it, however long
        lease = Lease(shared, "1", "killed")
        with pytest.raises(Timeout):
            lease.acquire(timeout=0)
        process.kill()
        began = time.monotonic()
        lease.acquire()
        assert time.monotonic() - began > float(SHORT[2]) - 1
        assert (there(shared), f"process {process.pid}" in lease.holder) == (1, True)
    first = beat(shared)
    wait_for(lambda: beat(shared) != first)  # it is renewed in its turn
    lease.release()
    assert there(shared) == 0


def test_a_holder_that_stood_still_ends_itself_where_another_has_taken_over(
    shared: Store, tmp_path: Path, short: None, caplog: pytest.LogCaptureFixture
) -> None:
    with holder(shared.uri, tmp_path / "other", "stopped") as process:
        process.send_signal(signal.SIGSTOP)
        lease = Lease(shared, "1", "stopped")
        lease.acquire()
        assert f"process {process.pid} has not renewed its lease for 15 s" in caplog.text
        process.send_signal(signal.SIGCONT)
        assert process.wait(20) == 1
        assert process.stderr is not None
        said = process.stderr.read()
        assert said.count("error: this process no longer has the right to the run") == 1
        assert "Traceback" not in said
    lease.release()


def test_a_holder_that_sees_its_successor_ends_itself(shared: Store, tmp_path: Path) -> None:
    """One whose clock says that all is well, and whose lease another has all the same."""
    with holder(shared.uri, tmp_path / "other", "succeeded", "1", "99", "120") as process:
        (lease,) = shared.search([shared.open_experiment(names.LEASES)], "tags.lease = '1-succeeded'")
        shared.client.log_param(lease.info.run_id, "holder.1", "another machine process 7 0123abcd")
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert "another machine process 7 has taken it over. It ends" in process.stderr.read()
    shared.client.delete_run(lease.info.run_id)


def test_a_holder_that_a_server_does_not_answer_ends_before_another_may_follow(
    server: Server, tmp_path: Path, short: None
) -> None:
    gate = Gate(server)
    try:
        with holder(gate.address, tmp_path / "other", "cut off") as process:
            gate.mode = "hang"
            lease = Lease(another(server.address, tmp_path), "1", "cut off")
            lease.acquire()
            assert process.poll() == 1, "it has ended already"
            assert process.stderr is not None
            assert "the store has not answered for 10 s" in process.stderr.read()
            lease.release()
    finally:
        gate.close()


def test_what_runs_without_a_living_lease_was_interrupted_for_every_machine(
    shared: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for one that did not start it; and what somebody works on is left alone."""
    experiment = shared.open_experiment("orphans")
    runs = [
        shared.client.create_run(
            experiment,
            run_name=name,
            tags={names.SWEEP: "s-0", names.FINGERPRINT: name, names.HOST: "another machine"},
        )
        for name in ("at-work", "gone")
    ]
    shared.become_current()
    with holder(shared.uri, tmp_path / "other", "at-work", "1", "60", "75", experiment=experiment):
        table = table_of_jobs({"at-work": ("a", 0), "gone": ("a", 1)}, *runs_of(shared, experiment, "s-0"))
        assert list(table["status"]) == ["RUNNING", "INTERRUPTED"]
        assert [run.info.run_id for run in orphans(shared)] == [runs[1].info.run_id]
    monkeypatch.setattr(leases, "TAKEN", 3)
    wait_for(lambda: len(orphans(shared)) == 2)  # the lease of the one that was killed is there, and old
