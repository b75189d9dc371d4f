"""`make sync`: bring the runs of this machine's store to the shared one; what is there already stays.

The shared store is the one that MLFLOW_TRACKING_URI or --to names: a server, or a database that others reach.
"""

import os
import sys
import time
from typing import TYPE_CHECKING

from handwriting import terminal
from handwriting.errors import UserError, redact
from handwriting.hosting import end_when_told
from handwriting.options import plain_parser
from handwriting.sharing.following import ASKING, AWAY
from handwriting.tracking import Store, local_uri

if TYPE_CHECKING:
    from handwriting.sharing.exchange import Exchange

EPILOG = """\
Examples:

  MLFLOW_TRACKING_URI=http://tracking.lab:5000 python -m handwriting.sync
  python -m handwriting.sync --to http://tracking.lab:5000 --check   compare both sides, file by file
  python -m handwriting.sync --watch                                 go on until Ctrl-C
"""


def main() -> None:
    """Copy what is not there yet; exit code 1 where something could not be copied, or differs."""
    terminal.survive()
    options = plain_parser("sync", __doc__, EPILOG)
    options.add_argument("--to", metavar="URI", help="the shared store; default: MLFLOW_TRACKING_URI")
    options.add_argument("--uri", help="of this machine's store; default: the one under mlruns/")
    how = options.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="compare both sides by value and by SHA-256, too")
    how.add_argument("--watch", action="store_true", help="look again and again, until Ctrl-C")
    arguments = options.parse_args()
    end_when_told()
    try:
        source, target = stores(arguments.uri, arguments.to)
        source.check(made=True)
        failed = sync(source, target, arguments.check, arguments.watch)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on")
    if failed:
        sys.exit(1)


def stores(uri: str | None, to: str | None) -> tuple[Store, Store]:
    """Return this machine's store and the shared one.

    Raises:
        UserError: the shared one is not named, or is this one; or this one is no file.
    """
    source = Store(uri or local_uri())
    shared = to or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not shared:
        raise UserError("no shared store is named: MLFLOW_TRACKING_URI=http://SERVER:5000, or --to URI")
    target = Store(shared)
    if source.database is None:
        raise UserError(
            f"--uri must be a store on this machine, sqlite:///FILE. Received: {redact(source.uri)}"
        )
    if target.database == source.database:
        raise UserError(f"{redact(target.uri)} is this machine's own store. Name the shared one: --to URI")
    return source, target


def sync(source: Store, target: Store, check: bool, watch: bool) -> int:
    """Copy what is not there yet, and print each run; return how many are not as they should be.

    Raises:
        UserError: the shared store does not answer, and nobody watches.
    """
    os.environ.update(ASKING)
    from handwriting.sharing.exchange import Exchange

    while watch:
        try:
            with target.errors():
                exchange = Exchange(source, target)
                while True:
                    _bring(exchange)
                    time.sleep(exchange.pause)
        except UserError as error:
            print(f"{str(error).partition('. ')[0]}; it is asked again", file=sys.stderr, flush=True)
            time.sleep(AWAY)
    with target.errors():
        exchange = Exchange(source, target)
        return _bring(exchange) + (_compare(exchange) if check else 0)


def _bring(exchange: "Exchange") -> int:
    """Copy what is not there as it is now; return how many runs the target did not take."""
    problems = []
    for run, problem in exchange.bring():
        problems.append(problem)
        print(f"{run.info.run_id}  {run.info.run_name}  {problem or 'is copied'}", flush=True)
    return len(problems) - problems.count(None)


def _compare(exchange: "Exchange") -> int:
    """Compare all runs with their copies; return how many differences there are."""
    from handwriting.sharing.checking import differences

    pairs = exchange.pairs()
    found = 0
    for own, copy in pairs:
        for difference in differences(exchange.out, own, copy):
            found += 1
            print(f"{own}  {difference}")
    print(f"runs compared: {len(pairs)}, differences: {found}")
    return found


if __name__ == "__main__":
    main()
