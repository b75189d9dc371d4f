"""MNIST to the byte, its splits, and any other images: what is taken, and what is refused and how."""

import hashlib
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from handwriting import data
from handwriting.config import ROOT, DataConfig
from handwriting.data import Dataset, Split, dataset_digest, load_dataset
from handwriting.data.dataset import digest_of
from handwriting.data.sources import KEYS, NAMES
from handwriting.errors import UserError

MNIST = Path(data.__file__).with_name("mnist.npz")
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
# Beginnings of the SHA-256 of images and labels, as the versions before this package split them.
SPLITS = ["cb9b5b7fc803b4fe", "68207bcff088ad77", "f98a6bb17126ef2f", "0b62bbce365e4d9d"]
SMALL: dict[str, Any] = {"limit_train": 500, "limit_test": 200, "validation_size": 100}


def config(path: Path = MNIST, validation_size: int = 5000, **more: Any) -> DataConfig:
    return DataConfig(path=str(path), validation_size=validation_size, **more)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(MNIST) as file:
        return {key: file[key] for key in KEYS}


@pytest.fixture(scope="module")
def everything() -> Dataset:
    return load_dataset(config(), seed=0)


@pytest.fixture(scope="module")
def small() -> Dataset:
    return load_dataset(config(**SMALL), seed=0)


# MNIST


@pytest.mark.parametrize("key", KEYS)
def test_the_data_is_mnist_to_the_byte(arrays: dict[str, np.ndarray], key: str) -> None:
    array = arrays[key]
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    stated = re.search(rf"{IDX_FILES[key]} \| ([0-9a-f]{{32}})", MNIST.with_name("MNIST.md").read_text())
    assert stated
    assert hashlib.md5(header + array.tobytes(), usedforsecurity=False).hexdigest() == stated[1]


def test_the_digest_of_mnist_is_what_runs_of_older_versions_have_in_their_tags(everything: Dataset) -> None:
    assert everything.sha256 == "de2616a62196a7a9783ab200c6f3bceaabdc8483acc344ba75c54d6356c368b1"
    assert dataset_digest(config()) == everything.sha256
    assert everything.image_shape == (28, 28, 1)
    assert everything.classes == tuple("0123456789")


def test_the_splits_of_mnist_are_those_of_older_versions(everything: Dataset, small: Dataset) -> None:
    def digest(split: Split) -> str:
        return hashlib.sha256(split.x.tobytes() + split.y.tobytes()).hexdigest()[:16]

    parts = [dataset.train for dataset in (everything, small)] + [small.validation, small.test]
    assert [digest(part) for part in parts] == SPLITS


def test_without_limits_every_image_is_used_once(
    arrays: dict[str, np.ndarray], everything: Dataset
) -> None:  # fmt: skip
    def examples(x: np.ndarray, y: np.ndarray) -> list[bytes]:
        return sorted(image.tobytes() + bytes([label]) for image, label in zip(x, y, strict=True))

    train, validation = everything.train, everything.validation
    assert (len(train), len(validation), len(everything.test)) == (55_000, 5_000, 10_000)
    both = np.concatenate([train.x, validation.x]), np.concatenate([train.y, validation.y])
    assert examples(*both) == examples(arrays["x_train"], arrays["y_train"])
    np.testing.assert_array_equal(everything.test.x, arrays["x_test"])
    np.testing.assert_array_equal(everything.test.y, arrays["y_test"])


@pytest.mark.parametrize(
    "limits", [{}, {"limit_train": 500, "validation_size": 333}, {"validation_size": 10}]
)
def test_the_validation_split_holds_the_same_share_of_each_class(
    arrays: dict[str, np.ndarray], limits: dict[str, Any]
) -> None:
    dataset = load_dataset(config(**limits), seed=3)
    for part in (dataset.train, dataset.validation):
        proportional = len(part) * np.bincount(arrays["y_train"]) / 60_000
        assert np.abs(np.bincount(part.y, minlength=10) - proportional).max() <= 1


def test_validation_may_be_the_test_set_as_in_the_notebook(everything: Dataset) -> None:
    whole = load_dataset(config(validation_on_test=True), seed=0)
    assert (len(whole.train), len(whole.validation)) == (60_000, 10_000)
    np.testing.assert_array_equal(whole.validation.x, everything.test.x)
    few = load_dataset(config(validation_on_test=True, limit_train=100), seed=0)
    assert (len(few.train), len(few.validation)) == (100, 10_000)


def test_the_split_is_that_of_its_seed(small: Dataset) -> None:
    again, other = (load_dataset(config(**SMALL), seed) for seed in (0, 1))
    for part in ("train", "validation"):
        np.testing.assert_array_equal(getattr(again, part).x, getattr(small, part).x)
        assert (getattr(other, part).x != getattr(small, part).x).any()
    np.testing.assert_array_equal(other.test.x, small.test.x)


def test_limits_are_kept_and_parts_stay_disjoint(small: Dataset, arrays: dict[str, np.ndarray]) -> None:
    assert (len(small.train), len(small.validation), len(small.test)) == (500, 100, 200)
    used, held_out = ({image.tobytes() for image in part.x} for part in (small.train, small.validation))
    assert not used & held_out
    np.testing.assert_array_equal(small.test.x, arrays["x_test"][:200])


# The digest


@pytest.mark.parametrize("key", KEYS)
def test_the_digest_covers_the_last_value_of_each_array(arrays: dict[str, np.ndarray], key: str) -> None:
    changed = arrays[key].copy()
    changed.reshape(-1)[-1] ^= 1
    assert digest_of(arrays | {key: changed}) != digest_of(arrays)


def test_the_digest_covers_types_shapes_and_class_names(arrays: dict[str, np.ndarray]) -> None:
    turned = arrays["x_test"].reshape(-1, 14, 56)
    signed = arrays["y_test"].view(np.int8)
    named, other = np.array(list("abcdefghij")), np.array(list("abcdefghik"))
    changes: list[dict[str, np.ndarray]] = [
        {},
        {"x_test": turned},
        {"y_test": signed},
        {NAMES: named},
        {NAMES: other},
    ]
    assert len({digest_of(arrays | change) for change in changes}) == 5


def test_the_digest_does_not_depend_on_how_the_file_is_packed(tmp_path: Path, everything: Dataset) -> None:
    with np.load(MNIST) as file:
        np.savez(tmp_path / "copy.npz", **{key: file[key] for key in reversed(KEYS)})
    right = config(tmp_path / "copy.npz", sha256=everything.sha256)
    assert load_dataset(right, seed=0).sha256 == everything.sha256


# Any images


def write(path: Path, **changes: Any) -> None:
    """Write a small file of the right layout, with some arrays changed or, for None, left out."""
    good = {
        "x_train": np.zeros((40, 28, 28), np.uint8),
        "y_train": np.arange(40, dtype=np.uint8) % 10,
        "x_test": np.zeros((10, 28, 28), np.uint8),
        "y_test": np.arange(10, dtype=np.uint8),
    }
    np.savez(path, **{key: value for key, value in (good | changes).items() if value is not None})


def test_any_file_of_the_same_layout_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "own.npz", extra=np.zeros(3), y_test=np.arange(10, dtype=np.int64))
    dataset = load_dataset(config(tmp_path / "own.npz", validation_size=10), seed=0)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (30, 10, 10)
    assert dataset.test.y.dtype == np.int32


def test_five_classes_of_28_by_28_are_taken(tmp_path: Path) -> None:
    write(tmp_path / "five.npz", y_train=np.arange(40) % 5, y_test=np.arange(10) % 5)
    dataset = load_dataset(config(tmp_path / "five.npz", validation_size=5), seed=0)
    assert dataset.image_shape == (28, 28, 1)
    assert dataset.classes == ("0", "1", "2", "3", "4")
    assert sorted(dataset.validation.y) == [0, 1, 2, 3, 4]


def test_47_named_classes_in_colour_are_taken(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (188, 32, 32, 3), np.uint8)
    y, names = np.arange(188) % 47, [f"class {number}" for number in range(47)]
    write(tmp_path / "named.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20], class_names=names)
    dataset = load_dataset(config(tmp_path / "named.npz", validation_size=47), seed=0)
    assert dataset.image_shape == (32, 32, 3)
    assert dataset.classes == tuple(names)
    assert dataset.train.x.shape == (141, 32, 32, 3)
    np.testing.assert_array_equal(dataset.test.x, x[:20])


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_from_0_to_1_are_kept_as_float32(tmp_path: Path, kind: Any) -> None:
    x = np.linspace(0, 1, 40 * 6 * 4 * 2).reshape(40, 6, 4, 2).astype(kind)
    write(tmp_path / "floats.npz", x_train=x, x_test=x[:10].astype(np.float32))
    dataset = load_dataset(config(tmp_path / "floats.npz", validation_size=10), seed=0)
    assert dataset.image_shape == (6, 4, 2)
    for part in (dataset.train, dataset.validation, dataset.test):
        assert part.x.dtype == np.float32
    np.testing.assert_array_equal(dataset.test.x, x[:10].astype(np.float32))


@pytest.fixture
def changing(tmp_path: Path) -> Path:
    write(tmp_path / "changing.npz")
    return tmp_path / "changing.npz"


def test_an_unchanged_file_is_read_once(changing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_dataset(config(changing, validation_size=10), seed=0)
    monkeypatch.setattr("handwriting.data.dataset.read_arrays", None)
    again = load_dataset(config(changing, validation_size=12), seed=1)
    assert (first.sha256, len(again.validation)) == (again.sha256, 12)
    with pytest.raises(ValueError, match="read-only"):
        again.test.x[0] = 1


def test_a_changed_file_is_read_anew(changing: Path) -> None:
    before = os.stat(changing)
    first = dataset_digest(config(changing, validation_size=10))
    write(changing, x_test=np.ones((10, 28, 28), np.uint8))
    os.utime(changing, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert os.stat(changing).st_size == before.st_size
    assert dataset_digest(config(changing, validation_size=10)) != first


@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "data").glob("*.yaml")), ids=lambda file: file.stem)
def test_each_file_in_conf_data_gives_a_data_set(file: Path) -> None:
    stated = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), OmegaConf.load(file)))
    assert isinstance(stated, DataConfig)
    dataset = load_dataset(stated, seed=0)
    assert len(dataset.validation) == stated.validation_size
    assert all(0 < target < 1 for target in stated.targets)


def test_importing_the_room_takes_nothing_slow() -> None:
    code = (
        "import sys, handwriting.data; print({'tensorflow', 'mlflow', 'sklearn', 'PIL'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"


# What is refused

LABELS, FLOATS = np.arange(40) % 10, np.zeros((40, 28, 28), np.float32)
ZEROS, TEST = np.zeros(40, np.int64), np.zeros((10, 28, 28), np.float32)
OFF = FLOATS.copy()
OFF[3, 1, 2] = 255


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None, "X": ZEROS}, "expected the arrays x_train, y_train, x_test, y_test. Received: X"),
        ({"x_train": np.zeros((40, 28, 29), np.uint8)},
         "x_test must be like x_train, uint8 of shape (n, 28, 29). Received: uint8 of shape (10, 28, 28)"),
        ({"x_test": np.zeros((10, 28, 28, 1), np.uint8)},
         "x_test must be like x_train, uint8 of shape (n, 28, 28). Received: uint8 of shape (10, 28, 28, 1)"),
        ({"x_test": TEST},
         "x_test must be like x_train, uint8 of shape (n, 28, 28). Received: float32 of shape (10, 28, 28)"),
        ({"x_train": np.zeros((40, 784), np.uint8)},
         "x_train must be uint8, or float from 0 to 1, of shape (n, height, width) or (n, height, width, "
         "channels). Received: uint8 of shape (40, 784)"),
        ({"x_train": np.zeros((40, 28, 28), np.int64)}, "Received: int64 of shape (40, 28, 28)"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8)}, "Received: uint8 of shape (0, 28, 28)"),
        ({"x_train": np.uint8(0)}, "Received: uint8 of shape ()"),
        ({"x_train": OFF, "x_test": TEST},
         "x_train must be from 0 to 1, as it is float32. Received: 255.0 in image 3"),
        ({"x_train": FLOATS, "x_test": TEST - 1}, "Received: -1.0 in image 0"),
        ({"x_train": FLOATS, "x_test": TEST + np.nan}, "Received: nan in image 0"),
        ({"x_train": FLOATS, "x_test": TEST + np.inf}, "Received: inf in image 0"),
        ({"y_train": LABELS + 1},
         "y_train must hold labels from 0 to 9, as y_train has 10 different ones. Received: 10 at 9"),
        ({"y_train": np.where(LABELS == 4, 3, LABELS)},
         "y_train must hold labels from 0 to 8, as y_train has 9 different ones. Received: 9 at 9"),
        ({"y_train": LABELS - 1}, "Received: -1 at 0"),
        ({"y_test": np.arange(10) - 1},
         "y_test must hold labels from 0 to 9, as y_train has 10 different ones. Received: -1 at 0"),
        ({"y_test": np.arange(10) + 1}, "Received: 10 at 9"),
        ({"y_train": np.arange(41) % 10}, "y_train must be whole numbers of shape (40,), one for each image. "
         "Received: int64 of shape (41,)"),
        ({"y_test": np.arange(10.0)}, "y_test must be whole numbers of shape (10,), one for each image. "
         "Received: float64 of shape (10,)"),
        ({"y_train": np.eye(40, 10, dtype=np.uint8)}, "Received: uint8 of shape (40, 10)"),
        ({"y_train": ZEROS, "y_test": np.zeros(10, int)}, "y_train must hold at least 2 classes, and each at "
         "least twice, to train on and to validate on. Received: 1 in all, and 40 of class 0"),
        ({"y_train": np.minimum(np.arange(40), 10)}, "Received: 11 in all, and 1 of class 0"),
        ({"y_train": np.array([None] * 40)}, "not a whole .npz file"),
        ({NAMES: np.array(list("abcdefghi"))},
         "class_names must be 10 different texts, as there are classes. "
         "Received: <U1 of shape (9,), 9 different"),
        ({NAMES: np.array(list("abcdefghia"))}, "Received: <U1 of shape (10,), 9 different"),
        ({NAMES: np.arange(10)}, "Received: int64 of shape (10,), 10 different"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_file_of_other_content_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "bad.npz"
    write(path, **changes)
    with pytest.raises(UserError) as caught:
        dataset_digest(config(path, validation_size=10))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "abc"}, rf"^{MNIST}: data\.sha256 is abc, but the arrays .* give [0-9a-f]{{64}}"),
        ({"validation_size": 70000}, r"^data\.validation_size must be at most 59990: .*: 70000$"),
        ({"validation_size": 9}, r"^data\.validation_size must be at least 10, one for each class\. .*: 9$"),
        ({"limit_train": 55001}, r"^data\.validation_size must be at most 4999: .*limit_train=55001"),
        ({"limit_train": 60001}, r"must be at most 0: "),
        ({"limit_train": 9}, r"^data\.limit_train must be at least 10, one for each class\. Received: 9$"),
        ({"limit_test": 10001}, r"^data\.limit_test must be at most 10000, .* Received: 10001$"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_the_source_cannot_give_is_refused(changes: dict[str, Any], message: str) -> None:
    for ask in (dataset_digest, lambda cfg: load_dataset(cfg, seed=0)):
        with pytest.raises(UserError, match=message):
            ask(config(**changes))
