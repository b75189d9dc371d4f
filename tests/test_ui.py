import asyncio
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from servers import alive, descendants, free_port

START = [sys.executable, "-m", "handwriting.ui"]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
CURVES = ("accuracy", "loss", "val_accuracy", "val_loss")
SEEDS = 6


@pytest.fixture(scope="module")
def sweep_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with one sweep of twelve runs, a newer run beside it and a newer report of the sweep."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("digits", artifact_location=str(folder / "artifacts"))
    for seed in range(SEEDS):
        for optimizer in ("rmsprop", "adam"):
            run = add_run(client, experiment, f"{optimizer} seed {seed}", {"sweep": "sweep-1"}, optimizer)
    client.log_text(run, "epochs: 3\n", "config.yaml")
    add_run(client, experiment, "alone", {}, "sgd")
    reports = client.create_experiment("digits-reports", artifact_location=str(folder / "artifacts"))
    add_run(client, reports, "report", {"sweep": "sweep-1"}, "none")
    return uri


def add_run(client: MlflowClient, experiment: str, name: str, tags: dict[str, str], optimizer: str) -> str:
    run: str = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    metrics = [
        Metric(key, value=0.5 + 0.1 * epoch, timestamp=epoch, step=epoch)
        for key in (*CURVES, "epoch_seconds")
        for epoch in range(3)
    ]
    client.log_batch(run, metrics, [Param("optimizer", optimizer)], [RunTag("mlflow.user", "test")])
    client.set_terminated(run)
    return run


class Server:
    """`python -m handwriting.ui` in a folder of its own, and what it prints."""

    def __init__(self, uri: str, folder: Path, *options: str) -> None:
        self.folder = folder
        with (folder / "out").open("wb") as out:
            self.process = subprocess.Popen(
                [*START, "--uri", uri, *options], cwd=folder, stdout=out, stderr=out, start_new_session=True
            )

    @cached_property
    def address(self) -> str:
        return until(lambda: re.search(r"^http://\S+", self.printed(), re.MULTILINE))[0]

    @property
    def port(self) -> int:
        return int(self.address.split(":")[2].partition("/")[0])

    def printed(self) -> str:
        text = (self.folder / "out").read_text()
        assert self.process.poll() is None, text
        return text

    def status(self, path: str, host: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers={"Host": host})
            return connection.getresponse().status
        finally:
            connection.close()

    def kill(self) -> None:
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    """Return what `found` returns as soon as that is something."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)
    return result


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("empty")
    server = Server(f"sqlite:///{folder}/store/mlflow.db", folder, "--port", str(free_port()))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def server(
    empty: Server, sweep_store: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:  # `empty` is here to start at the same time: each takes 10 s
    server = Server(sweep_store, tmp_path_factory.mktemp("cwd"))
    try:
        yield server
    finally:
        server.kill()


def test_address_names_the_newest_sweep_and_not_the_newer_single_run(server: Server) -> None:
    assert "viewStateShareKey=sweep-1" in server.address
    assert "/experiments/1/" in server.address


@pytest.mark.parametrize("host", ["evil.example", "10.1.2.3", "10.1.2.3:{port}", "127.0.0.1.evil.example"])
def test_request_under_a_foreign_host_name_is_refused(server: Server, host: str) -> None:
    host = host.format(port=server.port)
    for path in ("/", "/ajax-api/2.0/mlflow/experiments/get?experiment_id=1"):
        assert server.status(path, host) == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_request_under_this_machines_own_name_is_answered(server: Server, host: str) -> None:
    assert server.status("/", f"{host}:{server.port}") == 200


def test_server_listens_on_the_loopback_address_only(server: Server) -> None:
    # Linux answers on all of 127.0.0.0/8, so a server on 0.0.0.0 would be reached here.
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", server.port)) != 0


def test_artifacts_are_shown_and_nothing_is_written_to_the_working_directory(
    server: Server, sweep_store: str
) -> None:
    run = MlflowClient(sweep_store).search_runs(["1"], "attributes.run_name = 'adam seed 5'")[0].info.run_id
    artifact = f"/get-artifact?path=config.yaml&run_uuid={run}"
    assert server.status(artifact, f"127.0.0.1:{server.port}") == 200
    # No mlruns, no mlartifacts.
    assert [path.name for path in server.folder.iterdir()] == ["out"]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_browser_shows_every_run_of_the_sweep_and_its_four_curves(server: Server, tmp_path: Path) -> None:
    text = asyncio.run(text_of_page(server.address, tmp_path, f"{2 * SEEDS} matching runs"))
    lines = text.splitlines()
    runs = {f"{optimizer} seed {seed}" for optimizer in ("rmsprop", "adam") for seed in range(SEEDS)}
    assert runs <= set(lines)
    assert "alone" not in lines
    assert set(CURVES) <= set(lines)
    # A curve's name in its chart's legend; the UI by itself draws ten of the twelve runs.
    drawn = {line.removesuffix(" (val_accuracy)") for line in lines if line.endswith(" (val_accuracy)")}
    assert drawn == runs


async def text_of_page(address: str, folder: Path, awaited: str) -> str:
    """Return what a headless browser shows, once that has the awaited text and all charts are drawn."""
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1600,1400 "
        "--remote-debugging-port=0"
    )
    with (folder / "browser").open("wb") as out:
        browser = subprocess.Popen(
            [str(BROWSER), *flags.split(), f"--user-data-dir={folder}/profile", address],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        port_file = folder / "profile" / "DevToolsActivePort"
        port = until(lambda: port_file.exists() and port_file.read_text().partition("\n")[0])
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [target for target in await answer.json() if target["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as page:
                return await poll(page, awaited)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


async def poll(page: aiohttp.ClientWebSocketResponse, awaited: str) -> str:
    # SVG text, as in the legends, is no part of innerText.
    script = (
        "[document.body.innerText, ...[...document.querySelectorAll('svg.main-svg text')]"
        ".map(text => text.textContent)].join('\\n')"
    )
    text = ""
    for number in range(200):
        command = {"id": number, "method": "Runtime.evaluate", "params": {"expression": script}}
        await page.send_json(command)
        while (answer := await page.receive_json()).get("id") != number:
            pass
        text = answer["result"]["result"].get("value", "")
        if awaited in text and all(f"({curve})" in text for curve in CURVES):
            return text
        await asyncio.sleep(0.2)
    raise AssertionError(f"not shown: {awaited!r} and the four charts. Shown:\n{text}")


def test_empty_store_is_served_and_ctrl_c_ends_all_processes_without_a_traceback(empty: Server) -> None:
    until(lambda: "`make sweep` fills it" in empty.printed())
    end(empty, signal.SIGINT)


def test_taken_port_and_a_store_that_is_none_are_one_line_errors(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, however long it may be\n" * 100)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for arguments, named in (
            (["--port", str(port)], f"error: port {port} cannot be used"),
            (["--port", "0"], "error: the port must be"),
            (["--uri", f"sqlite:///{text}"], f"error: the store {text} cannot be written"),
        ):
            ended = subprocess.run([*START, *arguments], cwd=tmp_path, capture_output=True, text=True)
            assert ended.returncode == 1
            assert ended.stderr.startswith(named)
            assert ended.stderr.count("\n") == 1


def test_sigterm_ends_all_processes_without_a_traceback(server: Server) -> None:  # last: it ends the server
    end(server, signal.SIGTERM)


def end(server: Server, how: signal.Signals) -> None:
    assert server.status("/", f"127.0.0.1:{server.port}") == 200
    processes = [server.process.pid, *descendants(server.process.pid)]
    assert len(processes) > 1
    server.process.send_signal(how)
    assert server.process.wait(timeout=20) == 0
    until(lambda: not any(alive(pid) for pid in processes), seconds=10)
    assert "Traceback" not in (server.folder / "out").read_text()
