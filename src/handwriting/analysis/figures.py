"""The comparison in pictures, for a paper: told apart by the colour-blind and in grey, axes with units."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from handwriting.palette import color_of

if TYPE_CHECKING:  # SciPy, which a training run does not need for its picture
    from handwriting.analysis.compare import Comparison

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "savefig.dpi": 160,
    "svg.hashsalt": "handwriting",  # the same figure is the same file
}
LINES = ("-", "--", ":", "-.")
MISTAKES = "mistakes.png"  # of each run, drawn when it ends
ARMS_SHOWN, PAIRS_SHOWN, WRONG_SHOWN, THIN_SHOWN = 12, 15, 60, 200
UNITS = {"accuracy": " (%)", "loss": " (cross-entropy, nats)"}


def figures(comparison: "Comparison", epochs: pd.DataFrame) -> dict[str, Figure]:
    """Return the figures that the comparison has something to show in, by name.

    Args:
        comparison: what the runs say.
        epochs: one row per run and epoch: run_id, epoch (from 0), val_accuracy, val_loss.
    """
    found = {}
    if len(epochs):
        found["curves"] = curves(comparison, epochs)
    if comparison.pairs["n"].any():
        found["differences"] = differences(comparison)
    if np.isfinite(comparison.times["epochs"]).any():
        found["time_to_target"] = time_to_target(comparison)
    return found


# Each function that draws or writes holds the style itself: Matplotlib looks it up when it does so.
@mpl.rc_context(STYLE)
def curves(comparison: "Comparison", epochs: pd.DataFrame) -> Figure:
    """Draw validation accuracy and loss by epoch: each seed thin, the mean bold, a band of ± 1 s.d.

    Of more than 200 runs of an arm, an even choice is drawn thin. Where runs of an arm end at different
    epochs, the mean is of those that got so far.
    """
    figure = _figure(7.2, 3.2)
    panels = figure.subplots(1, 2)
    data = epochs.merge(comparison.runs[["run_id", "arm"]], on="run_id")
    for axes, metric in zip(panels, ("val_accuracy", "val_loss"), strict=True):
        scale = 100 if metric.endswith("accuracy") else 1
        for arm, color, line in _styles(comparison):
            own = data[data["arm"] == arm].pivot(index="epoch", columns="run_id", values=metric) * scale
            own = own.dropna(how="all")
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
        axes.set_ylabel(_titled(metric))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    _say_what_is_missing(figure, ARMS_SHOWN, len(comparison.arms), "arms")
    return figure


@mpl.rc_context(STYLE)
def differences(comparison: "Comparison") -> Figure:
    """Draw, for two arms each, every seed's difference, their mean and its 95 % interval."""
    found = comparison.pairs[comparison.pairs["n"] > 0]
    pairs = found.head(PAIRS_SHOWN).iloc[::-1]
    values = comparison.runs.pivot(index="seed", columns="arm", values="value")
    accuracy = comparison.metric.endswith("accuracy")
    scale = 100 if accuracy else 1
    figure = _figure(7.2, 1.4 + 0.45 * len(pairs))
    axes = figure.subplots()
    axes.axvline(0, color="black", lw=0.8)
    for y, (_, pair) in enumerate(pairs.iterrows()):
        own = (values[pair["second"]] - values[pair["first"]]).dropna() * scale
        axes.plot(own, np.full(len(own), y + 0.18), "o", color="#0072B2", alpha=0.5, ms=4, mew=0)
        axes.plot(pair["difference"] * scale, y, "D", color="black", ms=5)
        if pair["n"] > 1:
            axes.plot([pair["low"] * scale, pair["high"] * scale], [y, y], color="black")
    axes.set_yticks(
        range(len(pairs)),
        [
            f"{b} less {a}\n{f'{better} is better' if better else verdict}"
            for a, b, better, verdict in pairs[["first", "second", "better", "verdict"]].to_numpy()
        ],
    )
    axes.set_ylim(-0.6, len(pairs) - 0.3)
    unit = "percentage points" if accuracy else comparison.metric
    legend = "circles: seeds; diamond and line: their mean and its 95 % interval"
    axes.set_xlabel(f"difference in {comparison.metric}, {unit}\n{legend}")
    _say_what_is_missing(figure, PAIRS_SHOWN, len(found), "pairs of arms")
    return figure


@mpl.rc_context(STYLE)
def time_to_target(comparison: "Comparison") -> Figure:
    """Draw the share of runs that had reached each target, by epochs and by seconds of training."""
    levels = sorted(comparison.times["target"].unique())
    figure = _figure(7.2, 4.2)
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
        axes.set_title(f"{target:.1%} validation accuracy", fontsize=9)
    handles = {
        label: handle
        for axes in grid.flat
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    _say_what_is_missing(figure, ARMS_SHOWN, len(comparison.arms), "arms")
    return figure


def mistakes(images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, title: str) -> Figure:
    """Draw a run's confusion matrix and the digits that it got wrong, each with what it took it for.

    Args:
        images: uint8, shape (n, 28, 28).
        labels: what they are, 0 to 9, shape (n,).
        predicted: what the model took them for.
        title: the run's name.
    """
    matrix = np.bincount(10 * labels + predicted, minlength=100).reshape(10, 10)
    wrong = np.flatnonzero(labels != predicted)
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = _figure(8.6, 4.2)
        left, right = figure.subplots(1, 2)
        _confusion(left, matrix)
        shown = wrong[:WRONG_SHOWN]
        captions = [f"{labels[index]}→{predicted[index]}" for index in shown]
        _mosaic(right, images[shown], captions, rows=WRONG_SHOWN // 10)
        right.set_title(f"digit → taken for; {len(shown)} of {len(wrong)} shown", fontsize=8)
        figure.suptitle(f"{title}: {len(wrong)} of {len(labels)} wrong")
    return figure


@mpl.rc_context(STYLE)
def save(figure: Figure, path: Path) -> bytes:
    """Write a figure as PNG and SVG beside each other, at `path` with these endings; return the PNG."""
    figure.savefig(path.with_suffix(".png"))
    figure.set_layout_engine("none")  # it is laid out by now
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return path.with_suffix(".png").read_bytes()


def _confusion(axes: Axes, matrix: np.ndarray) -> None:
    off = matrix - np.diag(np.diag(matrix))  # else the right ones would hide the wrong ones
    axes.imshow(off, cmap="Oranges", vmin=0, vmax=max(1, off.max()))
    for (row, place), number in np.ndenumerate(matrix):
        if number:
            dark = row != place and number > off.max() / 2
            axes.text(place, row, number, ha="center", va="center", fontsize=7, color="w" if dark else "k")
    axes.set(xlabel="taken for", ylabel="digit", xticks=range(10), yticks=range(10))


def some_digits(images: np.ndarray, labels: np.ndarray) -> Figure:
    """Draw digits in rows of ten, each with what it is; `images` uint8 of shape (n, 28, 28)."""
    figure = _figure(7.2, 0.9 * -(-len(images) // 10))
    _mosaic(figure.subplots(), images, [str(label) for label in labels], rows=-(-len(images) // 10))
    return figure


def _mosaic(axes: Axes, images: np.ndarray, captions: Sequence[str], rows: int) -> None:
    height, width = images.shape[1] + 10, images.shape[2] + 4
    mosaic = np.full((rows * height, 10 * width), 255, np.uint8)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        top, side = index // 10 * height, index % 10 * width
        mosaic[top + 10 : top + height, side : side + width - 4] = 255 - image
        axes.text(side + width / 2 - 2, top + 5, caption, ha="center", va="center", fontsize=6)
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()


def _styles(comparison: "Comparison") -> Iterator[tuple[str, str, str]]:
    arms: Sequence[str] = list(comparison.arms.index)[:ARMS_SHOWN]
    for number, (arm, line) in enumerate(zip(arms, cycle(LINES), strict=False)):
        yield arm, color_of(arm, number), line


def _say_what_is_missing(figure: Figure, shown: int, there: int, what: str) -> None:
    if there > shown:
        figure.supxlabel(f"the first {shown} of {there} {what}; the tables have all of them", fontsize=8)


def _titled(metric: str) -> str:
    kind = metric.rpartition("_")[2]
    return metric.replace("val_", "validation ").replace("_", " ") + UNITS.get(kind, "")


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")
