"""A store: where it lies, what refuses it, who waits for whom."""

import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pytest

from conftest import Opened, runs_in
from handwriting.config import TrackingConfig
from handwriting.errors import UserError
from handwriting.tracking import Store, default_uri, local_uri, stores_of
from handwriting.tracking.run import tracked_run


def test_a_new_store_lets_readers_and_a_writer_work_side_by_side(tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path}/new/mlflow.db").open_experiment("first")
    with closing(sqlite3.connect(tmp_path / "new/mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        places = database.execute("SELECT artifact_location FROM experiments WHERE name = 'first'").fetchall()
    assert places == [(f"file://{tmp_path}/new/artifacts",)]


@pytest.mark.parametrize("named", ["http://tracking.lab:5000", None])
def test_the_store_that_the_user_named_stays_named_beside_one_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    if named:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    else:
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
    own = Store(f"sqlite:///{tmp_path}/mlflow.db")
    own.client.search_experiments()
    assert (mlflow.get_tracking_uri(), default_uri()) == (own.uri, named or local_uri())


@pytest.mark.parametrize("uri", ["http://tracking.lab:5000", "postgresql://lab/runs"])
def test_with_a_shared_store_runs_are_written_here_unless_it_is_asked_for(uri: str) -> None:
    if uri.startswith("postgresql"):
        pytest.importorskip("psycopg", reason="make extras")
    own, shared = stores_of(TrackingConfig(uri, "signs"))
    assert shared is not None
    assert (own.uri, shared.uri) == (local_uri(), uri)
    straight, none = stores_of(TrackingConfig(uri, "signs", "direct"))
    assert (straight.uri, none) == (uri, None)
    file, none = stores_of(TrackingConfig("sqlite:////lab/mlflow.db", "signs"))
    assert (file.uri, none) == ("sqlite:////lab/mlflow.db", None)


def test_an_experiment_that_another_machine_makes_meanwhile_is_used(
    opened: Opened, tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, experiment_id = opened
    found = store.client.get_experiment_by_name
    answers = iter([None, found(tracking.experiment_name)])
    monkeypatch.setattr(store.client, "get_experiment_by_name", lambda _: next(answers))
    assert store.open_experiment(tracking.experiment_name) == experiment_id


@pytest.mark.parametrize(
    ("places", "kills", "alone"), [(6, 5, []), (2, 1, ["alone"])], ids=["ours", "MLflow's own"]
)
def test_a_process_killed_while_it_makes_a_store_leaves_one_that_the_next_can_use(
    tmp_path: Path, places: int, kills: int, alone: list[str]
) -> None:
    """Each but the first uses what those before it left: until its own moment comes, and one to its end.

    MLflow alone leaves what no command can open: it is set aside, as it holds no run, and that is said.
    """
    command = [sys.executable, str(Path(__file__).with_name("kill_creation.py")), str(tmp_path)]
    done = subprocess.run(
        [*command, str(places), str(kills), *alone], capture_output=True, text=True, check=True
    )
    ended = [line for line in done.stdout.splitlines() if line.startswith("-9")]
    assert ended == [" ".join([*["-9"] * kills, "0"])] * places, done.stdout
    for number in range(places):
        (run,) = runs_in(TrackingConfig(f"sqlite:///{tmp_path}/{number}/mlflow.db", "first"))
        assert run.info.status == "FINISHED"
        aside = list((tmp_path / str(number)).glob("mlflow.db.*"))
        assert len(aside) == len(alone)
        assert all(f"it is set aside as {path.name} and made anew" in done.stdout for path in aside)


def test_a_database_of_something_else_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    before = path.read_bytes()
    with pytest.raises(
        UserError, match=r"of something else than MLflow \(it has the table songs\)\. Name an"
    ):
        Store(f"sqlite:///{path}").check()
    assert path.read_bytes() == before


def test_a_data_set_is_made_by_one_process_at_a_time(tracking: TrackingConfig, opened: Opened) -> None:
    """MLflow looks whether it is there and then makes it: of two jobs of a first sweep, one failed."""
    images, labels = np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.int32)
    held, made = threading.Event(), []

    def make() -> None:
        with opened[0].creating():
            held.set()
            time.sleep(1)
            made.append("by another")

    with tracked_run(*opened, "run", {}) as run:
        threading.Thread(target=make).start()
        held.wait()
        run.log_dataset("mnist", "mnist.npz", images, labels, "0" * 64)
        assert made, "it waits for whoever makes something"
    (stored,) = runs_in(tracking)
    assert stored.inputs is not None
    assert [used.dataset.digest for used in stored.inputs.dataset_inputs] == ["0" * 16]


def test_a_store_that_may_only_be_read_is_refused_and_left_as_it_was() -> None:
    # Root may write everywhere, so as somebody else, who must be able to get at the folder.
    code = (
        "import os, sys; from handwriting.tracking import Store; "
        "os.getuid() or os.setuid(65534); Store(sys.argv[1]).check()"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        Store(f"sqlite:///{path}").open_experiment("first")
        before = path.read_bytes()
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        command = [sys.executable, "-c", code, f"sqlite:///{path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        Path(folder).chmod(0o755)
        assert f"the store {path} cannot be written ([Errno 13] Permission denied" in done.stderr
        assert "Make it writable, or name another one: tracking.uri=" in done.stderr
        assert path.read_bytes() == before


def test_a_deleted_experiment_is_refused_with_the_way_out(tracking: TrackingConfig, opened: Opened) -> None:
    store, experiment_id = opened
    store.client.delete_experiment(experiment_id)
    with pytest.raises(UserError, match=rf"was deleted\. Restore it .* -x {experiment_id}\), or"):
        store.open_experiment(tracking.experiment_name)
