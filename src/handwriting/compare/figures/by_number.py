"""What a swept number does: a metric over its values, or over those of two numbers."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from handwriting.compare.comparison import Comparison
from handwriting.compare.figures import style
from handwriting.compare.figures.style import LETTER, WIDTH, drawing_style
from handwriting.drawing import GREY, INK, LINES, new_figure
from handwriting.tracking import names
from handwriting.tracking.labels import shortest

DECADE = 10  # the largest value is so many times the smallest: the axis is logarithmic
# Inches: of all heat maps in a row; of what stands beside one; the least width of a cell, and its height.
MAPS, BESIDE, CELL = WIDTH - 0.9, 0.7, (0.42, 0.32)
SIZE, SMALLEST = 8, 5  # points, of numbers in the picture; smaller ones cannot be read


@drawing_style
def over(comparison: Comparison) -> Figure:
    """Draw a metric over the values of the number that was swept, a line for each group.

    Every seed is a point, the line is the mean and the band its 95 % interval; a star marks the best value of
    each group. Left the metric that settings are chosen by, right the one that is compared.
    """
    (key,) = comparison.numbers
    chosen = style.panel_metrics(comparison)
    figure = new_figure(WIDTH, 3.4)
    panels = list(figure.subplots(1, len(chosen), squeeze=False).flat)
    outside = False
    for axes, (title, metric) in zip(panels, chosen.items(), strict=True):
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(_in_words(key, comparison))
        axes.set_ylabel(metric.axis)
        _along(axes, comparison.values[key], WIDTH / len(panels) - 0.9)
        outside |= _lines(axes, comparison, key, metric)
    by = f"the best by {comparison.choice.metric.name}"
    panels[0].add_line(Line2D([], [], marker="*", ms=11, ls="", color=GREY, mec=INK, mew=0.8, label=by))
    style.add_legend(figure, panels)
    style.say(
        figure,
        "points: seeds; line and band: their mean and its 95 % interval",
        "triangles: means out of view" if outside else "",
    )
    return figure


def _along(axes: Axes, values: pd.Series, inches: float) -> None:
    """Put the values that were tried on the horizontal axis, as many as find room in so many inches."""
    ticks = np.unique(values)
    logarithmic = ticks[0] > 0 and ticks[-1] >= DECADE * ticks[0]
    if logarithmic:
        axes.set_xscale("log")
    at = np.log(ticks) if logarithmic else ticks
    places = inches * (at - at[0]) / (at[-1] - at[0])
    texts = [f"{tick:g}" for tick in ticks]
    widths = [0.85 * LETTER * (len(text) + 1) for text in texts]
    kept: list[int] = []
    for number, place in enumerate(places):
        if not kept or place - places[kept[-1]] >= (widths[number] + widths[kept[-1]]) / 2:
            kept.append(number)
    axes.set_xticks(ticks[kept], [texts[number] for number in kept], fontsize=SIZE)
    axes.set_xticks([], minor=True)


def _lines(axes: Axes, comparison: Comparison, key: str, metric: names.Metric) -> bool:
    """Draw a metric over the values of a key for each group; tell whether a mean is out of view."""
    table, seeds = style.shown_means(comparison, metric), style.points(comparison, metric)
    table = table.assign(x=comparison.values[key], group=comparison.values["group"])[table["n"] > 0]
    shown = [np.array([])]
    groups = list(comparison.values["group"].unique())
    for group, own in table.groupby("group", sort=False):
        place = groups.index(group)
        own, color = own.sort_values("x"), style.group_color(place)
        near = own[~own["far"]]
        seen = own[["mean", "low", "high"]].mask(own["far"])  # the line breaks off
        axes.fill_between(own["x"], seen["low"], seen["high"], color=color, alpha=0.2, lw=0)
        axes.plot(own["x"], seen["mean"], color=color, ls=LINES[place % len(LINES)], label=_n(group, own))
        points = seeds[near.index].to_numpy()
        x = np.broadcast_to(near["x"], points.shape)
        axes.plot(x.ravel(), points.ravel(), "o", color=color, alpha=0.7, ms=3.5, mew=0)
        shown += [points.ravel(), near[["low", "high"]].to_numpy().ravel()]
        for _, row in own[own["far"]].iterrows():
            right = row["x"] > table["x"].median()
            _mark_outside(axes, row["x"], place, metric, row["mean"], color, right)
        best = comparison.choice.by_group.get(str(group))
        if best in near.index:
            axes.plot(*own.loc[best, ["x", "mean"]], "*", color=color, ms=13, mec=INK, mew=0.8, zorder=3)
    values = np.concatenate(shown)
    if np.isfinite(values).any():
        style.fit(axes, values, "y")
    return bool(table["far"].any())


def _n(group: str, rows: pd.DataFrame) -> str:
    """Return a group's label, with the number of seeds."""
    low, high = int(rows["n"].min()), int(rows["n"].max())
    number = f"n = {high}" if low == high else f"n = {low} to {high}"
    return f"{group} ({number})" if group else f"mean ({number})"


def _mark_outside(
    axes: Axes, x: float, place: int, metric: names.Metric, mean: float, color: str, right: bool
) -> None:
    """Mark a mean that is out of view at the edge where it would be; those of several groups in lines.

    Args:
        place: of the group.
        mean: as it is shown.
        right: x is in the right half, so the number stands left of the mark.
    """
    down, step = bool(metric.more_is_better), 0.04 + 0.07 * place
    at, across = (x, step if down else 1 - step), axes.get_xaxis_transform()
    axes.plot(*at, "v" if down else "^", color=color, ms=5, transform=across)
    offset, side = (-5, "right") if right else (5, "left")
    axes.annotate(
        metric.shown(mean / metric.factor), at, (offset, 0), xycoords=across,
        textcoords="offset points", ha=side, va="center", fontsize=SIZE,
    )  # fmt: skip


@drawing_style
def heat_map(comparison: Comparison) -> Figure:
    """Draw the mean of the metric that settings are chosen by over the values of two numbers.

    A panel for each group, the best cell outlined; brighter is better, in grey too.
    """
    metric, values = comparison.choice.metric, comparison.values
    across, up = sorted(comparison.numbers, key=lambda key: -values[key].nunique())
    shown = style.shown_means(comparison, metric)
    near = shown.loc[~shown["far"], "mean"]
    scale = Normalize(near.min(), near.max())
    groups = list(dict.fromkeys(values["group"]))
    width, height = values[across].nunique(), values[up].nunique()
    columns = int(np.clip(MAPS / (CELL[0] * width + BESIDE), 1, len(groups)))
    rows, inches = -(-len(groups) // columns), (MAPS / columns - BESIDE) / width
    figure = new_figure(WIDTH, 0.8 + rows * (0.7 + CELL[1] * height))
    figure.suptitle(f"mean {metric.axis}", fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, group in zip(grid.flat, groups, strict=False):
        own = values[values["group"] == group].assign(mean=shown["mean"])
        table = own.pivot(index=up, columns=across, values="mean")
        _cells(axes, table, scale, metric, inches)
        best = comparison.choice.by_group.get(group)
        if best is not None:
            x, y = table.columns.get_loc(own.loc[best, across]), table.index.get_loc(own.loc[best, up])
            _outline(axes, x, y)
        axes.set(xlabel=_in_words(across, comparison), ylabel=_in_words(up, comparison))
        axes.set_title(fill(group, int(MAPS / columns / LETTER)), fontsize=9)
    for axes in grid.flat[len(groups) :]:
        axes.set_axis_off()
    end = "neither" if not shown["far"].any() else "min" if metric.more_is_better else "max"
    figure.colorbar(grid[0, 0].images[0], ax=list(grid.flat), extend=end)
    style.say(figure, "outlined: the best of each panel" if len(groups) > 1 else "outlined: the best")
    return figure


def _in_words(key: str, comparison: Comparison) -> str:
    return shortest(key, comparison.numbers).replace("_", " ")


def _cells(axes: Axes, table: pd.DataFrame, scale: Normalize, metric: names.Metric, inches: float) -> None:
    """Draw a table of means as colours and numbers; a cell is so many inches wide."""
    means = table.to_numpy(float)
    image = axes.imshow(
        means,
        cmap="viridis" if metric.more_is_better else "viridis_r",
        norm=scale,
        origin="lower",
        aspect="auto",
    )
    across, up = ([f"{value:g}" for value in values] for values in (table.columns, table.index))
    upright = max(map(len, across)) * 0.8 * LETTER > inches
    axes.set_xticks(range(len(across)), across, fontsize=SIZE, rotation=90 * upright)
    axes.set_yticks(range(len(up)), up, fontsize=SIZE)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    texts = {at: metric.shown(mean / metric.factor) for at, mean in np.ndenumerate(means)}
    size = min(SIZE, 72 * inches / (0.65 * max(map(len, texts.values()))))
    if size < SMALLEST:
        return
    bright = np.asarray(image.cmap(scale(means)))[..., :3] @ [0.21, 0.72, 0.07] > 0.45
    for (row, place), text in texts.items():
        color = GREY if text == "-" else "#111111" if bright[row, place] else "#ffffff"
        axes.text(place, row, text, ha="center", va="center", fontsize=size, color=color)


def _outline(axes: Axes, x: int, y: int) -> None:
    """Draw a frame around a cell, white around black so that it is seen on any colour."""
    for color, width in (("#ffffff", 4), ("#111111", 2)):
        frame = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, ec=color, lw=width, clip_on=False, zorder=3)
        axes.add_patch(frame)
