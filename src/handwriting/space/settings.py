"""The settings that a tuning tries, of each arm as many, and the seeds that choose and judge."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from handwriting.errors import UserError
from handwriting.keys import nearest_key
from handwriting.space.ranges import EXAMPLE, LOG, Range, range_of

DEFAULT = "default"  # ends the label of an arm's first setting
_KEYS = ("arms", "settings", "seeds", "verdict_seeds", "design_seed")
_MOST_POINTS = 1_000  # for each setting that a space of choices may still lack


@dataclass(frozen=True)
class ArmSpace:
    """An arm: its overrides that are the same in all its settings, and the ranges of others, by key."""

    fixed: tuple[str, ...]
    ranges: Mapping[str, Range]

    def settings(self, number: int, design_seed: int, default: Mapping[str, Any]) -> list[tuple[str, ...]]:
        """Return so many different settings, each the overrides of its keys; fewer where there are no more.

        The first is the default: no override. The others are points of a scrambled Halton sequence (Owen
        2017, 1706.02808) with a dimension for each key, in the order of the file; points that come to a
        setting once more are passed over. Arms with the same first keys and ranges try the same values.

        Args:
            number: how many.
            design_seed: of the sequence.
            default: the value that a key has in the default setting; of some keys there may be none.
        """
        usual = tuple(_plain(default.get(key)) for key in self.ranges)
        found: dict[tuple[Any, ...], tuple[str, ...]] = {usual: ()}
        for point in _points(len(self.ranges), design_seed, number):
            values = [range_.at(u) for range_, u in zip(self.ranges.values(), point, strict=True)]
            words = tuple(f"{key}={value}" for key, value in zip(self.ranges, values, strict=True))
            found.setdefault(tuple(map(_plain, values)), words)
            if len(found) == number:
                break
        return list(found.values())


@dataclass(frozen=True)
class Space:
    """A tuning as its file describes it.

    Args:
        arms: by name.
        number: of settings that each arm may try, the default among them.
        seeds: of the runs that settings are chosen by.
        verdict_seeds: of those that the arms are judged by; None until it is clear.
        design_seed: of the points that are tried.
    """

    arms: Mapping[str, ArmSpace]
    number: int
    seeds: tuple[int, ...]
    verdict_seeds: tuple[int, ...] | None
    design_seed: int = 0

    def settings(self, defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, list[tuple[str, ...]]]:
        """Return the settings of each arm, as `ArmSpace.settings`, the same number of each.

        Args:
            defaults: of each arm, the values that keys have in its default setting.

        Raises:
            UserError: an arm does not have so many.
        """
        found = {
            name: arm.settings(self.number, self.design_seed, defaults[name])
            for name, arm in self.arms.items()
        }
        for name, own in found.items():
            if len(own) < self.number:
                raise UserError(
                    f"tuning.arms.{name} has {len(own)} different settings, and each arm tries as many, "
                    f"tuning.settings={self.number}. Give it wider ranges or more keys, or all arms fewer "
                    "settings"
                )
        return found

    def words(self) -> dict[str, dict[str, str]]:
        """Return the ranges of each arm's keys as the tuning file has them."""
        return {
            name: {key: range_.text for key, range_ in arm.ranges.items()} for name, arm in self.arms.items()
        }


def label_of(arm: str, number: int) -> str:
    """Return what a setting of an arm is called, by its place among them from 0: "adam default", "adam 1"."""
    return f"{arm} {number or DEFAULT}"


def space_of(
    tuning: Any, seeds: Sequence[int], verdict_seeds: Sequence[int] | None, largest: Sequence[int]
) -> Space:
    """Return the space of a tuning file; the seeds are read already.

    Args:
        tuning: the plain values of the config's `tuning`.
        seeds: that settings are chosen by.
        verdict_seeds: that arms are judged by; None until it is clear.
        largest: all seeds that a verdict until clear may take.

    Raises:
        UserError: it is no such file, or it is not fair: arms with budgets of their own, or seeds that both
            choose and judge.
    """
    for key in tuning:
        if key not in _KEYS:
            raise UserError(
                f"tuning.{key}: there is no such key.{nearest_key(str(key), _KEYS)} "
                f"There are: {', '.join(_KEYS)}"
            )
    arms, number = tuning.get("arms"), tuning.get("settings")
    if not isinstance(arms, Mapping) or len(arms) < 2:
        raise UserError(
            "tuning.arms must be two names or more, each with its keys and their ranges. "
            f"Received: {', '.join(arms) if isinstance(arms, Mapping) else arms}"
        )
    _check_whole("tuning.settings", number, 2)
    _check_whole("tuning.design_seed", design_seed := tuning.get("design_seed", 0), 0)
    both = sorted(set(seeds) & set(largest if verdict_seeds is None else verdict_seeds))
    if both:
        may = " may take" if verdict_seeds is None else " has"
        raise UserError(
            f"tuning.seeds and tuning.verdict_seeds: the verdict{may} seed {', '.join(map(str, both[:5]))} "
            "too, and seeds that chose a setting cannot judge it. Give tuning.seeds others, as 100,101"
        )
    return Space(
        {str(name): _arm_of(str(name), own, number) for name, own in arms.items()},
        number,
        tuple(seeds),
        None if verdict_seeds is None else tuple(verdict_seeds),
        design_seed,
    )


def seeds_of(key: str, value: Any) -> list[int]:
    """Return the seeds that a key's value names, as 100, [100, 101], "100,101" or "range(100, 102)".

    Raises:
        UserError: it names none.
    """
    values = [value]
    if isinstance(value, str):
        try:
            values = list(several(OverridesParser.create().parse_override(f"seed={value}")))
        except HydraException:
            values = []
    elif isinstance(value, Sequence):
        values = list(value)
    if not values or any(type(seed) is not int or not 0 <= seed < 2**32 for seed in values):
        raise UserError(f"{key} must be seeds, as range(100, 102) or 100,101. Received: {value}")
    return list(dict.fromkeys(values))


def several(override: Override) -> Iterator[Any]:
    """Yield the values of an override: those of a sweep, of a list, or the one."""
    if override.is_sweep_override():
        yield from override.sweep_iterator(lambda value: value)
    elif isinstance(value := override.value(), list):
        yield from value
    else:
        yield value


def _check_whole(key: str, value: object, least: int) -> None:
    if type(value) is not int or value < least:
        raise UserError(f"{key} must be a whole number, at least {least}. Received: {value}")


def _arm_of(name: str, own: Any, number: int) -> ArmSpace:
    where = f"tuning.arms.{name}"
    if not isinstance(own, Mapping):
        raise UserError(f"{where} must be keys with ranges, as optimizer.learning_rate: {LOG}(1e-4, 1e-2)")
    fixed: list[str] = []
    ranges: dict[str, Range] = {}
    for key, value in own.items():
        if key in _KEYS:
            raise UserError(
                f"{where}.{key}: all arms have the same {key}. Leave it out, and give tuning.{key} for all"
            )
        if isinstance(value, Mapping):
            raise UserError(
                f"{where}.{key} must be a range or a value. Write the whole key in front of it, as "
                f"{key}.NAME: {EXAMPLE}"
            )
        text = value if isinstance(value, str) else json.dumps(value)
        try:
            found = range_of(str(key), text)
        except UserError as error:
            raise UserError(f"{where}.{key}: {error}") from error
        if found is None:
            fixed.append(f"{key}={text}")
        else:
            ranges[str(key)] = found
    if not ranges:
        raise UserError(
            f"{where} has one setting, and each arm tries as many, tuning.settings={number}. Give it a key "
            f"with a range: {EXAMPLE}"
        )
    return ArmSpace(tuple(fixed), ranges)


def _plain(value: Any) -> Any:
    """Return a value, or its text in Hydra's grammar, as what it is compared by: 1e-3 is 0.001."""
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        return float(text)
    except ValueError:
        return text


def _points(dimensions: int, seed: int, number: int) -> Iterator[Sequence[float]]:
    """Yield points of the unit cube, at most as many as a space of choices may take to show all of them."""
    from scipy.stats import qmc  # half a second

    # Not Sobol's: its points are balanced in powers of two only, and SciPy warns of any other number.
    sequence = qmc.Halton(dimensions, scramble=True, rng=seed)
    for _ in range(_MOST_POINTS * number):
        yield sequence.random(1)[0]
