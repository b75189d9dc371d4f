"""A folder or zip in its place: whole, with the SHA-256 of each file, and instead of nothing but its like."""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from handwriting.errors import UserError
from handwriting.tracking.signals import signals_held

SUMS, ABOUT = "SHA256SUMS", "README.txt"
MARK = "handwriting: the result of a sweep"  # begins README.txt
ZIP = ".zip"
SCRATCH = ".new-"  # begins the name of a folder that is there for a while


def check_place(place: Path) -> None:
    """Make sure that a bundle can be put in a place, and that nothing is lost there.

    Raises:
        UserError: the folder of the place is not there or takes nothing; or what is in the place is no
            bundle, or one with a file that was added or changed.
    """
    with scratch_in(place.parent):
        pass
    if os.path.lexists(place) and not _is_bundle(place) and not _is_empty(place):
        raise UserError(
            f"{place}: what is there is no result of a sweep as it was written, so it stays. Name another "
            "FILE, or remove it"
        )


@contextmanager
def scratch_in(folder: Path) -> Iterator[Path]:
    """Yield a new folder within another, which is gone afterwards; errors as of `disk_errors`."""
    with disk_errors(folder), TemporaryDirectory(prefix=SCRATCH, dir=folder) as scratch:
        yield Path(scratch)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Say in one line why a folder takes nothing, or no more.

    Raises:
        UserError: instead of the operating system's errors; a server's are let through.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder") from error
        where = str(error.filename2 or error.filename or folder)
        where = str(folder) if where.startswith(f"{folder / SCRATCH}") else where
        raise UserError(f"{where}: {error.strerror}. What was there stays") from error


def put(made: Path, place: Path, scratch: Path, name: str, at: datetime) -> None:
    """Add the checksums of a folder's files, and put it in its place: as it is, or as a zip.

    Args:
        made: the folder.
        place: where it goes; a name that ends in .zip is one.
        scratch: a folder on the same disk.
        name: of the folder within a zip.
        at: the time that each file in a zip has, UTC.
    """
    sums = "".join(f"{digest}  {file}\n" for file, digest in sorted(_digests(made)))
    (made / SUMS).write_text(sums, encoding="utf-8")
    if place.suffix.lower() == ZIP:
        _write_zip(made, scratch / "made.zip", name, at)
        check_place(place)
        os.replace(scratch / "made.zip", place)
        return
    check_place(place)
    with signals_held():
        before = scratch / "before"
        if place.exists():
            place.rename(before)
        try:
            made.rename(place)
        except OSError:
            if before.exists():
                before.rename(place)
            raise


def _write_zip(made: Path, file: Path, name: str, at: datetime) -> None:
    """Write a zip that is the same to the byte where its files are."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in _files(made):
            entry = zipfile.ZipInfo(f"{name}/{path.relative_to(made).as_posix()}", at.timetuple()[:6])
            entry.external_attr, entry.create_system = 0o100644 << 16, 3  # as from Unix, readable by all
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


def _is_empty(place: Path) -> bool:
    return place.is_dir() and not any(place.iterdir()) and place.suffix.lower() != ZIP


def _is_bundle(place: Path) -> bool:
    """Tell whether a folder or zip is one of ours with all its files as they were, and none beside them."""
    try:
        if place.suffix.lower() != ZIP:
            if not (place / ABOUT).read_text(encoding="utf-8").startswith(MARK):
                return False
            sums = (place / SUMS).read_text(encoding="utf-8")
            return _agree(sums, _digests(place))
        with zipfile.ZipFile(place) as archive:
            (name,) = {PurePosixPath(entry).parts[0] for entry in archive.namelist()}
            if not archive.read(f"{name}/{ABOUT}").startswith(MARK.encode()):
                return False
            found = (
                (entry.removeprefix(f"{name}/"), hashlib.sha256(archive.read(entry)).hexdigest())
                for entry in archive.namelist()
            )
            return _agree(archive.read(f"{name}/{SUMS}").decode(), found)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # another file, or a broken one
        return False


def _agree(sums: str, digests: Iterator[tuple[str, str]]) -> bool:
    """Tell whether files are those of a list of checksums; end at the first that is not."""
    known = {file: digest for digest, _, file in (line.partition("  ") for line in sums.splitlines())}
    return all(known.pop(file, None) == digest for file, digest in digests if file != SUMS) and not known


def _files(folder: Path) -> Iterator[Path]:
    """Return all that is in a folder and in those within it, but for folders, in the order of their names."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in _files(folder):
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        yield path.relative_to(folder).as_posix(), digest
