"""`make export`: a sweep's result as one zip or folder that opens anywhere, without a server.

Page, verdict, figures, tables, each run's config, command, commit and versions, and checksums of all of it.
What is in the place is replaced only where it is such a result, as it was written.
"""

import sys
from pathlib import Path

from handwriting import terminal
from handwriting.bundling import check_place
from handwriting.errors import UserError
from handwriting.options import add_uri, plain_parser
from handwriting.tracking import Store, default_uri

EPILOG = """\
Examples:

  python -m handwriting.bundle                                the latest sweep, in exports/ beside the store
  python -m handwriting.bundle --sweep quick-0123abcd q.zip
  python -m handwriting.bundle --sweep quick-0123abcd q       as a folder
"""


def main() -> None:
    """Write what the arguments name; a mistake of the user's ends in one line and exit code 1."""
    terminal.survive()
    options = plain_parser("bundle", __doc__, EPILOG)
    options.add_argument("--sweep", metavar="NAME", help="default: the latest")
    options.add_argument("file", metavar="FILE", nargs="?", help="a zip where it ends in .zip, else a folder")
    add_uri(options)
    arguments = options.parse_args()
    try:
        if arguments.file is not None and arguments.file.endswith(".tflite"):
            raise UserError(
                f"{arguments.file}: the champion is no sweep's. Leave out SWEEP: make export FILE=name.tflite"
            )
        place = None if arguments.file is None else Path(arguments.file).resolve()
        if place is not None:
            check_place(place)
        store = Store(arguments.uri or default_uri())
        store.check(made=True)

        from handwriting.bundling.bundle import bundle

        written = bundle(store, arguments.sweep, place)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; what was there stays")
    print(written)


if __name__ == "__main__":
    main()
