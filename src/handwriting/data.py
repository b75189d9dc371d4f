"""Images and labels, from a file to checked arrays. NumPy only: a bad file is refused at once."""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handwriting.config import DataConfig
from handwriting.errors import UserError

CLASSES = 10
IMAGE_SHAPE = (28, 28)
KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Split:
    """Images, uint8 of shape (n, 28, 28), and their labels, int32 of shape (n,) from 0 to 9."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Digits:
    """The three parts of a data set, and the SHA-256 of the whole file's arrays."""

    train: Split
    validation: Split
    test: Split
    sha256: str


def load_digits(cfg: DataConfig, seed: int) -> Digits:
    """Read, check and split a data set.

    The validation part is drawn from the training images, the same share of each digit, by `seed`; or it is
    the test part, where `validation_on_test` says so.

    Raises:
        UserError: the file or the sizes asked of it do not fit; says what was expected and found.
    """
    arrays, digest = read_checked(cfg)

    # 1 s to import: after the checks.
    from sklearn.model_selection import train_test_split

    labels = arrays["y_train"]
    test = Split(arrays["x_test"][: cfg.limit_test], arrays["y_test"][: cfg.limit_test])
    if cfg.validation_on_test and cfg.limit_train is None:
        return Digits(Split(arrays["x_train"], labels), test, test, digest)
    train, validation = train_test_split(
        np.arange(len(labels)),
        train_size=cfg.limit_train or len(labels) - cfg.validation_size,
        test_size=cfg.validation_size,
        stratify=labels,
        random_state=seed,
    )
    return Digits(
        train=Split(arrays["x_train"][train], labels[train]),
        validation=test
        if cfg.validation_on_test
        else Split(arrays["x_train"][validation], labels[validation]),
        test=test,
        sha256=digest,
    )


def read_checked(cfg: DataConfig) -> tuple[dict[str, np.ndarray], str]:
    """Read the arrays, check them against all that the config asks, and return them with their digest."""
    arrays = _read(Path(cfg.path))
    for part in ("train", "test"):
        _check(cfg.path, part, arrays)
    digest = digest_of(arrays)
    if cfg.sha256 is not None and cfg.sha256 != digest:
        raise UserError(
            f"{cfg.path}: data.sha256 is {cfg.sha256}, but the arrays in the file give {digest}. "
            "Name the right file, or set data.sha256=null"
        )
    available, tests = len(arrays["y_train"]), len(arrays["y_test"])
    room = available - (cfg.limit_train or CLASSES)
    if cfg.validation_size > room:
        limit = f" less data.limit_train={cfg.limit_train}" if cfg.limit_train else ""
        raise UserError(
            f"data.validation_size must be at most {max(room, 0)}: the file has {available} training "
            f"images{limit}. Received: {cfg.validation_size}"
        )
    if cfg.limit_test and cfg.limit_test > tests:
        raise UserError(
            f"data.limit_test must be at most {tests}, the file's test images. Received: {cfg.limit_test}"
        )
    return arrays, digest


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here: of a truncated file NumPy would leave its own handle open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if not set(KEYS) <= set(file.files):
                raise UserError(
                    f"{path}: expected the arrays {', '.join(KEYS)}. "
                    f"Received: {', '.join(sorted(file.files)) or 'none'}"
                )
            return {key: file[key] for key in KEYS}
    except FileNotFoundError:
        raise UserError(f"data.path must name an .npz file; there is none at {path}") from None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: not a whole .npz file with {', '.join(KEYS)} ({reason}). Copy it again"
        ) from error


def _check(path: str, part: str, arrays: dict[str, np.ndarray]) -> None:
    """Check the images and labels of one part; leave the labels as int32."""
    x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if x.shape[1:] != IMAGE_SHAPE or x.dtype != np.uint8 or len(x) == 0:
        raise UserError(
            f"{path}: x_{part} must be uint8 of shape (n, 28, 28). Received: {x.dtype} of shape {x.shape}"
        )
    if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise UserError(
            f"{path}: y_{part} must be whole numbers of shape ({len(x)},), one for each image. "
            f"Received: {y.dtype} of shape {y.shape}"
        )
    wrong = np.flatnonzero((y < 0) | (y >= CLASSES))
    if wrong.size:
        raise UserError(
            f"{path}: y_{part} must hold labels from 0 to 9. Received: {y[wrong[0]]} at {wrong[0]}"
        )
    rarest = int(np.bincount(y, minlength=CLASSES).min())
    if part == "train" and rarest < 2:
        raise UserError(
            f"{path}: y_train must hold each digit at least twice, to train on and to validate on. "
            f"Received: one of them {rarest} times"
        )
    arrays[f"y_{part}"] = y.astype(np.int32)


def digest_of(arrays: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of all arrays: names, types, shapes and every value.

    MLflow's own digest of a data set reads the first 10,000 values only: 13 images.
    """
    digest = hashlib.sha256()
    for key in KEYS:
        array = arrays[key]
        digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
