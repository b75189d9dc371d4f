"""The arms of a sweep: named ones, each any set of overrides, or those of Hydra's products; their labels."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from handwriting.config import GROUPS
from handwriting.errors import UserError
from handwriting.tracking.labels import labels_of

LONGEST = 60  # letters of a name
_EXAMPLE = '\'arms={small: "batch_size=32", large: "batch_size=128"}\''
# The member's name, the values of its file, and those of the config.
Member = tuple[str, Mapping[str, Any], Mapping[str, Any]]
_OF_THE_SWEEP = ("seed", "threads", "force", "experiment", "arms", "tuning", "tracking", "hydra")
_GROUPS = (*GROUPS, "training", "experiment", "tracking")


@dataclass(frozen=True)
class Asked:
    """A job as it was asked for.

    Args:
        shared: the overrides that are the sweep's.
        arm: the name of its arm, where arms are named.
        own: the overrides that are the arm's.
        where: the key that they stand under, for a message.
    """

    shared: list[str]
    arm: str = ""
    own: Sequence[str] = ()
    where: str = ""

    @property
    def overrides(self) -> list[str]:
        """All of them."""
        return [*self.shared, *self.own]


def named_jobs(
    arms: Any, jobs: Sequence[list[str]], parse: Callable[[list[str]], list[Override]]
) -> list[Asked]:
    """Return each arm for each seed.

    Args:
        arms: of each name, the overrides as one text or as a list of texts; none is the config as it is.
        jobs: the overrides of the sweep without the arms, for each seed.
        parse: Hydra's parser.

    Raises:
        UserError: an arm is no setting, or several, or sets what is the same for all; or the jobs differ.
    """
    if not isinstance(arms, Mapping) or not arms:
        raise UserError(f"arms must be names with the overrides of each, as {_EXAMPLE}. Received: {arms}")
    for key in _varying([words_of(job) for job in jobs]):
        raise UserError(
            f"{key} has several values, and arms are named. Leave the arms out, or name an arm for each value"
        )
    shared = words_of(jobs[0])
    own = {str(name): checked(f"arms.{name}", str(name), text, shared, parse) for name, text in arms.items()}
    return [Asked(job, name, words, f"arms.{name}") for job in jobs for name, words in own.items()]


def check_names(word: str) -> None:
    """Refuse an override arms={NAME: "...", NAME: "..."}: of two arms with one name Hydra keeps the last."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", word)
    found = re.findall(r"[{,]\s*([^{},:]+?)\s*:", bare)
    twice = [name for name in found if found.count(name) > 1]
    if twice:
        raise UserError(f"arms: the name {twice[0]} stands twice. Give each arm a name of its own")


def checked(
    where: str,
    name: str,
    text: Any,
    shared: Mapping[str, str],
    parse: Callable[[list[str]], list[Override]],
) -> list[str]:
    """Return an arm's overrides.

    Args:
        where: the key that they stand under.
        name: the arm's.
        text: the overrides, as one text or as a list of texts; none is the config as it is.
        shared: of all arms, by key.
        parse: Hydra's parser.

    Raises:
        UserError: the name is none, or an override is none of an arm's.
    """
    if not (name.isprintable() and name == name.strip() and 1 <= len(name) <= LONGEST) or "${" in name:
        raise UserError(
            f"arms: a name has 1 to {LONGEST} printable letters, no blank at its ends and no ${{. "
            f"Received: {name!r}"
        )
    if not isinstance(text, str | Sequence | None):
        raise UserError(f'{where} must be overrides, as "batch_size=32 epochs=5". Received: {text}')
    try:
        overrides = parse(shlex.split(text) if isinstance(text, str) else [str(word) for word in text or ()])
    except ValueError as error:  # a quotation without an end
        raise UserError(f"{where}: {text}: {error}") from error
    except OverrideParseException as error:
        error.add_note(where)
        raise
    for override in overrides:
        key, line = override.key_or_group, override.input_line
        if override.is_sweep_override():
            raise UserError(f"{where}: {line} has several values. Give each an arm of its own")
        if key.partition(".")[0] in _OF_THE_SWEEP:
            raise UserError(f"{where}: {line} is the same for all arms. Give it beside them")
        if key in shared:
            raise UserError(f"{where}: {line} is set for all arms too, by {key}={shared[key]}. Leave out one")
    return [str(override.input_line) for override in overrides]


def product_labels(jobs: Sequence[Asked], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a label for each job of a product of values: what varies, as the store will have it.

    Args:
        jobs: as they were asked for.
        configs: of each, the config as one level.
    """
    rows = [
        {key: str(flat.get(key, value)) for key, value in words_of(job.shared).items()}
        for job, flat in zip(jobs, configs, strict=True)
    ]
    varying = _varying(rows)
    return labels_of([[(key, row[key]) for key in varying] for row in rows], _GROUPS)


def reaching(jobs: Sequence[Asked], members: Sequence[Mapping[str, Member]]) -> Iterator[str]:
    """Yield a sentence for each value that was given once, and reached several members of a group.

    Such as one learning rate for two optimizers, whose own files have two.

    Args:
        jobs: one for each arm.
        members: of each, the chosen member of each open group.
    """
    meant = {key for job in jobs for key in words_of(job.own)} | {
        *_varying([words_of(job.shared) for job in jobs])
    }
    for group in members[0]:
        by_key: dict[str, dict[str, tuple[Any, Any]]] = {}
        for row in members:
            name, own, given = row[group]
            for key in own.keys() & given.keys():
                by_key.setdefault(f"{group}.{key}", {}).setdefault(name, (own[key], given[key]))
        for key, found in by_key.items():
            values = [given for _, given in found.values()]
            alike = len(found) > 1 and all(value == values[0] for value in values)
            if alike and key not in meant and any(own != given for own, given in found.values()):
                whose = " and ".join(f"{member} (its file has {own})" for member, (own, _) in found.items())
                yield (
                    f"{key}={values[0]} reaches {whose}. To set it for one of them only, name the arms, "
                    f"as {_example(group, key, found)}"
                )


def words_of(overrides: Sequence[str]) -> dict[str, str]:
    """Return the values of overrides by key."""
    parted = (word.partition("=") for word in overrides)
    return {key.lstrip("+~"): value for key, _, value in parted}


def _varying(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the keys, but the seed, in which jobs differ."""
    return [key for key in rows[0] if key != "seed" and len({row[key] for row in rows}) > 1]


def _example(group: str, key: str, found: Mapping[str, tuple[Any, Any]]) -> str:
    first, *others = found
    arms = [
        f'{first}: "{group}={first} {key}={found[first][1]}"',
        *(f'{other}: "{group}={other}"' for other in others),
    ]
    return f"'arms={{{', '.join(arms)}}}'"
