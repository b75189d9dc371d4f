"""One row for each arm: what each seed came to, and how far it is from the baseline."""

from collections.abc import Sequence
from textwrap import fill
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from handwriting.compare.comparison import Comparison, against, verdict_of
from handwriting.compare.figures import style
from handwriting.compare.figures.style import LINE, WIDTH, Look, drawing_style
from handwriting.compare.pairs import difference_of
from handwriting.compare.tables import interval_name
from handwriting.drawing import COLORS, GREY, INK, new_figure
from handwriting.tracking import names

SIZE = 8  # points, of labels and verdicts
ABOVE = 0.06  # inches, of the seeds above their interval


@drawing_style
def ranking(comparison: Comparison) -> Figure:
    """Draw every seed of each arm, the arms' means and their 95 % intervals, best on top.

    Left the metric that settings are chosen by, right the one that is compared, where these are two.
    """
    arms, looks = style.drawn(comparison), style.looks(comparison)
    labels = [style.called(comparison, arm) for arm in arms]
    chosen = style.panel_metrics(comparison)
    figure, panels, places = _rows(labels, 36, [""] * len(arms), len(chosen))
    outside = 0
    for axes, (title, metric) in zip(panels, chosen.items(), strict=True):
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(metric.axis)
        outside += _dots(axes, comparison, metric, dict(zip(arms, places, strict=True)), looks)
    style.say(
        figure,
        "circles: seeds; diamond and line: their mean and its 95 % interval",
        "arrows: means out of view" if outside else "",
        style.left_out(comparison),
    )
    return figure


def _dots(
    axes: Axes, comparison: Comparison, metric: names.Metric, places: dict[str, float], looks: dict[str, Look]
) -> int:
    """Draw a metric of each arm at its place; return how many arms are out of view."""
    table, seeds = style.shown_means(comparison, metric).loc[list(places)], style.points(comparison, metric)
    there = table[(table["n"] > 0) & ~table["far"]]
    rows = [
        _Row(places[arm], looks[arm].color, seeds[arm].dropna().to_numpy(), center)
        for arm, center in zip(there.index, there[["mean", "low", "high"]].to_numpy(), strict=True)
    ]
    _draw_rows(axes, rows)
    for arm, mean in table.loc[table["far"], "mean"].items():
        text = metric.shown(mean / metric.factor)
        _point_outside(axes, places[arm], text, bool(metric.more_is_better))
    return int(table["far"].sum())


class _Row(NamedTuple):
    y: float
    color: str
    seeds: np.ndarray
    center: np.ndarray  # a mean and the ends of its interval, NaN where there is none


def _draw_rows(axes: Axes, rows: Sequence[_Row], *also: float) -> None:
    """Draw each row's seeds, mean and interval, and limit the axis to them and to the values in `also`."""
    # In one stroke for all rows of a colour: 120 lines of three points take a second more to write.
    for color in dict.fromkeys(row.color for row in rows):
        own = [row for row in rows if row.color == color]
        y, centers = np.array([row.y for row in own]), np.array([row.center for row in own])
        above = np.repeat(y + ABOVE, [len(row.seeds) for row in own])
        seeds_color = COLORS[1] if color == INK else color
        seeds = np.concatenate([row.seeds for row in own])
        pixels = len(seeds) > style.VECTORS_UP_TO
        axes.plot(seeds, above, "o", color=seeds_color, ms=4, mew=0, rasterized=pixels)
        axes.hlines(y, centers[:, 1], centers[:, 2], colors=color, lw=1.5)
        axes.plot(centers[:, 0], y, "D", color=color, ms=5)
    values = np.concatenate([np.array(also), *(np.r_[row.seeds, row.center] for row in rows)])
    if np.isfinite(values).any():
        style.fit(axes, values, "x")
        axes.xaxis.set_major_locator(style.few_ticks())


def _point_outside(axes: Axes, y: float, text: str, left: bool) -> None:
    """Write a mean that is out of view at the side where it would be."""
    x, side = (0.01, "left") if left else (0.99, "right")
    text = f"← {text}" if left else f"{text} →"
    across = axes.get_yaxis_transform()
    axes.text(x, y, text, ha=side, va="center", fontsize=SIZE, transform=across)


def drawn_pairs(comparison: Comparison) -> pd.DataFrame:
    """Return the pairs that `differences` draws, in the tables' order, by their second arm."""
    pairs = comparison.pairs
    if len(comparison.arms) > 2:
        baseline, best = comparison.baseline, comparison.choice.best
        to_best = comparison.numbers or not comparison.arms.loc[baseline, "n"]
        pairs = against(comparison, best if best and to_best else baseline)
    pairs = pairs[pairs["n"] > 0].set_index("second", drop=False)
    return pairs.loc[[arm for arm in style.drawn(comparison) if arm in pairs.index]]


@drawing_style
def differences(comparison: Comparison) -> Figure:
    """Draw every seed's difference, their mean and its 95 % interval: of two arms, or each to the baseline.

    Of a number's values, or where the baseline has no run that can be used, each to the best.
    """
    metric, several = comparison.metric, len(comparison.arms) > 2
    pairs = drawn_pairs(comparison)
    labels = list(pairs.index) if several else [difference_of(pair) for _, pair in pairs.iterrows()]
    verdicts = [
        _verdict(comparison, pair) if several else verdict_of(comparison, pair)
        for _, pair in pairs.iterrows()
    ]
    figure, (axes,), places = _rows(labels, 34, verdicts, 1)
    values = style.points(comparison, metric)
    axes.axvline(0, color=INK, lw=0.8)
    centers = pairs[["difference", "low", "high"]].to_numpy(float) * metric.factor
    far = style.far_off(pairs["difference"].abs(), (pairs["high"] - pairs["low"]) / 2, more_is_better=False)
    rows = []
    for y, (arm, pair), center in zip(places, pairs.iterrows(), centers, strict=True):
        if far[arm]:
            _point_outside(axes, y, metric.change(pair["difference"]), pair["difference"] < 0)
        else:
            rows.append(_Row(y, INK, (values[arm] - values[pair["first"]]).dropna().to_numpy(), center))
    _draw_rows(axes, rows, 0.0)
    unit = f"percentage{metric.points}" if metric.points else metric.unit
    what = f"difference in {metric.name}" + (f" to {pairs['first'].iloc[0]}" if several else "")
    axes.set_xlabel(fill(", ".join(filter(None, [what, unit])), 70))
    style.say(
        figure,
        f"circles: seeds; diamond and line: their mean and its {interval_name(comparison)}",
        "arrows: differences out of view" if far.any() else "",
        style.left_out(comparison),
    )
    return figure


def _verdict(comparison: Comparison, pair: pd.Series) -> str:
    """Return the verdict on a pair as said of its second arm, which the row is named after."""
    return verdict_of(comparison, pair, "better" if pair["better"] == pair["second"] else "worse")


def _rows(
    labels: Sequence[str], letters: int, notes: Sequence[str], columns: int
) -> tuple[Figure, list[Axes], list[float]]:
    """Return a figure with a row for each label, its panels and the rows' places, from top to bottom.

    Args:
        labels: left of the rows.
        letters: in a line of a label.
        notes: right of the rows, in a column of their own.
        columns: panels side by side.
    """
    left, right = [fill(text, letters) for text in labels], [fill(text, 22) for text in notes]
    heights = [
        max(0.24, 0.08 + LINE * (1 + max(a.count("\n"), b.count("\n"))))  # inches
        for a, b in zip(left, right, strict=True)
    ]
    bottoms = np.cumsum(heights)
    places = list(bottoms[-1] - bottoms + np.array(heights) / 2)
    figure = new_figure(WIDTH, 0.9 + bottoms[-1])
    panels = list(figure.subplots(1, columns, squeeze=False).flat)
    for axes in panels:
        axes.set_yticks([])  # text instead: with 40 ticks a figure takes twice as long to lay out
        axes.set_ylim(0, bottoms[-1])
        axes.hlines(places, 0, 1, colors=GREY, lw=0.8, alpha=0.3, transform=axes.get_yaxis_transform())
    sides = ((panels[0], -0.02, "right", left), (panels[-1], 1.02, "left", right))
    for axes, x, side, texts in sides:
        across = axes.get_yaxis_transform()
        for y, text in zip(places, texts, strict=True) if any(texts) else ():
            axes.text(x, y, text, ha=side, va="center", fontsize=SIZE, transform=across)
    return figure, panels, places
