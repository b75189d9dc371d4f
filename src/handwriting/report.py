"""`make report`: what the runs of a sweep say, on the screen, as files, and in the store beside them."""

import sys

from handwriting import terminal
from handwriting.errors import UserError
from handwriting.options import parser
from handwriting.tracking import Store, default_uri

EPILOG = """\
Each question has a page of its own, in reports/ beside the store. Examples:

  python -m handwriting.report                                       the latest sweep
  python -m handwriting.report --metric test_loss                    the same runs, another metric
  python -m handwriting.report --experiment handwriting --by optimizer --where model=mlp
"""


def main() -> None:
    """Report on what the arguments name; a mistake of the user's ends in one line and exit code 1."""
    terminal.survive()
    options = parser("report", __doc__, EPILOG)
    options.add_argument(
        "--targets", nargs="+", action="extend", type=float, default=[], metavar="LEVEL",
        help="levels of val_accuracy, as 0.98 0.99, for the time to reach them; default: from the data",
    )  # fmt: skip
    arguments = options.parse_args()
    try:
        store = Store(arguments.uri or default_uri())
        store.check(made=True)

        from handwriting.compare import report

        report(
            store,
            arguments.sweep,
            arguments.experiment,
            arguments.by,
            arguments.metric,
            arguments.where,
            arguments.targets,
            arguments.more_is_better,
            arguments.margin,
        )
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
