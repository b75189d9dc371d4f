"""What every room draws with: pictures of images of any kind, and how a figure is saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from handwriting.drawing import mistakes, save, some_images

TEN = [str(number) for number in range(10)]
MANY = [f"a class with a long name, {number}" for number in range(47)]


def texts(axes: Axes) -> dict[tuple[int, int], str]:
    """Return what stands in a confusion matrix, by (taken for, class)."""
    return {(round(x), round(y)): text.get_text() for text in axes.texts for x, y in [text.get_position()]}


def drawn(figure: Figure, folder: Path) -> bytes:
    return save(figure, folder / "figure")


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
    figure = some_images(images, ["a caption"] * len(images))
    return np.asarray(figure.axes[0].images[0].get_array())


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
        save(some_images(np.ones((12, 8, 8), np.float32), [*TEN, "a", "b"]), tmp_path / name)
    for ending in (".png", ".svg"):
        first, second = (tmp_path / name for name in ("one", "two"))
        assert first.with_suffix(ending).read_bytes() == second.with_suffix(ending).read_bytes()
