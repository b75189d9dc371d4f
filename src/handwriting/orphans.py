"""`make orphans`: mark runs as KILLED that are RUNNING in the store while no process works on them."""

import argparse
import platform
import sys

import mlflow
from mlflow.entities import Run

from handwriting.claim import is_live
from handwriting.errors import UserError
from handwriting.store import check_store, default_uri
from handwriting.tracking import store_errors


def main() -> None:
    """Mark them, and name each."""
    parser = argparse.ArgumentParser(prog="python -m handwriting.orphans", description=__doc__)
    parser.add_argument("--uri", default=default_uri())
    uri = parser.parse_args().uri
    try:
        with store_errors(uri):
            check_store(uri)
            for run in orphans(uri):
                mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")
                print(f"{run.info.run_id}  {run.info.run_name}  is KILLED; its command goes on with it")
    except UserError as error:
        sys.exit(f"error: {error}")


def orphans(uri: str) -> list[Run]:
    """Return the runs of this machine that are RUNNING though their lock is free."""
    mlflow.set_tracking_uri(uri)
    running = mlflow.search_runs(
        [one.experiment_id for one in mlflow.search_experiments()],
        # Another machine's locks cannot be seen from here.
        filter_string=f"attributes.status = 'RUNNING' AND tags.host = '{platform.node()}'",
        output_format="list",
    )
    return [run for run in running if not is_live(uri, run)]


if __name__ == "__main__":
    main()
