"""What is stored of a checkout."""

import subprocess
from pathlib import Path

import mlflow
import pytest

from conftest import Opened
from handwriting.tracking import provenance
from handwriting.tracking.run import tracked_run


def test_changes_and_names_in_any_encoding_are_stored_byte_by_byte(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        own = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        subprocess.run(["git", *own, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "notes.txt").write_bytes(b"")
    git("add", ".")
    git("commit", "-m", "first")
    (tmp_path / "notes.txt").write_bytes(b"caf\xe9 in Latin-1\n")
    (tmp_path / "café.txt").write_bytes(b"untracked")
    (tmp_path / "elsewhere").symlink_to(tmp_path.parent)  # which git names as a file
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.png").write_bytes(b"an image")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr("handwriting.tracking.run.ROOT", tmp_path)
    state = provenance.git_state()
    assert state.dirty == "true"
    with tracked_run(*opened, "run", {}) as run:
        run.log_code(state, {}, data=tmp_path / "pictures")
    stored = Path(mlflow.artifacts.download_artifacts(run_id=run.id, artifact_path="process-0"))
    assert b"\n+caf\xe9 in Latin-1" in (stored / "uncommitted.diff").read_bytes()
    assert [path.name for path in (stored / "untracked").iterdir()] == ["café.txt"], "no images"
    assert (stored / "untracked" / "café.txt").read_bytes() == b"untracked"
