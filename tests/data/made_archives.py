""".npz files as none should be, and what it may cost to refuse them."""

import io
import signal
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from handwriting.config import DataConfig
from handwriting.data import dataset_digest
from handwriting.errors import UserError

GOOD = {
    "x_train": np.zeros((40, 28, 28), np.uint8),
    "y_train": np.arange(40, dtype=np.uint8) % 10,
    "x_test": np.zeros((10, 28, 28), np.uint8),
    "y_test": np.arange(10, dtype=np.uint8),
}
GB, MB = 2**30, 2**20


@dataclass(frozen=True)
class Bomb:
    """A member that begins as it says and goes on with zeros, a thousand of them in a byte."""

    beginning: bytes
    zeros: int


@dataclass(frozen=True)
class Claim:
    """A member that is said to have another size than it has."""

    content: bytes
    size: int


def header(dtype: Any, shape: tuple[int, ...], fortran_order: bool = False) -> bytes:
    file = io.BytesIO()
    stated = {"descr": np.dtype(dtype).str, "fortran_order": fortran_order, "shape": shape}
    np.lib.format.write_array_header_1_0(file, stated)
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def bomb(dtype: Any, shape: tuple[int, ...], fortran_order: bool = False) -> Bomb:
    """Return a whole array of zeros."""
    return Bomb(header(dtype, shape, fortran_order), int(np.prod(shape)) * np.dtype(dtype).itemsize)


def claim(dtype: Any, shape: tuple[int, ...]) -> Claim:
    """Return an array of which the file's table has the right size, and the file next to nothing."""
    begin = header(dtype, shape)
    return Claim(begin + bytes(9), len(begin) + int(np.prod(shape)) * np.dtype(dtype).itemsize)


def write_archive(path: Path, **changes: Any) -> None:
    """Write a small good file with some members changed: to arrays, bytes, Bombs or Claims."""
    with zipfile.ZipFile(path, "w") as archive:
        for key, content in (GOOD | changes).items():
            name = f"{key}.npy"
            if isinstance(content, Bomb):
                archive.writestr(name, _packed(content))
                # The table of contents is written last. Its check sum stays wrong: nobody may come that far.
                info = archive.getinfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.file_size = len(content.beginning) + content.zeros
            elif isinstance(content, Claim):
                archive.writestr(name, content.content)
                archive.getinfo(name).file_size = content.size
            else:
                archive.writestr(name, content if isinstance(content, bytes) else npy(content))


def _packed(content: Bomb) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(content.beginning) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH)  # needs nothing before it
    packed += block * (content.zeros // MB)
    return packed + packer.compress(bytes(content.zeros % MB)) + packer.flush()


@contextmanager
def at_once() -> Iterator[None]:
    """Fail after two seconds, also where opening a file would wait for ever."""

    def fail(number: int, frame: FrameType | None) -> None:
        pytest.fail("not answered within two seconds")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def cheap_refusal(path: Path, validation_size: int = 10) -> str:
    """Return the one line in which a source is refused, within two seconds and 20 MB."""
    tracemalloc.start()
    try:
        with at_once(), pytest.raises(UserError) as caught:
            dataset_digest(DataConfig(path=str(path), validation_size=validation_size))
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    return str(caught.value)
