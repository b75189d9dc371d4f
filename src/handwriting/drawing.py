"""What draws and belongs to no room: the style, how a figure is saved, and pictures of images."""

import io
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Contrast of 3 or more on white and on a dark page (WCAG 2.2, 1.4.11). Under the colour-blindness of Machado
# et al. 2009 any two are further apart than Okabe and Ito's nearest, whose orange and sky blue fade on white.
COLORS = ("#f05a05", "#3d73f0", "#00a36c", "#9c619e", "#9781fa", "#a94b19")
GREY = "#808080"
# Told apart in grey.
LINES: tuple[Any, ...] = (
    "-",
    "--",
    ":",
    "-.",
    (0, (6, 1, 1, 1, 1, 1)),
    (0, (8, 3)),
    (0, (1, 3)),
    (0, (3, 1)),
)
INK = "#1a1b1c"  # of text and axes; within a page, the page's own colour of text
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.facecolor": "none",
    "grid.color": GREY,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "savefig.dpi": 160,
    "text.hinting": "none",  # at 160 dpi nothing is seen of it, and text takes a third less time
    "svg.fonttype": "none",  # text is text: to be searched, read aloud, and half the size
    "svg.hashsalt": "handwriting",  # the same figure is the same file
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
# A class may be called "$5": its name is no formula.
PICTURES = STYLE | {"axes.grid": False, "text.parse_math": False}
NUMBERED, NAMED = 20, 80  # up to so many classes, cells hold numbers and each class is named on the axes
SHORT = 3  # letters of a name that leaves room for ten images in a row
logging.getLogger("fontTools").setLevel(logging.WARNING)  # of each PDF it tells which tables of a font it cut
_GROUND = "ground"  # the id of what lies behind a figure


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` by `height` inches, which lays itself out."""
    return Figure(figsize=(width, height), layout="constrained")


# Matplotlib looks the style up when it draws or writes, so each function that does holds it itself.
@mpl.rc_context(STYLE)
def save(figure: Figure, path: Path) -> str:
    """Write a figure as PNG, PDF and SVG beside each other, at `path` with these endings.

    Returns:
        The SVG as it stands within a page, see `for_page`.
    """
    figure.savefig(path.with_suffix(".png"))
    figure.set_layout_engine()  # none: it is laid out by now, and each further time costs a drawing of it
    figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    figure.patch.set_gid(_GROUND)
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = written.getvalue()
    path.with_suffix(".svg").write_text(svg, encoding="utf-8")
    return for_page(svg, path.stem)


def for_page(svg: str, name: str) -> str:
    """Return a figure's SVG for a page of HTML that holds several.

    It has no ground and its ink is the page's colour of text, so that it does in the dark too. Each id begins
    with the figure's name: two figures of Matplotlib's share most of theirs. The one rule of style that
    Matplotlib writes would hold for the whole page; it becomes two attributes.

    Args:
        svg: what `save` writes.
        name: of the figure, like no other on the page.
    """

    def tag_of_page(tag: re.Match[str]) -> str:
        return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag[0]).replace(INK, "currentColor")

    svg = svg[svg.index("<svg") :]
    svg = re.sub(rf'<g id="{_GROUND}">.*?</g>\s*', "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, count=1, flags=re.DOTALL)
    svg = svg.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)
    # Text has no "<" of its own, so a tag is all that begins with one.
    return re.sub("<[^>]*>", tag_of_page, svg)


@mpl.rc_context(PICTURES)
def mistakes(
    images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str], title: str
) -> Figure:
    """Draw a run's confusion matrix and the images that it got wrong, each with what it took it for.

    Args:
        images: uint8, or float from 0 to 1; shape (n, h, w) or (n, h, w, channels).
        labels: what they are, 0 to k-1, shape (n,).
        predicted: what the model took them for.
        classes: the k names.
        title: the run's name.
    """
    k, names = len(classes), [_short(name) for name in classes]
    matrix = np.bincount(k * labels.astype(int) + predicted, minlength=k * k).reshape(k, k)
    wrong = np.flatnonzero(labels != predicted)
    long = max(map(len, names)) > SHORT
    columns, rows, arrow = (6, 5, "\n→") if long else (10, 6, "→")
    shown = wrong[: columns * rows]
    side = float(np.clip(0.12 * k, 5.2 if long else 4.2, 8))  # inches
    figure = new_figure(2 * side + 0.2, side)
    left, right = figure.subplots(1, 2)
    _confusion(left, matrix, names, side)
    captions = [f"{names[labels[index]]}{arrow}{names[predicted[index]]}" for index in shown]
    _mosaic(right, images[shown], captions, columns, rows, 0.85 * side / columns)
    right.set_title(f"class → taken for; {len(shown)} of {len(wrong)} shown", fontsize=8)
    figure.suptitle(f"{title}: {len(wrong)} of {len(labels)} wrong")
    return figure


def _confusion(axes: Axes, matrix: np.ndarray, names: Sequence[str], side: float) -> None:
    """Draw what was taken for what into `axes`, which are `side` inches wide with their labels."""
    k = len(names)
    off = matrix - np.diag(np.diag(matrix))  # else the right ones would hide the wrong ones
    colors = axes.imshow(off, cmap="Oranges", vmin=0, vmax=max(1, off.max()))
    cell = 0.7 * side / k * 72  # points
    if k <= NUMBERED:
        for (row, place), number in np.ndenumerate(matrix):
            if number:
                color = "w" if row != place and number > off.max() / 2 else "k"
                size = min(7, 1.4 * cell / len(str(number)))
                axes.text(place, row, number, ha="center", va="center", fontsize=size, color=color)
    else:
        bar = axes.figure.colorbar(
            colors, ax=axes, location="bottom", shrink=0.5, aspect=40, ticks=MaxNLocator(5, integer=True)
        )
        bar.set_label("images taken for another class")
    ticks = range(0, k, -(-k // NAMED))
    labels, size = [names[tick] for tick in ticks], float(np.clip(cell, 4.5, 9))
    upright = k > NUMBERED or max(map(len, labels)) > SHORT
    axes.set_xticks(ticks, labels, fontsize=size, rotation=90 * upright)
    axes.set_yticks(ticks, labels, fontsize=size)
    axes.set(xlabel="taken for", ylabel="class")


def _mosaic(
    axes: Axes, images: np.ndarray, captions: Sequence[str], columns: int, rows: int, inches: float
) -> None:
    """Draw images in rows with a caption above each; a column is `inches` wide."""
    tiles = _tiles(images)
    gap, lines = max(1, tiles.shape[2] // 7), 1 + any("\n" in caption for caption in captions)
    above = round(tiles.shape[2] * (0.06 + 0.12 * lines) / inches)
    height, width = tiles.shape[1] + above, tiles.shape[2] + gap
    mosaic = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for index, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        top, side = index // columns * height, index % columns * width
        mosaic[top + above : top + height, side : side + width - gap] = tile
        middle, size = side + (width - gap) / 2, 6.5 - lines / 2
        axes.text(middle, top + above / 2, caption, ha="center", va="center", fontsize=size)
    axes.imshow(mosaic)
    axes.set_anchor("N")
    axes.set_axis_off()


def _tiles(images: np.ndarray) -> np.ndarray:
    """Return images as uint8 of shape (n, h, w, 3), of some 28 to 128 pixels a side."""
    step = -(-max(images.shape[1:3]) // 128)
    x = images[:, ::step, ::step]
    x = x if x.dtype == np.uint8 else np.round(255 * x).astype(np.uint8)
    if x.ndim == 3 or x.shape[3] != 3:
        grey = x if x.ndim == 3 else x.mean(axis=3).astype(np.uint8)
        edges = grey[:, :, [0, -1]]
        if 2 * np.count_nonzero(edges) < edges.size:  # on a black ground, as MNIST: as ink on paper
            grey = 255 - grey
        x = np.repeat(grey[..., None], 3, axis=3)
    times = max(1, 28 // max(x.shape[1:3]))
    return x.repeat(times, axis=1).repeat(times, axis=2)


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= 12 else name[:11] + "…"
