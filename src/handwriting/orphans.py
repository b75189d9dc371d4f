"""`make orphans`: mark runs as KILLED that are RUNNING in the store while no process works on them."""

import argparse
import platform
import sys
from typing import TYPE_CHECKING

from handwriting import terminal
from handwriting.errors import UserError
from handwriting.tracking import Store, default_uri, names

if TYPE_CHECKING:
    from mlflow.entities import Run


def main() -> None:
    """Mark them, and name each."""
    terminal.survive()
    parser = argparse.ArgumentParser(prog="python -m handwriting.orphans", description=__doc__)
    parser.add_argument(
        "--uri", help="of the store; default: MLFLOW_TRACKING_URI, else the one under mlruns/"
    )
    try:
        store = Store(parser.parse_args().uri or default_uri())
        store.check()
        with store.errors():
            for run in orphans(store):
                store.client.set_terminated(run.info.run_id, "KILLED")
                print(f"{run.info.run_id}  {run.info.run_name}  is KILLED; its command goes on with it")
    except UserError as error:
        sys.exit(f"error: {error}")


def orphans(store: Store) -> "list[Run]":
    """Return the runs of this machine that are RUNNING though their lock is free."""
    experiments = [experiment.experiment_id for experiment in store.client.search_experiments()]

    import mlflow  # whose search pages by itself

    running = mlflow.search_runs(
        experiments,
        # Another machine's locks cannot be seen from here.
        filter_string=f"attributes.status = 'RUNNING' AND tags.{names.HOST} = '{platform.node()}'",
        output_format="list",
    )
    return [run for run in running if not store.is_live(run)]


if __name__ == "__main__":
    main()
