"""`make server`: MLflow's server on a store that colleagues share, their runs and the runs' files.

It listens on this machine only, unless told otherwise, and answers to no other host name than those named.
"""

import os
import platform
import re
import sys

from handwriting import terminal
from handwriting.config import ROOT
from handwriting.errors import UserError, redact
from handwriting.hosting import FIRST_PORT, HOST, PROXIED, end_when_told, free_port, serve
from handwriting.hosting.passwords import asking_for_passwords
from handwriting.hosting.places import check_experiments, only_one, place_of
from handwriting.options import plain_parser
from handwriting.tracking import Store

EPILOG = """\
Examples:

  python -m handwriting.server                                           on SQLite, for this machine
  python -m handwriting.server --host 0.0.0.0 --names tracking.lab --auth
  MLFLOW_BACKEND_STORE_URI=postgresql://me:PASSWORD@db.lab/mlflow python -m handwriting.server \\
    --artifacts s3://BUCKET/FOLDER                                       with AWS_* and MLFLOW_S3_ENDPOINT_URL

Names and passwords of colleagues, with --auth: the first is MLFLOW_AUTH_ADMIN_USERNAME (default: admin) with
MLFLOW_AUTH_ADMIN_PASSWORD; whoever has it makes others at the server's page /signup.
"""


def main() -> None:
    """Start the server, and print what a colleague must set."""
    terminal.survive()
    options = plain_parser("server", __doc__, EPILOG)
    options.add_argument("--port", type=int, help=f"default: the first free one from {FIRST_PORT}")
    options.add_argument("--host", default=HOST, help="where to listen; default: %(default)s; all: 0.0.0.0")
    options.add_argument(
        "--names", nargs="+", metavar="NAME",
        help="what colleagues type as the server's name; default: HOST, or this machine's own name for all",
    )  # fmt: skip
    options.add_argument(
        "--database", metavar="URI",
        help="without a password; default: MLFLOW_BACKEND_STORE_URI, else SQLite in mlruns/server/",
    )  # fmt: skip
    options.add_argument(
        "--artifacts", metavar="PLACE", default=os.environ.get("MLFLOW_ARTIFACTS_DESTINATION"),
        help="a folder or s3://BUCKET/FOLDER; default: MLFLOW_ARTIFACTS_DESTINATION, else beside SQLite",
    )  # fmt: skip
    options.add_argument("--auth", action="store_true", help="ask for names and passwords")
    arguments = options.parse_args()
    end_when_told()
    try:
        names = names_of(arguments.host, arguments.names)
        store = Store(database_of(arguments.database), PROXIED)
        folder = store.folder if store.database else ROOT / "mlruns" / "server"
        store.check()
        with only_one(folder):
            environment = asking_for_passwords(folder) if arguments.auth else {}
            port = free_port(arguments.port, arguments.host)
            artifacts = place_of(arguments.artifacts or str(folder / "artifacts"))
            with store.errors():
                check_experiments(store)

            def say() -> None:
                print(words(names[0], port, arguments.auth, arguments.host), flush=True)

            app = ["--app-name", "basic-auth"] if arguments.auth else []
            taken = ["--serve-artifacts", "--artifacts-destination", artifacts]
            serve(store, arguments.host, port, names, [*app, *taken], PROXIED, say, environment)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\nThe server has ended.")


def names_of(host: str, names: list[str] | None) -> list[str]:
    """Return the names that the server answers to, the one to print first.

    Raises:
        UserError: one is no name.
    """
    found = names or [platform.node() if host == "0.0.0.0" else host]  # noqa: S104  # compared, not bound
    for name in found:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise UserError(f"a name has letters, digits, points and hyphens, and no port. Received: {name}")
    local = ["localhost", HOST] if host in ("localhost", HOST, "0.0.0.0") else []  # noqa: S104
    return list(dict.fromkeys([*found, *local]))


def database_of(named: str | None) -> str:
    """Return the address of the store's database.

    Raises:
        UserError: it has a password in the command line, where every user of the machine sees it.
    """
    if named and (":" in named.partition("://")[2].rpartition("@")[0] or "password=" in named.lower()):
        raise UserError(
            "a password in a command line is seen by all who use the machine. "
            "Set MLFLOW_BACKEND_STORE_URI in place of --database, or keep it in ~/.pgpass"
        )
    own = f"sqlite:///{ROOT}/mlruns/server/mlflow.db"
    uri = named or os.environ.get("MLFLOW_BACKEND_STORE_URI") or own
    if uri.startswith("http"):
        raise UserError(f"the store of a server is a database, not a server. Received: {redact(uri)}")
    return uri


def words(name: str, port: int, auth: bool, host: str) -> str:
    """Return what a colleague must set."""
    address = f"http://{name}:{port}"
    own = [f"export MLFLOW_TRACKING_URI={address}"]
    if auth:
        own += ["export MLFLOW_TRACKING_USERNAME=NAME", "export MLFLOW_TRACKING_PASSWORD=PASSWORD"]
    lines = [
        "",
        "The server answers; Ctrl-C ends it. What a colleague sets:",
        "",
        *(f"  {line}" for line in own),
        "",
    ]
    lines += ["Then training copies their runs here while they go, and `make sync` older ones."]
    if auth:
        lines += [f"New names: {address}/signup"]
    if not auth and host not in (HOST, "localhost"):
        lines += [
            "Whoever reaches this port may read, change and delete everything: --auth asks for passwords."
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
