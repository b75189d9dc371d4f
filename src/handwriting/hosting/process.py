"""The process of a server: its port, the names that it answers to, its start and its end."""

import http.client
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from handwriting.errors import UserError
from handwriting.tracking import ROOT_SETTING, Store

HOST = "127.0.0.1"
FIRST_PORT = 5000
HEADER = "started-by"
PROXIED = "mlflow-artifacts:/"  # files go through the server, which alone knows where they lie


def end_when_told() -> None:
    """Let whatever signal tells this process to end raise KeyboardInterrupt, so that its server ends too.

    A shell's `&` would have SIGINT ignored; what `nohup` asks for is kept.
    """
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if ending != signal.SIGHUP or signal.getsignal(ending) != signal.SIG_IGN:
            signal.signal(ending, signal.default_int_handler)


def free_port(wanted: int | None, host: str = HOST) -> int:
    """Return `wanted`, or the first free port from 5000.

    Raises:
        UserError: the wanted port is taken or is none, or the host is not this machine.
    """
    if wanted == 0:  # to the operating system: any free port
        raise UserError("the port must be from 1 to 65535. Received: 0")
    try:
        address = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"there is no host {host} ({error}). Name an address of this machine") from error
    for port in [wanted] if wanted is not None else range(FIRST_PORT, FIRST_PORT + 100):
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
            return port
        except (OSError, OverflowError) as error:
            reason = error
    place = "" if host == HOST else f" of {host}"
    raise UserError(f"port {port}{place} cannot be used ({reason}). Name another one, or none")


def serve(
    store: Store,
    host: str,
    port: int,
    names: Sequence[str],
    options: Sequence[str],
    artifact_root: str,
    say: Callable[[], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run MLflow's server until it ends or this process is told to.

    Args:
        store: a database, whole. Its address, which may hold a password, is in no command line.
        host: where it listens.
        port: a free one.
        names: the only host names that it answers to, with its port or, for a proxy, without one.
        options: more of MLflow's, nothing secret.
        artifact_root: under which the files of new experiments go.
        say: called once the server answers.
        environment: more of the server's environment.

    Raises:
        UserError: the server ended by itself.
    """
    # MLflow's default lets in host names that begin like a private address: a rebinding attack. From a page
    # of its own it takes what is written only where the page's address is named.
    allowed = ",".join(word for name in names for word in (f"{name}:{port}", name))
    pages = ",".join(f"{kind}://{word}" for kind in ("http", "https") for word in allowed.split(","))
    # A line for each request would push what is said off the screen. The header tells this server from
    # another one that took the port in the seconds since it was free.
    # psycopg warns of each point that is there already, as a model's that the run has; MLflow leaves it out.
    loggers = shlex.quote(str(Path(__file__).with_name("loggers.json")))
    logged = f"--log-level warning --log-config {loggers} --header {HEADER}:{os.getpid()}"
    command = ["mlflow", "server", "--host", host, "--port", str(port), "--workers", "1", *options]
    command += ["--allowed-hosts", allowed, "--cors-allowed-origins", pages, "--uvicorn-opts", logged]
    # No process that waits for evaluation jobs of language models, no warnings about MLflow's own imports.
    own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    own |= {"MLFLOW_BACKEND_STORE_URI": store.uri, ROOT_SETTING: artifact_root, **(environment or {})}
    # In a session of its own: Ctrl-C, which the terminal sends to a whole group, would end the server's
    # processes each with a traceback.
    server = subprocess.Popen([sys.executable, "-m", *command], env=os.environ | own, start_new_session=True)
    try:
        while server.poll() is None and not answers(host, port):
            time.sleep(0.1)
        if server.poll() is None:
            say()
        server.wait()
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    raise UserError("MLflow's server has ended by itself, for the reason above")


def answers(host: str, port: int) -> bool:
    """Return whether the server that this process started listens on a port."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().getheader(HEADER) == str(os.getpid())
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
