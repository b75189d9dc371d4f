"""`make ui`: MLflow's own UI on the store, for this machine only, opened at the latest comparison."""

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from handwriting import terminal
from handwriting.errors import UserError, redact
from handwriting.tracking import Store, default_uri, names

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

HOST = "127.0.0.1"
FIRST_PORT = 5000
HEADER = "started-by"


def main() -> None:
    """Start MLflow's server and print the address of the latest comparison."""
    terminal.survive()
    parser = argparse.ArgumentParser(prog="python -m handwriting.ui", description=__doc__)
    parser.add_argument("--port", type=int, help=f"default: the first free one from {FIRST_PORT}")
    parser.add_argument(
        "--uri", help="of the store; default: MLFLOW_TRACKING_URI, else the one under mlruns/"
    )
    arguments = parser.parse_args()
    # However this process is told to end, its server ends too. A shell's `&` would have SIGINT ignored;
    # what `nohup` asks for is kept.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if ending != signal.SIGHUP or signal.getsignal(ending) != signal.SIG_IGN:
            signal.signal(ending, signal.default_int_handler)
    try:
        port = free_port(arguments.port)
        store = Store(arguments.uri or default_uri())
        store.check()
        # Before the server starts: two processes that set up one empty database get in each other's way.
        page = latest_comparison(store)
        serve(store, port, page)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\nThe server has ended.")


def free_port(wanted: int | None) -> int:
    """Return `wanted`, or the first free port from 5000.

    Raises:
        UserError: the wanted port is taken or is none.
    """
    if wanted == 0:  # to the operating system: any free port
        raise UserError("the port must be from 1 to 65535. Received: 0")
    for port in [wanted] if wanted is not None else range(FIRST_PORT, FIRST_PORT + 100):
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
            return port
        except (OSError, OverflowError) as error:
            reason = error
    raise UserError(f"port {port} cannot be used ({reason}). Name another one, or none")


def latest_comparison(store: Store) -> str:
    """Return the UI's page with the runs of the newest sweep, or of the newest run's experiment.

    Raises:
        UserError: MLflow cannot read the store.
    """
    from mlflow.exceptions import MlflowException  # 3 s: a port that is taken is said before

    try:
        client = store.client
        found = client.search_experiments()
    except MlflowException as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"MLflow cannot read the store {redact(store.uri)}: {first_line}") from error
    # What stands in a reports experiment is about a sweep, and has no curves.
    experiments = [
        experiment.experiment_id for experiment in found if not experiment.name.endswith(names.REPORTS)
    ]
    newest = newest_run(client, experiments, f"tags.{names.SWEEP} LIKE '%'") or newest_run(
        client, experiments
    )
    if newest is None:
        return ""
    experiment_id, sweep = newest.info.experiment_id, names.words(newest.data.tags.get(names.SWEEP))[-1:]
    # Without `workflowType` the UI opens on its views for language models.
    page = f"/#/experiments/{experiment_id}/runs?compareRunsMode=CHART&workflowType=machine_learning"
    return f"{page}&viewStateShareKey={share_view(client, experiment_id, *sweep)}" if sweep else page


def newest_run(client: "MlflowClient", experiments: list[str], where: str = "") -> "Run | None":
    """Return the run that started last, of those that fit a filter."""
    order = ["attributes.start_time DESC"]
    return next(iter(client.search_runs(experiments, where, max_results=1, order_by=order)), None)


def share_view(client: "MlflowClient", experiment_id: str, sweep: str) -> str:
    """Store how a sweep's runs are shown, as the UI's own "Share" does, and return the view's key.

    What the address alone can say is not enough: the UI would draw the first ten runs and hide the rest,
    and put the charts of `val_accuracy` and `val_loss` last, below the screen's edge.
    """
    view = {
        "searchFilter": f"tags.{names.SWEEP} LIKE '%{sweep}%'",  # a run may belong to several
        "orderByKey": f"tags.`{names.arm_of(sweep)}`",
        "runsHiddenMode": "SHOW_ALL",
        "chartsSearchFilter": "^(val_)?(accuracy|loss)$",
    }
    client.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{sweep}", json.dumps(view))
    return sweep


def serve(store: Store, port: int, page: str) -> None:
    """Run MLflow's server until it ends or this process is told to; say where to look once it answers.

    Raises:
        UserError: the server ended by itself.
    """
    command = ["mlflow", "server", "--backend-store-uri", store.uri, "--host", HOST, "--port", str(port)]
    # MLflow's default lets in host names that begin like a private address: a rebinding attack.
    allowed = f"localhost:{port},{HOST}:{port}"
    # A line for each request would push the address off the screen. The header tells this server from
    # another one that took the port in the seconds since it was free.
    options = f"--log-level warning --header {HEADER}:{os.getpid()}"
    command += ["--workers", "1", "--allowed-hosts", allowed, "--uvicorn-opts", options]
    command += ["--no-serve-artifacts"]
    # No process that waits for evaluation jobs of language models, no warnings about MLflow's own imports.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    # In a session of its own: Ctrl-C, which the terminal sends to a whole group, would end the server's
    # processes each with a traceback.
    server = subprocess.Popen([sys.executable, "-m", *command], env=environment, start_new_session=True)
    try:
        while server.poll() is None and not answers(port):
            time.sleep(0.1)
        if server.poll() is None:
            what = "The latest comparison" if page else "The store is empty (`make sweep` fills it)"
            print(f"\n{what}. Ctrl-C ends the server.\nhttp://{HOST}:{port}{page}", flush=True)
        server.wait()
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    raise UserError("MLflow's server has ended by itself, for the reason above")


def answers(port: int) -> bool:
    """Return whether the server that this process started listens on a port."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().getheader(HEADER) == str(os.getpid())
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
