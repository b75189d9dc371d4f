"""What a tuning found: each setting over each key that was tuned, and what more settings would bring."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from handwriting.compare.comparison import Comparison
from handwriting.compare.figures import style
from handwriting.compare.figures.style import LETTER, WIDTH, drawing_style
from handwriting.compare.tuned import Tuned, key_of, tried_values
from handwriting.drawing import INK, LINES, new_figure
from handwriting.space import LOG, ONE_MINUS_LOG, Range
from handwriting.tracking import names
from handwriting.tracking.labels import shortest

COLUMNS, HEIGHT = 3, 2.3  # panels in a row, and inches of one
METRIC = names.metric(names.VAL_ACCURACY)
SIZE = 8  # points, of the values on an axis


@drawing_style
def settings_tried(comparison: Comparison) -> Figure:
    """Draw the validation accuracy of each setting over each tuned key, a colour for each arm.

    Every seed is a point; a ring is the mean of a setting, a square that of the default, a star that of the
    best. A setting that is far worse than all others is a triangle at the lower edge.
    """
    tuned = comparison.tuned
    assert tuned is not None
    rows = -(-len(tuned.keys) // COLUMNS)
    columns = -(-len(tuned.keys) // rows)
    figure = new_figure(WIDTH, 0.5 + rows * HEIGHT)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    far = style.far_off(tuned.settings["value"], tuned.settings["sd"], more_is_better=True)
    for axes, key in zip(grid.flat, tuned.keys, strict=False):
        _over(axes, comparison, tuned, key, far)
        axes.set_xlabel(shortest(key, tuned.keys).replace("_", " "))
    for axes in grid.flat[len(tuned.keys) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel(METRIC.axis)
    near = tuned.settings.index[~far]
    seen = tuned.runs.set_index(["arm", "number"]).loc[near, "value"].to_numpy() * METRIC.factor
    style.fit(grid[0, 0], seen, "y")
    style.add_legend(figure, list(grid.flat))
    style.say(
        figure,
        "points: seeds; rings: their mean for a setting; square: the default; star: the best",
        "triangles: settings out of view" if far.any() else "",
    )
    return figure


def _over(axes: Axes, comparison: Comparison, tuned: Tuned, key: str, far: pd.Series) -> None:
    """Draw the settings of each arm that tunes a key over its values."""
    ranges = _ranges(tuned, key)
    texts = tuned.settings.loc[list(ranges), key]
    place = _places(next(iter(ranges.values())), texts)
    for arm in ranges:
        own, look = tuned.settings.loc[arm], _color(comparison, arm)
        x = own[key].map(place.get).astype(float)
        x = x[x.notna()]
        hidden = far.loc[arm].reindex(x.index)
        seeds = tuned.runs[tuned.runs["arm"] == arm].set_index("number")
        seeds = seeds[seeds.index.isin(x.index[~hidden])]
        axes.plot(x[seeds.index], seeds["value"] * METRIC.factor, "o", color=look, alpha=0.6, ms=3, mew=0)
        for number, value in (own.loc[x.index, "value"] * METRIC.factor).items():
            if hidden[number]:
                axes.plot(x[number], 0.04, "v", color=look, ms=5, transform=axes.get_xaxis_transform())
                continue
            best = tuned.tuning.chosen.get(arm) == number
            mark, size = ("*", 12) if best else ("s", 6) if number == 0 else ("o", 6)
            edge = INK if best else look
            axes.plot(
                x[number], value, mark, ms=size, color=look, mfc=look if best else "none", mec=edge, mew=0.8
            )
        axes.plot([], [], "o", color=look, label=arm)
    _ticks(axes, next(iter(ranges.values())), place)


def _ranges(tuned: Tuned, key: str) -> dict[str, Range]:
    """Return the range of a key in each arm that tunes it."""
    return {
        arm: range_
        for arm, own in tuned.ranges.items()
        for word, range_ in own.items()
        if key_of(word) == key
    }


def _places(range_: Range, texts: pd.Series) -> dict[str, float]:
    """Return where each value of a key stands on the axis: on its range's scale, of choices side by side."""
    there = texts[texts != ""]
    if range_.choices:
        order = list(dict.fromkeys([*range_.choices, *there]))
        return {text: float(order.index(text)) for text in there}
    numbers = tried_values(there, range_)
    scaled = {text: _scaled(range_.scale, number) for text, number in zip(there, numbers, strict=True)}
    return {text: place for text, place in scaled.items() if math.isfinite(place)}


def _scaled(scale: str, value: float) -> float:
    if scale == LOG:
        return math.log10(value) if value > 0 else math.nan
    if scale == ONE_MINUS_LOG:
        return -math.log10(1 - value) if value < 1 else math.nan
    return value


def _ticks(axes: Axes, range_: Range, places: dict[str, float]) -> None:
    """Name values on the axis: each choice, or round values between the ends of the range."""
    if not places:
        return
    if range_.choices:
        named = {place: text for text, place in places.items()}
        axes.set_xticks(list(named), list(named.values()), fontsize=SIZE)
        return
    ends = [_scaled(range_.scale, end) for end in (range_.low, range_.high)]
    low, high = min(*ends, *places.values()), max(*ends, *places.values())
    margin = 0.05 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    if range_.scale not in (LOG, ONE_MINUS_LOG):
        axes.xaxis.set_major_locator(style.few_ticks())
        return
    steps = [1, 2, 5] if high - low < 1.5 else [1]  # of each decade
    decades = range(math.floor(low) - 1, math.ceil(high) + 2)
    if range_.scale == LOG:
        values = [step * 10.0**decade for decade in decades for step in steps]
    else:
        values = [1 - step * 10.0**-decade for decade in decades for step in reversed(steps)]
    at = [(f"{value:g}", _scaled(range_.scale, value)) for value in values]
    shown = [(text, place) for text, place in at if low - margin <= place <= high + margin]
    most = int(WIDTH / COLUMNS / (LETTER * (1 + max((len(text) for text, _ in shown), default=1))))
    shown = shown[:: max(1, -(-len(shown) // max(most, 1)))]
    axes.set_xticks([place for _, place in shown], [text for text, _ in shown], fontsize=SIZE)


def _color(comparison: Comparison, arm: str) -> str:
    """Return the colour that an arm has in the other figures."""
    looks = style.looks(comparison)
    assert comparison.tuned is not None
    return (
        looks[arm].color if arm in looks else style.group_color(list(comparison.tuned.tuning.arms).index(arm))
    )


@drawing_style
def expected_best(comparison: Comparison) -> Figure:
    """Draw what the best of 1, 2, ... settings of each arm is expected to be, with its standard deviation."""
    tuned = comparison.tuned
    assert tuned is not None
    figure = new_figure(WIDTH, 2.9)
    axes = figure.subplots()
    budget = tuned.budget
    shown = budget[~style.far_off(budget["best"], budget["sd"], more_is_better=True)]
    seen: list[Sequence[float]] = []
    for place, (arm, own) in enumerate(budget.groupby("arm", sort=False)):
        color, values = _color(comparison, str(arm)), tuned.settings.loc[arm, "value"] * METRIC.factor
        best, sd = own["best"] * METRIC.factor, own["sd"] * METRIC.factor
        low, high = (best - sd).clip(lower=values.min()), (best + sd).clip(upper=values.max())
        axes.fill_between(own["settings"], low, high, color=color, alpha=0.15, lw=0)
        axes.plot(own["settings"], best, color=color, ls=LINES[place % len(LINES)], label=str(arm))
        near = own.index.isin(shown.index)
        seen += [best[near].tolist(), high[near].tolist(), low[near][1:].tolist()]
    axes.set(xlabel="settings tried of each arm", ylabel=f"expected best\n{METRIC.axis}")
    axes.xaxis.set_major_locator(style.few_ticks(whole=True))
    style.fit(axes, np.array([value for values in seen for value in values]), "y")
    style.add_legend(figure, [axes])
    style.say(
        figure,
        "line and band: mean and standard deviation of the best of so many, drawn of all that were tried",
    )
    return figure
