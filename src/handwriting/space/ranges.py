"""The range of a key, in Hydra's grammar with two scales of ours: its values, and how it is made wider."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Quote, QuotedString, RangeSweep
from hydra.errors import HydraException

from handwriting.errors import UserError

LOG, ONE_MINUS_LOG, LINEAR, WHOLE, CHOICES = "log", "one_minus_log", "interval", "int", "choice"
EXAMPLE = "log(1e-4, 1e-2), one_minus_log(0.5, 0.99), interval(0, 0.5), int(interval(1, 8)) or choice(32, 64)"
DIGITS = 4  # significant ones, of a value that is tried; of one on a linear range, of its width


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
