"""`python -m handwriting.sync` and a real server: there, gone in the middle, and back."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared_runs import a_run, new_store, unequal

from handwriting.sharing.exchange import Exchange
from handwriting.tracking import Store
from servers import Server, wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def source(tmp_path: Path) -> Store:
    store = new_store(tmp_path)
    a_run(store)
    return store


def sync(source: Store, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "handwriting.sync", "--uri", source.uri, *words]
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_runs_are_copied_to_a_server_and_both_sides_are_the_same(server: Server, source: Store) -> None:
    done = sync(source, "--to", server.address, "--check")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    first, last = done.stdout.splitlines()
    assert first.endswith("  adam seed 0  is copied")
    assert last == "runs compared: 1, differences: 0"
    again = sync(source, "--to", server.address)
    assert (again.returncode, again.stdout) == (0, "")


def test_what_is_not_the_same_is_named(server: Server, source: Store) -> None:
    assert sync(source, "--to", server.address).returncode == 0
    for file in (server.folder / "artifacts").rglob("model.keras"):
        file.write_bytes(b"spoiled")
    done = sync(source, "--to", server.address, "--check")
    assert done.returncode == 1
    assert "file of model ('model', 'data/model.keras')" in done.stdout
    assert done.stdout.endswith("runs compared: 1, differences: 1\n")


def test_a_server_that_is_killed_in_the_middle_and_comes_back_has_all(
    server: Server, source: Store, tmp_path: Path
) -> None:
    for seed in range(1, 6):
        a_run(source, f"adam seed {seed}")
    out, error = tmp_path / "out", tmp_path / "error"
    words = ["--uri", source.uri, "--to", server.address, "--watch"]
    with out.open("w") as out_file, error.open("w") as error_file:
        watching = subprocess.Popen(
            [sys.executable, "-m", "handwriting.sync", *words], stdout=out_file, stderr=error_file
        )
    try:
        wait_for(lambda: "is copied" in out.read_text())
        server.tell(signal.SIGKILL)
        wait_for(lambda: "the server does not answer; it is asked again" in error.read_text())
        server.start()
        wait_for(lambda: not Exchange(source, Store(server.address)).look())
    finally:
        watching.send_signal(signal.SIGINT)
        watching.wait(timeout=60)
    assert watching.returncode == 1
    assert "Traceback" not in error.read_text()
    assert unequal(source, Store(server.address)) == []


def test_a_server_that_never_answers_is_given_up_in_a_minute(server: Server, source: Store) -> None:
    server.tell(signal.SIGSTOP)
    started = time.monotonic()
    done = sync(source, "--to", server.address)
    assert time.monotonic() - started < 60
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {server.address}: the server does not answer.")
    server.tell(signal.SIGCONT)
    assert sync(source, "--to", server.address, "--check").returncode == 0


@pytest.mark.parametrize(("words", "said"), {
    "": r"no shared store is named: MLFLOW_TRACKING_URI=http://SERVER:5000, or --to URI$",
    "--to {own}": r"sqlite:\S+ is this machine's own store\. Name the shared one: --to URI$",
    "--to ftp://lab": r"tracking\.uri must be a database or a server",
    "--uri http://lab:5000 --to http://lab:5000": r"--uri must be a store on this machine, sqlite:///FILE\.",
    "--to http://me:geheim@127.0.0.1:9": r"http://\S*127\.0\.0\.1:9: the server does not answer",
}.items())  # fmt: skip
def test_a_mistake_is_said_in_one_line(source: Store, words: str, said: str) -> None:
    done = sync(source, *words.format(own=source.uri).split())
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "geheim" not in line
    assert re.search(said, line)
