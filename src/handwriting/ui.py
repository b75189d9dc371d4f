"""`make ui`: MLflow's own UI on the store, for this machine only, opened at the latest comparison."""

import argparse
import os
import socket
import sys

import mlflow

from handwriting.errors import UserError
from handwriting.store import DEFAULT_URI, check_store
from handwriting.summary import address_of

HOST = "127.0.0.1"
FIRST_PORT = 5000


def main() -> None:
    """Print the address of the latest comparison and become MLflow's server."""
    parser = argparse.ArgumentParser(prog="python -m handwriting.ui", description=__doc__)
    parser.add_argument("--port", type=int, help=f"default: the first free one from {FIRST_PORT}")
    parser.add_argument("--uri", default=os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_URI))
    arguments = parser.parse_args()
    try:
        port = free_port(arguments.port)
        check_store(arguments.uri)
        address = latest_comparison(arguments.uri, f"http://{HOST}:{port}")
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"The latest comparison (Ctrl-C ends the server):\n{address}", flush=True)
    serve(arguments.uri, port)


def free_port(wanted: int | None) -> int:
    """Return `wanted`, or the first free port from 5000.

    Raises:
        UserError: the wanted port is taken or is none.
    """
    for port in [wanted] if wanted is not None else range(FIRST_PORT, FIRST_PORT + 100):
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
            return port
        except (OSError, OverflowError) as error:
            reason = error
    raise UserError(f"port {port} cannot be used ({reason}). Name another: make ui PORT={FIRST_PORT + 1}")


def latest_comparison(uri: str, server: str) -> str:
    """Return the address of the newest run's sweep, or of its experiment where it has none."""
    mlflow.set_tracking_uri(uri)
    experiments = mlflow.search_experiments()
    runs = mlflow.search_runs(
        [one.experiment_id for one in experiments],
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    if not runs:
        return f"{server}  (the store is empty: make sweep fills it)"
    newest = runs[0]
    return address_of(newest.info.experiment_id, newest.data.tags.get("sweep", ""), server)


def serve(uri: str, port: int) -> None:
    """Replace this process by MLflow's server."""
    # One worker instead of four, and no process that waits for evaluation jobs of language models.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    command = ["mlflow", "server", "--backend-store-uri", uri, "--host", HOST, "--port", str(port)]
    # MLflow's default lets in host names that begin like a private address: a rebinding attack.
    allowed = f"localhost:{port},{HOST}:{port}"
    command += ["--workers", "1", "--allowed-hosts", allowed, "--no-serve-artifacts"]
    os.execv(sys.executable, [sys.executable, "-m", *command])


if __name__ == "__main__":
    main()
