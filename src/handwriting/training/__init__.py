"""One run: `run` reads from top to bottom, and the other modules are its parts.

Importing the room imports TensorFlow and MLflow: 5 to 12 seconds.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _stderr_muted() -> Iterator[None]:
    """Drop what is written to standard error, by C++ too.

    TensorFlow greets with notes about CUDA that its log level does not reach (its issue 100442).
    An import that fails still raises, so nothing is lost.
    """
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


with _stderr_muted():
    from handwriting.training.building import build
    from handwriting.training.run import evaluate, fit, set_threads, train_run

__all__ = ["build", "evaluate", "fit", "set_threads", "train_run"]
