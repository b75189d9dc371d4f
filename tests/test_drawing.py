"""What every room draws with: pictures of images of any kind, and how a figure is saved."""

import re
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from handwriting.drawing import COLORS, GREY, INK, STYLE, mistakes, new_figure, save

TEN = [str(number) for number in range(10)]
MANY = [f"a class with a long name, {number}" for number in range(47)]


def texts(axes: Axes) -> dict[tuple[int, int], str]:
    """Return what stands in a confusion matrix, by (taken for, class)."""
    return {(round(x), round(y)): text.get_text() for text in axes.texts for x, y in [text.get_position()]}


def drawn(figure: Figure, folder: Path) -> bytes:
    save(figure, folder / "figure")
    return (folder / "figure.png").read_bytes()


def plotted(label: str = "a line") -> Figure:
    """Return a figure with a clipped line, markers, text and a legend."""
    with mpl.rc_context(STYLE):
        figure = new_figure(3, 2)
        figure.subplots().plot([0, 1, 2], [0, 1, 0], "o-", label=label)
        figure.legend()
    return figure


def test_a_confusion_matrix_counts_and_names_what_was_taken_for_what() -> None:
    labels, predicted = np.array([4, 4, 9, 3, 3]), np.array([9, 9, 4, 3, 3])
    figure = mistakes(np.zeros((5, 28, 28), np.uint8), labels, predicted, TEN, "a run")
    matrix, pictures, *_ = figure.axes
    assert texts(matrix) == {(9, 4): "2", (4, 9): "1", (3, 3): "2"}
    assert [text.get_text() for text in pictures.texts] == ["4→9", "4→9", "9→4"]
    assert figure.get_suptitle() == "a run: 3 of 5 wrong"


def test_a_class_is_called_by_its_name() -> None:
    labels, predicted = np.array([0, 1, 2], np.int32), np.array([1, 1, 0])
    classes = ["cat", "$5 or $6", "a bird of paradise"]
    figure = mistakes(np.zeros((3, 8, 8), np.uint8), labels, predicted, classes, "a run")
    matrix, pictures, *_ = figure.axes
    names = [label.get_text() for label in matrix.get_yticklabels()]
    assert names == ["cat", "$5 or $6", "a bird of p…"]
    assert [label.get_text() for label in matrix.get_xticklabels()] == names
    assert [text.get_text() for text in pictures.texts] == ["cat\n→$5 or $6", "a bird of p…\n→cat"]


@pytest.mark.parametrize(
    ("shape", "kind", "classes"),
    [
        ((28, 28), np.uint8, TEN),
        ((8, 8, 1), np.float32, TEN),
        ((32, 32, 3), np.uint8, MANY),
        ((32, 32, 3), np.float32, ["no", "yes"]),
        ((9, 200, 2), np.uint8, MANY),
        ((300, 20, 4), np.float32, [*TEN, "a long name"]),
    ],
)
def test_images_of_any_kind_are_drawn(
    tmp_path: Path, shape: tuple[int, ...], kind: Any, classes: list[str]
) -> None:
    random = np.random.default_rng(0)
    x = random.random((100, *shape))
    images = (x * 255).astype(np.uint8) if kind is np.uint8 else x.astype(kind)
    labels, predicted = random.integers(0, len(classes), (2, 100))
    assert drawn(mistakes(images, labels, predicted, classes, "a run"), tmp_path).startswith(b"\x89PNG")


def test_numbers_stand_in_the_cells_only_where_they_can_be_read() -> None:
    labels = np.arange(47)
    many = mistakes(np.zeros((47, 8, 8), np.uint8), labels, (labels + 1) % 47, MANY, "a run")
    assert not many.axes[0].texts
    assert len(many.axes[0].get_yticklabels()) == 47
    labels = np.arange(1000)
    crowd = mistakes(
        np.zeros((1000, 8, 8), np.uint8), labels, labels, [str(label) for label in labels], "a run"
    )
    assert len(crowd.axes[0].get_yticklabels()) < 100


def test_a_run_without_mistakes_is_drawn_too(tmp_path: Path) -> None:
    figure = mistakes(np.zeros((10, 28, 28), np.uint8), np.arange(10), np.arange(10), TEN, "a run")
    assert figure.get_suptitle() == "a run: 0 of 10 wrong"
    assert drawn(figure, tmp_path)


def picture(images: np.ndarray) -> np.ndarray:
    n = len(images)
    figure = mistakes(images, np.zeros(n, int), np.ones(n, int), ["one class", "another"], "a run")
    return np.asarray(figure.axes[1].images[0].get_array())


def test_grey_on_black_is_drawn_as_ink_on_paper_and_all_else_as_it_is() -> None:
    stroke = np.zeros((1, 30, 30), np.uint8)
    stroke[:, 10:20, 10:20] = 200
    assert set(np.unique(picture(stroke))) == {55, 255}
    assert set(np.unique(picture(stroke + 10))) == {10, 210, 255}
    colour = np.zeros((1, 30, 30, 3), np.uint8)
    colour[..., 0] = 9
    assert {tuple(pixel) for pixel in picture(colour).reshape(-1, 3)} == {(9, 0, 0), (255, 255, 255)}


def test_images_from_0_to_1_are_drawn_as_those_from_0_to_255() -> None:
    images = np.arange(3 * 30 * 30, dtype=np.uint8).reshape(3, 30, 30)
    expected = picture(images)
    np.testing.assert_array_equal(picture((images / 255).astype(np.float32)), expected)
    np.testing.assert_array_equal(picture(images[..., None]), expected)


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        images, labels = np.ones((10, 8, 8), np.float32), np.arange(10)
        save(mistakes(images, labels, labels[::-1], TEN, "a run"), tmp_path / name)
    for ending in (".png", ".svg", ".pdf"):
        first, second = (tmp_path / name for name in ("one", "two"))
        assert first.with_suffix(ending).read_bytes() == second.with_suffix(ending).read_bytes()
    assert b"CreationDate" not in (tmp_path / "one.pdf").read_bytes()


def test_a_pdf_has_its_fonts_in_it_as_truetype(tmp_path: Path) -> None:
    save(plotted(), tmp_path / "figure")
    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf


def test_in_a_page_a_figure_has_no_ground_and_the_pages_own_ink(tmp_path: Path) -> None:
    inline = save(plotted(), tmp_path / "figure")
    on_paper = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert INK in on_paper
    assert "#ffffff" in on_paper, "on its own it has a ground of white"
    assert not re.search(f"(?i){INK}|#fff|#000|black|white", inline)
    assert inline.count("currentColor") > 10
    assert "<style" not in inline, "a rule would hold for the whole page"
    assert "<metadata" not in on_paper


def test_two_figures_of_one_page_share_no_id_and_each_finds_its_own(tmp_path: Path) -> None:
    first, second = (save(plotted(), tmp_path / name) for name in ("one", "two"))
    ids = [re.findall(r' id="([^"]+)"', svg) for svg in (first, second)]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    for svg, own in zip((first, second), ids, strict=True):
        named = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
        assert {"".join(name) for name in named} <= set(own)
        assert named


def test_a_name_is_text_and_no_markup_in_a_page(tmp_path: Path) -> None:
    name = f'<script> id="x" href="#x" {INK} & url(#y)'
    inline = save(plotted(name), tmp_path / "figure")
    assert "<script" not in inline
    assert f">{escape(name, quote=False)}<" in inline


def test_each_colour_is_seen_on_a_white_page_and_on_a_dark_one() -> None:
    for color in (*COLORS, GREY):
        for page in ("#ffffff", "#16181d"):
            low, high = sorted((brightness(color), brightness(page)))
            assert (high + 0.05) / (low + 0.05) > 3, (color, page)


def brightness(color: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = np.array(to_rgb(color))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
