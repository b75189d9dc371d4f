"""`make orphans`: mark runs as KILLED that are RUNNING in the store while no process works on them.

Beside a shared store that is this machine's own one too: a copy follows what it is a copy of. Of a shared
store they are the runs of all machines, of a file those of this one.
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
    """Return the runs that are RUNNING though nobody holds the right to them."""
    experiments = [
        experiment.experiment_id
        for experiment in store.client.search_experiments()
        if experiment.name != names.LEASES
    ]

    from handwriting.tracking.leases import live

    where = "attributes.status = 'RUNNING'"
    if store.database:  # beside which another machine's locks cannot be seen from here
        where += f" AND tags.{names.HOST} = '{platform.node()}'"
    running = [run for run in store.search(experiments, where) if names.ORIGIN not in run.data.tags]
    at_work = live(store, running)
    return [run for run in running if run.info.run_id not in at_work]


if __name__ == "__main__":
    main()
