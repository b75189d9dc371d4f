"""MLflow's own server, to be stopped and killed, and a gate before it that lets nothing through when told."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from handwriting.config import ROOT
from handwriting.tracking import names

TINY = (
    "model=mlp", "model.units=16", "data.limit_train=500", "data.limit_test=200", "data.validation_size=100",
)  # fmt: skip


class Server:
    """`mlflow server` on a store of its own, or on the database of a URI."""

    def __init__(self, folder: Path, backend: str = ""):
        self.port = free_port()
        self.folder, self.address = folder, f"http://127.0.0.1:{self.port}"
        self.backend = backend or f"sqlite:///{folder}/mlflow.db"
        self.start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.tell(signal.SIGCONT)
        self.tell(signal.SIGKILL)

    def start(self) -> None:
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        options += ["--artifacts-destination", f"{self.folder}/artifacts"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options],
                stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                env=os.environ
                | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": self.backend},
            )  # fmt: skip
        wait_for(self.answers)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5):  # noqa: S310  # our own address
                return True
        except OSError:
            return False

    def tell(self, what: signal.Signals) -> None:
        os.killpg(self.process.pid, what)
        if what == signal.SIGKILL:
            self.process.wait()

    def runs(self) -> list[Run]:
        return runs_in(f"sqlite:///{self.folder}/mlflow.db")


class Gate:
    """An address before a server's own, which lets requests through, or does what a broken server does.

    `mode` is pass, hang (accept, and never answer), refuse, or the status of each answer: 500, 429.
    """

    def __init__(self, server: Server):
        self.server, self.mode = server, "pass"
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.socket.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _ = self.socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self.mode == "hang":
                self._held.append(client)  # open, and silent
                return
            if self.mode != "pass":
                if self.mode != "refuse":
                    client.recv(1 << 20)
                    client.sendall(f"HTTP/1.1 {self.mode} Broken\r\nContent-Length: 0\r\n\r\n".encode())
                client.close()
                return
            behind = socket.create_connection(("127.0.0.1", self.server.port))
            threading.Thread(target=self._pass_on, args=(behind, client), daemon=True).start()
            self._pass_on(client, behind)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source, target:
            while self.mode == "pass" and (content := source.recv(1 << 16)):
                target.sendall(content)


class Machine:
    """A copy of the code with a store of its own: what is another machine to a server."""

    def __init__(self, folder: Path, address: str):
        for name in ("src", "conf"):
            shutil.copytree(ROOT / name, folder / name)
        self.folder, self.address = folder, address
        self.uri = f"sqlite:///{folder}/mlruns/mlflow.db"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "MLFLOW_TRACKING_URI": self.address,
            "PYTHONPATH": f"{self.folder}/src:{os.environ.get('PYTHONPATH', '')}",
        }

    @contextmanager
    def training(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "handwriting.train", *words]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    def train(self, *words: str) -> str:
        """Train to the end; return all that was said."""
        with self.training(*words) as process:
            out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        assert "Traceback" not in error
        return out + error

    def sync(self, *words: str) -> str:
        return self.do("sync", *words)

    def do(self, command: str, *words: str) -> str:
        """Run one of the commands to its end; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", f"handwriting.{command}", *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def runs(self) -> list[Run]:
        return runs_in(self.uri) if (self.folder / "mlruns/mlflow.db").exists() else []


def runs_in(uri: str) -> list[Run]:
    """Return all runs of a store but leases."""
    client = MlflowClient(uri)
    kinds = [found for found in client.search_experiments() if found.name != names.LEASES]
    return list(client.search_runs([found.experiment_id for found in kinds]))


def free_port() -> int:
    """Return a port that no other server takes: each of ours that is told none takes the first from 5000."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
    ]
    return [*children, *(below for child in children for below in descendants(child))]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(look: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)
