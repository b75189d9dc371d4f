"""Epochs of several contestants in turn, so that what slows the machine for a minute slows all of them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict

import pandas as pd

from handwriting.bench.contestants import Setting


def in_turn(settings: Mapping[str, Sequence[Setting]], rounds: int) -> pd.DataFrame:
    """Return the seconds of each turn: round (from 1), contestant, seconds.

    Args:
        settings: by a contestant's name, the processes that work at once when it is its turn. A turn ends
            with the last of them.
        rounds: turns of each, after one for warming up.
    """
    rows = []
    with ExitStack() as stack:
        contestants = {
            name: [stack.enter_context(_process(setting)) for setting in group]
            for name, group in settings.items()
        }
        for number in range(rounds + 1):
            for name, processes in contestants.items():
                for process in processes:
                    assert process.stdin is not None
                    process.stdin.write("\n")
                    process.stdin.flush()
                seconds = max(_seconds(process) for process in processes)
                if number:
                    rows.append((number, name, seconds))
                    print(f"  round {number}/{rounds}  {name:24} {seconds:7.2f} s", flush=True)
        for processes in contestants.values():
            for process in processes:
                process.communicate()
    return pd.DataFrame(rows, columns=["round", "contestant", "seconds"])


def by_round(turns: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each round with the seconds of each contestant, in the order of their turns."""
    wide = turns.pivot(index="round", columns="contestant", values="seconds")
    return wide[turns["contestant"].unique()]


def ratio(turns: pd.DataFrame, one: str, other: str) -> pd.Series:
    """Return, for each round, the seconds of `one` over those of `other`."""
    seconds = by_round(turns)
    return seconds[one] / seconds[other]


def _process(setting: Setting) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "handwriting.bench.contestants", json.dumps(asdict(setting))],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _seconds(process: "subprocess.Popen[str]") -> float:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        try:
            return float(line)
        except ValueError:
            said.append(line)  # by a library, or a traceback
    raise RuntimeError(f"{process.args!r} ended with exit code {process.wait()}:\n{''.join(said)}")
