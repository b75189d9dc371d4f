"""`make bench`: measure, print the table, and write it with a figure; a quarter of an hour on two cores."""

import argparse
from pathlib import Path

import pandas as pd

from handwriting.bench import parts
from handwriting.bench.figure import draw
from handwriting.provenance import git_state, machine_tags
from handwriting.store import ROOT


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m handwriting.bench", description=__doc__)
    parser.add_argument("--images", type=int, default=3200, help="training images of an epoch")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=ROOT / "mlruns" / "bench")
    arguments = parser.parse_args()
    tags = git_state()[0] | machine_tags()
    arguments.out.mkdir(parents=True, exist_ok=True)
    measured = []
    for name in arguments.only:
        measured.append(PARTS[name](arguments.images, arguments.rounds))
        found = pd.concat(measured)
        found.assign(**tags).to_csv(arguments.out / "bench.csv", index=False)  # a later part may fail
    if {"epochs", "start_up"} <= set(arguments.only):
        found = pd.concat([found, parts.tracking_share(found)])
        found.assign(**tags).to_csv(arguments.out / "bench.csv", index=False)
    draw(found, arguments.out / "bench")
    for part, own in found.groupby("part", sort=False):
        print(
            f"\n{part}\n{own.drop(columns='part').to_string(index=False, float_format=lambda x: f'{x:.3g}')}"
        )
    print("\n" + ", ".join(f"{key} {value}" for key, value in tags.items()))
    print(arguments.out)


PARTS = {
    "epochs": parts.epochs,
    "sweeps": parts.sweeps,
    "batches": parts.batches,
    "start_up": parts.start_up,
    "stored_runs": parts.stored_runs,
}

if __name__ == "__main__":
    main()
