"""The comparison in pictures, for a paper: told apart by the colour-blind and in grey, axes with units."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from handwriting.compare.comparison import Comparison
from handwriting.compare.wording import difference_of, level, verdict_of
from handwriting.drawing import COLORS, LINES, STYLE, new_figure
from handwriting.tracking import names

ARMS_SHOWN, PAIRS_SHOWN, THIN_SHOWN = 12, 15, 200
WIDTH, LETTER = 7.2, 0.08  # inches, of a figure and of one letter
# An arm may be called "$5": its name is no formula.
_STYLE = STYLE | {"text.parse_math": False}


def draw_figures(comparison: Comparison, epochs: pd.DataFrame) -> dict[str, Figure]:
    """Return the figures that the comparison has something to show in, by name.

    Args:
        comparison: what the runs say.
        epochs: one row per run and epoch: run_id, epoch (from 0), val_accuracy, val_loss, others.
    """
    found = {}
    if len(epochs):
        found["curves"] = curves(comparison, epochs)
    if comparison.pairs["n"].any():
        found["differences"] = differences(comparison)
    if np.isfinite(comparison.times["epochs"]).any():
        found["time_to_target"] = time_to_target(comparison)
    return found


# Matplotlib looks the style up when it draws, so each function that does holds it itself.
@mpl.rc_context(_STYLE)
def curves(comparison: Comparison, epochs: pd.DataFrame) -> Figure:
    """Draw the metric on the validation images, and their loss, by epoch.

    Each seed thin, the mean bold, a band of ± 1 s.d. Of more than 200 runs of an arm, an even choice is drawn
    thin. Where runs of an arm end at different epochs, the mean is of those that got so far. Of a metric that
    has no validation images, such as seconds, or is the loss itself, the accuracy is drawn.
    """
    figure = new_figure(WIDTH, 3.2)
    panels = figure.subplots(1, 2)
    data = epochs.merge(comparison.runs[["run_id", "arm"]], on="run_id")
    twin = f"val_{names.base(comparison.metric.name)}"
    first = twin if twin in epochs and twin != names.VAL_LOSS else names.VAL_ACCURACY
    for axes, name in zip(panels, (first, names.VAL_LOSS), strict=True):
        metric = names.metric(name)
        for arm, color, line in _styles(comparison):
            own = data[data["arm"] == arm].pivot(index="epoch", columns="run_id", values=name)
            own = own.dropna(how="all") * metric.factor
            if own.empty:
                continue
            x = own.index.to_numpy(float) + 1
            values = own.to_numpy(float).T[:: -(-own.shape[1] // THIN_SHOWN)]
            thin = list(np.stack([np.broadcast_to(x, values.shape), values], axis=2))
            alpha = max(0.02, min(0.35, 3 / len(thin)))
            # Pixels even in an SVG: of thousands of runs it would be hundreds of megabytes.
            axes.add_collection(LineCollection(thin, colors=color, lw=0.7, alpha=alpha, rasterized=True))
            mean, sd = own.mean(axis=1), own.std(axis=1)
            axes.fill_between(x, mean - sd, mean + sd, color=color, alpha=0.2, lw=0)
            axes.plot(x, mean, line, color=color, label=f"{arm} (n = {own.shape[1]})")
        axes.set_xlabel("epoch")
        axes.set_ylabel(metric.axis)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _add_legend(figure, panels)
    _say_what_is_missing(figure, ARMS_SHOWN, len(comparison.arms), "arms")
    return figure


@mpl.rc_context(_STYLE)
def differences(comparison: Comparison) -> Figure:
    """Draw, for two arms each, every seed's difference, their mean and its 95 % interval."""
    found, metric = comparison.pairs[comparison.pairs["n"] > 0], comparison.metric
    pairs = found.head(PAIRS_SHOWN).iloc[::-1]
    texts = [(difference_of(pair), verdict_of(pair)) for _, pair in pairs.iterrows()]
    labels = ["\n".join(fill(text, 34) for text in both) for both in texts]
    values = comparison.runs.pivot(index="seed", columns="arm", values="value")
    height = max(0.45, 0.16 * (1 + max(label.count("\n") for label in labels)))  # inches, of a pair
    figure = new_figure(WIDTH, 1.4 + height * len(pairs))
    axes = figure.subplots()
    axes.axvline(0, color="black", lw=0.8)
    for y, (_, pair) in enumerate(pairs.iterrows()):
        own = (values[pair["second"]] - values[pair["first"]]).dropna() * metric.factor
        axes.plot(own, np.full(len(own), y + 0.18), "o", color="#0072B2", alpha=0.5, ms=4, mew=0)
        axes.plot(pair["difference"] * metric.factor, y, "D", color="black", ms=5)
        if pair["n"] > 1:
            axes.plot([pair["low"] * metric.factor, pair["high"] * metric.factor], [y, y], color="black")
    axes.set_yticks(range(len(pairs)), labels)
    axes.set_ylim(-0.6, len(pairs) - 0.3)
    unit = f"percentage{metric.points}" if metric.points else metric.unit
    legend = "circles: seeds; diamond and line: their mean and its 95 % interval"
    axes.set_xlabel(f"{', '.join(filter(None, [f'difference in {metric.name}', unit]))}\n{legend}")
    _say_what_is_missing(figure, PAIRS_SHOWN, len(found), "pairs of arms")
    return figure


@mpl.rc_context(_STYLE)
def time_to_target(comparison: Comparison) -> Figure:
    """Draw the share of runs that had reached each target, by epochs and by seconds of training."""
    levels = sorted(comparison.times["target"].unique())
    figure = new_figure(WIDTH, 4.2)
    grid = figure.subplots(2, len(levels), sharey=True, squeeze=False)
    for row, unit in zip(grid, ("epochs", "seconds"), strict=True):
        finite = comparison.times[unit].replace(np.inf, np.nan)
        longest = (finite.max() if finite.notna().any() else 1) * 1.05
        for axes, target in zip(row, levels, strict=True):
            at = comparison.times[comparison.times["target"] == target]
            for arm, color, line in _styles(comparison):
                times = np.sort(at.loc[at["arm"] == arm, unit].to_numpy(float))
                if len(times) and not np.isnan(times).any():
                    reached = times[np.isfinite(times)]
                    share = np.arange(len(reached) + 1) / len(times)
                    # Who never gets there counts in the share, so the step ends below 1.
                    x, y = np.r_[0, reached, longest], np.r_[share, share[-1]]
                    axes.step(x, y, line, where="post", color=color, label=arm)
            axes.set_ylim(-0.03, 1.03)
            axes.set_xlim(0, longest)
            axes.set_xlabel(unit)
        row[0].set_ylabel("share of runs")
        row[0].yaxis.set_major_formatter(PercentFormatter(1))
    for axes, target in zip(grid[0], levels, strict=True):
        axes.set_title(fill(f"{level(target)} validation accuracy", max(8, 75 // len(levels))), fontsize=9)
    _add_legend(figure, list(grid.flat))
    _say_what_is_missing(figure, ARMS_SHOWN, len(comparison.arms), "arms")
    return figure


def _styles(comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    """Return arm, colour and kind of line: colours as MLflow's UI has them, where they tell arms apart."""
    arms, column = list(comparison.arms.index), f"tags.{names.COLOR}"
    colors = dict(zip(arms, cycle(COLORS), strict=False))
    if column in comparison.runs:
        stored = comparison.runs.drop_duplicates(["arm", column]).set_index("arm")[column]
        told = stored.index.is_unique and len(set(filter(is_color_like, stored))) == len(arms)
        colors = stored.to_dict() if told else colors
    for arm, line in zip(arms[:ARMS_SHOWN], cycle(LINES), strict=False):
        yield arm, colors[arm], line


def _add_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Put one legend above the panels, in as many columns as its longest label leaves room for."""
    found = [panel.get_legend_handles_labels() for panel in panels]
    handles = {
        fill(text, 80): line for lines, texts in found for line, text in zip(lines, texts, strict=True)
    }
    lines = [text.split("\n") for text in handles]
    longest = max((len(line) for text in lines for line in text), default=0)
    columns = int(np.clip(WIDTH / (LETTER * longest + 0.5), 1, 4))
    figure.set_figheight(figure.get_figheight() + 0.2 * (sum(map(len, lines)) // columns - 1))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns)


def _say_what_is_missing(figure: Figure, shown: int, there: int, what: str) -> None:
    if there > shown:
        figure.supxlabel(f"the first {shown} of {there} {what}; the tables have all of them", fontsize=8)
