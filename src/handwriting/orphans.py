"""`make orphans`: mark runs as KILLED that are RUNNING in the store while no process works on them.

Beside a shared store that is this machine's own one too: a copy follows what it is a copy of.
"""

import platform
import sys
from typing import TYPE_CHECKING

from handwriting import terminal
from handwriting.errors import UserError
from handwriting.options import plain_parser
from handwriting.tracking import Store, default_uri, local_uri, names

if TYPE_CHECKING:
    from mlflow.entities import Run


def main() -> None:
    """Mark them, and name each."""
    terminal.survive()
    options = plain_parser("orphans", __doc__, "")
    options.add_argument(
        "--uri", help="of the store; default: MLFLOW_TRACKING_URI, and the one under mlruns/"
    )
    uri = options.parse_args().uri
    try:
        stores = [Store(uri or default_uri())]
        own = Store(local_uri())
        if uri is None and stores[0].database is None and own.database and own.database.exists():
            stores.insert(0, own)
        for store in stores:
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

    import mlflow  # whose search pages by itself, in the store whose client was made last

    running = mlflow.search_runs(
        experiments,
        # Another machine's locks cannot be seen from here.
        filter_string=f"attributes.status = 'RUNNING' AND tags.{names.HOST} = '{platform.node()}'",
        output_format="list",
    )
    return [run for run in running if names.ORIGIN not in run.data.tags and not store.is_live(run)]


if __name__ == "__main__":
    main()
