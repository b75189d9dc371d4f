"""Ctrl-C and SIGTERM within a write."""

import signal
import sqlite3
import sys
from contextlib import closing, suppress

import pytest
from sqlalchemy import Engine, event

from conftest import Opened, runs_in
from handwriting.config import TrackingConfig
from handwriting.tracking.run import tracked_run
from handwriting.tracking.signals import ENDINGS, signals_held


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_a_write_takes_effect_after_it(
    tracking: TrackingConfig, opened: Opened, number: signal.Signals
) -> None:
    """An exception in the middle of a transaction left the store locked: for this process, and for all."""
    before = signal.signal(number, lambda *_: sys.exit(3))

    def interrupt(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO metrics"):
            signal.raise_signal(number)

    event.listen(Engine, "before_cursor_execute", interrupt)
    try:
        with suppress(SystemExit), tracked_run(*opened, "run", {}) as run:
            run.log_epoch({"loss": 0.5}, 0)
            run.log_epoch({"loss": 0.4}, 1)
    finally:
        event.remove(Engine, "before_cursor_execute", interrupt)
        signal.signal(number, before)
    (stored,) = runs_in(tracking)
    assert (stored.info.status, stored.data.metrics) == ("KILLED", {"loss": 0.5})
    with closing(sqlite3.connect(tracking.uri.removeprefix("sqlite:///"), timeout=0)) as store:
        store.execute("BEGIN IMMEDIATE")


def test_signals_are_held_back_once_and_their_handlers_put_back() -> None:
    handled: list[int] = []
    before = {number: signal.signal(number, lambda number, _: handled.append(number)) for number in ENDINGS}
    try:
        with suppress(ZeroDivisionError), signals_held(), signals_held():
            for number in ENDINGS:
                signal.raise_signal(number)
            assert handled == []
            _ = 1 / 0
        assert handled == list(ENDINGS)
        with signals_held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert handled[2:] == [signal.SIGINT], "who insists is heard"
        signal.raise_signal(signal.SIGTERM)
        assert handled[-1] == signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
