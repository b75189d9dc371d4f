"""MNIST to the byte, its splits, and any other images: what is taken, and what is refused and how."""

import hashlib
import os
import re
import resource
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from made_archives import GB, GOOD, Bomb, bomb, cheap_refusal, claim, write_archive
from omegaconf import OmegaConf

from handwriting import data
from handwriting.config import ROOT, DataConfig
from handwriting.data import Dataset, Split, dataset_digest, load_dataset
from handwriting.data.dataset import _open, _read, digest_of
from handwriting.data.sources import KEYS, NAMES, signature
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


def test_the_digest_does_not_depend_on_the_order_in_memory_and_takes_no_copy() -> None:
    x = np.random.default_rng(0).integers(0, 256, (5000, 32, 32), np.uint8)
    images = {"x_train": x, "y_train": np.arange(5000), "x_test": x, "y_test": np.arange(5000)}
    turned = {key: np.asfortranarray(array) for key, array in images.items()}
    tracemalloc.start()
    try:
        assert digest_of(turned) == digest_of(images)
        assert tracemalloc.get_traced_memory()[1] < x.nbytes / 10
    finally:
        tracemalloc.stop()


# Any images


def write(path: Path, **changes: Any) -> None:
    """Write a small file of the right layout, with some arrays changed or, for None, left out."""
    np.savez(path, **{key: value for key, value in (GOOD | changes).items() if value is not None})


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
    monkeypatch.setattr("handwriting.data.dataset.open_arrays", None)
    again = load_dataset(config(changing, validation_size=12), seed=1)
    assert (first.sha256, len(again.validation)) == (again.sha256, 12)
    with pytest.raises(ValueError, match="read-only"):
        again.test.x[0] = 1


def test_a_file_that_changes_between_its_labels_and_its_images_is_not_taken(changing: Path) -> None:
    signed = signature(str(changing))
    _open(str(changing), signed)
    write(changing, x_train=np.ones((40, 28, 28), np.uint8), y_train=np.arange(40)[::-1] % 10)
    with pytest.raises(UserError, match=rf"^{changing}: it changed while it was read\. "):
        _read(str(changing), signed)


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


# What it costs to refuse

MANY = (2 * GB // 1024, 32, 32)  # 2 GB of uint8
FEW = np.zeros((10, 32, 32), np.uint8)
NUMBERS = np.arange(MANY[0]) % 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": bomb("u1", MANY), "x_test": FEW},
         "y_train must be whole numbers of shape (2097152,), one for each image. "
         "Received: uint8 of shape (40,)"),
        ({"x_train": bomb("u1", MANY, fortran_order=True), "x_test": FEW},
         "y_train must be whole numbers of shape (2097152,), one for each image. "
         "Received: uint8 of shape (40,)"),
        ({"x_train": bomb("u1", MANY), "x_test": FEW, "y_train": NUMBERS.astype(np.float32)},
         "y_train must be whole numbers of shape (2097152,), one for each image. Received: float32 of "),
        ({"x_train": bomb("u1", MANY), "x_test": FEW, "y_train": (NUMBERS + 1).astype(np.uint8)},
         "y_train must hold labels from 0 to 9, as y_train has 10 different ones. Received: 10 at 9"),
        ({"x_train": bomb("u1", MANY), "y_train": NUMBERS.astype(np.uint8)},
         "x_test must be like x_train, uint8 of shape (n, 32, 32). Received: uint8 of shape (10, 28, 28)"),
        ({"x_train": bomb("i8", (GB // 4096, 32, 32)), "x_test": FEW},
         "Received: int64 of shape (262144, 32, 32)"),
        ({"x_test": bomb("u1", (2 * GB // 784, 28, 28))},
         "y_test must be whole numbers of shape (2739137,), one for each image. "),
        ({"y_train": bomb("u1", (2 * GB,))},
         "y_train must be whole numbers of shape (40,), one for each image. "
         "Received: uint8 of shape (2147483648,)"),
        ({"y_test": bomb("i8", (10, GB // 40))}, "Received: int64 of shape (10, 26843545)"),
        ({NAMES: bomb("<U50000000", (10,))},
         "class_names must be 10 texts of at most 1000 characters. Received: <U50000000 of shape (10,)"),
        ({"x_train": Bomb(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2 * GB - 12), 2 * GB - 12)},
         "not a whole .npz file with x_train, y_train, x_test, y_test (EOF: reading array header, "),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_two_gigabytes_are_refused_by_their_headers_and_labels(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "bomb.npz"
    write_archive(path, **changes)
    assert path.stat().st_size < 25e6
    said = cheap_refusal(path)
    assert said.startswith(f"{path}: ")
    assert message in said


def test_sizes_that_the_labels_tell_are_refused_before_an_image_is_read(tmp_path: Path) -> None:
    path = tmp_path / "many.npz"
    write_archive(path, x_train=bomb("u1", MANY), x_test=FEW, y_train=NUMBERS.astype(np.uint8))
    assert cheap_refusal(path, validation_size=3_000_000).startswith(
        "data.validation_size must be at most 2097142: "
    )


def test_floats_up_to_255_are_refused_without_a_list_of_them_all(tmp_path: Path) -> None:
    x = np.full((4000, 28, 28), 255, np.float32)
    x[0] = 0.5
    write(tmp_path / "bad.npz", x_train=x, x_test=TEST, y_train=np.arange(4000) % 10)
    message = cheap_refusal(tmp_path / "bad.npz")  # with the images themselves, 13 MB, in memory
    assert message.endswith("x_train must be from 0 to 1, as it is float32. Received: 255.0 in image 1")


@pytest.mark.parametrize("dtype", ["u1", "f8"])
def test_what_does_not_fit_into_the_free_memory_is_refused(tmp_path: Path, dtype: str) -> None:
    path, n = tmp_path / "huge.npz", psutil.virtual_memory().total // 784 * 2
    write_archive(
        path,
        x_train=claim(dtype, (n, 28, 28)),
        y_train=claim("u1", (n,)),
        x_test=np.zeros((10, 28, 28), dtype),
    )
    said = re.fullmatch(
        rf"{path}: takes ([\d,]+\.\d\d) GB of memory, and [\d,]+\.\d\d GB are free\. "
        "Use fewer or smaller images",
        cheap_refusal(path),
    )
    assert said
    values = {"u1": 784, "f8": 784 * (8 + 4)}[dtype]  # as stored, and as float32
    assert float(said[1].replace(",", "")) == pytest.approx(n * (values + 1 + 4) / 1e9, rel=0.01)


@contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Allow this process so many bytes more than it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_what_does_not_fit_into_a_limit_of_the_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    write_archive(path, x_train=bomb("u1", MANY), x_test=FEW, y_train=NUMBERS.astype(np.uint8))
    said = rf"^{path}: takes 2\.16 GB of memory, more than this process may have \(ulimit -v\)\. Use fewer "
    with memory_limit(200_000_000), pytest.raises(UserError, match=said):
        dataset_digest(config(path, validation_size=10))


def test_a_split_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    x, y = np.zeros((100_000, 32, 32), np.uint8), np.arange(100_000) % 10
    np.savez_compressed(path, x_train=x, y_train=y, x_test=FEW, y_test=y[:10])
    load_dataset(config(path), seed=0)  # now all is in memory, but for the copies that a split makes
    said = "takes 0.10 GB of memory, more than this process may have"
    with memory_limit(20_000_000), pytest.raises(UserError, match=said):
        load_dataset(config(path), seed=0)
