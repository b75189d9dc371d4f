"""A real sweep, exported and unpacked elsewhere: whole, right, the same each time, and without secrets."""

import base64
import os
import re
import resource
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from omegaconf import OmegaConf

from handwriting.bench.synthetic import EXPERIMENT, SWEEP, fill
from handwriting.bundling.bundle import bundle
from handwriting.bundling.records import DIFF
from handwriting.config import ROOT
from handwriting.errors import UserError
from handwriting.hosting import PROXIED
from handwriting.tracking import Store
from servers import Server, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Of an address, a token and code; each time others, as the store gets what git does not track: these lines.
SECRETS = [secrets.token_hex(8) for _ in range(3)]
DIARY = f"""
import keras

TOKEN = "{SECRETS[2]}"


class Diary(keras.callbacks.Callback):
    def __init__(self, address, token):
        super().__init__()
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with a sweep of four runs, and secrets where a user may have them."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "diary.py").write_text(DIARY)
    shutil.copy(ROOT / "src/handwriting/data/mnist.npz", folder / "mine.npz")
    store = Store(f"sqlite:///{folder}/mlruns/mlflow.db")
    words = [
        "optimizer=rmsprop,adam", "seed=0,1", "model=mlp", "model.units=16", "epochs=1",
        "data.limit_train=500", "data.limit_test=200", "data.validation_size=100",
        f"data.path={folder}/mine.npz",
        "callbacks=[{_target_: diary.Diary, "
        f"address: 'https://me:{SECRETS[0]}@log.example/x', token: {SECRETS[1]}}}]",
        f"tracking.uri={store.uri}", f"hydra.sweep.dir={folder}/jobs",
        "hydra.launcher.jobs=1",
    ]  # fmt: skip
    command = [sys.executable, "-m", "handwriting.train", "-m", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return store


@pytest.fixture(scope="module")
def packed(swept: Store) -> Path:
    return bundle(swept)


@pytest.fixture(scope="module")
def unpacked(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the zip's one folder, in another place."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    (only,) = folder.iterdir()
    return only


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with four synthetic runs."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('filled')}/mlflow.db")
    fill(store, 4)
    return store


def runs_of(store: Store) -> list[Run]:
    experiments = store.client.search_experiments(filter_string="name = 'handwriting'")
    return list(store.client.search_runs([experiments[0].experiment_id]))


def config(file: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(file))


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "handwriting.bundle", *words]


def test_every_file_has_its_checksum_and_nothing_is_a_model_or_a_pickle(unpacked: Path, packed: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"],
        cwd=unpacked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    checked = {line.removesuffix(": OK") for line in done.stdout.splitlines()}
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert files == checked | {"SHA256SUMS"}
    kinds = {Path(file).suffix for file in files if not file.startswith("code/changes-")}
    assert kinds == {"", ".txt", ".html", ".md", ".csv", ".png", ".svg", ".pdf", ".yaml", ".json", ".lock"}
    assert packed.parent.name == "exports"
    assert packed.stem == unpacked.name


def test_the_page_opens_by_itself_with_all_its_pictures_and_files(unpacked: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="make test installs it")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    wrong: list[str] = []
    address = (unpacked / "report.html").as_uri()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda sent: wrong.append(sent.url) if not sent.url.startswith("data:") else None)
        page.goto(address)
        page.wait_for_load_state("networkidle")
        pictures = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
        drawn = page.eval_on_selector_all("svg", "all => all.map(one => one.getBoundingClientRect().width)")
        links = page.eval_on_selector_all("a", "all => all.map(one => one.getAttribute('href'))")
        browser.close()
    assert wrong == [address], "one file is loaded, and there is no error"
    assert len(pictures) == 2, "what each arm's first run got wrong"
    assert min(pictures) > 100
    assert len(drawn) >= 2
    assert min(drawn) > 100
    files = [link for link in links if not link.startswith("data:text/csv")]
    assert {"differences.png", "provenance.csv", "epochs.csv"} <= set(files)
    assert [file for file in files if not (unpacked / file).is_file()] == []


def test_the_tables_have_the_numbers_of_the_store(unpacked: Path, swept: Store) -> None:
    table = pd.read_csv(unpacked / "runs.csv").set_index("run_id")
    epochs = pd.read_csv(unpacked / "epochs.csv").set_index(["run_id", "epoch"])
    runs = runs_of(swept)
    assert set(table.index) == {run.info.run_id for run in runs}
    assert len(runs) == len(epochs) == 4
    for run in runs:
        row = table.loc[run.info.run_id]
        assert {key: row[key] for key in run.data.metrics} == run.data.metrics
        assert str(row["seed"]) == run.data.params["seed"]
        (point,) = swept.client.get_metric_history(run.info.run_id, "val_loss")
        assert epochs.loc[(run.info.run_id, 0), "val_loss"] == point.value


def test_each_run_has_its_command_commit_versions_config_and_code(unpacked: Path, swept: Store) -> None:
    table = pd.read_csv(unpacked / "provenance.csv", dtype=str, keep_default_na=False).set_index("run_id")
    for run in runs_of(swept):
        row, tags = table.loc[run.info.run_id], run.data.tags
        for tag in ("git.commit", "keras", "tensorflow", "mlflow", "python", "cpu", "data.sha256"):
            assert row[tag] == tags[tag], tag
        assert (row["arm"], row["seed"]) == (run.data.params["optimizer"], run.data.params["seed"])
        path = swept.client.download_artifacts(run.info.run_id, "config.yaml")
        theirs, ours = (config(Path(file)) for file in (path, unpacked / row["config"]))
        assert ours["tracking"].pop("uri") == "STORE"
        assert ours["data"].pop("path") == "mine.npz"
        assert ours.pop("callbacks")[0] == {
            "_target_": "diary.Diary", "address": "https://***@log.example/x", "token": "HIDDEN"
        }  # fmt: skip
        del theirs["tracking"]["uri"], theirs["data"]["path"], theirs["callbacks"]
        assert ours == theirs
        code = swept.client.download_artifacts(run.info.run_id, "code.json")
        assert (unpacked / row["code"]).read_text() == Path(code).read_text()
        assert row["command"].startswith("python -m handwriting.train -m optimizer=rmsprop,adam ")
        mine = (unpacked / row["changes"] / "untracked" / "diary.py").read_text()
        assert mine == DIARY.replace(SECRETS[2], "HIDDEN")
    assert len(list((unpacked / "code").iterdir())) == 2, "of the same code, and the same changes, one each"


def test_the_readme_says_how_to_run_it_again(unpacked: Path, swept: Store) -> None:
    text = (unpacked / "README.txt").read_text()
    (commit,) = {run.data.tags["git.commit"] for run in runs_of(swept)}
    assert "rmsprop against adam in test_accuracy: too few seeds to tell" in text
    assert f"  git checkout {commit}\n" in text
    assert "  python -m handwriting.train -m optimizer=rmsprop,adam seed=0,1 model=mlp " in text
    assert "requirements.lock pins the versions that the runs recorded." in text
    assert (unpacked / "requirements.lock").read_bytes() == (ROOT / "requirements.lock").read_bytes()


def test_no_secret_and_no_place_of_the_machine_is_in_any_file(unpacked: Path, swept: Store) -> None:
    stored = "".join(
        f"{run.data.params} {run.data.tags} "
        + Path(swept.client.download_artifacts(run.info.run_id, "config.yaml")).read_text()
        for run in runs_of(swept)
    )
    assert SECRETS[1] in stored
    assert str(swept.folder.parent) in stored
    for path in [path for path in unpacked.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        for inline in re.findall(rb"base64,([\w+/=]+)", content):
            content += base64.b64decode(inline)
        for word in (*SECRETS, str(swept.folder.parent), str(swept.folder), str(ROOT)):
            assert word.encode() not in content, path
    assert "127.0.0.1" not in (unpacked / "report.html").read_text()


def test_the_same_runs_are_the_same_bytes_whenever_and_wherever(
    swept: Store, packed: Path, tmp_path: Path
) -> None:
    env = os.environ | {"TZ": "Asia/Kolkata", "PYTHONHASHSEED": "7", "LC_ALL": "C"}
    words = command("--uri", swept.uri, "--sweep", packed.stem, "other.zip")
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/other.zip\n"
    assert (tmp_path / "other.zip").read_bytes() == packed.read_bytes()


def test_nothing_is_written_to_the_store_and_a_folder_has_the_same_files(
    swept: Store, unpacked: Path, tmp_path: Path
) -> None:
    def dump() -> list[str]:
        with closing(sqlite3.connect(str(swept.database))) as connection:
            return list(connection.iterdump())

    before = dump()
    folder = bundle(swept, None, tmp_path / "result")
    assert dump() == before
    assert (folder / "SHA256SUMS").read_bytes() == (unpacked / "SHA256SUMS").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_versions_that_the_lock_file_does_not_pin_are_said_and_it_is_not_there(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    fill(store, 2)
    for run in store.client.search_runs(["1"]):
        store.client.set_tag(run.info.run_id, "keras", "3.0.0")
    folder = bundle(store, SWEEP, tmp_path / "result")
    text = (folder / "README.txt").read_text()
    assert re.search(r"^  keras: the runs 3\.0\.0, the lock file 3\.\d+\.\d+$", text, re.MULTILINE)
    assert not (folder / "requirements.lock").exists()
    table = pd.read_csv(folder / "environment.csv").set_index("package")
    assert (table.loc["keras", "version"], table.loc["keras", "runs"]) == ("3.0.0", 2)
    assert table.loc["keras", "here"] != "3.0.0"


def test_a_sweep_of_a_server_is_exported_with_its_configs(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        store = Store(server.address)
        store.client.create_experiment(EXPERIMENT)
        fill(Store(f"sqlite:///{tmp_path}/mlflow.db", PROXIED), 4)
        for run in store.client.search_runs(["1"]):
            # Not by the client: it keeps where a run's files are by its id, and all stores have these ids.
            artifacts = get_artifact_repository(run.info.artifact_uri, store.uri)
            for name, text in (("config.yaml", f"name: {run.info.run_name}\n"), (DIFF, "+changed\n")):
                (tmp_path / name).write_text(text)
                below = "process-0" if name == DIFF else None
                artifacts.log_artifact(str(tmp_path / name), below)  # type: ignore[no-untyped-call]
        folder = bundle(store, SWEEP, tmp_path / "result")
    finally:
        server.tell(signal.SIGKILL)
    table = pd.read_csv(folder / "provenance.csv").set_index("run_id")
    assert len(table) == 4
    for run_id, row in pd.read_csv(folder / "runs.csv").set_index("run_id").iterrows():
        assert (folder / table.loc[run_id, "config"]).read_text() == f"name: {row['name']}\n"
    (changes,) = set(table["changes"])
    assert (folder / changes / DIFF).read_text() == "+changed\n"
    assert str(server.port) not in (folder / "report.html").read_text()


@pytest.fixture
def before(packed: Path, tmp_path: Path) -> Iterator[Path]:
    """Yield a result that must stay as it is, and nothing beside it."""
    place = Path(shutil.copy(packed, tmp_path / "result.zip"))
    content = place.read_bytes()
    yield place
    assert place.read_bytes() == content
    assert list(tmp_path.iterdir()) == [place]


def test_ctrl_c_leaves_the_result_before_and_nothing_else(filled: Store, before: Path) -> None:
    # A shell lets what it starts with `&` ignore SIGINT, and children inherit that.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    words = command("--uri", filled.uri, str(before))
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, handler)
        wait_for(lambda: list(before.parent.glob(".new-*/made/*.png")) or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate()
    assert (out, error) == ("", "interrupted; what was there stays\n")
    # CPython ends itself by the signal, whatever caught it, where it came while exec() ran a text.
    assert process.returncode in (1, -signal.SIGINT)


def test_a_full_disk_leaves_the_result_before_and_is_said_in_one_line(filled: Store, before: Path) -> None:
    """A limit on a file's size stands for a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, limits[1]))
    try:
        with pytest.raises(UserError) as said:
            bundle(filled, None, before)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(said.value) == f"{before.parent}: File too large. What was there stays"


def test_a_sweep_that_is_not_there_is_said_with_the_one_that_is_meant(filled: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"there is no sweep 'synthetic-0000' .* Did you mean '{SWEEP}'"):
        bundle(filled, "synthetic-0000", tmp_path / "result.zip")
    assert list(tmp_path.iterdir()) == []


def test_runs_that_are_of_no_sweep_are_none(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    fill(store, 2)
    for run in store.client.search_runs(["1"]):
        store.client.delete_tag(run.info.run_id, "sweep")
    with pytest.raises(UserError, match="no run is of a sweep, which is started with -m"):
        bundle(store)
