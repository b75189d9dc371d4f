"""The three kinds of source: .npz files that are whole, folders of pictures, scikit-learn's digits."""

import os
import socket
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from made_archives import GOOD, Claim, at_once, cheap_refusal, header, npy, write_archive
from PIL import Image

from handwriting import data
from handwriting.config import DataConfig
from handwriting.data import dataset_digest, load_dataset
from handwriting.data.sources import open_arrays
from handwriting.errors import UserError

MNIST = Path(data.__file__).with_name("mnist.npz")


def read_arrays(path: str) -> dict[str, np.ndarray]:
    return {key: stored.read() for key, stored in open_arrays(path).items()}


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


TERA = 10**12


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x_train": header("u1", (TERA, 28, 28)) + bytes(784)},
         "x_train.npy has 912 bytes, where its header states 784000000000128"),
        ({"x_train": header("u1", (-40, 28, 28)) + bytes(40 * 784)},
         "x_train.npy has 31488 bytes, where its header states -31232"),
        ({"y_test": npy(np.arange(10)) + b"more"}, "y_test.npy has 212 bytes, where its header states 208"),
        ({"y_test": npy(np.arange(10))[:-1]}, "y_test.npy has 207 bytes, where its header states 208"),
        ({"x_train": Claim(npy(GOOD["x_train"]), 20_000)},
         "x_train.npy has 20000 bytes, where its header states 31488"),
        ({"x_train": Claim(npy(GOOD["x_train"]), 784)}, "Bad CRC-32 for file 'x_train.npy'"),
        ({"x_train": Claim(header("u1", (40, 28, 28)), 128 + 40 * 784)}, "EOF"),
        ({"x_test": npy(np.array([None] * 10))}, "x_test.npy holds Python objects"),
        ({"x_test": b"no array"}, "the magic string is not correct"),
        ({"x_test": b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"-" * 9000}, "("),
        ({"x_test": b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"[" * 9000}, "EOF: reading array h"),
        ({"x_test": b"\x93NUMPY\x01\x00" + struct.pack("<H", 1001) + b"[" * 1001},
         "Header info length (1001) is large"),
        ({"x_test": b"\x93NUMPY\x01\x00" + struct.pack("<H", 1000) + b"[" * 1000},
         "EOF in multi-line statement"),
    ],
)  # fmt: skip
def test_a_header_that_its_member_does_not_bear_out_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "false.npz"
    write_archive(path, **changes)
    message = cheap_refusal(path)
    assert message.startswith(f"{path}: not a whole .npz file with x_train, y_train, x_test, y_test (")
    assert reason in message


def test_a_method_that_unpacks_gigabytes_at_once_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bzip2.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for key, array in GOOD.items():
            archive.writestr(f"{key}.npy", npy(array))
    assert cheap_refusal(path) == (
        f"{path}: x_train.npy must be packed as numpy.savez or numpy.savez_compressed packs it"
    )


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.npz"
    write_archive(path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "(File 'y_test.npy' is encrypted, password required for extraction)" in cheap_refusal(path)


def test_an_archive_of_pictures_is_refused_with_its_first_names(tmp_path: Path) -> None:
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(12):
            archive.writestr(f"{number:02}.png", b"")
    names = ", ".join(f"{number:02}.png" for number in range(10))
    assert cheap_refusal(path).endswith(f"Received: {names} and 2 more")


def test_a_list_of_names_of_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "names.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(200):
            archive.writestr(f"{number:060000}", b"")
    assert cheap_refusal(path) == (
        f"{path}: an .npz file holds a few arrays. This has a list of 12,009,200 bytes"
    )


# What is no file


def place(path: Path, kind: str) -> None:
    """Put something there that is no file, or a link to it."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name(".pipe"))
        path.symlink_to(".pipe")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(os.path.relpath(path))  # at most 108 bytes


NO_FILES = ["pipe", "link to a pipe", "device", "socket"]


@pytest.mark.parametrize("kind", NO_FILES)
def test_a_source_that_is_no_file_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    place(tmp_path / "data.npz", kind)
    assert cheap_refusal(tmp_path / "data.npz") == (
        "data.path must name an .npz file, a folder of pictures or sklearn:digits; "
        f"{tmp_path}/data.npz is a pipe, a socket or a device"
    )


@pytest.mark.parametrize("kind", NO_FILES)
def test_a_picture_that_is_no_file_is_not_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(folder)
    path = folder / "train" / "cat" / "0.jpg"
    place(path, kind)
    assert cheap_refusal(folder) == (
        f"{path}: cat/ must hold PNG, JPEG or BMP pictures and nothing else. Take it out"
    )


@pytest.mark.parametrize("kind", NO_FILES)
def test_a_class_or_a_part_that_is_no_folder_is_not_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(folder)
    place(folder / "train" / "cow", kind)
    assert cheap_refusal(folder) == (
        f"{folder}/train/cow: train/ must hold a folder for each class and nothing else. Take it out"
    )
    (folder / "train").rename(folder / "elsewhere")
    place(folder / "train", kind)
    assert cheap_refusal(folder).startswith(f"{folder}/train: there is no such folder. ")


def test_links_in_circles_beside_the_pictures_are_not_followed(folder: Path) -> None:
    (folder / "more").mkdir()
    for name in ("one", "two"):
        (folder / "more" / name).symlink_to(folder)
    with at_once():
        assert dataset_digest(DataConfig(path=str(folder), validation_size=4))


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


# Pictures that are too large


def save_header(path: Path, width: int, height: int) -> None:
    """Write the beginning of a picture in colour, which says its size; nothing can be read of the rest."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("width", [9_500, 14_000])  # beyond which Pillow warns, and beyond which it refuses
def test_a_picture_beyond_pillows_limit_is_refused(folder: Path, width: int) -> None:
    path = folder / "train" / "cat" / "0.png"
    save_header(path, width, width)
    assert cheap_refusal(folder, validation_size=4).startswith(
        f"{path}: too large a picture (Image size ({width**2} pixels) exceeds limit of "
    )


def test_a_picture_of_another_size_is_refused_before_it_is_unpacked(folder: Path) -> None:
    path = folder / "train" / "dog" / "3.png"
    save_header(path, 9_000, 9_000)
    assert cheap_refusal(folder, validation_size=4) == (
        f"{path}: all pictures must be of one size, all grey or all in colour. Received: 9000 x 9000 pixels "
        f"in colour, where {folder}/train/cat/0.png has 8 x 6 pixels in grey"
    )


def test_more_pictures_than_fit_into_the_free_memory_are_refused(folder: Path) -> None:
    first = folder / "train" / "cat" / "0.png"
    save_header(first, 9_000, 9_000)
    for number in range(psutil.virtual_memory().total // (3 * 9_000**2) + 1):
        (folder / "train" / "cat" / f"link{number}.png").symlink_to(first)
    message = cheap_refusal(folder, validation_size=4)
    assert message.startswith(f"{folder}: takes ")
    assert message.endswith(" GB are free. Use fewer or smaller images")


# scikit-learn's digits


def test_digits8x8_are_the_same_on_every_machine() -> None:
    dataset = load_dataset(DataConfig(path="sklearn:digits", validation_size=200), seed=0)
    assert dataset.sha256 == "2aed4c9646657078745e69162901a19056a6d0732e5c879734fddad6beb8de41"
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (1237, 200, 360)
    assert (dataset.image_shape, dataset.classes) == ((8, 8, 1), tuple("0123456789"))
    assert (dataset.train.x.min(), dataset.train.x.max()) == (0, 1)
    assert np.bincount(dataset.test.y).min() >= 34
