import hashlib
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import SMALL
from handwriting.config import DataConfig, compose
from handwriting.data import KEYS, Digits, digest_of, load_digits
from handwriting.errors import UserError
from handwriting.store import ROOT

MNIST = ROOT / "src/handwriting/mnist.npz"
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(MNIST) as file:
        return {key: file[key] for key in KEYS}


@pytest.fixture(scope="module")
def everything() -> Digits:
    return load_digits(compose().data, seed=0)


def data_config(*overrides: str) -> DataConfig:
    return compose(*overrides).data


@pytest.mark.parametrize("key", KEYS)
def test_the_data_is_mnist_to_the_byte(arrays: dict[str, np.ndarray], key: str) -> None:
    array = arrays[key]
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    stated = re.search(rf"{IDX_FILES[key]} \| ([0-9a-f]{{32}})", MNIST.with_name("MNIST.md").read_text())
    assert stated
    assert hashlib.md5(header + array.tobytes(), usedforsecurity=False).hexdigest() == stated[1]


def test_without_limits_every_image_is_used_once(
    arrays: dict[str, np.ndarray], everything: Digits
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
    "limits", [(), ("data.limit_train=500", "data.validation_size=333"), ("data.validation_size=10",)]
)
def test_the_validation_split_holds_the_same_share_of_each_digit(
    arrays: dict[str, np.ndarray], limits: tuple[str, ...]
) -> None:
    digits = load_digits(data_config(*limits), seed=3)
    for part in (digits.train, digits.validation):
        proportional = len(part) * np.bincount(arrays["y_train"]) / 60_000
        assert np.abs(np.bincount(part.y, minlength=10) - proportional).max() <= 1


def test_validation_may_be_the_test_set_as_in_the_notebook(everything: Digits) -> None:
    whole = load_digits(data_config("data.validation_on_test=true"), seed=0)
    assert (len(whole.train), len(whole.validation)) == (60_000, 10_000)
    np.testing.assert_array_equal(whole.validation.x, everything.test.x)
    few = load_digits(data_config("data.validation_on_test=true", "data.limit_train=100"), seed=0)
    assert (len(few.train), len(few.validation)) == (100, 10_000)


def test_the_split_is_that_of_its_seed(digits: Digits) -> None:
    again, other = (load_digits(data_config(*SMALL), seed) for seed in (0, 1))
    for part in ("train", "validation"):
        np.testing.assert_array_equal(getattr(again, part).x, getattr(digits, part).x)
        assert (getattr(other, part).x != getattr(digits, part).x).any()
    np.testing.assert_array_equal(other.test.x, digits.test.x)


def test_limits_are_kept_and_parts_stay_disjoint(digits: Digits, arrays: dict[str, np.ndarray]) -> None:
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (500, 100, 200)
    used, held_out = ({image.tobytes() for image in part.x} for part in (digits.train, digits.validation))
    assert not used & held_out
    np.testing.assert_array_equal(digits.test.x, arrays["x_test"][:200])


@pytest.mark.parametrize("key", KEYS)
def test_the_digest_covers_the_last_value_of_each_array(arrays: dict[str, np.ndarray], key: str) -> None:
    changed = arrays[key].copy()
    changed.reshape(-1)[-1] ^= 1
    assert digest_of(arrays | {key: changed}) != digest_of(arrays)


def test_the_digest_covers_types_and_shapes(arrays: dict[str, np.ndarray]) -> None:
    turned = arrays["x_test"].reshape(-1, 14, 56)
    signed = arrays["y_test"].view(np.int8)
    assert len({digest_of(arrays | more) for more in ({}, {"x_test": turned}, {"y_test": signed})}) == 3


def test_the_digest_does_not_depend_on_how_the_file_is_packed(tmp_path: Path, everything: Digits) -> None:
    with np.load(MNIST) as file:
        np.savez(tmp_path / "copy.npz", **{key: file[key] for key in reversed(KEYS)})
    right = data_config(f"data.path={tmp_path}/copy.npz", f"data.sha256={everything.sha256}")
    assert load_digits(right, seed=0).sha256 == everything.sha256


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
    digits = load_digits(data_config(f"data.path={tmp_path}/own.npz", "data.validation_size=10"), seed=0)
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (30, 10, 10)
    assert digits.test.y.dtype == np.int32


ONES = np.ones(40, np.int64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None, "X": ONES}, "expected the arrays x_train, y_train, x_test, y_test. Received: X, "),
        ({"x_train": np.zeros((40, 28, 29), np.uint8)},
         "x_train must be uint8 of shape (n, 28, 28). Received: uint8 of shape (40, 28, 29)"),
        ({"x_test": np.zeros((10, 28, 28), np.float32)},
         "x_test must be uint8 of shape (n, 28, 28). Received: float32 of shape (10, 28, 28)"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8)}, "Received: uint8 of shape (0, 28, 28)"),
        ({"x_train": np.uint8(0)}, "Received: uint8 of shape ()"),
        ({"y_train": np.arange(40) % 11}, "y_train must hold labels from 0 to 9. Received: 10 at 10"),
        ({"y_test": np.arange(10) - 1}, "y_test must hold labels from 0 to 9. Received: -1 at 0"),
        ({"y_train": np.arange(41) % 10}, "y_train must be whole numbers of shape (40,), one for each image. "
         "Received: int64 of shape (41,)"),
        ({"y_test": np.arange(10.0)}, "y_test must be whole numbers of shape (10,), one for each image. "
         "Received: float64 of shape (10,)"),
        ({"y_train": np.eye(40, 10, dtype=np.uint8)}, "Received: uint8 of shape (40, 10)"),
        ({"y_train": ONES}, "y_train must hold each digit at least twice"),
        ({"y_train": np.array([None] * 40)}, "not a whole .npz file"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_file_of_other_content_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "bad.npz"
    write(path, **changes)
    with pytest.raises(UserError) as caught:
        load_digits(data_config(f"data.path={path}", "data.validation_size=10"), seed=0)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 1, 100, 1_000_000, 11_490_000])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "part.npz"
    path.write_bytes(MNIST.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"^{path}: not a whole \.npz file with x_train, .* Copy it again$"):
        load_digits(data_config(f"data.path={path}"), seed=0)


@pytest.mark.parametrize("where", [5_000, 5_000_000])
def test_a_damaged_file_is_refused(tmp_path: Path, where: int) -> None:
    path = tmp_path / "damaged.npz"
    content = bytearray(MNIST.read_bytes())
    content[where] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{path}: not a whole \.npz file"):
        load_digits(data_config(f"data.path={path}"), seed=0)


def test_what_is_no_npz_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not a zip")
    np.save(tmp_path / "one_array.npy", np.zeros((3, 28, 28), np.uint8))
    for path in (tmp_path / "text.npz", tmp_path / "one_array.npy", tmp_path):
        with pytest.raises(UserError, match=rf"^{path}: not a whole \.npz file"):
            load_digits(data_config(f"data.path={path}"), seed=0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.path=/nowhere.npz"], r"^data\.path must name an \.npz file; there is none at /nowhere\.npz$"),
        (["data.sha256=abc"], rf"^{MNIST}: data\.sha256 is abc, but the arrays .* give [0-9a-f]{{64}}"),
        (["data.validation_size=70000"], r"^data\.validation_size must be at most 59990: .*: 70000$"),
        (["data.limit_train=55001"], r"^data\.validation_size must be at most 4999: .*limit_train=55001"),
        (["data.limit_train=60001"], r"must be at most 0: "),
        (["data.limit_test=10001"], r"^data\.limit_test must be at most 10000, .* Received: 10001$"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_what_the_file_cannot_give_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_digits(data_config(*overrides), seed=0)
