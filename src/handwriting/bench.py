"""`make bench`: an epoch of ours against one of the notebook's code, and what tracking costs.

The contestants are processes that stay, and train an epoch each in turn, so that what slows the machine down
for a minute slows all of them. Each epoch is training and validation (a tenth as many images) at batch 32 on
every core; ours has its checkpoint and MLflow too.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from handwriting.contestants import CONTESTANTS
from handwriting.provenance import machine_tags
from handwriting.store import ROOT

OPTIMIZERS = ("rmsprop", "adam")
RATIOS = (("ours", "notebook"), ("autolog", "notebook"), ("ours", "untracked"))


def main() -> None:
    """Measure, print the table, and write it."""
    parser = argparse.ArgumentParser(prog="python -m handwriting.bench", description=__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="training images of an epoch")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each contestant")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--optimizers", nargs="+", default=OPTIMIZERS)
    parser.add_argument("--out", type=Path, default=ROOT / "mlruns" / "bench")
    arguments = parser.parse_args()
    epochs = pd.concat(
        [turns(one, arguments.only, arguments.images, arguments.rounds) for one in arguments.optimizers]
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    epochs.assign(**machine_tags()).to_csv(arguments.out / "epochs.csv", index=False)
    table = ratios(epochs)
    table.to_csv(arguments.out / "ratios.csv", index=False)
    print(f"\n{table.to_string(index=False, float_format=lambda x: f'{x:.2f}')}\n\n{arguments.out}")


def turns(optimizer: str, names: Sequence[str], images: int, rounds: int) -> pd.DataFrame:
    """Return the seconds of epochs trained in turn: optimizer, images, round, contestant, seconds."""
    rows = []
    with ExitStack() as stack:
        processes = {name: stack.enter_context(_process(name, optimizer, images)) for name in names}
        for number in range(rounds + 1):
            for name, process in processes.items():
                seconds = _epoch(process)
                if number:  # the first is for warming up
                    rows.append((optimizer, images, number, name, seconds))
                    print(f"{optimizer}  round {number}/{rounds}  {name:10} {seconds:7.2f} s", flush=True)
        for process in processes.values():
            process.communicate()
    return pd.DataFrame(rows, columns=["optimizer", "images", "round", "contestant", "seconds"])


def ratios(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return, for two contestants each, the median and range of the ratios within each round."""
    rows = []
    for optimizer, own in epochs.groupby("optimizer", sort=False):
        wide = own.pivot(index="round", columns="contestant", values="seconds")
        for one, other in RATIOS:
            if {one, other} <= set(wide):
                ratio = wide[one] / wide[other]
                rows.append(
                    (optimizer, f"{one} / {other}", len(ratio), wide[one].median(), wide[other].median(),
                     ratio.median(), ratio.min(), ratio.max())
                )  # fmt: skip
    names = ["optimizer", "what", "n", "median s", "median s of other", "ratio", "least", "most"]
    return pd.DataFrame(rows, columns=names)


def _process(name: str, optimizer: str, images: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "handwriting.contestants", name, optimizer, str(images)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _epoch(process: "subprocess.Popen[str]") -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    for line in process.stdout:
        try:
            return float(line)
        except ValueError:
            continue  # what a library prints
    raise RuntimeError(f"{process.args!r} ended with exit code {process.wait()}")


if __name__ == "__main__":
    main()
