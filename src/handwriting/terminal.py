"""A command and its terminal: output that is closed, full, broken, of few characters or of others; Ctrl-C."""

import codecs
import io
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MOST = 1 << 20  # bytes that are read at a time: a process that never stops printing holds up nothing else
PLAIN = {"±": "+/-", "−": "-", "×": "x", "–": "-", "µ": "u", "…": "~"}


def survive() -> None:
    """Let no error of the terminal end this process; called first thing in each process of a command.

    A closed descriptor is opened on /dev/null. What cannot be written is dropped, and all after it. What the
    terminal's encoding lacks is written with other characters. Output that a notebook or a test has put in
    place of the process's own stays as it is.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file to be opened would get the number, and in it, be it a database, what C++
            # writes to standard error. Worker processes inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    codecs.register_error("plain", _plain)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # to the end
        elif stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _wrapped(stream, number))
    # Tracebacks of what is said in one line: that a log file's disk is full, and what MLflow raises anyway.
    logging.raiseExceptions = False
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # Of a point that is there already, as a model's that the run has; MLflow then leaves it out.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    sys.unraisablehook = send_again


def send_again(lost: "sys.UnraisableHookArgs") -> None:
    """Send Ctrl-C or SIGTERM to this process once more where the exception that it had raised was lost.

    Python goes on after one that is raised in a callback, such as the garbage collector's, and calls this.
    """
    if not isinstance(lost.exc_value, KeyboardInterrupt | SystemExit):
        sys.__unraisablehook__(lost)
        return
    number = signal.SIGINT if isinstance(lost.exc_value, KeyboardInterrupt) else signal.SIGTERM
    signal_later(number, 0.1)


def signal_later(number: int, seconds: float) -> None:
    """Send a signal to this process's main thread, if it is still there after so many seconds."""
    later = threading.Timer(seconds, signal.pthread_kill, (threading.main_thread().ident, number))
    later.daemon = True
    later.start()


def print_into(pipe: "Connection", everything: bool) -> None:
    """Let all that this process prints on a terminal, C++'s words too, go into a pipe for `Printed`.

    Args:
        pipe: its end for writing.
        everything: what it prints elsewhere, too.
    """
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        if everything or os.isatty(number):
            assert isinstance(stream, io.TextIOWrapper)
            # Whatever the terminal's is. Before: it asks a file, which this may be now, for its place.
            stream.reconfigure(encoding="utf-8", errors="plain")
            os.dup2(pipe.fileno(), number)


class Printed:
    """The lines that another process has printed into a pipe.

    Args:
        pipe: its end for reading.
    """

    def __init__(self, pipe: "Connection"):
        self.pipe, self.number = pipe, pipe.fileno()
        os.set_blocking(self.number, False)
        self.open, self.begun = True, b""

    def lines(self) -> list[str]:
        """Return the lines that have come, and at the end one that is not whole; never wait."""
        data = self.begun
        while self.open and len(data) < MOST:
            try:
                more = os.read(self.number, MOST)
            except BlockingIOError:
                break
            data += more
            self.open = bool(more)
        *whole, self.begun = data.split(b"\n")
        if not self.open and self.begun:
            whole.append(self.begun)
            self.begun = b""
        # Of a line that was written over, as a bar is, the last words.
        return [line.decode(errors="replace").rstrip("\r").rpartition("\r")[2] for line in whole]


def _wrapped(stream: Any, number: int) -> io.TextIOWrapper:
    """Return a stream that writes where a stream of Python's does, a descriptor, and never raises."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors="plain",
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Output(io.FileIO):
    """A descriptor that is /dev/null from the first error on, for what C++ and other processes write too."""

    def write(self, data: Any) -> int:
        try:
            while (written := super().write(data)) is None:  # a pipe that does not block, and is full
                select.select([], [self], [])
            return written
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(data)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Return the characters to write in place of those that an encoding lacks, and where to go on."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


@contextmanager
def stderr_muted() -> Iterator[None]:
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
