"""The README.txt of a bundle: what it is, how it was made, and how to run it again."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from handwriting.bundling.cleaning import HIDDEN
from handwriting.bundling.placing import MARK, SUMS
from handwriting.bundling.records import DIFF
from handwriting.compare import Answer, sentence
from handwriting.tracking import names

FILES = {
    "report.html": "the page: tables, figures and all that must be said about them; needs no network",
    "verdict.md": "the same in short",
    "*.csv": "one observation a row; numbers as they are stored, accuracy from 0 to 1",
    "*.png *.svg *.pdf": "the figures",
    "provenance.csv": "of each run its command, commit, versions, and its files of the next two folders",
    "configs/": "of each run the composed config, RUN_ID.yaml",
    "code/": "a digest of each definition of the code; changes that no commit had",
    "environment.csv": "the versions that the runs had, and those where this was written",
    SUMS: f"sha256sum -c {SUMS} checks every file",
}
COMMANDS = 10  # that are printed; the others are in provenance.csv


def about(answer: Answer, table: pd.DataFrame, made: Path, not_pinned: Sequence[str]) -> str:
    """Return the text.

    Args:
        answer: what the runs say.
        table: what is in provenance.csv.
        made: where the files are.
        not_pinned: as of `records.not_pinned`.
    """
    commits, commands, changes = (
        [text for text in table[name].unique() if text and text != "unknown"]
        for name in (names.COMMIT, names.COMMAND, "changes")
    )
    folders = dict.fromkeys(folder for text in changes for folder in text.split())
    diffs = [f"{folder}/{DIFF}" for folder in folders if (made / folder / DIFF).exists()]
    comparison, ended = answer.comparison, table["ended"].max() or table["started"].max()
    lines = [
        f"{MARK}, {answer.loaded.sweep}",
        "",
        sentence(comparison),
        "",
        f"Experiment {answer.loaded.experiment}: {len(comparison.runs)} runs compared, "
        f"{len(comparison.left_out)} left out, from {table['started'].min()[:16]} to {ended[:16]} UTC.",
        "",
        *(f"{name:19}{text}" for name, text in FILES.items()),
        "",
        "make export wrote this from the store of the runs. Models and the data set are not here: the data's",
        "SHA-256 is in provenance.csv, and the page may show images that were taken for another class.",
        f"{HIDDEN} or *** stands for a secret; STORE, ..., ~, . and mlruns for places on the machines.",
        "",
        "To run it again, in a checkout of the code:",
        "",
        *(f"  git checkout {commit}" for commit in commits),
        *(f"  git apply {diff}" for diff in diffs),
        "  make setup && source .venv/bin/activate",
        *(f"  {command}" for command in commands[:COMMANDS]),
    ]
    if len(commands) > COMMANDS:
        lines.append(f"  and {len(commands) - COMMANDS} more commands, in provenance.csv")
    if len(commits) > 1 or len(changes) > 1:
        lines += ["", "The runs are of several states of the code: provenance.csv says which is whose."]
    if not_pinned:
        lines += ["", "There is no requirements.lock here: the one of the checkout that wrote this differs."]
        lines += [f"  {difference}" for difference in not_pinned]
    else:
        lines += ["", "requirements.lock pins the versions that the runs recorded."]
    return "\n".join(lines) + "\n"
