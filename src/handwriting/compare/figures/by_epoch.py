"""How the arms came to where they are: curves by epoch, and when each target was reached."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from handwriting.compare.caveats import count
from handwriting.compare.comparison import Comparison
from handwriting.compare.figures import style
from handwriting.compare.figures.style import WIDTH, Look, drawing_style
from handwriting.compare.tables import level
from handwriting.drawing import GREY, new_figure
from handwriting.tracking import names

THIN_SHOWN = 200  # runs of an arm


@drawing_style
def curves(comparison: Comparison, epochs: pd.DataFrame) -> Figure:
    """Draw the metric on the validation images, and their loss, by epoch.

    Each seed thin, the mean bold, a band of ± 1 s.d. Of more than 200 runs of an arm, an even choice is drawn
    thin; of more than 8 arms, only the best and the baseline are, and of the others the means, in grey. Where
    runs of an arm end at different epochs, the mean is of those that got so far. Of a metric that has no
    validation images, such as seconds, or is the loss itself, the accuracy is drawn.
    """
    data = epochs.merge(comparison.runs[["run_id", "arm"]], on="run_id")
    twin = f"{names.VAL}{names.base(comparison.metric.name)}"
    first = twin if twin in epochs and twin != names.VAL_LOSS else names.VAL_ACCURACY
    shown = [name for name in (first, names.VAL_LOSS) if name in data and data[name].notna().any()]
    figure = new_figure(WIDTH, 3.2)
    panels = list(figure.subplots(1, len(shown), squeeze=False).flat)
    outside: set[str] = set()
    for axes, name in zip(panels, shown, strict=True):
        outside |= _curves_of(axes, comparison, data, name)
        axes.set_xlabel("epoch")
        label = names.metric(name).axis
        axes.set_ylabel(label if len(label) < 30 else label.replace(" (", "\n("))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _name_the_grey(panels[0], comparison)
    style.add_legend(figure, panels)
    style.say(figure, style.leaves_view(outside), style.left_out(comparison))
    return figure


def _curves_of(axes: Axes, comparison: Comparison, data: pd.DataFrame, name: str) -> set[str]:
    """Draw a metric of every arm by epoch; return the arms that leave the view."""
    metric, looks = names.metric(name), style.looks(comparison)
    more = comparison.metric.more_is_better if metric.more_is_better is None else metric.more_is_better
    by_arm = dict(iter(data.dropna(subset=name).groupby("arm")))
    tables = {
        arm: by_arm[arm].pivot(index="epoch", columns="run_id", values=name) * metric.factor
        for arm in looks
        if arm in by_arm
    }
    told = {arm: table for arm, table in tables.items() if looks[arm].told}
    lengths = (table.shape[0] * min(table.shape[1], THIN_SHOWN) for table in told.values())
    pixels = sum(lengths) > style.VECTORS_UP_TO
    for arm, table in told.items():
        label = style.called(comparison, arm, f"n = {table.shape[1]}")
        _arm(axes, table, looks[arm], label, pixels)
    _grey(axes, [(table.index + 1, table.mean(axis=1)) for arm, table in tables.items() if arm not in told])
    ends = pd.Series({arm: table.iloc[-1].mean() for arm, table in tables.items()}, dtype=float)
    spreads = pd.Series({arm: table.iloc[-1].std() for arm, table in tables.items()}, dtype=float)
    far = style.far_off(ends, spreads, more)
    shown = [table.to_numpy(float).ravel() for arm, table in tables.items() if not far[arm]]
    if far.any():
        style.fit(axes, np.concatenate(shown), "y")
    low, high = axes.get_ylim()
    return {arm for arm in far.index[far] if not tables[arm].mean(axis=1).between(low, high).all()}


def _grey(axes: Axes, lines: Sequence[tuple[Any, Any]]) -> None:
    """Draw the lines of arms that are not told apart, each given as its x and its y."""
    axes.add_collection(
        LineCollection([np.column_stack(line) for line in lines], colors=GREY, lw=0.7, zorder=1)
    )


def _arm(axes: Axes, table: pd.DataFrame, look: Look, label: str, pixels: bool) -> None:
    """Draw one arm: its runs, the columns of the table, their mean and the band."""
    x = table.index.to_numpy(float) + 1
    values = table.to_numpy(float).T[:: -(-table.shape[1] // THIN_SHOWN)]
    thin = list(np.stack([np.broadcast_to(x, values.shape), values], axis=2))
    alpha = max(0.02, min(0.35, 3 / len(thin)))
    axes.add_collection(LineCollection(thin, colors=look.color, lw=0.7, alpha=alpha, rasterized=pixels))
    mean, sd = table.mean(axis=1), table.std(axis=1)
    axes.fill_between(x, mean - sd, mean + sd, color=look.color, alpha=0.2, lw=0)
    point = "o" if len(x) == 1 else ""  # of one epoch there is no line
    axes.plot(x, mean, ls=look.line, marker=point, color=look.color, label=label)


def _name_the_grey(axes: Axes, comparison: Comparison) -> None:
    """Add the arms that are drawn in grey to the legend, in one entry."""
    number = sum(not look.told for look in style.looks(comparison).values())
    if number:
        axes.add_line(Line2D([], [], color=GREY, lw=0.7, label=count(number, "other arm")))


@drawing_style
def time_to_target(comparison: Comparison) -> Figure:
    """Draw the share of runs that had reached each target, by epochs and by seconds of training.

    A target that no run reached has no panel, nor have seconds that are known of no run.
    """
    times = comparison.times
    there = times[np.isfinite(times["epochs"])]
    levels = sorted(there["target"].unique())
    units = [unit for unit in ("epochs", "seconds") if np.isfinite(there[unit]).any()]
    figure = new_figure(WIDTH, 0.6 + 1.8 * len(units))
    grid = figure.subplots(len(units), len(levels), sharey=True, squeeze=False)
    for row, unit in zip(grid, units, strict=True):
        longest = float(there[unit].max()) * 1.05
        for axes, target in zip(row, levels, strict=True):
            _shares(axes, comparison, times[times["target"] == target], unit, longest)
        row[0].set_ylabel("share of runs")
        row[0].yaxis.set_major_formatter(PercentFormatter(1))
    for axes, target in zip(grid[0], levels, strict=True):
        title = f"{level(target)} validation accuracy"
        axes.set_title(fill(title, max(8, 75 // len(levels))), fontsize=9)
    _name_the_grey(grid[0, 0], comparison)
    style.add_legend(figure, list(grid.flat))
    style.say(figure, style.left_out(comparison))
    return figure


def _shares(axes: Axes, comparison: Comparison, times: pd.DataFrame, unit: str, longest: float) -> None:
    """Draw the share of each arm's runs that had reached one target."""
    by_arm = {arm: np.sort(own.to_numpy(float)) for arm, own in times.groupby("arm")[unit]}
    grey = []
    for arm, look in style.looks(comparison).items():
        own = by_arm.get(arm, np.array([]))
        if not len(own) or np.isnan(own).any():
            continue
        reached = own[np.isfinite(own)]
        share = np.arange(len(reached) + 1) / len(own)
        # Who never gets there counts in the share, so the step ends below 1.
        x, y = np.r_[0, reached, longest], np.r_[share, share[-1]]
        if look.told:
            label = style.called(comparison, arm)
            axes.step(x, y, where="post", ls=look.line, color=look.color, label=label)
        else:
            grey.append((np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]))
    _grey(axes, grey)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(0, longest)
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(style.few_ticks(whole=True))
