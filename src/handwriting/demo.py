"""`make demo`: a page to draw on, where the arms' models read side by side. For this machine only."""

import os
import sys

from handwriting import terminal
from handwriting.errors import UserError
from handwriting.hosting import HOST, free_port
from handwriting.options import ALIASED, model_parser
from handwriting.tracking import Store, default_uri


def main() -> None:
    """Serve the page until Ctrl-C; a mistake of the user's ends in one line and exit code 1."""
    terminal.survive()
    options = model_parser("demo", __doc__, "", ALIASED)
    options.add_argument("--port", type=int, help="default: the first free one from 5000")
    arguments = options.parse_args()
    try:
        port = free_port(arguments.port)
        store = Store(arguments.uri or default_uri())
        store.check(made=True)
        serve(store, port, arguments.model)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        pass  # before the page is open; after that uvicorn takes it for its end
    print("\nThe page is closed.")


def serve(store: Store, port: int, name: str | None) -> None:
    """Load the models, and serve the page until this process is told to end."""
    # Pictures are read at the same time, each by one thread: with two for each, fewer a second.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # TensorFlow reads it when the first model is loaded
    with store.errors():
        from handwriting.serving.arms import images_of, models_of

        served, run_id = models_of(store, name)
        dataset = images_of(store, run_id)

    import uvicorn

    from handwriting.serving.app import Gallery, Reader, make_app

    reader = Reader(served)
    app = make_app(reader, Gallery(reader, dataset) if dataset else None, port)
    print(f"Draw at http://{HOST}:{port}  (Ctrl-C ends it)", flush=True)
    uvicorn.run(
        app, host=HOST, port=port, log_level="warning", access_log=False, server_header=False,
        timeout_keep_alive=30, limit_concurrency=100, h11_max_incomplete_event_size=16_384,
    )  # fmt: skip


if __name__ == "__main__":
    main()
