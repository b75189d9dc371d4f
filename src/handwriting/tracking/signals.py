"""Ctrl-C and SIGTERM, held back while something must not be left half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDINGS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 10.0  # s for which a signal is held back


@contextmanager
def signals_held() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM take effect after the block, or after the function that this decorates.

    An exception that a signal raises within one of MLflow's transactions can leave it open, and with it the
    store's lock: neither this process nor any other could write then, until this one ends (LOG.md). The same
    signal a second time is not held back, nor one for longer than PATIENCE: a server may take minutes not to
    answer. While SQLite waits for another writer, Python hears no signal, so that is not cut short.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are handled in that one only
        yield
        return
    # None is a handler that Python did not set and cannot set again.
    handlers = {number: handler for number in ENDINGS if (handler := signal.getsignal(number)) is not None}
    came: dict[int, threading.Timer] = {}
    holding = True

    def hold(number: int, frame: object) -> None:
        if holding and number not in came:
            # Sent to the thread itself: it then wakes from a sleep between two attempts.
            came[number] = threading.Timer(PATIENCE, signal.pthread_kill, (threading.get_ident(), number))
            came[number].daemon = True
            came[number].start()
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
        for timer in came.values():
            timer.cancel()
        for number in came:
            signal.raise_signal(number)
