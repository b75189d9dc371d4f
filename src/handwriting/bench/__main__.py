"""`make bench`: measure, print the table, and write it with a figure; half an hour on two cores."""

import argparse
from pathlib import Path

import pandas as pd

from handwriting import terminal
from handwriting.bench.figure import draw
from handwriting.bench.measurements import (
    batches,
    epochs,
    start_up,
    stored_runs,
    sweeps,
    tracking_share,
    verdict,
)
from handwriting.config import ROOT
from handwriting.tracking import names
from handwriting.tracking.provenance import git_state, machine_tags

MEASUREMENTS = {
    measure.__name__: measure for measure in (epochs, verdict, sweeps, batches, start_up, stored_runs)
}


def main() -> None:
    """Take the measurements that are asked for."""
    terminal.survive()
    parser = argparse.ArgumentParser(prog="python -m handwriting.bench", description=__doc__)
    parser.add_argument("--images", type=int, default=3200, help="training images of an epoch")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each implementation")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument("--out", type=Path, default=ROOT / "mlruns" / "bench")
    arguments = parser.parse_args()
    git = git_state()
    tags = {names.COMMIT: git.commit, names.DIRTY: git.dirty, **machine_tags()}
    arguments.out.mkdir(parents=True, exist_ok=True)
    measured = []
    for name in arguments.only:
        print(name, flush=True)
        measured.append(MEASUREMENTS[name](arguments.images, arguments.rounds))
        found = pd.concat(measured)
        found.assign(**tags).to_csv(arguments.out / "bench.csv", index=False)  # a later one may fail
    if {"epochs", "start_up"} <= set(arguments.only):
        found = pd.concat([found, tracking_share(found)])
        found.assign(**tags).to_csv(arguments.out / "bench.csv", index=False)
    draw(found, arguments.out / "bench")
    for part, rows in found.groupby("part", sort=False):
        table = rows.drop(columns="part").to_string(index=False, float_format=lambda x: f"{x:.3g}")
        print(f"\n{part}\n{table}")
    print("\n" + ", ".join(f"{key} {value}" for key, value in tags.items()))
    print(arguments.out)


if __name__ == "__main__":
    main()
