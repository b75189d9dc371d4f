"""A result takes the place of nothing but another as it was written."""

import os
import resource
import secrets
import shutil
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from handwriting.bundling.placing import MARK, check_place, put, scratch_in
from handwriting.errors import UserError


def place(there: Path, text: str = "1") -> None:
    """Put a result of two files in a place."""
    with scratch_in(there.parent) as scratch:
        (scratch / "made" / "code").mkdir(parents=True)
        (scratch / "made" / "README.txt").write_text(f"{MARK}, mine: {text}\n")
        (scratch / "made" / "code" / "a.csv").write_text(text)
        put(scratch / "made", there, scratch, "mine", datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC))


def content(there: Path) -> object:
    """Return all that a folder or a file holds; of a link where it leads to."""
    if there.is_symlink():
        return os.readlink(there)
    if there.is_dir():
        return {path.name: content(path) for path in there.iterdir()}
    return there.read_bytes()


@pytest.mark.parametrize("name", ["result", "result.zip"])
def test_a_result_takes_the_place_of_one_before(tmp_path: Path, name: str) -> None:
    place(tmp_path / name)
    first = content(tmp_path / name)
    place(tmp_path / name, "2")
    assert content(tmp_path / name) != first
    place(tmp_path / name)
    assert content(tmp_path / name) == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    place(tmp_path / "result")
    assert (tmp_path / "result" / "code" / "a.csv").read_text() == "1"


def mine(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")


def with_a_file(folder: Path) -> None:
    place(folder)
    (folder / "code" / "notes.txt").write_text("mine")


def with_a_change(folder: Path) -> None:
    place(folder)
    (folder / "code" / "a.csv").write_text("mine")


def with_a_link(folder: Path) -> None:
    place(folder)
    (folder / "more").symlink_to(folder.parent)


def without_a_file(folder: Path) -> None:
    place(folder)
    (folder / "code" / "a.csv").unlink()


def text(file: Path) -> None:
    file.write_text("mine")


def broken(file: Path) -> None:
    place(file)
    file.write_bytes(file.read_bytes()[:-30])


def other_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mine/README.txt", "mine")


def zip_with_a_file(file: Path) -> None:
    place(file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("mine/notes.txt", "mine")


def link_to_nothing(file: Path) -> None:
    file.symlink_to("nowhere")


@pytest.mark.parametrize("name", ["result", "result.zip"])
@pytest.mark.parametrize(
    "make",
    [mine, with_a_file, with_a_change, with_a_link, without_a_file, text, broken, other_zip, zip_with_a_file,
     link_to_nothing, Path.mkdir],
)  # fmt: skip
def test_what_is_no_result_as_it_was_written_stays(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    """Also where it came while the result was made; a zip under a folder's name, and the other way round."""
    kind = "result" if "folder" in make.__code__.co_varnames else "result.zip"
    if make is Path.mkdir:
        kind, name = "result.zip", "result.zip"
    make(tmp_path / kind)
    if kind != name:
        (tmp_path / kind).rename(tmp_path / name)
    before = content(tmp_path)
    with pytest.raises(
        UserError, match="what is there is no result of a sweep as it was written, so it stays"
    ):
        check_place(tmp_path / name)
    with pytest.raises(UserError, match="so it stays"):
        place(tmp_path / name)
    assert content(tmp_path) == before


def test_where_the_new_folder_cannot_be_put_the_one_before_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path / "result")
    before, rename = content(tmp_path), Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "made":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match=r"No space left on device\. What was there stays"):
        place(tmp_path / "result", "2")
    assert content(tmp_path) == before


def test_a_disk_that_is_full_at_the_last_byte_leaves_the_zip_before(tmp_path: Path) -> None:
    """A limit on a file's size stands for a full disk: each file fits, the zip does not."""
    place(tmp_path / "result.zip")
    before, limits = content(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"File too large\. What was there stays"):
            place(tmp_path / "result.zip", secrets.token_urlsafe(29_900))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(tmp_path) == before


def test_a_folder_that_is_not_there_or_takes_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^{tmp_path}/no: there is no such folder$"):
        check_place(tmp_path / "no" / "result.zip")
    with pytest.raises(UserError, match=r"^/proc: .*\. What was there stays$"):
        check_place(Path("/proc/result.zip"))


def test_a_zip_has_one_folder_and_the_time_that_it_is_told(tmp_path: Path) -> None:
    place(tmp_path / "result.zip")
    with zipfile.ZipFile(tmp_path / "result.zip") as archive:
        assert archive.namelist() == ["mine/README.txt", "mine/SHA256SUMS", "mine/code/a.csv"]
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 1, 2, 3, 4, 6)}
    shutil.unpack_archive(tmp_path / "result.zip", tmp_path)
    assert (tmp_path / "mine" / "README.txt").stat().st_mode & 0o444 == 0o444
