"""`make report`: what the runs of a sweep say, on the screen, as files, and in the store beside them."""

import argparse
import sys

from handwriting import terminal
from handwriting.errors import UserError
from handwriting.tracking import Store, default_uri, names


def main() -> None:
    """Report on what the arguments name; a mistake of the user's ends in one line and exit code 1."""
    terminal.survive()
    parser = argparse.ArgumentParser(prog="python -m handwriting.report", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--sweep", help="a sweep's name; default: the latest")
    what.add_argument("--experiment", help="all runs of an experiment")
    parser.add_argument("--by", nargs="+", metavar="KEY", help="what was swept; default: all that differs")
    parser.add_argument(
        "--where", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="only runs with this value, as batch_size=32; of several values for one key, any",
    )  # fmt: skip
    parser.add_argument(
        "--metric", default=names.TEST_ACCURACY, help="what is compared; default: %(default)s"
    )
    parser.add_argument(
        "--uri", help="of the store; default: MLFLOW_TRACKING_URI, else the one under mlruns/"
    )
    arguments = parser.parse_args()
    try:
        store = Store(arguments.uri or default_uri())
        store.check(made=True)

        from handwriting.compare import report

        report(store, arguments.sweep, arguments.experiment, arguments.by, arguments.metric, arguments.where)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
