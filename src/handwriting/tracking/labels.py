"""Short labels of arms: what varies between them, and nothing that all of them share."""

from collections.abc import Collection, Sequence


def labels_of(rows: Sequence[Sequence[tuple[str, str]]], groups: Collection[str]) -> list[str]:
    """Return a label for each arm: "adam, learning_rate 0.001".

    Of a group it has the member alone; of another key the last part of its name, or as many as tell it from
    the others.

    Args:
        rows: of each arm, the keys that vary and its values, as ("optimizer.learning_rate", "0.001").
        groups: the keys that are config groups, as "optimizer".
    """
    keys = {key for row in rows for key, _ in row if key not in groups}
    short = {key: shortest(key, keys) for key in keys}
    return [
        ", ".join(value if key in groups else f"{short[key]} {value}" for key, value in row) or "all runs"
        for row in rows
    ]


def shortest(key: str, keys: Collection[str]) -> str:
    """Return the shortest end of a dotted key that no other key ends in, else the key."""
    parts = key.split(".")
    ends = (".".join(parts[place:]) for place in reversed(range(len(parts))))
    own = (end for end in ends if sum(f".{other}".endswith(f".{end}") for other in keys) == 1)
    return next(own, key)
