"""A store in a real PostgreSQL, which processes write to and read without a server of MLflow's between."""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Metric

from clusters import AS_WRITTEN, PROGRAMS, SHOWN, SKIPPED, Cluster
from conftest import SMALL
from handwriting.compare.load import load_runs
from handwriting.config import ROOT
from handwriting.errors import UserError
from handwriting.tracking import ROOT_SETTING, Store, names
from handwriting.tracking.run import Run, tracked_run

IMAGES = np.zeros((4, 6, 6), np.uint8)

pytestmark = [
    pytest.mark.skipif(not PROGRAMS, reason=SKIPPED),
    pytest.mark.skipif(not importlib.util.find_spec("psycopg"), reason="psycopg is missing: make extras"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def whole(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a store that three machines made at once, one of which was killed while it did."""
    uri = cluster.database("whole")
    processes = []
    for number in range(3):
        env = os.environ | {ROOT_SETTING: str(tmp_path_factory.mktemp("artifacts"))}
        code = MACHINE if number else f"{DIES}{MACHINE}"
        command = [sys.executable, "-c", code, uri, str(tmp_path_factory.mktemp("machine"))]
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        if number:
            processes.append(process)
        else:  # it leaves MLflow's first tables
            assert (process.communicate()[0], process.returncode) == ("", -9)
    assert [process.communicate()[0] for process in processes] == ["1\n"] * 2
    return uri


# Another machine's folder has another lock.
MACHINE = """
import sys, pathlib
from handwriting.tracking import Store
store = Store(sys.argv[1])
store.folder = pathlib.Path(sys.argv[2])
print(store.open_experiment("first"))
"""
DIES = """
import os
from sqlalchemy import Engine, event
statements = iter(range(300))
def die(*_):
    if next(statements, 0) == 299:
        os.kill(os.getpid(), 9)
event.listen(Engine, "before_cursor_execute", die)
"""


def test_machines_that_make_a_store_at_once_make_one(whole: str) -> None:
    found = Store(whole).client.search_experiments()
    assert sorted(experiment.name for experiment in found) == ["Default", "first"]


def test_files_go_where_it_is_said_and_never_into_the_current_directory(
    whole: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(ROOT_SETTING, raising=False)
    unnamed = rf"where the files of runs go must be named .* {ROOT_SETTING}=s3://BUCKET/FOLDER, or a folder"
    with pytest.raises(UserError, match=unnamed):
        Store(cluster.database("empty")).check()
    with pytest.raises(UserError, match=unnamed):
        Store(whole).open_experiment("second")
    for wrong in ("relative/folder", "ftp://me:geheim@host/folder"):
        monkeypatch.setenv(ROOT_SETTING, wrong)
        with pytest.raises(UserError, match=rf"it must be {ROOT_SETTING}=s3") as refused:
            Store(whole).open_experiment("second")
        assert "geheim" not in str(refused.value)
    monkeypatch.setenv(ROOT_SETTING, str(tmp_path))
    Store(whole).open_experiment("second")
    places = {found.name: found.artifact_location for found in Store(whole).client.search_experiments()}
    assert places["second"] == str(tmp_path)
    assert not [place for place in places.values() if place.startswith(str(Path.cwd()))]


def test_a_run_is_the_same_in_postgresql_as_in_sqlite(
    whole: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ROOT_SETTING, str(tmp_path / "shared"))
    loaded = []
    for store in (Store(whole), Store(f"sqlite:///{tmp_path}/mlflow.db")):
        experiment = store.open_experiment("signs")
        for seed in range(2):
            tags = {names.SWEEP: "signs-0123abcd", names.FINGERPRINT: f"known by {seed}"}
            with tracked_run(store, experiment, f"adam seed {seed}", tags) as run:
                run.log_params({"seed": seed, "optimizer": "adam", "optimizer.epsilon": 1e-7})
                run.log_dataset("signs", "signs.npz", IMAGES, np.arange(4), "5" * 64)
                for epoch in range(3):
                    run.log_epoch({names.VAL_LOSS: 1 / (epoch + seed + 3), names.LOSS: float("nan")}, epoch)
                run.log_metrics({names.TEST_ACCURACY: 0.1 + 0.2, names.TRAINING_SECONDS: 1e-300}, 2)
                run.log_text("seed: 0\n", "config.yaml")
        found = load_runs(store)
        assert found.sweep == "signs-0123abcd"
        address = f"{found.runs['artifact_uri'][0]}/config.yaml"
        assert mlflow.artifacts.load_text(address) == "seed: 0\n"
        order = found.runs.set_index("run_id")["params.seed"]
        epochs = found.epochs.assign(run_id=found.epochs["run_id"].map(order))
        loaded.append((found.runs, epochs.sort_values(["run_id", "epoch"], ignore_index=True)))
    (runs, epochs), (sqlite_runs, sqlite_epochs) = loaded
    own = ["run_id", "experiment_id", "start_time", "artifact_uri"]
    pd.testing.assert_frame_equal(runs.drop(columns=own), sqlite_runs.drop(columns=own), check_like=True)
    pd.testing.assert_frame_equal(epochs, sqlite_epochs)


def test_machines_that_name_a_data_set_at_once_name_one(
    whole: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ROOT_SETTING, str(tmp_path))
    start = 8
    machines = [Store(whole) for _ in range(start)]
    for number, machine in enumerate(machines):
        machine.folder = tmp_path / str(number)  # another machine's folder has another lock
    experiment = machines[0].open_experiment("at once")
    for attempt in range(5):
        runs = [Run(one, one.client.create_run(experiment).info.run_id, "") for one in machines]
        together = threading.Barrier(start)

        def name_it(run: Run, together: threading.Barrier, name: str) -> None:
            together.wait()
            run.log_dataset(name, "signs.npz", IMAGES, np.arange(4), "5" * 64)

        with ThreadPoolExecutor(start) as pool:
            list(pool.map(name_it, runs, [together] * start, [f"signs {attempt}"] * start))
        found = [machines[0].client.get_run(run.id).inputs for run in runs]
        names_of = [[used.dataset.name for used in each.dataset_inputs] for each in found if each]
        assert names_of == [[f"signs {attempt}"]] * start


def test_of_two_values_of_an_epoch_the_later_counts(
    whole: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ROOT_SETTING, str(tmp_path))
    store = Store(whole)
    run = store.client.create_run(store.open_experiment("twice")).info.run_id
    for when in (2000, 1000):
        store.client.log_batch(run, [Metric(names.VAL_LOSS, when, when, 0)])
    assert list(load_runs(store, experiment="twice").epochs[names.VAL_LOSS]) == [2000]


@pytest.mark.parametrize(("old", "new", "said"), [
    ("{password}", "wrong-one", 'failed: FATAL: password authentication failed for user "me"$'),
    ("/whole", "/gone", 'failed: FATAL: database "gone" does not exist$'),
    ("127.0.0.1", "no.invalid", "failed to resolve host 'no.invalid': "),
    ("127.0.0.1:", "127.0.0.1:9", "(invalid port number|Connection refused)"),
    ("{password}", "{password}@", "the signs @ / .* are written as %40 %2F"),
    ("{password}", "{password}/", "the signs @ / .* are written as %40 %2F"),
    ("{password}@127.0.0.1", "{password}", "the address of a database is KIND://NAME:PASSWORD@HOST"),
    ("postgresql", "postgres", r"Received: postgres://\*\*\*@\S+ Did you mean 'postgresql'\?$"),
    ("postgresql", "postgresql+psycopg2", "needs psycopg2, which .* psycopg 3 takes the same address"),
    ("postgresql", "mysql", "mysql:// needs MySQLdb, which is not installed$"),
])  # fmt: skip
def test_a_mistake_is_one_line_without_the_password(whole: str, old: str, new: str, said: str) -> None:
    uri = whole.replace(old.format(password=AS_WRITTEN), new.format(password=AS_WRITTEN))
    assert uri != whole
    with pytest.raises(UserError, match=said) as refused:
        Store(uri).check()
    text = str(refused.value)
    assert "\n" not in text
    assert not [part for part in (*SHOWN, "wrong-one") if part in text]


def test_the_driver_may_be_named(whole: str) -> None:
    Store(whole.replace("postgresql", "postgresql+psycopg")).check(made=True)


def test_without_the_driver_it_is_one_line_before_mlflow_is_imported(whole: str, tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError(name='psycopg')")
    code = (
        "import sys; from handwriting.report import main\n"
        "try: main()\nfinally: print(*{'mlflow', 'tensorflow'} & set(sys.modules))"
    )
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, "--uri", whole], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "\n")
    needs = "psycopg 3, which is not installed: make extras, or pip install 'psycopg[binary]'"
    assert done.stderr == f"error: postgresql:// needs {needs}\n"


def test_a_report_of_a_database_without_runs_makes_nothing_in_it(cluster: Cluster) -> None:
    uri = cluster.database("bare")
    with pytest.raises(UserError, match=r"there is no store postgresql://\*\*\*@\S+/bare yet"):
        Store(uri).check(made=True)
    assert "CREATE TABLE" not in cluster.dump("bare")


def test_training_leaves_the_password_nowhere(cluster: Cluster, tmp_path: Path) -> None:
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, tmp_path / "checkout" / name)
    uri = cluster.database("trained")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}/checkout/src", ROOT_SETTING: str(tmp_path / "files")}
    command = [sys.executable, "-m", "handwriting.train", *SMALL, "model=mlp", "epochs=1"]
    done = subprocess.run(
        command, cwd=tmp_path / "checkout", env=env | {"MLFLOW_TRACKING_URI": uri},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (model,) = (tmp_path / "files").rglob("model.keras")
    dump = cluster.dump("trained")
    assert "FINISHED" in dump
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != model]
    for part in SHOWN:
        assert part not in done.stdout + done.stderr + dump
        assert not [text for text in files if part.encode() in text]


def test_a_database_that_goes_away_ends_a_run_in_one_line_and_the_next_goes_on(
    cluster: Cluster, whole: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ROOT_SETTING, str(tmp_path))
    store = Store(whole)
    experiment = store.open_experiment("signs")

    def lose() -> None:
        with store.errors(), tracked_run(store, experiment, "gone", {}) as run:
            run.log_metrics({names.LOSS: 1.0}, 0)
            cluster.stop()
            run.log_metrics({names.LOSS: 0.5}, 1)

    with pytest.raises(UserError, match=r"What was stored is whole") as ended:
        lose()
    assert not [part for part in SHOWN if part in str(ended.value)]
    assert str(ended.value).count("\n") == 0
    cluster.start()
    (run,) = store.client.search_runs([experiment], "attributes.run_name = 'gone'")
    assert [point.value for point in store.client.get_metric_history(run.info.run_id, names.LOSS)] == [1.0]
    with tracked_run(store, experiment, "gone", {}, run.info.run_id) as again:
        again.log_metrics({names.LOSS: 0.5}, 1)
    assert store.client.get_run(run.info.run_id).info.status == "FINISHED"
