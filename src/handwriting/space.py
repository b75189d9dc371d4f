"""What is tuned: of each arm the keys with their ranges, the settings that are tried, and on which seeds.

All of it follows from the tuning file: the same file tries the same settings, and more of them begin with
those that fewer have.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
)
from hydra.errors import HydraException

from handwriting.errors import UserError
from handwriting.keys import nearest_key

LOG, ONE_MINUS_LOG, LINEAR, WHOLE, CHOICES = "log", "one_minus_log", "interval", "int", "choice"
EXAMPLE = "log(1e-4, 1e-2), one_minus_log(0.5, 0.99), interval(0, 0.5), int(interval(1, 8)) or choice(32, 64)"
DIGITS = 4  # significant ones, of a value that is tried; of one on a linear range, of its width
DEFAULT = "default"  # ends the label of an arm's first setting
_KEYS = ("arms", "settings", "seeds", "verdict_seeds", "design_seed")
_MOST_POINTS = 1_000  # for each setting that a space of choices may still lack


@dataclass(frozen=True)
class Range:
    """The values of a key.

    Args:
        text: as the tuning file has it.
        scale: LOG, where each decade is as wide as each other; ONE_MINUS_LOG, where each decade of 1 − value
            is; LINEAR; WHOLE numbers; or CHOICES.
        low: the smallest value; NaN of choices that are no numbers.
        high: the largest.
        choices: in words of Hydra's grammar; none of a scale.
    """

    text: str
    scale: str
    low: float
    high: float
    choices: tuple[str, ...] = ()

    def at(self, u: float) -> str:
        """Return the value at a place from 0 to below 1, in Hydra's grammar."""
        low, high = self.low, self.high
        if self.choices:
            return self.choices[int(u * len(self.choices))]
        if self.scale == WHOLE:
            return str(int(low + u * (high - low + 1)))
        if self.scale == LOG:
            return f"{low * (high / low) ** u:.{DIGITS}g}"
        if self.scale == ONE_MINUS_LOG:
            rest = (1 - low) * ((1 - high) / (1 - low)) ** u
            return f"{1 - float(f'{rest:.{DIGITS}g}'):.12g}"
        return f"{low + u * (high - low):.{max(0, DIGITS - 1 - math.floor(math.log10(high - low)))}f}"

    def widened(self, best: float) -> str:
        """Return the range with half of its width more beyond a value, the best, as the tuning file has it.

        On its own scale, there one decade at most, on the side where the value is, and of a range above 0 no
        further than 0; nothing where that is no wider, and of choices.
        """
        low, high = self.low, self.high
        if self.choices:
            return ""
        if self.scale in (LOG, ONE_MINUS_LOG):
            turned = self.scale == ONE_MINUS_LOG
            if turned:
                low, high, best = 1 - high, 1 - low, 1 - best
            factor = min(10.0, math.sqrt(high / low))
            if best > math.sqrt(low * high):
                high = max(high, best) * factor
            else:
                low = min(low, best) / factor
            low, high = (float(f"{end:.2g}") for end in (low, high))
            if turned:  # 1 − value is 1 at most
                low, high = 1 - min(high, 1.0), 1 - low
            return f"{self.scale}({low:.12g}, {high:.12g})"
        half, below = (high - low) / 2, low
        if best > (low + high) / 2:
            high = max(high, best) + half
        else:
            low = min(low, best) - half
            low = max(low, 0.0) if below >= 0 else low
            if low == below:
                return ""
        if self.scale == WHOLE:
            return f"int(interval({math.floor(low)}, {math.ceil(high)}))"
        return f"interval({low:.3g}, {high:.3g})"


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


def range_of(key: str, text: str) -> Range | None:
    """Return the range that a text of Hydra's grammar, with our two scales, names; None for one value.

    Raises:
        UserError: it is neither.
    """
    parser = OverridesParser.create()
    for scale, function in _SCALES.items():
        parser.functions.register(scale, function)
    try:
        found = _read(text, parser.parse_override(f"{key}={text}").value())
    except (HydraException, UserError) as error:
        said = str(error).partition("\n")[0]
        reason = said.partition("': ")[2] or said
        raise UserError(f"{text}: {reason}. A range is {EXAMPLE}") from error
    if found and not found.choices and not -math.inf < found.low < found.high < math.inf:
        raise UserError(f"{text}: a range goes from the smaller to the larger value")
    return found


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


def _read(text: str, found: Any) -> Range | None:
    """Return the range that a value of Hydra's grammar is; None of a single value."""
    if isinstance(found, Range):
        return Range(text, found.scale, found.low, found.high)
    if isinstance(found, IntervalSweep):
        low, high = found.start, found.end
        assert low is not None
        assert high is not None
        whole = isinstance(low, int) and isinstance(high, int)
        return Range(text, WHOLE if whole else LINEAR, float(low), float(high))
    if isinstance(found, ChoiceSweep | RangeSweep):
        values = list(found.range() if isinstance(found, RangeSweep) else found.list)
        numbers = [value for value in values if isinstance(value, int | float) and type(value) is not bool]
        ends = (min(numbers), max(numbers)) if len(numbers) == len(values) else (math.nan, math.nan)
        return Range(text, CHOICES, *ends, choices=tuple(map(_in_words, values)))
    return None


def _plain(value: Any) -> Any:
    """Return a value, or its text in Hydra's grammar, as what it is compared by: 1e-3 is 0.001."""
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        return float(text)
    except ValueError:
        return text


def _in_words(value: Any) -> str:
    """Return a value of Hydra's grammar in it; `choice(...)` has taken the quotes of its texts away."""
    text = value.text if isinstance(value, QuotedString) else value
    if not isinstance(text, str):
        return json.dumps(text)
    plain = isinstance(value, str) and re.fullmatch(r"[\w./+-]+", text)
    return text if plain else QuotedString(text, Quote.single).with_quotes()


def _log(low: Any, high: Any) -> Range:
    _check_numbers(low, high)
    if not low > 0:
        raise UserError("of a logarithmic range both ends are above 0")
    return Range("", LOG, float(low), float(high))


def _one_minus_log(low: Any, high: Any) -> Range:
    _check_numbers(low, high)
    if not high < 1:
        raise UserError("both ends are the key's own values, below 1")
    return Range("", ONE_MINUS_LOG, float(low), float(high))


_SCALES = {LOG: _log, ONE_MINUS_LOG: _one_minus_log}


def _check_numbers(*ends: Any) -> None:
    for end in ends:
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise UserError(f"{end} is no number")


def _points(dimensions: int, seed: int, number: int) -> Iterator[Sequence[float]]:
    """Yield points of the unit cube, at most as many as a space of choices may take to show all of them."""
    from scipy.stats import qmc  # half a second

    # Not Sobol's: its points are balanced in powers of two only, and SciPy warns of any other number.
    sequence = qmc.Halton(dimensions, scramble=True, rng=seed)
    for _ in range(_MOST_POINTS * number):
        yield sequence.random(1)[0]
