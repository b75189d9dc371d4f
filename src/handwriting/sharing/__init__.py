"""Runs in another store: copied whole, while they go, each way; compared by value.

`following` is what training needs of it, and imports no MLflow until it ends; `follower` is what it starts.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """Which runs a command works on.

    Args:
        experiment: the name of theirs.
        sweep: the name of the sweep that they belong to, and their reports; empty without one.
        fingerprints: what they are known by.
    """

    experiment: str
    sweep: str
    fingerprints: tuple[str, ...]
