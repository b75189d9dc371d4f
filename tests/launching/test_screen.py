"""What a sweep shows on terminals of several kinds."""

import io
import logging
import re
import sys

import pytest
from rich.console import Console

from handwriting.launching.progress import Epoch, Progress
from handwriting.launching.screen import Bars, Lines, screen_of


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def progress() -> Progress:
    progress = Progress(40, 2)
    progress.begin(
        0, ["seed=11", "tracking.label='a label of many words, learning_rate 0.0003, dropout 0.25'"]
    )
    progress.epoch(0, Epoch(3, 10, 60.0, 0.98765))
    progress.begin(1, ["seed=2", "tracking.label='sgd'"])
    return progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal()


def drawn(progress: Progress, terminal: Terminal, columns: int) -> list[str]:
    bars = Bars(progress, Console(file=terminal, width=columns, height=24))
    bars.start()
    bars.draw()
    screen = terminal.getvalue()
    bars.stop()
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen).splitlines()


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_no_line_of_the_display_reaches_the_edge_of_the_terminal(
    progress: Progress, terminal: Terminal, columns: int
) -> None:
    lines = drawn(progress, terminal, columns)
    assert len(lines) == 3
    assert lines[0].startswith("0 of 40 done, 2 running, 0 s, about ")
    assert re.match(r"  a label o.* seed 11 .* 3/10", lines[1]), "what is cut is the label"
    assert re.match(r"  sgd  .* seed 2 .* no epoch yet", lines[2])
    assert ("val_accuracy 0.9877" in lines[1]) == (columns >= 160)
    assert max(map(len, lines)) <= columns - 4, "^C has room"


def test_of_many_jobs_as_many_are_drawn_as_have_room(terminal: Terminal) -> None:
    progress = Progress(5000, 1000)
    for seed in range(1000):
        progress.begin(seed, ["tracking.label='sgd'", f"seed={seed}"])
    lines = drawn(progress, terminal, 80)
    assert len(lines) == 23, "of 24, and the cursor's"
    assert "1000 running" in lines[0]
    assert "seed 20 " in lines[-2]
    assert lines[-1] == "  and 979 more"


def test_what_is_logged_or_printed_meanwhile_stands_above_and_afterwards_the_display_is_gone(
    progress: Progress, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "stderr", terminal
    )  # here: pytest puts its own there between a fixture and a test
    root = logging.getLogger()
    handler = logging.StreamHandler(terminal)
    root.addHandler(handler)
    bars = Bars(progress, Console(file=terminal, width=80))
    try:
        bars.start()
        bars.draw()
        before = len(terminal.getvalue())
        logging.getLogger("handwriting").warning("a warning")
        bars.say(["[a line] of a worker :smile: 12"])
        after = terminal.getvalue()[before:]
        bars.stop()
        logging.getLogger("handwriting").warning("another")
    finally:
        root.removeHandler(handler)
    erased = "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K"  # three lines
    assert f"{erased}a warning\n0 of 40" in after
    assert f"{erased}[a line] of a worker :smile: 12\n0 of 40" in after
    assert terminal.getvalue().endswith("\x1b[2Kanother\n")
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l"), "the cursor"
    assert sys.stderr is handler.stream is terminal


def test_without_colours_none_is_written(
    progress: Progress, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(progress, terminal, 80)
    assert re.search(r"\x1b\[[\d;]*m", terminal.getvalue())
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.truncate(0)
    drawn(progress, terminal, 80)
    assert not re.search(r"\x1b\[[\d;]*m", terminal.getvalue())


@pytest.mark.parametrize(
    ("tty", "term", "moves"), [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)]
)
def test_bars_are_for_terminals_that_can_move_their_cursor(
    progress: Progress, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tty: bool, term: str, moves: bool
) -> None:  # fmt: skip
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("FORCE_COLOR", "1")  # asks for colours, not for a display in a file
    monkeypatch.setattr(terminal, "isatty", lambda: tty)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert type(screen_of(progress)) is (Bars if moves else Lines)


def test_elsewhere_a_line_says_how_far_it_is_as_jobs_end(
    progress: Progress, caplog: pytest.LogCaptureFixture
) -> None:
    lines = Lines(progress)
    with caplog.at_level(logging.INFO):
        lines.draw()
        assert caplog.messages == []
        progress.end(0, failed=True)
        lines.draw()
        lines.draw()
        lines.stop()
        progress.end(1, failed=False)
        lines.stop()
    assert [message.partition(" s")[0] for message in caplog.messages] == [
        "0 of 40 done, 1 failed, 1 running, 0",
        "1 of 40 done, 1 failed, 0",
    ]
