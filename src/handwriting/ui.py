"""`make ui`: MLflow's own UI on the store, for this machine only, opened at the latest comparison."""

import argparse
import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from handwriting import terminal
from handwriting.errors import UserError, redact
from handwriting.hosting import FIRST_PORT, HOST, PROXIED, end_when_told, free_port, serve
from handwriting.tracking import Store, default_uri, names

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def main() -> None:
    """Print the address of the latest comparison, and serve it where the store is no server."""
    terminal.survive()
    parser = argparse.ArgumentParser(prog="python -m handwriting.ui", description=__doc__)
    parser.add_argument("--port", type=int, help=f"default: the first free one from {FIRST_PORT}")
    parser.add_argument(
        "--uri", help="of the store; default: MLFLOW_TRACKING_URI, else the one under mlruns/"
    )
    arguments = parser.parse_args()
    end_when_told()
    try:
        store = Store(arguments.uri or default_uri())
        if store.uri.startswith("http"):  # it has a UI
            print(f"{said(page := latest_comparison(store))}.\n{redact(store.uri).rstrip('/')}{page}")
            return
        port = free_port(arguments.port)
        store.check()
        # Before the server starts: two processes that set up one empty database get in each other's way.
        page = latest_comparison(store)

        def say() -> None:
            print(f"\n{said(page)}. Ctrl-C ends the server.\nhttp://{HOST}:{port}{page}", flush=True)

        # For experiments that are made in the UI. MLflow's default is the current directory.
        root = PROXIED
        with suppress(UserError):  # it is not named: there they can have no files
            root = store.artifact_root() or root
        serve(store, HOST, port, ("localhost", HOST), ["--no-serve-artifacts"], root, say)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\nThe server has ended.")


def said(page: str) -> str:
    """Return what an address leads to."""
    return "The latest comparison" if page else "The store is empty (`make sweep` fills it)"


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


if __name__ == "__main__":
    main()
