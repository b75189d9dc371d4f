"""A store whose folder is moved, copied and moved back: its models, its runs, its report and its UI."""

import shutil
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking._tracking_service import utils
from omegaconf import DictConfig
from small_runs import interrupted

from conftest import CHOICES, SMALL, fit_tracked, runs_in
from handwriting.compare import report
from handwriting.config import TrackingConfig, compose
from handwriting.data import Dataset
from handwriting.tracking import Store, names
from handwriting.tracking.model import load_model
from handwriting.training.checkpoint import weights_digest
from servers import free_port
from test_ui import Server

MINE = (*SMALL, "model=mlp", "model.units=16", "epochs=3")


def uri(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def config(folder: Path, optimizer: str, seed: int) -> DictConfig:
    cfg = compose(*MINE, f"optimizer={optimizer}", f"seed={seed}")
    cfg.tracking = TrackingConfig(uri(folder), "moved", sweep="two")
    return cfg


def train(folder: Path, dataset: Dataset, optimizer: str, seed: int) -> Run:
    return fit_tracked(config(folder, optimizer, seed), dataset, {**CHOICES, "optimizer": optimizer})


def places(folder: Path) -> list[str]:
    """Return where a store's experiments, runs and models say that they are."""
    columns = {
        "experiments": "artifact_location",
        "runs": "artifact_uri",
        "logged_models": "artifact_location",
    }
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return [
            address
            for table, column in columns.items()
            for (address,) in database.execute(f"SELECT {column} FROM {table}")  # noqa: S608
        ]


def as_a_new_process() -> None:
    """Let MLflow forget where each run's artifacts are: no process goes on with a run while it is moved."""
    utils._artifact_repos_cache.clear()


def all_is_well_in(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[Run]:
    """Load every model, and make the report; return the finished runs."""
    store = Store(uri(folder))
    finished = [run for run in runs_in(TrackingConfig(store.uri, "moved")) if run.info.status == "FINISHED"]
    for run in finished:
        model = load_model(store, run.info.run_id)
        assert weights_digest(model) == run.data.tags[names.FINAL_WEIGHTS]
    page = report(store, "two")
    assert page.is_relative_to(folder)
    assert page.read_text().count('alt="What ') == 2, "the pictures of the runs are found"
    assert "too few seeds to tell" in capsys.readouterr().out
    assert all(place.startswith(f"{folder.as_uri()}/artifacts") for place in places(folder))
    return finished


def test_a_store_works_wherever_it_is(
    tmp_path: Path,
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second, copy = (tmp_path / name / "mlruns" for name in ("my clone's, 100%é", "moved", "copied"))
    for optimizer in ("adam", "sgd"):
        train(first, dataset, optimizer, seed=0)
    interrupted(config(first, "adam", seed=1), dataset, monkeypatch, epoch=2)
    assert len(all_is_well_in(first, capsys)) == 2
    assert "moved or copied" not in caplog.text

    # Moved: the earlier runs are there, and one is gone on with.
    number = len(places(first))
    first.parent.rename(second.parent)
    as_a_new_process()
    assert train(second, dataset, "adam", seed=1).data.tags[names.RESUMES] == "1"
    (said,) = [message for message in caplog.messages if "moved or copied" in message]
    assert said == f"the store was moved or copied from {first}: {number} addresses name {second} now"
    assert len(all_is_well_in(second, capsys)) == 3
    assert not first.exists(), "nothing is written to where it was"

    # Copied: what is written to the copy is not written to the other.
    shutil.copytree(second.parent, copy.parent)
    as_a_new_process()
    before = {path: path.stat().st_mtime_ns for path in second.rglob("*")}
    train(copy, dataset, "sgd", seed=1)
    assert len(all_is_well_in(copy, capsys)) == 4
    assert {path: path.stat().st_mtime_ns for path in second.rglob("*")} == before
    as_a_new_process()
    assert len(all_is_well_in(second, capsys)) == 3

    # Moved back, and shown.
    shutil.rmtree(copy.parent)
    second.parent.rename(first.parent)
    as_a_new_process()
    run = all_is_well_in(first, capsys)[0].info.run_id
    server = Server(uri(first), tmp_path, "--port", str(free_port()))
    try:
        address = f"http://127.0.0.1:{server.port}/get-artifact?path={names.MISTAKES}&run_uuid={run}"
        with urllib.request.urlopen(address, timeout=20) as picture:
            assert picture.read(8) == b"\x89PNG\r\n\x1a\n"
    finally:
        server.kill()
