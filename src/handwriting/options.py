"""The options that commands on stored runs share: which runs, and what is asked of them."""

import argparse
import math
from typing import NoReturn

from handwriting.tracking import names

ALIASED = "NAME@champion or NAME@challenger"
ALIASED_OR_RUN = "NAME@champion, NAME@challenger or a run's id"


class Parser(argparse.ArgumentParser):
    """A parser that says a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """End the process with the message."""
        self.exit(1, f"error: {message}. All options: {self.prog} --help\n")


def model_parser(command: str, about: str | None, epilog: str, takes: str = ALIASED_OR_RUN) -> Parser:
    """Return a parser for a command that uses a model, with the options model and uri.

    Args:
        command: the name of its module.
        about: what it does.
        epilog: examples.
        takes: what --model may be.
    """
    found = plain_parser(command, about, epilog)
    found.add_argument(
        "--model", metavar="NAME",
        help=f"{takes}; default: what was promoted last",
    )  # fmt: skip
    add_uri(found)
    return found


def parser(command: str, about: str | None, epilog: str) -> Parser:
    """Return a parser with the options that are shared.

    They are uri, sweep, experiment, where, by, metric, more_is_better and margin.

    Args:
        command: the name of its module.
        about: what it does.
        epilog: examples.
    """
    found = plain_parser(command, about, epilog)
    which = found.add_argument_group("which runs")
    source = which.add_mutually_exclusive_group()
    source.add_argument("--sweep", metavar="NAME", help="those of a sweep; default: the latest")
    source.add_argument("--experiment", metavar="NAME", help="all of an experiment")
    which.add_argument(
        "--where", nargs="+", action="extend", default=[], metavar="KEY=VALUE", type=_condition,
        help="only runs with this value, as batch_size=32; of several values for one key, any",
    )  # fmt: skip
    add_uri(which)
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
    return found


def plain_parser(command: str, about: str | None, epilog: str) -> Parser:
    """Return a parser without options."""
    return Parser(
        prog=f"python -m handwriting.{command}",
        description=about,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_uri(group: argparse._ActionsContainer) -> None:
    """Add the option that names the store."""
    group.add_argument("--uri", help="of the store; default: MLFLOW_TRACKING_URI, else the one under mlruns/")


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
