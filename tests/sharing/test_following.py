"""Training beside a server that is there, broken, gone and back: it waits for nothing, and loses nothing."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from handwriting.tracking import names
from servers import TINY, Gate, Machine, Server, wait_for

LONG = (*TINY, "epochs=200", "threads=1")  # some ten seconds
SWEEP = ("-m", "optimizer=rmsprop,adam", "hydra.launcher.jobs=2", *TINY, "epochs=2")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def gate(server: Server) -> Iterator[Gate]:
    gate = Gate(server)
    yield gate
    gate.close()


@pytest.fixture
def machine(tmp_path: Path, gate: Gate) -> Machine:
    return made(tmp_path / "machine", gate)


def made(folder: Path, gate: Gate) -> Machine:
    folder.mkdir()
    return Machine(folder, gate.address)


def copies(server: Server, machine: Machine) -> dict[str, int]:
    """Return the status of each copy of a machine's runs, and how many epochs it has."""
    found = {}
    client = MlflowClient(f"sqlite:///{server.folder}/mlflow.db")
    own = {run.info.run_id for run in machine.runs()}
    for run in server.runs():
        if run.data.tags.get(names.ORIGIN, "/").partition("/")[2] in own:
            epochs = client.get_metric_history(run.info.run_id, names.LOSS)
            found[run.info.status] = len(epochs)
    return found


def test_a_run_is_there_while_it_goes_and_finished_when_it_is(machine: Machine, server: Server) -> None:
    with machine.training(*LONG) as process:
        wait_for(lambda: 0 < copies(server, machine).get("RUNNING", 0) < 200)
        (follower,) = followers(process)
        assert machine.address not in " ".join(follower.cmdline()), "it may have a password"
        process.wait(timeout=120)
    assert process.returncode == 0
    assert copies(server, machine) == {"FINISHED": 200}
    assert "runs compared: 1, differences: 0" in machine.sync("--check")


def test_training_takes_no_notice_of_a_broken_server(machine: Machine, gate: Gate) -> None:
    with machine.training(*LONG, "seed=1") as process:
        wait_for(machine.runs)
        for mode in ("500", "429", "refuse", "hang"):
            gate.mode = mode
            time.sleep(3)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert said.count("Training goes on; what is not copied now is copied later") == 1
    last = said.splitlines()[-1]
    assert "Of 1 runs, all of which are stored here, 1 are not there as they are here: rmsprop mlp" in last
    assert last.endswith("make sync copies them")
    gate.mode = "pass"
    assert "runs compared: 1, differences: 0" in machine.sync("--check")


def test_a_server_that_comes_back_gets_what_it_has_missed(machine: Machine, server: Server) -> None:
    machine.address = server.address
    with machine.training(*LONG, "seed=9") as process:
        wait_for(lambda: copies(server, machine).get("RUNNING"))
        server.tell(signal.SIGKILL)
        time.sleep(1)
        server.start()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    machine.sync()
    assert copies(server, machine) == {"FINISHED": 200}
    assert "runs compared: 1, differences: 0" in machine.sync("--check")


def test_what_copies_ends_with_what_trains(machine: Machine, server: Server) -> None:
    with machine.training(*LONG, "seed=10") as process:
        wait_for(lambda: copies(server, machine).get("RUNNING"))
        (follower,) = followers(process)
        assert machine.do("orphans") == "", "neither the run nor its copy"
        process.kill()
        process.wait()
        follower.wait(timeout=5)
    assert machine.do("orphans").count("is KILLED") == 1
    assert set(copies(server, machine)) == {"RUNNING"}, "true, or late"
    machine.train(*LONG, "seed=10")
    assert copies(server, machine) == {"FINISHED": 200}
    assert "runs compared: 1, differences: 0" in machine.sync("--check")


def test_what_another_machine_has_finished_is_not_trained_again(
    machine: Machine, server: Server, gate: Gate, tmp_path: Path
) -> None:
    machine.train(*SWEEP, "seed=0,1")
    other = made(tmp_path / "other", gate)
    said = other.train(*SWEEP, "seed=1,2")
    assert said.count("is finished already") == 2
    assert said.count(" starts") == 2
    assert "3 paired seeds" in said, "one report on both machines' runs"
    origins = [run.data.tags.get(names.ORIGIN) for run in other.runs()]
    assert len(origins) - origins.count(None) == 4
    (sweep,) = re.findall(r"^sweep (\S+):", said, re.MULTILINE)
    assert "3 paired seeds" in other.do("report", "--sweep", sweep), "and one on the shared store itself"
    for each in (machine, other):  # whose reports are not that one
        assert "differences: 0" in each.sync("--check")
    tags = [run.data.tags for run in server.runs()]
    fingerprints = [own.get(names.FINGERPRINT) for own in tags if own.get(names.SWEEP) == sweep]
    assert len(set(fingerprints) - {None}) == len(fingerprints) - fingerprints.count(None) == 6


def test_a_store_that_cannot_be_reached_costs_seconds(machine: Machine) -> None:
    machine.address = "http://127.0.0.1:9"
    said = machine.train(*TINY, "epochs=1")
    assert "Training goes on; what is not copied now is copied later" in said
    assert "Of 1 runs, all of which are stored here, 1 are not there as they are here" in said


def followers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if "handwriting.sharing.follower" in child.cmdline()]
