"""The page of a report: one HTML file that loads nothing from outside, for any screen and for paper."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from handwriting.compare.comparison import Comparison
from handwriting.compare.facts import LOCAL_UI, facts_of, seeds_of, settings_of
from handwriting.compare.tables import tables
from handwriting.compare.wording import method, sentence
from handwriting.tracking.labels import shortest

ROWS_SHOWN, ROWS_OPEN = 200, 50  # of a table; a longer one than the latter is folded, but for the first
INLINE_BYTES = 1_000_000  # of a table that the page itself carries, so that it can be sent around
DOWNLOADS = ("runs", "pairs")
HEADINGS = {
    "curves": "Curves: each seed thin, the mean bold, ± 1 standard deviation",
    "differences": "Paired differences",
    "time_to_target": "Time to target: the share of runs that had reached it",
    "ranking": "Arms, the best first: each seed, their mean and its 95 % interval",
    "over": "{metric} over {numbers}: each seed, their mean and its 95 % interval",
    "heat_map": "Mean {metric} by {numbers}",
    "settings_tried": "Tuning: every setting that was tried, over each key",
    "expected_best": "Tuning: the expected best of so many settings",
}


def page_of(
    comparison: Comparison,
    title: str,
    figures: Mapping[str, str],
    pictures: Mapping[str, bytes],
    folder: Path,
    made: str,
    ui: str,
) -> str:
    """Return the page: HTML that loads no address outside itself, with every name of a run escaped.

    Args:
        comparison: what the runs say.
        title: the report's name.
        figures: SVG by the figure's name, the one that answers the question first.
        pictures: PNG by heading.
        folder: where the tables are, and the other kinds of the figures.
        made: when, in words.
        ui: the address of MLflow's UI, to which each seed's number leads; "" for none.
    """
    environment = Environment(
        loader=PackageLoader("handwriting", "compare"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = {}
    for key, svg in figures.items():
        heading = heading_of(key, comparison)
        drawn[key] = {"heading": heading, "svg": _inline(svg, heading)}
    columns, seeds = seeds_of(comparison, ui)
    apart, shared = settings_of(comparison)
    return environment.get_template("page.html").render(
        title=title,
        keys=comparison.keys,
        sentence=sentence(comparison),
        caveats=comparison.caveats,
        figures=drawn,
        tables=tables(comparison),
        limit=ROWS_SHOWN,
        folded=ROWS_OPEN,
        facts=facts_of(comparison),
        apart=apart,
        shared=shared,
        metric=comparison.metric.title,
        columns=columns,
        seeds=seeds,
        ui=ui,
        local_ui=LOCAL_UI,
        pictures={heading: base64.b64encode(png).decode() for heading, png in pictures.items()},
        downloads={name: _address(folder / f"{name}.csv") for name in DOWNLOADS},
        files=sorted(path.name for path in folder.glob("*.csv") if path.stem not in DOWNLOADS),
        method=method(comparison),
        made=made,
    )


def heading_of(figure: str, comparison: Comparison) -> str:
    """Return what a figure shows, in words."""
    known = HEADINGS.get(figure, figure.replace("_", " ").capitalize())
    numbers = [shortest(key, comparison.numbers) for key in comparison.numbers]
    return known.format(metric=comparison.choice.metric.name, numbers=" and ".join(numbers))


def _inline(svg: str, title: str) -> str:
    """Return a figure's SVG as it stands within HTML; Matplotlib escapes the names in it."""
    opening, rest = svg.split(">", 1)
    return f'{opening} role="img"><title>{escape(title)}</title>{rest}'


def _address(table: Path) -> str:
    """Return a table's address for the page: its contents, or the file beside the page where it is large."""
    if table.stat().st_size > INLINE_BYTES:
        return table.name
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(table.read_bytes()).decode()}"
