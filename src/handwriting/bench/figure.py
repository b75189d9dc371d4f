"""The benchmark in one picture: whose epoch, how many jobs, which batch size, how many runs in the store."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from handwriting.drawing import COLORS, STYLE, new_figure, save


@mpl.rc_context(STYLE)
def draw(found: pd.DataFrame, path: Path) -> None:
    """Draw the rows that there are, with the range of each, and save them as PNG, SVG and PDF."""
    timed = found["unit"] == "s"
    candidates = (
        ("Seconds of an epoch", found["part"].str.match("epoch.*batch 32") & timed, _bars),
        ("Images per second, all jobs", found["part"].str.startswith("jobs at once"), _bars),
        ("Seconds of an epoch by batch size", found["part"].str.endswith("by batch size") & timed, _bars),
        ("Seconds by runs in the store", found["part"].str.endswith("runs in the store"), _by_runs),
    )
    panels = [(title, found[which], plot) for title, which, plot in candidates if which.any()]
    if not panels:
        return
    figure = new_figure(8.6, 2.6 * len(panels))
    grid = figure.subplots(len(panels), squeeze=False)
    for axes, (title, shown, plot) in zip(grid.flat, panels, strict=True):
        axes.set_title(f"{title}: median and range")
        plot(axes, shown)
    save(figure, path)


def _bars(axes: Axes, shown: pd.DataFrame) -> None:
    shown = shown[~shown["what"].str.contains("projected|matmul")]
    several = shown["part"].nunique() > 1
    for number, (part, rows) in enumerate(shown.groupby("part", sort=False)):
        places = [place + 0.4 * number for place in range(len(rows))]
        label, color = part.rpartition(", ")[2] if several else None, COLORS[number]
        axes.bar(places, rows["median"], 0.38, yerr=_range(rows), color=color, label=label, capsize=3)
    axes.set_xticks([place + 0.2 * number for place in range(len(rows))], rows["what"])
    if several:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _by_runs(axes: Axes, shown: pd.DataFrame) -> None:
    for (what, rows), marker, color in zip(shown.groupby("what", sort=False), "os", COLORS, strict=False):
        runs = rows["part"].str.partition(" ")[0].astype(int)
        axes.errorbar(runs, rows["median"], _range(rows), marker=marker, color=color, label=what, capsize=3)
    axes.set(xscale="log", yscale="log", xlabel="runs in the store")
    axes.legend()


def _range(rows: pd.DataFrame) -> list[pd.Series]:
    """Return how far the range goes below and above the median, as Matplotlib wants it."""
    return [rows["median"] - rows["minimum"], rows["maximum"] - rows["median"]]
