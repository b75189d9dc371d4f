"""The three kinds of source: .npz files that are whole, folders of pictures, scikit-learn's digits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handwriting import data
from handwriting.config import DataConfig
from handwriting.data import dataset_digest, load_dataset
from handwriting.data.sources import read_arrays
from handwriting.errors import UserError

MNIST = Path(data.__file__).with_name("mnist.npz")


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_arrays(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# .npz files


@pytest.mark.parametrize("kept", [0, 1, 100, 1_000_000, 11_490_000])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "part.npz"
    path.write_bytes(MNIST.read_bytes()[:kept])
    message = refusal(path)
    assert message.startswith(f"{path}: not a whole .npz file with x_train, ")
    assert message.endswith(" Copy it again")


@pytest.mark.parametrize("where", [5_000, 5_000_000])
def test_a_damaged_file_is_refused(tmp_path: Path, where: int) -> None:
    path = tmp_path / "damaged.npz"
    content = bytearray(MNIST.read_bytes())
    content[where] ^= 0xFF
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: not a whole .npz file")


def test_what_is_no_npz_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not a zip")
    np.save(tmp_path / "one_array.npy", np.zeros((3, 28, 28), np.uint8))
    for path in (tmp_path / "text.npz", tmp_path / "one_array.npy"):
        assert refusal(path).startswith(f"{path}: not a whole .npz file")


@pytest.mark.parametrize("path", ["/nowhere.npz", "sklearn:iris"])
def test_a_source_that_is_not_there_is_refused(path: str) -> None:
    assert refusal(Path(path)) == (
        f"data.path must name an .npz file, a folder of pictures or sklearn:digits; there is none at {path}"
    )


# Folders


def save(
    path: Path, value: int = 0, shape: tuple[int, ...] = (6, 8), mode: str | None = None, **more: Any
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.full(shape, value, np.uint8))
    (picture if mode is None else picture.convert(mode)).save(path, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with 2 classes: 2 x 6 pictures to train on, with the values 0 to 11, and 2 x 3."""
    for label, name in enumerate(("cat", "dog")):
        for number in range(6):
            save(tmp_path / "train" / name / f"{number}.png", 6 * label + number)
        for number in range(3):
            save(tmp_path / "test" / name / f"{number}.png", 100 + label)
    return tmp_path


def test_a_folder_is_read_with_its_classes_in_order_of_name(folder: Path) -> None:
    (folder / "train" / "cat" / ".DS_Store").write_text("hidden")
    (folder / "train" / ".hidden").mkdir()
    arrays = read_arrays(str(folder))
    assert arrays["class_names"].tolist() == ["cat", "dog"]
    assert arrays["x_train"].shape == (12, 6, 8)
    assert arrays["x_train"].dtype == np.uint8
    values = arrays["x_train"][:, 0, 0]
    assert sorted(values) == list(range(12))
    np.testing.assert_array_equal(arrays["y_train"], values // 6)
    np.testing.assert_array_equal(arrays["y_test"], arrays["x_test"][:, 5, 7] - 100)


def test_the_order_of_a_folder_is_fixed_and_not_by_class(folder: Path) -> None:
    labels = read_arrays(str(folder))["y_train"]
    assert (np.diff(labels) != 0).sum() > 2
    np.testing.assert_array_equal(read_arrays(str(folder))["y_train"], labels)


def test_a_folder_is_a_data_set_and_read_anew_when_a_picture_changes(folder: Path) -> None:
    cfg = DataConfig(path=str(folder), validation_size=4)
    dataset = load_dataset(cfg, seed=0)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (8, 4, 6)
    assert (dataset.image_shape, dataset.classes) == ((6, 8, 1), ("cat", "dog"))
    save(folder / "test" / "dog" / "1.png", 99)
    assert dataset_digest(cfg) != dataset.sha256
    (folder / "test" / "dog" / "1.png").unlink()
    assert len(load_dataset(cfg, seed=0).test) == 5


def test_pictures_of_each_kind_are_read(folder: Path) -> None:
    save(folder / "train" / "cat" / "a.bmp", 77)
    save(folder / "train" / "cat" / "b.JPEG", 77)
    save(folder / "train" / "cat" / "c.png", 255, mode="1")
    values = sorted(read_arrays(str(folder))["x_train"][:, 0, 0])
    assert values[-3:] == [77, 77, 255]


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_pictures_in_colour_have_three_channels(tmp_path: Path, mode: str) -> None:
    for part in ("train", "test"):
        for name in ("a", "b"):
            save(tmp_path / part / name / "1.png", 51, (4, 5, 3), mode)
    arrays = read_arrays(str(tmp_path))
    assert arrays["x_train"].shape == (2, 4, 5, 3)
    assert (arrays["x_test"] == 51).all()


def test_a_class_may_be_missing_from_the_test_part(folder: Path) -> None:
    for path in (folder / "test" / "cat").iterdir():
        path.unlink()
    assert refusal(folder) == (
        f"{folder}/test/cat: must hold PNG, JPEG or BMP pictures. Received: an empty folder"
    )
    (folder / "test" / "cat").rmdir()
    assert set(read_arrays(str(folder))["y_test"]) == {1}


def test_the_first_picture_of_another_size_is_named(folder: Path) -> None:
    save(folder / "train" / "dog" / "3.png", 0, (7, 8))
    save(folder / "train" / "dog" / "5.png", 0, (9, 9))
    assert refusal(folder) == (
        f"{folder}/train/dog/3.png: all pictures must be of one size, all grey or all in colour. "
        f"Received: 8 x 7 pixels in grey, where {folder}/train/cat/0.png has 8 x 6 pixels in grey"
    )


def test_grey_and_colour_are_not_mixed(folder: Path) -> None:
    save(folder / "test" / "cat" / "1.png", 0, (6, 8, 3))
    assert refusal(folder) == (
        f"{folder}/test/cat/1.png: all pictures must be of one size, all grey or all in colour. "
        f"Received: 8 x 6 pixels in colour, where {folder}/train/cat/0.png has 8 x 6 pixels in grey"
    )


@pytest.mark.parametrize(
    ("mode", "more", "named"),
    [("RGBA", {}, "RGBA"), ("LA", {}, "LA"), ("I;16", {}, "I;16"),
     ("L", {"transparency": 0}, "L with transparency")],
)  # fmt: skip
def test_other_modes_are_refused_by_name(folder: Path, mode: str, more: dict[str, Any], named: str) -> None:
    save(folder / "train" / "cat" / "2.png", mode=mode, **more)
    assert refusal(folder) == (
        f"{folder}/train/cat/2.png: must be of mode L or 1 (grey), RGB or P (in colour). "
        f"Received: mode {named}"
    )


@pytest.mark.parametrize("kept", [0, 20, 45])
def test_an_unreadable_picture_is_named(folder: Path, kept: int) -> None:
    path = folder / "train" / "dog" / "4.png"
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(folder).startswith(f"{path}: not a whole PNG, JPEG or BMP picture (")


def test_a_picture_of_another_kind_than_its_name_says_is_refused(folder: Path) -> None:
    save(folder / "train" / "dog" / "4.png", format="GIF")
    assert "/train/dog/4.png: not a whole PNG, JPEG or BMP picture (" in refusal(folder)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("train/cat/notes.txt", "cat/ must hold PNG, JPEG or BMP pictures and nothing else. Take it out"),
        ("train/cat/more/", "cat/ must hold PNG, JPEG or BMP pictures and nothing else. Take it out"),
        ("train/labels.csv", "train/ must hold a folder for each class and nothing else. Take it out"),
        ("test/bird/", "test/ must hold classes of train/ only. Received: bird"),
        ("train/bird/", "must hold PNG, JPEG or BMP pictures. Received: an empty folder"),
    ],
)
def test_what_does_not_belong_there_is_named(folder: Path, wrong: str, message: str) -> None:
    path = folder / wrong
    if wrong.endswith("/"):
        path.mkdir()
    else:
        path.write_text("")
    assert refusal(folder) == f"{path}: {message}"


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_folder_without_one_of_its_parts_is_refused(folder: Path, part: str) -> None:
    (folder / part).rename(folder / "other")
    assert refusal(folder) == (
        f"{folder}/{part}: there is no such folder. data.path needs train/CLASS/ and test/CLASS/"
    )
    (folder / part).mkdir()
    assert refusal(folder) == f"{folder}/{part}: must hold a folder for each class. Received: an empty folder"


# scikit-learn's digits


def test_digits8x8_are_the_same_on_every_machine() -> None:
    dataset = load_dataset(DataConfig(path="sklearn:digits", validation_size=200), seed=0)
    assert dataset.sha256 == "2aed4c9646657078745e69162901a19056a6d0732e5c879734fddad6beb8de41"
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (1237, 200, 360)
    assert (dataset.image_shape, dataset.classes) == ((8, 8, 1), tuple("0123456789"))
    assert (dataset.train.x.min(), dataset.train.x.max()) == (0, 1)
    assert np.bincount(dataset.test.y).min() >= 34
