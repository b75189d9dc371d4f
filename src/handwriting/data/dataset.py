"""From a source's arrays to a checked and split data set."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import psutil

from handwriting.config import DataConfig
from handwriting.data.sources import KEYS, NAMES, Stored, open_arrays, signature
from handwriting.errors import UserError

LONGEST_NAME = 1000  # characters, of a class
BLOCK = 64  # images digested at once


@dataclass(frozen=True)
class Split:
    """Images, as they are stored, and their labels.

    Args:
        x: uint8, or float32 from 0 to 1; shape (n, height, width) or (n, height, width, channels).
        y: int32 from 0 to k-1, shape (n,).
    """

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """The three parts of a data set and what is the same in all of them.

    Args:
        image_shape: height, width, channels; images stored as (n, height, width) have 1 channel.
        classes: the names of the k classes, "0" to "k-1" where the source has none.
        sha256: of all images, labels and class names of the source, whatever part of them is used.
    """

    train: Split
    validation: Split
    test: Split
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    sha256: str


def load_dataset(cfg: DataConfig, seed: int) -> Dataset:
    """Read, check and split a data set.

    The validation part is drawn from the training images, the same share of each class, by `seed`; or it is
    the test part, where `validation_on_test` says so.

    Raises:
        UserError: the source or the sizes asked of it do not fit; says what was expected and found.
    """
    arrays, digest = _checked(cfg)

    # 1 s to import: after the checks.
    from sklearn.model_selection import train_test_split

    x, y = arrays["x_train"], arrays["y_train"]
    test = Split(arrays["x_test"][: cfg.limit_test], arrays["y_test"][: cfg.limit_test])
    if cfg.validation_on_test and cfg.limit_train is None:
        train, validation = Split(x, y), test
    else:
        drawn, held_out = train_test_split(
            np.arange(len(y)),
            train_size=cfg.limit_train or len(y) - cfg.validation_size,
            test_size=cfg.validation_size,
            stratify=y,
            random_state=seed,
        )
        copied = len(drawn) + (0 if cfg.validation_on_test else len(held_out))
        with _memory_for(cfg.path, copied * x[0].nbytes):
            train = Split(x[drawn], y[drawn])
            validation = test if cfg.validation_on_test else Split(x[held_out], y[held_out])
    height, width, channels = x.shape[1:] if x.ndim == 4 else (*x.shape[1:], 1)
    classes = tuple(map(str, arrays[NAMES] if NAMES in arrays else range(y.max() + 1)))
    return Dataset(train, validation, test, (height, width, channels), classes, digest)


def dataset_digest(cfg: DataConfig) -> str:
    """Return the digest of a data set that has passed every check of `load_dataset`; raises as it does."""
    return _checked(cfg)[1]


def digest_of(arrays: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of all arrays as they are used: names, types, shapes and every value.

    MLflow's own digest of a data set reads the first 10,000 values only: 13 images.
    """
    digest = hashlib.sha256()
    for key in (*KEYS, *([NAMES] if NAMES in arrays else [])):
        array = arrays[key]
        digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
        for start in range(0, len(array), BLOCK):  # of an array in Fortran's order each block is a copy
            digest.update(np.ascontiguousarray(array[start : start + BLOCK]).data)
    return digest.hexdigest()


def _checked(cfg: DataConfig) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays and their digest, checked against all that the config asks of them."""
    signed = signature(cfg.path)
    labels = _open(cfg.path, signed)[1]
    _check_sizes(cfg, labels["y_train"], len(labels["y_test"]))
    arrays, digest = _read(cfg.path, signed)
    if cfg.sha256 is not None and cfg.sha256 != digest:
        raise UserError(
            f"{cfg.path}: data.sha256 is {cfg.sha256}, but the arrays there give {digest}. "
            "Name the right source, or set data.sha256=null"
        )
    return arrays, digest


@lru_cache(maxsize=1)
def _open(path: str, _signature: int) -> tuple[dict[str, Stored], dict[str, np.ndarray]]:
    """Check the headers of a source, then its labels: what these tell costs no reading of images.

    Returns:
        All arrays, not read yet; and y_train, y_test and class_names, as they are used.
    """
    stored = open_arrays(path)
    _check_images(f"{path}: x_train", stored["x_train"])
    _check_images(f"{path}: x_test", stored["x_test"], stored["x_train"])
    for part in ("train", "test"):
        _check_labels(f"{path}: y_{part}", stored[f"y_{part}"], stored[f"x_{part}"].shape[0])
    with _memory_for(path, _memory_of(stored)):
        arrays = {key: stored[key].read() for key in ("y_train", "y_test")}
        found, counts = np.unique(arrays["y_train"], return_counts=True)
    for key, labels in arrays.items():
        wrong = np.flatnonzero((labels < 0) | (labels >= len(found)))
        if wrong.size:
            raise UserError(
                f"{path}: {key} must hold labels from 0 to {len(found) - 1}, as y_train has {len(found)} "
                f"different ones. Received: {labels[wrong[0]]} at {wrong[0]}"
            )
        arrays[key] = _as_used(key, labels)
    if NAMES in stored:
        arrays[NAMES] = _read_names(f"{path}: {NAMES}", stored[NAMES], len(found))
    if len(found) < 2 or counts.min() < 2:
        rarest = arrays.get(NAMES, found)[counts.argmin()]
        raise UserError(
            f"{path}: y_train must hold at least 2 classes, and each at least twice, to train on and to "
            f"validate on. Received: {len(found)} in all, and {counts.min()} of class {rarest}"
        )
    return stored, arrays


@lru_cache(maxsize=1)  # a worker runs many jobs on the same data, and 70,000 pictures take seconds to read
def _read(path: str, signed: int) -> tuple[dict[str, np.ndarray], str]:
    """Read and check the arrays of a source; images become uint8 or float32, labels int32, all read only."""
    stored, labels = _open(path, signed)
    arrays = dict(labels)
    with _memory_for(path, _memory_of(stored)):
        for key in ("x_train", "x_test"):
            images = stored[key].read()
            _check_values(f"{path}: {key}", images)
            arrays[key] = _as_used(key, images)
    if signature(path) != signed:
        raise UserError(f"{path}: it changed while it was read. Start again when it is whole")
    return arrays, digest_of(arrays)


def _type_in_use(key: str, array: Stored | np.ndarray) -> np.dtype:
    if key.startswith("y"):
        return np.dtype(np.int32)
    return np.dtype(np.uint8 if array.dtype == np.uint8 else np.float32)


def _as_used(key: str, array: np.ndarray) -> np.ndarray:
    used = array.astype(_type_in_use(key, array), copy=False)
    used.flags.writeable = False  # it serves the next job too
    return used


def _memory_of(stored: dict[str, Stored]) -> int:
    """Return how many bytes reading takes: all as it is stored, and anew what is used in another type."""
    used = {key: _type_in_use(key, stored[key]) for key in KEYS}
    anew = sum(stored[key].size * used[key].itemsize for key in KEYS if stored[key].dtype != used[key])
    return sum(array.nbytes for array in stored.values()) + anew


@contextmanager
def _memory_for(path: str, needed: int) -> Iterator[None]:
    """Refuse what does not fit into the free memory, or into what a limit leaves to this process.

    Args:
        path: the source.
        needed: bytes.
    """
    free = psutil.virtual_memory().available
    takes = f"{path}: takes {needed / 1e9:,.2f} GB of memory"
    if needed > free:
        raise UserError(f"{takes}, and {free / 1e9:,.2f} GB are free. Use fewer or smaller images")
    try:
        yield
    except MemoryError as error:
        raise UserError(
            f"{takes}, more than this process may have (ulimit -v). Use fewer or smaller images"
        ) from error


def _check_sizes(cfg: DataConfig, y: np.ndarray, tests: int) -> None:
    """Check how many images the config asks for, of those with the labels `y` and of the test images."""
    k = int(y.max()) + 1
    for key in ("limit_train", "validation_size"):
        value = getattr(cfg, key)
        if value is not None and value < k:
            raise UserError(f"data.{key} must be at least {k}, one for each class. Received: {value}")
    room = len(y) - (cfg.limit_train or k)
    if cfg.validation_size > room:
        limit = f" less data.limit_train={cfg.limit_train}" if cfg.limit_train else f" of {k} classes"
        raise UserError(
            f"data.validation_size must be at most {max(room, 0)}: there are {len(y)} training "
            f"images{limit}. Received: {cfg.validation_size}"
        )
    if cfg.limit_test and cfg.limit_test > tests:
        raise UserError(
            f"data.limit_test must be at most {tests}, the number of test images. Received: {cfg.limit_test}"
        )


def _check_images(what: str, x: Stored, train: Stored | None = None) -> None:
    floats = x.dtype.kind == "f" and x.dtype.itemsize <= 8
    if len(x.shape) not in (3, 4) or x.size == 0 or not (x.dtype == np.uint8 or floats):
        raise UserError(
            f"{what} must be uint8, or float from 0 to 1, of shape (n, height, width) or "
            f"(n, height, width, channels). Received: {x.dtype} of shape {x.shape}"
        )
    if train is not None and (x.shape[1:] != train.shape[1:] or x.dtype.kind != train.dtype.kind):
        raise UserError(
            f"{what} must be like x_train, {train.dtype} of shape (n, {str(train.shape[1:])[1:]}. "
            f"Received: {x.dtype} of shape {x.shape}"
        )


def _check_values(what: str, x: np.ndarray) -> None:
    if x.dtype.kind == "f" and not (x.min() >= 0 and x.max() <= 1):  # a NaN fails too
        for place, image in enumerate(x):
            wrong = image[~((image >= 0) & (image <= 1))]
            if wrong.size:
                raise UserError(
                    f"{what} must be from 0 to 1, as it is {x.dtype}. Received: {wrong[0]} in image {place}"
                )


def _check_labels(what: str, y: Stored, images: int) -> None:
    if y.shape != (images,) or y.dtype.kind not in "iu":
        raise UserError(
            f"{what} must be whole numbers of shape ({images},), one for each image. "
            f"Received: {y.dtype} of shape {y.shape}"
        )


def _read_names(what: str, stored: Stored, k: int) -> np.ndarray:
    """Return the names of `k` classes, which are not read where they are too long to be names."""
    received = f"{stored.dtype} of shape {stored.shape}"
    if stored.nbytes > k * LONGEST_NAME * np.dtype("U1").itemsize:
        raise UserError(
            f"{what} must be {k} texts of at most {LONGEST_NAME} characters. Received: {received}"
        )
    names = stored.read()
    different = len(np.unique(names))
    if names.dtype.kind != "U" or names.shape != (k,) or different < k:
        raise UserError(
            f"{what} must be {k} different texts, as there are classes. "
            f"Received: {received}, {different} different"
        )
    return names
