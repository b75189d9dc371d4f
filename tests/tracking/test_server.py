"""A run that is written straight to a server: a real one, killed or stopped while a real run writes to it."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from servers import TINY, Machine, Server, wait_for

DIRECT = (*TINY, "tracking.mode=direct")


@pytest.fixture
def machine(tmp_path: Path, server: Server) -> Machine:
    (tmp_path / "machine").mkdir()
    return Machine(tmp_path / "machine", server.address)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    try:
        yield server
    finally:
        server.tell(signal.SIGKILL)


def test_a_run_whose_server_is_gone_ends_and_is_gone_on_with(machine: Machine, server: Server) -> None:
    """One run of two is told to end while the server is silent; the other waits, until it is killed."""

    def epochs_done() -> dict[str, float]:
        return {str(run.info.run_name)[-1]: len(history(server, run)) for run in server.runs()}  # by seed

    def stand_still() -> bool:
        before = epochs_done()
        time.sleep(3)  # an epoch takes a tenth of a second
        return epochs_done() == before

    settings = ("epochs=100",)
    with machine.training(*DIRECT, "epochs=9999", "seed=1") as told:
        wait_for(lambda: epochs_done().get("1"))  # the other would be done before a slow start of this one
        with machine.training(*DIRECT, *settings) as other:
            wait_for(lambda: epochs_done().get("0"))
            server.tell(signal.SIGSTOP)
            wait_for(stand_still)
            started = time.monotonic()
            told.terminate()
            _, said = told.communicate(timeout=60)
            assert time.monotonic() - started < 30
            assert told.returncode == 128 + signal.SIGTERM
            assert "Traceback" not in said
            assert "the run stays RUNNING there. The same command goes on with it" in said

            server.tell(signal.SIGCONT)
            before = epochs_done()["0"]
            wait_for(lambda: epochs_done()["0"] > before)
            server.tell(signal.SIGKILL)
            started = time.monotonic()
            _, said = other.communicate(timeout=120)
            assert time.monotonic() - started > 20, "a server that starts again is waited for"
            assert other.returncode == 1
            assert "Traceback" not in said
            (error,) = [line for line in said.splitlines() if line.startswith("error:")]
            assert error.startswith(
                f"error: {server.address}: the server does not answer. What was stored is whole"
            )

    server.start()
    assert [run.info.status for run in server.runs()] == ["RUNNING"] * 2, "what could not be told is not said"
    with machine.training(*DIRECT, *settings) as again:
        _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    (run,) = [run for run in server.runs() if run.data.params["seed"] == "0"]
    assert (run.info.status, run.data.tags["resumes"]) == ("FINISHED", "1")
    assert history(server, run) == list(range(100))


def history(server: Server, run: Run) -> list[int]:
    client = MlflowClient(f"sqlite:///{server.folder}/mlflow.db")
    return [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
