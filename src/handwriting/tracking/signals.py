"""Ctrl-C and SIGTERM, held back while something must not be left half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDINGS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM take effect after the block, or after the function that this decorates.

    An exception that a signal raises within one of MLflow's transactions can leave it open, and with it the
    store's lock: neither this process nor any other could write then, until this one ends (LOG.md). The same
    signal a second time is not held back: a server may take minutes not to answer.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are handled in that one only
        yield
        return
    # None is a handler that Python did not set and cannot set again.
    handlers = {number: handler for number in ENDINGS if (handler := signal.getsignal(number)) is not None}
    came: list[int] = []
    holding = True

    def hold(number: int, frame: object) -> None:
        if holding and number not in came:
            came.append(number)
        else:  # which also serves where a signal arrives while the handlers are put back
            signal.signal(number, handlers[number])  # type: ignore[index]  # a Signals is an int
            signal.raise_signal(number)

    try:
        for ending in handlers:
            signal.signal(ending, hold)
        yield
    finally:
        holding = False
        for ending, handler in handlers.items():
            signal.signal(ending, handler)
        for number in came:
            signal.raise_signal(number)
