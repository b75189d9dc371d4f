"""The benchmark in one picture: whose epoch, how many jobs, which batch size, how many runs in the store."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from handwriting.analysis.figures import STYLE, save
from handwriting.palette import COLORS


@mpl.rc_context(STYLE)
def draw(found: pd.DataFrame, path: Path) -> None:
    """Draw the rows that there are, with the range of each, and save them as PNG and SVG."""
    timed = found["unit"] == "s"
    panels: dict[str, tuple[pd.Series, Callable[[Axes, pd.DataFrame], None]]] = {
        "Seconds of an epoch": (found["part"].str.match("epoch.*batch 32") & timed, _bars),
        "Images per second, all jobs": (found["part"].str.startswith("jobs at once"), _bars),
        "Seconds of an epoch by batch size": (found["part"].str.endswith("by batch size") & timed, _bars),
        "Seconds by runs in the store": (found["part"].str.endswith("runs in the store"), _by_runs),
    }
    panels = {title: panel for title, panel in panels.items() if panel[0].any()}
    if not panels:
        return
    figure = Figure(figsize=(8.6, 2.6 * len(panels)), layout="constrained")
    for axes, (title, (which, how)) in zip(
        figure.subplots(len(panels), squeeze=False).flat, panels.items(), strict=True
    ):
        axes.set_title(f"{title}: median and range")
        how(axes, found[which])
    save(figure, path)


def _bars(axes: Axes, own: pd.DataFrame) -> None:
    own = own[~own["what"].str.contains("projected|matmul")]
    for number, (part, rows) in enumerate(own.groupby("part", sort=False)):
        places = [place + 0.4 * number for place in range(len(rows))]
        error = [rows["median"] - rows["least"], rows["most"] - rows["median"]]
        label = part.rpartition(", ")[2] if own["part"].nunique() > 1 else None
        axes.bar(places, rows["median"], 0.38, yerr=error, color=COLORS[number], label=label, capsize=3)
    axes.set_xticks([place + 0.2 * number for place in range(len(rows))], rows["what"])
    if own["part"].nunique() > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _by_runs(axes: Axes, own: pd.DataFrame) -> None:
    own = own.assign(runs=own["part"].str.partition(" ")[0].astype(int))
    for number, (what, rows) in enumerate(own.groupby("what", sort=False)):
        error = [rows["median"] - rows["least"], rows["most"] - rows["median"]]
        axes.errorbar(
            rows["runs"],
            rows["median"],
            error,
            marker="os"[number],
            color=COLORS[number],
            label=what,
            capsize=3,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("runs in the store")
    axes.legend()
