"""Epochs of several implementations in turn: what slows the machine for a minute slows all of them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict

import pandas as pd

from handwriting.bench.implementations import Setting


def time_in_turn(settings: Mapping[str, Sequence[Setting]], rounds: int) -> pd.DataFrame:
    """Return the seconds that an epoch takes: a row for each round, from 1, and a column for each name.

    Args:
        settings: by name, the processes that work at once when it is its turn. A turn ends with the last of
            them.
        rounds: turns of each, after a first for warming up.
    """
    table: list[dict[str, float]] = []
    with ExitStack() as stack:
        groups = {
            name: [stack.enter_context(_process(setting)) for setting in group]
            for name, group in settings.items()
        }
        for number in range(rounds + 1):
            table.append({})
            for name, processes in groups.items():
                for process in processes:
                    print(file=process.stdin, flush=True)
                seconds = table[number][name] = max(_seconds(process) for process in processes)
                if number:
                    print(f"  round {number}/{rounds}  {name:24} {seconds:7.2f} s", flush=True)
    return pd.DataFrame(table).drop(index=0)


def _process(setting: Setting) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "handwriting.bench.implementations", json.dumps(asdict(setting))],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def _seconds(process: "subprocess.Popen[str]") -> float:
    said = []
    for line in process.stdout or ():
        try:
            return float(line)
        except ValueError:
            said.append(line)  # by a library, or a traceback
    raise RuntimeError(f"{process.args!r} ended with exit code {process.wait()}:\n{''.join(said)}")
