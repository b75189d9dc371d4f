"""Where images come from: an .npz file, a folder of pictures, or scikit-learn's digits."""

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from handwriting.errors import UserError

KEYS, NAMES = ("x_train", "y_train", "x_test", "y_test"), "class_names"
DIGITS = "sklearn:digits"
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
# Pillow's modes as we read them: grey (n, h, w) or colour (n, h, w, 3).
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Return x_train, y_train, x_test, y_test and, where the source has them, class_names, as stored.

    Args:
        path: an .npz file with these arrays; a folder with train/CLASS/ and test/CLASS/, which hold pictures
            (PNG, JPEG, BMP) of one size, all grey or all in colour; or "sklearn:digits".

    Raises:
        UserError: there is no such source, or it cannot be read; says which file and why.
    """
    source = Path(path)
    if path == DIGITS:
        return _read_digits()
    return _read_folder(source) if source.is_dir() else _read_npz(source)


def signature(path: str) -> int:
    """Return a number that changes, within one process, when a file of the source changes."""
    files = [path]
    for folder, _, names in os.walk(path, followlinks=True):
        files += [os.path.join(folder, name) for name in names if not name.startswith(".")]
    stats = [(name, os.stat(name)) for name in sorted(files) if os.path.exists(name)]
    return hash(tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here: of a truncated file NumPy would leave its own handle open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if not set(KEYS) <= set(file.files):
                raise UserError(
                    f"{path}: expected the arrays {', '.join(KEYS)}. "
                    f"Received: {', '.join(sorted(file.files)) or 'none'}"
                )
            return {key: file[key] for key in (*KEYS, NAMES) if key in file.files}
    except FileNotFoundError:
        raise UserError(
            f"data.path must name an .npz file, a folder of pictures or {DIGITS}; there is none at {path}"
        ) from None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: not a whole .npz file with {', '.join(KEYS)} ({reason}). Copy it again"
        ) from error


def _read_digits() -> dict[str, np.ndarray]:
    """Return 1,437 and 360 digits of 8 by 8, float32 from 0 to 1; the same share of each in both parts."""
    # 1 s to import, and only this source needs it.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        (images.reshape(-1, 8, 8) / 16).astype(np.float32),
        labels.astype(np.int32),
        test_size=360,
        stratify=labels,
        random_state=0,
    )
    return dict(zip(("x_train", "x_test", "y_train", "y_test"), parts, strict=True))


def _read_folder(folder: Path) -> dict[str, np.ndarray]:
    labels = {place.name: label for label, place in enumerate(_inside(folder / "train", pictures=False))}
    files: dict[str, list[Path]] = {"train": [], "test": []}
    for part, found in files.items():
        for place in _inside(folder / part, pictures=False):
            if place.name not in labels:
                raise UserError(f"{place}: test/ must hold classes of train/ only. Received: {place.name}")
            found += _inside(place, pictures=True)
    first = files["train"][0]
    expected, arrays = _read_picture(first), {NAMES: np.array(list(labels))}
    for part, found in files.items():
        x = np.empty((len(found), *expected.shape), np.uint8)
        y = np.empty(len(found), np.int32)
        # The files are listed by class, and data.limit_test takes the first images.
        for place, path in zip(np.random.default_rng(0).permutation(len(found)), found, strict=True):
            picture = _read_picture(path)
            if picture.shape != expected.shape:
                raise UserError(
                    f"{path}: all pictures must be of one size, all grey or all in colour. "
                    f"Received: {_describe(picture)}, where {first} has {_describe(expected)}"
                )
            x[place], y[place] = picture, labels[path.parent.name]
        arrays |= {f"x_{part}": x, f"y_{part}": y}
    return arrays


def _inside(folder: Path, pictures: bool) -> list[Path]:
    """Return the pictures, or else the folders, in a folder by name; what is hidden is passed over."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder. data.path needs train/CLASS/ and test/CLASS/")
    found = sorted(folder.iterdir(), key=lambda path: path.name)
    found = [path for path in found if not path.name.startswith(".")]
    wanted = "PNG, JPEG or BMP pictures" if pictures else "a folder for each class"
    for path in found:
        if not (path.suffix.lower() in PICTURES if pictures else path.is_dir()):
            raise UserError(f"{path}: {folder.name}/ must hold {wanted} and nothing else. Take it out")
    if not found:
        raise UserError(f"{folder}: must hold {wanted}. Received: an empty folder")
    return found


def _read_picture(path: Path) -> np.ndarray:
    from PIL import Image  # only this source needs it

    try:
        with Image.open(path, formats=("PNG", "JPEG", "BMP")) as image:
            mode = image.mode + " with transparency" * ("transparency" in image.info)
            if mode in MODES:
                return np.asarray(image.convert(MODES[mode]))
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a whole PNG, JPEG or BMP picture ({reason}). Copy it again") from error
    raise UserError(f"{path}: must be of mode L or 1 (grey), RGB or P (in colour). Received: mode {mode}")


def _describe(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]} pixels {'in colour' if picture.ndim == 3 else 'in grey'}"
