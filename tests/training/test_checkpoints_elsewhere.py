"""Checkpoints that the next machine finds: in a shared folder, in an object store, through a server."""

import importlib.util
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from clusters import Bucket
from conftest import ONLY_TESTS
from handwriting.config import ROOT
from handwriting.errors import UserError
from handwriting.tracking.elsewhere import Elsewhere
from handwriting.tracking.names import LEASES
from handwriting.training.checkpoint import Checkpoint, Checkpoints
from servers import TINY, Machine, Server, wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module", params=["server", "bucket", "folder"])
def address(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "server":
        yield "mlflow-artifacts:/checkpoints"
    elif request.param == "folder":
        yield tmp_path_factory.mktemp("shared").as_uri()
    elif not (ONLY_TESTS.exists() and importlib.util.find_spec("boto3")):
        pytest.skip("moto or boto3 is missing: make test, make extras")
    else:
        with Bucket(tmp_path_factory.mktemp("objects")):
            yield "s3://runs/checkpoints"


def after(epochs: int) -> Checkpoint:
    state: list[np.ndarray] = [np.full((200, 300), epochs, np.float32)]
    return Checkpoint(state, state, [{"loss": 0.1}] * epochs)


def on_a_machine(folder: Path, address: str, server: Server, run: str = "run") -> Checkpoints:
    return Checkpoints(folder, "feed", Elsewhere(address, run, server.address))


def names(place: Checkpoints) -> list[str]:
    assert place.elsewhere
    return sorted(place.elsewhere._names())


def test_another_machine_goes_on_after_the_last_epoch(address: str, server: Server, tmp_path: Path) -> None:
    one = on_a_machine(tmp_path / "one", address, server)
    for epochs in (1, 2, 3):
        one.save(after(epochs))
    assert names(one) == ["epoch-0002.npz", "epoch-0003.npz"], "two are kept"
    other = on_a_machine(tmp_path / "other", address, server)
    found = other.newest()
    assert found
    assert len(found.history) == 3
    assert found.weights[0].tobytes() == after(3).weights[0].tobytes()
    (tmp_path / "one/epoch-0003.npz").write_bytes(b"cut")
    assert on_a_machine(tmp_path / "one", address, server).newest(), "the one before it, which it has"
    other.save(after(4))
    found = on_a_machine(tmp_path / "one", address, server).newest()
    assert found
    assert len(found.history) == 4, "one that was there before has the newest too"
    assert on_a_machine(tmp_path / "two", address, server, "another run").newest() is None
    other.remove()
    assert (names(one), (tmp_path / "other").exists()) == ([], False)


def test_an_address_that_takes_nothing_stops_no_training_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, server: Server
) -> None:
    (tmp_path / "blocked").touch()
    kept = on_a_machine(tmp_path / "run", (tmp_path / "blocked").as_uri(), server)
    kept.save(after(1))
    kept.remove()
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert said[0].startswith(f"the checkpoints at file://{tmp_path}/blocked/run: ")
    assert said[0].endswith("another machine would go on with the one before it")


@pytest.mark.parametrize(
    "place", ["gopher://hole/x", "mlflow-artifacts:/checkpoints", "sftp://me:geheim@none/x"]
)
def test_an_address_that_is_none_is_said_before_any_run(place: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the checkpoints at ") as refused:
        Elsewhere(place, "", "http://127.0.0.1:9" if place.startswith("sftp") else "sqlite:///x.db").check()
    assert "geheim" not in str(refused.value)
    assert "\n" not in str(refused.value)


def of(server: Server, seed: int) -> list[Run]:
    found = [run for run in server.runs() if run.data.params.get("seed") == str(seed)]
    return sorted(found, key=lambda run: run.info.start_time)


def has_epochs(server: Server, seed: int) -> bool:
    return any(len(points(server, run)) >= 3 for run in of(server, seed))


def points(server: Server, run: Run) -> list[tuple[int, float]]:
    client = MlflowClient(server.backend)
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")]


def time_passes(server: Server) -> None:
    """Take the leases away of those that are dead, as two minutes would."""
    client = MlflowClient(server.backend)
    experiment = client.get_experiment_by_name(LEASES)
    assert experiment
    for lease in client.search_runs([experiment.experiment_id]):
        client.delete_run(lease.info.run_id)


def test_a_machine_without_the_folder_goes_on_where_the_address_has_it_and_begins_anew_where_not(
    server: Server, tmp_path: Path
) -> None:
    """A run that is killed, and whose machine is gone with its disk; its bits are those of one left alone."""
    machines = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        machines.append(Machine(tmp_path / str(number), server.address))
    alone, *others = machines
    waits = "callbacks=[{_target_: small_parts.Waits, seconds: 0.3}]"
    words = (*TINY, "epochs=6", "tracking.mode=direct", waits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests/tracking"))
        for seed, place in ((1, "mlflow-artifacts:/checkpoints"), (2, "null")):
            job = (*words, f"seed={seed}", f"tracking.checkpoints={place}")
            with others[0].training(*job) as lost:
                wait_for(partial(has_epochs, server, seed))
                lost.kill()
            time_passes(server)
            said = others[1].train(*job)
            assert ("goes on after epoch 0" in said) == (place == "null"), said
            assert "goes on after epoch" in said
            alone.train(*job, "force=true")
    for seed in (1, 2):
        first, second = of(server, seed)
        assert first.data.tags["weights.final"] == second.data.tags["weights.final"]
        assert points(server, first) == points(server, second)
