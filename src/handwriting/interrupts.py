"""Ctrl-C and SIGTERM, held back while something must not be left half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDINGS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM take effect after the block, or after the function that this decorates.

    An exception that a signal raises within one of MLflow's transactions can leave it open, and with it the
    store's lock: neither this process nor any other could write then, until this one ends (LOG.md).
    """
    if threading.current_thread() is not threading.main_thread():  # signals are handled in that one only
        yield
        return
    came: list[int] = []
    handlers = {}
    try:
        for number in ENDINGS:
            handlers[number] = signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for one in dict.fromkeys(came):
            signal.raise_signal(one)
