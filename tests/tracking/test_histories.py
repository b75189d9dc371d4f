"""The points of many runs out of a real server are those of its database, in few requests."""

import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.utils.rest_utils import http_request

from handwriting.bench.synthetic import fill
from handwriting.compare import load_runs
from handwriting.tracking import Store, histories, names
from servers import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("server")
    fill(Store(f"sqlite:///{folder}/mlflow.db"), 120)
    server = Server(folder)
    try:
        yield server
    finally:
        server.tell(signal.SIGKILL)


def of_database(server: Server) -> list[tuple[str, int, str, float]]:
    database = Store(f"sqlite:///{server.folder}/mlflow.db")
    epochs = load_runs(database).epochs
    rows = zip(epochs["run_id"], epochs["epoch"], epochs[names.VAL_LOSS], strict=True)
    return sorted((run_id, epoch, names.VAL_LOSS, value) for run_id, epoch, value in rows)


def of_server(server: Server) -> list[tuple[str, int, str, float]]:
    runs = sorted({row[0] for row in of_database(server)})
    return sorted(histories.points_of(Store(server.address), runs, names.VAL_LOSS))


def test_all_points_come_in_two_requests(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counting(*arguments: Any, **named: Any) -> Any:
        asked.append(arguments[1])
        return http_request(*arguments, **named)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(histories, "http_request", counting)
    assert of_server(server) == of_database(server)
    assert asked == [histories.ADDRESS] * 2


@pytest.mark.parametrize(("name", "value"), [("POINTS", 25), ("POINTS", 3), ("ADDRESS", "/none/such")])
def test_a_server_that_gives_fewer_at_once_or_one_run_only_gives_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(histories, name, value)
    assert of_server(server) == of_database(server)


def test_a_point_that_is_not_a_number_stays_one(server: Server) -> None:
    client = Store(server.address).client
    run_id = of_database(server)[0][0]
    client.log_metric(run_id, "spread", math.nan, step=4)
    client.log_metric(run_id, "spread", 0.5, step=5)
    found = list(histories.points_of(Store(server.address), [run_id], "spread"))
    assert [(step, repr(value)) for _, step, _, value in found] == [(4, "nan"), (5, "0.5")]
