"""What the figures of a comparison share: which arms are drawn and how, their labels, what is out of view."""

from collections.abc import Collection, Sequence
from itertools import cycle
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, is_color_like, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from handwriting.compare.caveats import few
from handwriting.compare.comparison import Comparison, ranked
from handwriting.compare.statistics import LEVEL
from handwriting.drawing import COLORS, GREY, LINES, STYLE
from handwriting.tracking import names

# Around each function that draws: Matplotlib looks the style up as it goes. An arm called "$5" is no formula.
drawing_style = mpl.rc_context(STYLE | {"text.parse_math": False})
WIDTH, LETTER, LINE = 7.2, 0.08, 0.15  # inches, of a figure, of one letter and of one line of text
ARMS_SHOWN, TOLD_APART = 40, 8  # so many are drawn at all, and so many each in a look of its own
# Points of seeds in a panel above which they are pixels, in an SVG too: of thousands of runs it would be
# megabytes. Below, pixels would take longer to make.
VECTORS_UP_TO = 4_000
FAR = 12  # times as far from the best as the median arm: there the worst arm leaves the picture
# From the smallest value to the largest: equally bright, so that both ends are seen on white and in the dark.
SEQUENCE = LinearSegmentedColormap.from_list("sequence", [COLORS[1], COLORS[3], COLORS[0]])


class Look(NamedTuple):
    """How an arm is drawn; where arms are many, only the best and the baseline are told apart."""

    color: str
    line: Any = "-"
    told: bool = True


def drawn(comparison: Comparison) -> list[str]:
    """Return the arms that are drawn, in the tables' order: of more than 40 the best and the baseline."""
    means, metric = comparison.arms[comparison.choice.metric.name], comparison.choice.metric
    order = means.sort_values(ascending=not metric.more_is_better, kind="stable")
    best = list(order.index[:ARMS_SHOWN])
    if comparison.baseline not in best:
        best[-1] = comparison.baseline
    return [arm for arm in ranked(comparison) if arm in best]


def looks(comparison: Comparison) -> dict[str, Look]:
    """Return how each arm that is drawn looks, in the sweep's order."""
    kept = set(drawn(comparison))
    arms = [arm for arm in comparison.arms.index if arm in kept]
    if len(comparison.arms) > TOLD_APART:
        special = {comparison.baseline: Look(COLORS[1], "--"), comparison.choice.best: Look(COLORS[0])}
        return {arm: special.get(arm, Look(GREY, told=False)) for arm in arms}
    if comparison.question == "number":
        return _by_value(comparison, arms)
    colors = dict(zip(arms, cycle(COLORS), strict=False)) | _stored_colors(comparison, arms)
    return {arm: Look(colors[arm], line) for arm, line in zip(arms, cycle(LINES), strict=False)}


def _by_value(comparison: Comparison, arms: Sequence[str]) -> dict[str, Look]:
    """Return looks by the swept number: a colour for each group, or of one group for each value."""
    values, (key,) = comparison.values.loc[list(arms)], comparison.numbers
    levels, groups = sorted(values[key].unique()), list(values["group"].unique())
    found = {}
    for arm, value, group in zip(arms, values[key], values["group"], strict=True):
        place = levels.index(value)
        color = to_hex(SEQUENCE(place / max(1, len(levels) - 1)))
        found[arm] = Look(group_color(groups.index(group)) if len(groups) > 1 else color, LINES[place])
    return found


def group_color(place: int) -> str:
    """Return the colour of a group of arms by its place in the sweep."""
    return COLORS[place % len(COLORS)]


def _stored_colors(comparison: Comparison, arms: Sequence[str]) -> dict[str, str]:
    """Return the colours that MLflow's UI shows the arms in; none where they do not tell all arms apart."""
    column = f"tags.{names.COLOR}"
    if column not in comparison.runs:
        return {}
    stored = comparison.runs.drop_duplicates(["arm", column]).set_index("arm")[column]
    told = stored.index.is_unique and len(set(filter(is_color_like, stored))) == len(arms)
    return stored.to_dict() if told else {}


def called(comparison: Comparison, arm: str, *more: str) -> str:
    """Return an arm's label; of more than two arms the best and the baseline are named as such."""
    kinds = {"best": comparison.choice.best, "baseline": comparison.baseline}
    several = len(comparison.arms) > 2
    marks = [*(kind for kind, which in kinds.items() if several and which == arm), *more]
    return f"{arm} ({', '.join(marks)})" if marks else arm


def shown_means(comparison: Comparison, metric: names.Metric) -> pd.DataFrame:
    """Return a metric as it is shown: of each arm n, mean, low and high of Student's 95 % interval, and far.

    The ends are NaN for fewer than two runs; far as in `far_off`.
    """
    from scipy import special

    n, mean, sd = (comparison.arms[name].astype(float) for name in ("n", metric.name, f"{metric.name}_sd"))
    half = special.stdtrit((n - 1).where(n > 1), 1 - LEVEL / 2) * sd / np.sqrt(n)
    table = pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half}) * metric.factor
    return table.assign(n=comparison.arms["n"], far=far_off(mean, sd, metric.more_is_better))


def points(comparison: Comparison, metric: names.Metric) -> pd.DataFrame:
    """Return a metric as it is shown, of every seed: one column per arm that has a run."""
    column = "value" if metric.name == comparison.metric.name else f"metrics.{metric.name}"
    return comparison.runs.pivot(index="seed", columns="arm", values=column).astype(float) * metric.factor


def panel_metrics(comparison: Comparison) -> dict[str, names.Metric]:
    """Return what is drawn side by side, by title: what to choose by and to judge by, or what is both."""
    chosen, judged = comparison.choice.metric, comparison.metric
    if chosen.name == judged.name:
        return {"": judged}
    return {"choose by this": chosen, "judge by this": judged}


def far_off(centers: pd.Series, spreads: pd.Series, more_is_better: bool | None) -> pd.Series:
    """Tell which arms would squeeze all others into a corner: far worse than the median arm is than the best.

    Args:
        centers: the arms' means.
        spreads: their standard deviations.
        more_is_better: None where nobody knows: then no arm is.
    """
    if more_is_better is None or centers.isna().all():
        return pd.Series(False, centers.index)
    behind = (centers.max() - centers) if more_is_better else (centers - centers.min())
    return behind > FAR * max(behind.median(), 0 if spreads.isna().all() else spreads.median())


def fit(axes: Axes, shown: np.ndarray, along: str) -> None:
    """Limit an axis, "x" or "y", to the values shown with a margin."""
    low, high = np.nanmin(shown), np.nanmax(shown)
    margin = 0.06 * (high - low) or 0.01 * abs(high) or 1.0
    axes.set(**{f"{along}lim": (low - margin, high + margin)})


def add_legend(figure: Figure, panels: Sequence[Axes]) -> None:
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


def say(figure: Figure, *sentences: str) -> None:
    """Put below a figure what its marks mean and what it does not show."""
    text = fill("; ".join(filter(None, sentences)), 95)
    if text:
        figure.supxlabel(text, fontsize=8)
        figure.set_figheight(figure.get_figheight() + LINE * (1 + text.count("\n")))


def left_out(comparison: Comparison) -> str:
    """Return what is said where not all arms are drawn."""
    there = len(comparison.arms)
    return f"the best {ARMS_SHOWN} of {there} arms; the tables have all of them" if there > ARMS_SHOWN else ""


def leaves_view(arms: Collection[str]) -> str:
    """Return what is said of arms so far from the others that they leave the view."""
    return f"out of view: {few(sorted(arms), 6, '; ')}" if arms else ""


def few_ticks(whole: bool = False) -> MaxNLocator:
    """Return what puts so few ticks on a narrow panel's axis that their numbers do not touch."""
    return MaxNLocator(5, integer=whole, steps=[1, 2, 2.5, 5, 10])
