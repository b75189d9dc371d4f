"""Where images come from: an .npz file, a folder of pictures, or scikit-learn's digits."""

import io
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from handwriting.errors import UserError

if TYPE_CHECKING:  # only a folder of pictures needs it
    from PIL import Image

KEYS, NAMES = ("x_train", "y_train", "x_test", "y_test"), "class_names"
DIGITS = "sklearn:digits"
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
# Pillow's modes as we read them: grey (n, h, w) or colour (n, h, w, 3).
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}
LARGEST_HEADER = 1000  # characters of an array's header; NumPy writes 118, and is slow on 9,000 brackets
LARGEST_READ = 8_000_000  # bytes at once: NumPy asks for 256 KiB, zipfile for the names of all members


@dataclass(frozen=True)
class Stored:
    """An array of a source that is not read yet: what its header says, and how to read it.

    Args:
        read: returns the array, as it is stored; raises UserError where it is not whole.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    @property
    def size(self) -> int:
        """The number of values; no overflow, as a header may say anything."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The memory that the array takes as it is stored."""
        return self.size * self.dtype.itemsize


def open_arrays(path: str) -> dict[str, Stored]:
    """Return x_train, y_train, x_test, y_test and, where the source has them, class_names, not read yet.

    Args:
        path: an .npz file with these arrays; a folder with train/CLASS/ and test/CLASS/, which hold pictures
            (PNG, JPEG, BMP) of one size, all grey or all in colour; or "sklearn:digits".

    Raises:
        UserError: there is no such source, or it cannot be read; says which file and why.
    """
    source = Path(path)
    if path == DIGITS:
        return _open_digits()
    return _open_folder(source) if source.is_dir() else _open_npz(source)


def signature(path: str) -> int:
    """Return a number that changes, within one process, when a file of the source changes.

    Raises:
        UserError: a folder holds what does not belong there.
    """
    source = Path(path)
    files = [source] if source.exists() else []
    if source.is_dir():
        files = [file for pictures in _list_pictures(source).values() for file in pictures]
    stats = [(str(file), os.stat(file)) for file in files]
    return hash(tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


# .npz files


def _open_npz(path: Path) -> dict[str, Stored]:
    if not path.exists():
        raise UserError(
            f"data.path must name an .npz file, a folder of pictures or {DIGITS}; there is none at {path}"
        )
    if not path.is_file():  # a pipe would have its reader wait for ever
        raise UserError(
            f"data.path must name an .npz file, a folder of pictures or {DIGITS}; "
            f"{path} is a pipe, a socket or a device"
        )
    with _archive(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        if set(KEYS) <= set(members):
            return {
                key: _read_header(archive, path, members[key]) for key in (*KEYS, NAMES) if key in members
            }
    received = ", ".join(sorted(members)[:10]).replace("\n", " ") or "none"
    more = f" and {len(members) - 10} more" if len(members) > 10 else ""
    raise UserError(f"{path}: expected the arrays {', '.join(KEYS)}. Received: {received}{more}")


def _read_header(archive: zipfile.ZipFile, path: Path, name: str) -> Stored:
    """Read a member's header, and hold it against what the archive says of the member."""
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Of another method zipfile unpacks 4 KiB at once, and they may hold gigabytes.
        raise UserError(f"{path}: {name} must be packed as numpy.savez or numpy.savez_compressed packs it")
    with archive.open(name) as member:
        head = io.BytesIO(member.read(LARGEST_HEADER + 12))  # and what stands before the text
    version = np.lib.format.read_magic(head)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(head, LARGEST_HEADER)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(head, LARGEST_HEADER)
    stored = Stored(dtype, shape, partial(_read_member, path, name))
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    stated = head.tell() + stored.nbytes
    if stated != info.file_size:
        raise ValueError(f"{name} has {info.file_size} bytes, where its header states {stated}")
    return stored


def _read_member(path: Path, name: str) -> np.ndarray:
    with _archive(path) as archive, archive.open(name) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


class _File(io.FileIO):
    """A file that is not read at one go: an archive's list of names may take gigabytes too."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_READ:
            raise UserError(
                f"{self.name}: an .npz file holds a few arrays. This has a list of {size:,} bytes"
            )
        return super().read(size)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an .npz file; what goes wrong with it is said in one line."""
    try:
        with _File(path) as raw, zipfile.ZipFile(raw) as archive:
            yield archive
    except (UserError, MemoryError):
        raise
    except Exception as error:  # NumPy and zipfile have a dozen kinds for a damaged file
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: not a whole .npz file with {', '.join(KEYS)} ({reason}). Copy it again"
        ) from error


# scikit-learn's digits


def _open_digits() -> dict[str, Stored]:
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
    return dict(zip(("x_train", "x_test", "y_train", "y_test"), map(_held, parts), strict=True))


def _held(array: np.ndarray) -> Stored:
    return Stored(array.dtype, array.shape, lambda: array)


# Folders of pictures


def _open_folder(folder: Path) -> dict[str, Stored]:
    files = _list_pictures(folder)
    first = files["train"][0]
    with _picture(first) as image:
        shape = _shape(image)
    names = sorted({path.parent.name for path in files["train"]})
    labels = {name: label for label, name in enumerate(names)}
    arrays = {NAMES: _held(np.array(names))}
    for part, found in files.items():
        y = np.empty(len(found), np.int32)
        y[_places(found)] = [labels[path.parent.name] for path in found]
        read = partial(_read_pictures, found, first, shape)
        arrays |= {f"x_{part}": Stored(np.dtype(np.uint8), (len(found), *shape), read), f"y_{part}": _held(y)}
    return arrays


def _read_pictures(files: list[Path], first: Path, shape: tuple[int, ...]) -> np.ndarray:
    x = np.empty((len(files), *shape), np.uint8)
    for place, path in zip(_places(files), files, strict=True):
        with _picture(path) as image:
            if _shape(image) != shape:
                raise UserError(
                    f"{path}: all pictures must be of one size, all grey or all in colour. "
                    f"Received: {_describe(_shape(image))}, where {first} has {_describe(shape)}"
                )
            x[place] = np.asarray(image.convert(MODES[image.mode]))
    return x


def _places(files: list[Path]) -> np.ndarray:
    """Return each picture's place: they are listed by class, and data.limit_test takes the first images."""
    return np.random.default_rng(0).permutation(len(files))


def _list_pictures(folder: Path) -> dict[str, list[Path]]:
    """Return the pictures of train/ and of test/, by class and name; nothing else may be there."""
    classes = {place.name for place in _inside(folder / "train", pictures=False)}
    files: dict[str, list[Path]] = {"train": [], "test": []}
    for part, found in files.items():
        for place in _inside(folder / part, pictures=False):
            if place.name not in classes:
                raise UserError(f"{place}: test/ must hold classes of train/ only. Received: {place.name}")
            found += _inside(place, pictures=True)
    return files


def _inside(folder: Path, pictures: bool) -> list[Path]:
    """Return the pictures, or else the folders, in a folder by name; what is hidden is passed over."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder. data.path needs train/CLASS/ and test/CLASS/")
    with os.scandir(folder) as entries:  # it knows files from pipes without asking for each
        found = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    wanted = "PNG, JPEG or BMP pictures" if pictures else "a folder for each class"
    for entry in found:
        picture = entry.name.lower().endswith(PICTURES) and entry.is_file()
        if not (picture if pictures else entry.is_dir()):
            raise UserError(f"{entry.path}: {folder.name}/ must hold {wanted} and nothing else. Take it out")
    if not found:
        raise UserError(f"{folder}: must hold {wanted}. Received: an empty folder")
    return [folder / entry.name for entry in found]


@contextmanager
def _picture(path: Path) -> Iterator["Image.Image"]:
    """Open a picture and read its header; what goes wrong, also in reading the rest, is said in one line."""
    from PIL import Image  # only this source needs it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG", "BMP")) as image:
                mode = image.mode + " with transparency" * ("transparency" in image.info)
                if mode not in MODES:
                    raise UserError(
                        f"{path}: must be of mode L or 1 (grey), RGB or P (in colour). Received: mode {mode}"
                    )
                yield image
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: too large a picture ({error})") from error
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a whole PNG, JPEG or BMP picture ({reason}). Copy it again") from error


def _shape(image: "Image.Image") -> tuple[int, ...]:
    return (image.height, image.width, 3) if MODES[image.mode] == "RGB" else (image.height, image.width)


def _describe(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels {'in colour' if len(shape) == 3 else 'in grey'}"
