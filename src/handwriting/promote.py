"""`make promote`: the better arm's model becomes the champion where the verdict says so, else the challenger.

Of the arm's runs, the one with the highest validation accuracy is taken; the test set chooses nothing.
"""

import datetime
import sys
from typing import TYPE_CHECKING

from handwriting import terminal
from handwriting.errors import UserError
from handwriting.options import parser
from handwriting.tracking import Store, default_uri, names

if TYPE_CHECKING:
    import argparse

EPILOG = """\
Examples:

  python -m handwriting.promote                              of the latest sweep
  python -m handwriting.promote --anyway "half the memory"   whatever the verdict
  python -m handwriting.promote --history                    what was the champion, and why
  python -m handwriting.promote --back                       the one before
"""
LONGEST_REASON = 500
STAYS = {"challenger": "is a challenger and not the champion", "champion": "stays the champion that it was"}


def main() -> None:
    """Promote what the arguments name; a mistake of the user's ends in one line and exit code 1."""
    terminal.survive()
    options = parser("promote", __doc__, EPILOG)
    done = options.add_argument_group("what is done")
    done.add_argument("--name", help="of the registered model; default: the experiment's")
    what = done.add_mutually_exclusive_group()
    what.add_argument(
        "--anyway", metavar="REASON",
        help="make it the champion whatever the verdict, and whatever the champion reads; stored with it",
    )  # fmt: skip
    what.add_argument("--back", action="store_true", help="make the champion before the champion again")
    what.add_argument("--history", action="store_true", help="list what became the champion, oldest first")
    arguments = options.parse_args()
    try:
        if arguments.anyway is not None and not 0 < len(arguments.anyway.strip()) <= LONGEST_REASON:
            raise UserError(
                f"--anyway needs a reason of 1 to {LONGEST_REASON} characters: it is stored with the champion"
            )
        store = Store(arguments.uri or default_uri())
        store.check(made=True)
        with store.errors():
            promote(store, arguments)
    except UserError as error:
        sys.exit(f"error: {error}")


def promote(store: Store, arguments: "argparse.Namespace") -> None:
    """Do what the arguments say, and print it."""
    from handwriting.compare import Asked, answered, keep, load_runs  # 1 s; the rest 3 s more
    from handwriting.serving import champion

    if arguments.back or arguments.history:
        name = arguments.name or load_runs(store, arguments.sweep, arguments.experiment).experiment
        if arguments.back:
            gone, now = champion.back(store, name)
            print(f"{name}@{champion.CHAMPION} is version {now.version} again, in place of {gone.version}")
        past = champion.history(store, name)
        if not past:
            raise UserError(f"{name} has had no champion. make promote makes one")
        for event in past:
            at = datetime.datetime.fromtimestamp(event.at / 1000).isoformat(" ", "seconds")
            print(f"{at}  version {event.version:>3}  {event.how:8}  {event.why}")
        return
    asked = Asked(
        arguments.by, arguments.metric, arguments.where, (), arguments.more_is_better, arguments.margin
    )
    answer = answered(store, arguments.sweep, arguments.experiment, asked)
    found = champion.candidate(answer.comparison)
    name = arguments.name or answer.loaded.experiment
    before = champion.version_of(store, name, champion.CHAMPION)
    page, report = keep(store, answer)
    alias, version = champion.promote(store, answer, report, name, arguments.anyway)
    accuracy = names.metric(names.VAL_ACCURACY)
    of = "its only run" if found.runs == 1 else f"the best of its {found.runs} runs"
    print(
        f"{found.why}\n\n{name}@{alias} is version {version}: {found.arm}, seed {found.seed}, {of} by "
        f"validation ({accuracy.shown(found.val_accuracy)} {accuracy.unit})."
    )
    if not found.wins:
        print(
            f"No arm is better than each other. It is the champion all the same: {arguments.anyway}."
            if arguments.anyway
            else f"No arm is better than each other, so it {STAYS[alias]}."
        )
    if before is not None and str(before.version) != version:
        print(
            f"The champion was version {before.version}: --back returns to it."
            if alias == champion.CHAMPION
            else f"The champion is still version {before.version}."
        )
    print(f"report: {page}\ntry it: make demo, or python -m handwriting.predict PICTURE")


if __name__ == "__main__":
    main()
