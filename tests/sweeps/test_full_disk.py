"""A disk that is full, for one run and for a sweep: a file system of some megabytes, in memory."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import SMALL, runs_in
from handwriting.config import TrackingConfig

WORDS = (*SMALL, "model=mlp", "model.units=16", "batch_size=500", "epochs=30", "threads=1")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(disk: Path, limit: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{limit}", str(disk)], check=True)


def start(disk: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "handwriting.train", *words, *WORDS, f"tracking.uri={uri_of(disk)}"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, encoding="utf-8")


def uri_of(disk: Path) -> str:
    return f"sqlite:///{disk}/mlflow.db"


def errors(process: subprocess.Popen[str]) -> list[str]:
    """Wait for a command that fails; return its errors, one line each."""
    _, said = process.communicate()
    assert process.returncode == 1, said
    assert "Traceback" not in said
    return [line.partition("error: ")[2] for line in said.splitlines() if "error: " in line]


def test_a_full_disk_is_said_in_one_line_and_with_more_space_the_same_command_goes_on(disk: Path) -> None:
    run = start(disk)
    while run.poll() is None and not list(disk.glob("checkpoints/*/*.npz")):
        time.sleep(0.02)
    with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    (said,) = errors(run)
    assert "What was stored is whole" in said
    (said,) = errors(start(disk))
    assert str(disk) in said

    # There is space, and of new files one for the job's folder, none for its log.
    (disk / "filler").unlink()
    state = os.statvfs(disk)
    used = state.f_files - state.f_ffree
    remount(disk, f"nr_inodes={used + 1}")
    (said,) = errors(start(disk, "seed=1"))
    assert "train.log cannot be used: No space left on device" in said
    # The sweep's own process has two open beside the database: its workers cannot make the jobs' folders.
    remount(disk, f"nr_inodes={used + 3}")
    said_of_each = errors(start(disk, "-m", "seed=1,2", "hydra.launcher.jobs=2"))
    assert len(said_of_each) == 2
    assert all(f"{disk}/jobs" in said for said in said_of_each)

    remount(disk, "nr_inodes=10000,size=200m")
    again = start(disk)
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert "goes on after epoch" in said
    (resumed,) = runs_in(TrackingConfig(uri_of(disk), "handwriting"))
    assert resumed.info.status == "FINISHED"
    assert "resumes" in resumed.data.tags
