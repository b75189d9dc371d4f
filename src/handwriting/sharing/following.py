"""A process beside training that copies runs to the shared store while they go, and brings finished ones.

Training waits for nothing of it but, for seconds at its start and its end, for what is on its way. It is a
process of its own, so that it needs no moment of the one that trains; the end of its standard input, which is
the end of that one, ends it: all that it writes may be written again.
"""

import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict

from handwriting.errors import redact
from handwriting.sharing import Wanted
from handwriting.tracking import Store

log = logging.getLogger(__name__)

AWAY = 2.0  # s until a store that gave no answer is asked again
SILENCE, WHOLE = 5.0, 60.0  # s for which training waits for a word of it, and in all
# What does not answer now is asked again by the next look, or by the next command.
ASKING = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}

Follow = Callable[[Wanted], None]


@contextmanager
def following(own: Store, shared: Store | None) -> Iterator[Follow]:
    """Yield a function that has wanted runs copied to the shared store from then on; none for None.

    It returns when those are here that others have finished, or when the shared store does not answer. At the
    end it is said what is not in the shared store yet.
    """
    if shared is None:
        yield lambda wanted: None
        return
    follower = Follower(own, shared)
    try:
        yield follower.follow
    finally:
        follower.end()


class Follower:
    """The other process, as the one that trains sees it.

    Args:
        own: the store that is written to.
        shared: the one that gets copies.
    """

    def __init__(self, own: Store, shared: Store):
        self.own, self.shared = own, shared
        self.log = own.folder / "sharing.log"
        self.followed: list[Wanted] = []
        self.copied: dict[str, str] = {}  # states by run
        self.refused: dict[str, str] = {}  # reasons by run
        self.away = ""  # why the shared store gives no answer
        self.ready = self.ended = False
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        own.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as errors:
            # In a session of its own: Ctrl-C is for the process that trains. Addresses, which may have
            # passwords, go through the pipe: anybody may read a process's arguments.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "handwriting.sharing.follower"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                start_new_session=True, env=os.environ | ASKING,
            )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()
        self._tell({"own": own.uri, "shared": shared.uri})

    def follow(self, wanted: Wanted) -> None:
        """Have runs copied from now on; wait until those that others have finished are here."""
        self.followed.append(wanted)
        if not self._done({"wanted": asdict(wanted)}, "fetched") and not self.away:
            log.warning(
                "%s: not all that others have finished is here yet. Training does not wait, and may do "
                "some of it again",
                redact(self.shared.uri),
            )

    def end(self) -> None:
        """Let the process copy what is left, as long as it gets on; say what is not copied."""
        whole = self._done({"end": True}, "whole")
        self.ended = True
        assert self.process.stdin is not None
        with suppress(OSError):  # it is gone already
            self.process.stdin.close()
        try:
            self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if not whole or self.refused:
            self._say_what_is_left()
        else:
            log.info("%s has all of it", redact(self.shared.uri))

    def _say_what_is_left(self) -> None:
        from handwriting.sharing.states import states, wanted_in

        runs = {run_id for wanted in self.followed for run_id in wanted_in(self.own, wanted)}
        now = states(self.own, sorted(runs))
        left = [run_id for run_id in now if self.copied.get(run_id) != now[run_id]]
        if not left:
            return
        client = self.own.client
        names = [client.get_run(run_id).info.run_name or run_id for run_id in left[:5]]
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        reason = self.away or next(iter(self.refused.values()), "it was not done in time")
        address = redact(self.shared.uri)
        is_default = os.environ.get("MLFLOW_TRACKING_URI") == self.shared.uri
        log.warning(
            "%s: %s. Of %d runs, all of which are stored here, %d are not there as they are here: %s%s. "
            "%s copies them",
            address, reason, len(now), len(left), ", ".join(names), more,
            "make sync" if is_default else f"python -m handwriting.sync --to {address}",
        )  # fmt: skip

    def _tell(self, message: dict[str, object]) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # it is gone: said at the end
            self.process.stdin.write(f"{json.dumps(message)}\n".encode())
            self.process.stdin.flush()

    def _done(self, message: dict[str, object], word: str) -> bool:
        """Tell the other process something, and wait until it says that it is done.

        Not where the shared store gives no answer, or the process becomes silent.
        """
        while not self._told.empty():
            self._told.get()
        self._tell(message)
        end = time.monotonic() + WHOLE
        while not self.away and time.monotonic() < end:
            try:
                told = self._told.get(timeout=SILENCE if self.ready else WHOLE)  # it imports MLflow
            except queue.Empty:
                return False
            if told in (word, "gone"):
                return told == word
        return False

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            kind = message["kind"]
            self.ready = True
            if kind == "copied":
                self.copied[message["run"]] = message["state"]
            elif kind == "refused":
                self.refused[message["run"]] = message["reason"]
            elif kind == "away" and not self.away:
                self.away = message["reason"]
                log.warning(
                    "%s: %s. Training goes on; what is not copied now is copied later",
                    redact(self.shared.uri), self.away,
                )  # fmt: skip
            elif kind == "back" and self.away:
                self.away = ""
                log.info("%s answers again", redact(self.shared.uri))
            self._told.put(kind)
        if not self.ended:
            self.away = f"what copies has ended by itself, for the reason in {self.log}"
        self._told.put("gone")
