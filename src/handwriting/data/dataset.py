"""From a source's arrays to a checked and split data set."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from handwriting.config import DataConfig
from handwriting.data.sources import KEYS, NAMES, read_arrays, signature
from handwriting.errors import UserError


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
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _checked(cfg: DataConfig) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays and their digest, checked against all that the config asks of them."""
    arrays, digest = _read(cfg.path, signature(cfg.path))
    if cfg.sha256 is not None and cfg.sha256 != digest:
        raise UserError(
            f"{cfg.path}: data.sha256 is {cfg.sha256}, but the arrays there give {digest}. "
            "Name the right source, or set data.sha256=null"
        )
    available, tests = len(arrays["y_train"]), len(arrays["y_test"])
    k = int(arrays["y_train"].max()) + 1
    for key in ("limit_train", "validation_size"):
        value = getattr(cfg, key)
        if value is not None and value < k:
            raise UserError(f"data.{key} must be at least {k}, one for each class. Received: {value}")
    room = available - (cfg.limit_train or k)
    if cfg.validation_size > room:
        limit = f" less data.limit_train={cfg.limit_train}" if cfg.limit_train else f" of {k} classes"
        raise UserError(
            f"data.validation_size must be at most {max(room, 0)}: there are {available} training "
            f"images{limit}. Received: {cfg.validation_size}"
        )
    if cfg.limit_test and cfg.limit_test > tests:
        raise UserError(
            f"data.limit_test must be at most {tests}, the number of test images. Received: {cfg.limit_test}"
        )
    return arrays, digest


@lru_cache(maxsize=1)  # a worker runs many jobs on the same data, and 70,000 pictures take seconds to read
def _read(path: str, _signature: int) -> tuple[dict[str, np.ndarray], str]:
    """Read and check the arrays of a source; images become uint8 or float32, labels int32, all read only."""
    arrays = read_arrays(path)
    x, y = arrays["x_train"], arrays["y_train"]
    _check_images(f"{path}: x_train", x)
    _check_images(f"{path}: x_test", arrays["x_test"], x)
    _check_labels(f"{path}: y_train", y, len(x))
    found, counts = np.unique(y, return_counts=True)
    _check_labels(f"{path}: y_test", arrays["y_test"], len(arrays["x_test"]))
    for part in ("train", "test"):
        labels = arrays[f"y_{part}"]
        wrong = np.flatnonzero((labels < 0) | (labels >= len(found)))
        if wrong.size:
            raise UserError(
                f"{path}: y_{part} must hold labels from 0 to {len(found) - 1}, as y_train has {len(found)} "
                f"different ones. Received: {labels[wrong[0]]} at {wrong[0]}"
            )
    if NAMES in arrays:
        _check_names(f"{path}: {NAMES}", arrays[NAMES], len(found))
    if len(found) < 2 or counts.min() < 2:
        rarest = arrays.get(NAMES, found)[counts.argmin()]
        raise UserError(
            f"{path}: y_train must hold at least 2 classes, and each at least twice, to train on and to "
            f"validate on. Received: {len(found)} in all, and {counts.min()} of class {rarest}"
        )
    images = np.uint8 if x.dtype == np.uint8 else np.float32
    for key in KEYS:
        arrays[key] = arrays[key].astype(images if key.startswith("x") else np.int32, copy=False)
        arrays[key].flags.writeable = False  # they serve the next job too
    return arrays, digest_of(arrays)


def _check_images(what: str, x: np.ndarray, train: np.ndarray | None = None) -> None:
    floats = x.dtype.kind == "f" and x.dtype.itemsize <= 8
    if x.ndim not in (3, 4) or x.size == 0 or not (x.dtype == np.uint8 or floats):
        raise UserError(
            f"{what} must be uint8, or float from 0 to 1, of shape (n, height, width) or "
            f"(n, height, width, channels). Received: {x.dtype} of shape {x.shape}"
        )
    if train is not None and (x.shape[1:] != train.shape[1:] or x.dtype.kind != train.dtype.kind):
        raise UserError(
            f"{what} must be like x_train, {train.dtype} of shape (n, {str(train.shape[1:])[1:]}. "
            f"Received: {x.dtype} of shape {x.shape}"
        )
    if floats and not (x.min() >= 0 and x.max() <= 1):  # a NaN fails too
        wrong = tuple(np.argwhere(~((x >= 0) & (x <= 1)))[0])
        raise UserError(
            f"{what} must be from 0 to 1, as it is {x.dtype}. Received: {x[wrong]} in image {wrong[0]}"
        )


def _check_labels(what: str, y: np.ndarray, images: int) -> None:
    if y.shape != (images,) or y.dtype.kind not in "iu":
        raise UserError(
            f"{what} must be whole numbers of shape ({images},), one for each image. "
            f"Received: {y.dtype} of shape {y.shape}"
        )


def _check_names(what: str, names: np.ndarray, k: int) -> None:
    if names.dtype.kind != "U" or names.shape != (k,) or len(np.unique(names)) < k:
        received = f"{names.dtype} of shape {names.shape}, {len(np.unique(names))} different"
        raise UserError(f"{what} must be {k} different texts, as there are classes. Received: {received}")
