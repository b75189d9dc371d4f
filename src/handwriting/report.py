"""`make report`: what the runs of a sweep say, on the screen, as files, and in the store beside them."""

import argparse
import math
import sys
from typing import NoReturn

from handwriting import terminal
from handwriting.errors import UserError
from handwriting.tracking import Store, default_uri, names

EPILOG = """\
Each question has a page of its own, in reports/ beside the store. Examples:

  python -m handwriting.report                                       the latest sweep
  python -m handwriting.report --metric test_loss                    the same runs, another metric
  python -m handwriting.report --experiment handwriting --by optimizer --where model=mlp
"""


class Parser(argparse.ArgumentParser):
    """A parser that says a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """End the process with the message."""
        self.exit(1, f"error: {message}. All options: {self.prog} --help\n")


def main() -> None:
    """Report on what the arguments name; a mistake of the user's ends in one line and exit code 1."""
    terminal.survive()
    arguments = parser().parse_args()
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


def parser() -> Parser:
    """Return the command's options."""
    found = Parser(
        prog="python -m handwriting.report",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = found.add_argument_group("which runs")
    source = which.add_mutually_exclusive_group()
    source.add_argument("--sweep", metavar="NAME", help="those of a sweep; default: the latest")
    source.add_argument("--experiment", metavar="NAME", help="all of an experiment")
    which.add_argument(
        "--where", nargs="+", action="extend", default=[], metavar="KEY=VALUE", type=_condition,
        help="only runs with this value, as batch_size=32; of several values for one key, any",
    )  # fmt: skip
    which.add_argument("--uri", help="of the store; default: MLFLOW_TRACKING_URI, else the one under mlruns/")
    asked = found.add_argument_group("what is asked of them")
    asked.add_argument(
        "--by", nargs="+", action="extend", metavar="KEY",
        help="the settings that tell arms apart; default: the sweep's own arms, or all that differs",
    )  # fmt: skip
    asked.add_argument("--metric", default=names.TEST_ACCURACY, help="what is compared; default: %(default)s")
    better = asked.add_mutually_exclusive_group()
    better.add_argument(
        "--more-is-better", action="store_true", default=None,
        help="of the metric, where the runs do not say whether more or less of it is better",
    )  # fmt: skip
    better.add_argument(
        "--less-is-better", action="store_false", dest="more_is_better", default=None, help="the other way"
    )
    asked.add_argument(
        "--margin", type=_above_0, metavar="DIFFERENCE",
        help="a difference that does not matter, in the metric's unit, as 0.1 for 0.1 points of per cent; "
        "default: the sweep's own, else 0.1 points",
    )  # fmt: skip
    asked.add_argument(
        "--targets", nargs="+", action="extend", type=float, default=[], metavar="LEVEL",
        help="levels of val_accuracy, as 0.98 0.99, for the time to reach them; default: from the data",
    )  # fmt: skip
    return found


def _above_0(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number > 0. Received: {text}")
    return value


def _condition(text: str) -> str:
    if not all(text.partition("=")):
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, as batch_size=32. Received: {text}")
    return text


if __name__ == "__main__":
    main()
