"""The process beside training: round after round, what is not in the shared store yet, and what is not here.

It hears what is wanted on standard input, and says what it has done on standard output, in JSON.
"""

import json
import os
import queue
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from handwriting import terminal
from handwriting.errors import UserError, redact
from handwriting.sharing import Wanted
from handwriting.sharing.following import AWAY
from handwriting.tracking import Store

if TYPE_CHECKING:
    from handwriting.sharing.exchange import Exchange

BETWEEN = 10.0  # s until it is asked again what others have finished
NICE = 10  # how far training comes first


def main() -> None:
    """Copy what the other process names on standard input, until that ends."""
    terminal.survive()
    os.nice(NICE)
    heard: queue.SimpleQueue[dict] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(heard,), daemon=True).start()
    stores = heard.get()
    own, shared = Store(stores["own"]), Store(stores["shared"])
    _say("ready")
    Rounds(own, shared, heard).run()


def _hear(heard: "queue.SimpleQueue[dict]") -> None:
    for line in sys.stdin:
        heard.put(json.loads(line))
    os._exit(0)  # in the middle of whatever it does: the next one finishes that


def _say(kind: str, **more: str) -> None:
    print(json.dumps({"kind": kind, **more}), flush=True)


class Rounds:
    """What the process knows: the runs that are wanted, and what it has said of them."""

    def __init__(self, own: Store, shared: Store, heard: "queue.SimpleQueue[dict]"):
        self.own, self.shared, self.heard = own, shared, heard
        self._exchange: Exchange | None = None
        self.wanted: list[Wanted] = []
        self.new: list[Wanted] = []  # of which the shared store was not asked yet
        self.ending = False
        self.fetched_at = 0.0
        self.said: dict[str, str] = {}  # states by run

    def run(self) -> None:
        """Copy, and look again, until the other process has ended and all is copied."""
        pause = 0.0
        while True:
            self._take(pause)
            pause, whole = AWAY, False
            try:
                with self.shared.errors():
                    self._round()
                    whole = self.ending and not self.exchange.left(self.wanted)
                _say("back")
                pause = self.exchange.pause
            except UserError as error:
                address = redact(self.shared.uri)
                _say("away", reason=str(error).partition(". ")[0].removeprefix(f"{address}: "))
            if whole:
                _say("whole")
                return

    @property
    def exchange(self) -> "Exchange":
        """Made once the shared store answers."""
        if self._exchange is None:
            from handwriting.sharing.exchange import Exchange

            self._exchange = Exchange(self.own, self.shared)
        return self._exchange

    def _take(self, pause: float) -> None:
        """Wait for a message as long as that, and take all that there are."""
        try:
            message = self.heard.get(timeout=pause)
            while True:
                if "wanted" in message:
                    named = message["wanted"]
                    wanted = Wanted(**named | {"fingerprints": tuple(named["fingerprints"])})
                    self.wanted.append(wanted)
                    self.new.append(wanted)
                self.ending = self.ending or "end" in message
                message = self.heard.get_nowait()
        except queue.Empty:
            pass

    def _round(self) -> None:
        """Bring what others have finished, and copy what is here."""
        if self.ending:
            self.exchange.forget()
        elif self.new or time.monotonic() - self.fetched_at > BETWEEN:
            for wanted in self.wanted:
                # By their fingerprints once: of other sweeps, finished runs are there before.
                asked = wanted if wanted in self.new else replace(wanted, fingerprints=())
                for _ in self.exchange.fetch(asked):
                    _say("beat")
                if wanted in self.new:
                    self.new.remove(wanted)
                    _say("fetched")
            self.fetched_at = time.monotonic()
        for run, problem in self.exchange.bring(self.wanted):
            self._say_copied()
            if problem:
                _say("refused", run=run.info.run_id, reason=f"{run.info.run_name} {problem}")
        self._say_copied()

    def _say_copied(self) -> None:
        for run_id, state in self.exchange.copied().items():
            if self.said.get(run_id) != state:
                self.said[run_id] = state
                _say("copied", run=run_id, state=state)


if __name__ == "__main__":
    main()
