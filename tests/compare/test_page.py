"""The report: on the screen, as files, in the store; and the notebook, which tells the same."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from mlflow.entities import Experiment
from sqlalchemy import create_engine, text

from handwriting.bench.synthetic import SWEEP, fill
from handwriting.compare import load_runs, report
from handwriting.config import ROOT
from handwriting.tracking import Store

NOTEBOOK = ROOT / "notebooks" / "analysis.ipynb"
TITLE = "rmsprop against adam in test_accuracy: "


def made(folder: Path, runs: int) -> Store:
    """Return a store with so many synthetic runs."""
    store = Store(f"sqlite:///{folder}/mlflow.db")
    fill(store, runs)
    return store


def experiment(store: Store, name: str) -> Experiment:
    found = store.client.get_experiment_by_name(name)
    assert found is not None
    return found


def command(store: Store, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m handwriting.report` on a store."""
    words = [sys.executable, "-m", "handwriting.report", "--uri", store.uri, *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with 16 synthetic runs, eight pairs."""
    return made(tmp_path_factory.mktemp("filled"), 16)


def test_the_report_is_on_the_screen_in_files_and_in_the_store(
    filled: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    page = report(filled)
    before = (page.parent / "curves.svg").read_bytes()
    assert report(filled) == page, "the second takes the place of the first"
    assert (page.parent / "curves.svg").read_bytes() == before, "the same figure is the same file"
    screen = capsys.readouterr().out
    assert TITLE in screen
    assert str(page) in screen
    html = page.read_text(encoding="utf-8")
    assert TITLE in html
    assert "://" not in re.sub(r'"data:[^"]*"', "", html), "no address outside itself"
    assert html.count("<img") == 3
    files = {path.name for path in page.parent.iterdir()}
    names = ("curves", "differences", "time_to_target")
    assert files == {
        "report.html",
        "runs.csv",
        "left_out.csv",
        "table1.csv",
        "table2.csv",
        "table3.csv",
        "verdict.md",
    } | {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    client = filled.client
    (run,) = client.search_runs([experiment(filled, "synthetic-reports").experiment_id])
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == files
    assert run.data.tags["verdict"].startswith(TITLE)
    description = experiment(filled, "synthetic").tags["mlflow.note.content"]
    assert description.startswith(f"**{TITLE}".replace("_", r"\_"))
    assert load_runs(filled).sweep == SWEEP, "the report's own run is no run of the sweep"


def test_what_a_run_got_wrong_stands_in_the_page(tmp_path: Path) -> None:
    store = made(tmp_path, 4)
    for run in store.client.search_runs([experiment(store, "synthetic").experiment_id]):
        picture = tmp_path / "mistakes.png"
        picture.write_bytes(run.info.run_name.encode())
        store.client.log_artifact(run.info.run_id, str(picture))
    html = report(store).read_text(encoding="utf-8")
    assert [html.index(f"<h2>What {arm} got wrong, seed 0</h2>") for arm in ("rmsprop", "adam")]
    assert "cm1zcHJvcCBjbm4gc2VlZCAw" in html, "the picture of 'rmsprop cnn seed 0', in base 64"


@pytest.mark.parametrize("kind", ["link", "broken link", "file"])
def test_a_report_takes_the_place_of_a_link_or_a_file_not_of_what_a_link_points_to(
    filled: Store, tmp_path: Path, kind: str
) -> None:
    folder, mine = report(filled).parent, tmp_path / "mine.txt"
    mine.write_text("mine", encoding="utf-8")
    shutil.rmtree(folder)
    if kind == "file":
        folder.write_text("", encoding="utf-8")
    else:
        folder.symlink_to(tmp_path if kind == "link" else tmp_path / "nowhere")
    assert report(filled).parent == folder
    assert not folder.is_symlink()
    assert list(tmp_path.iterdir()) == [mine]
    assert mine.read_text(encoding="utf-8") == "mine"


def test_where_the_locale_is_ascii_the_page_is_whole_and_the_screen_plain(filled: Store) -> None:
    folder = report(filled).parent
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    words = [sys.executable, "-m", "handwriting.report", "--uri", filled.uri]
    done = subprocess.run(words, env=os.environ | ascii_only, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mean +/- standard deviation" in done.stdout.decode("ascii")
    for name in ("report.html", "verdict.md"):
        assert "mean ± standard deviation" in (folder / name).read_text(encoding="utf-8")


def test_a_report_needs_no_tensorflow(filled: Store) -> None:
    code = (
        "import sys; from handwriting.compare import report; from handwriting.tracking import Store; "
        "report(Store(sys.argv[1])); sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, filled.uri], check=True)


def test_names_of_runs_are_no_markup_in_the_page(tmp_path: Path) -> None:
    store = made(tmp_path, 4)
    store.client.create_run(
        experiment(store, "synthetic").experiment_id, run_name="<script>alert(1)</script>"
    )
    html = report(store, experiment="synthetic").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("name", ["..", 'it\'s "mine" /a'])
def test_an_experiment_may_have_any_name(tmp_path: Path, name: str) -> None:
    store = made(tmp_path, 4)
    store.client.rename_experiment(experiment(store, "synthetic").experiment_id, name)
    for _ in range(2):
        page = report(store, experiment=name)
        assert page.parent.parent == tmp_path / "reports"
    reports = experiment(store, f"{name}-reports").experiment_id
    assert len(store.client.search_runs([reports])) == 1
    assert len(load_runs(store, experiment=name).runs) == 4, "the store is as it was"


def test_a_store_made_before_arms_codes_and_targets_were_stored_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = made(tmp_path, 16)
    engine = create_engine(store.uri)
    with engine.begin() as connection:
        for table, keys in (("tags", "'arm', 'code.sha256'"), ("params", "'data.targets'")):
            connection.execute(text(f"DELETE FROM {table} WHERE key IN ({keys}) OR key LIKE 'better.%'"))  # noqa: S608
    page = report(store)
    screen = capsys.readouterr().out
    assert "adam against rmsprop in test_accuracy: " in screen
    assert "Time to target" not in screen
    assert "Pooled" not in screen
    assert {path.stem for path in page.parent.glob("*.png")} == {"curves", "differences"}
    first, *_ = load_runs(store).runs["run_id"]
    store.client.set_tag(first, "code.sha256", "c" * 64)
    report(store)
    (caveat,) = re.findall("Pooled although code.sha256 differs.*", capsys.readouterr().out)
    assert "rmsprop unknown (7 runs)" in caveat
    assert "adam unknown (8 runs)" in caveat


# The command


def test_the_command_says_in_one_line_that_there_is_no_store(tmp_path: Path) -> None:
    done = command(Store(f"sqlite:///{tmp_path}/mlflow.db"))
    assert done.returncode == 1
    assert done.stderr == (
        f"error: there is no store {tmp_path}/mlflow.db yet. Train some runs: make sweep, or make quick\n"
    )
    assert not (tmp_path / "mlflow.db").exists()


def test_the_command_says_in_one_line_that_the_disk_takes_no_page(tmp_path: Path) -> None:
    """A limit on a file's size, in blocks of 1,024 bytes, stands for a full disk."""
    store = made(tmp_path, 4)
    words = shlex.join([sys.executable, "-m", "handwriting.report", "--uri", store.uri])
    limited = ["bash", "-c", f"ulimit -f 100; {words}"]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_refuses_a_mixed_experiment_and_takes_the_way_out_that_it_names(tmp_path: Path) -> None:
    store = made(tmp_path, 16)
    first, *_ = load_runs(store).runs["run_id"]
    with create_engine(store.uri).begin() as connection:
        query = text("UPDATE params SET value = '64' WHERE key = 'batch_size' AND run_uuid = :first")
        connection.execute(query, {"first": first})
    refused = command(store, "--experiment", "synthetic", "--by", "optimizer")
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "error: the runs differ in more than what is compared: batch_size is 32 (15"
    )
    assert refused.stderr.count("\n") == 1
    assert "--where batch_size=32" in refused.stderr
    done = command(store, "--experiment", "synthetic", "--by", "optimizer", "--where", "batch_size=32")
    assert done.returncode == 0, done.stderr
    assert "Left out: 1 run (not batch_size=32)" in done.stdout
    assert "7 paired seeds" in done.stdout


# The notebook


def test_the_notebook_runs_on_a_store(filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", filled.uri)
    words = ["--execute", "--to", "notebook", "--output-dir", str(tmp_path), str(NOTEBOOK)]
    subprocess.run([sys.executable, "-m", "nbconvert", *words], check=True)
    executed = nbformat.read(tmp_path / NOTEBOOK.name, as_version=4)
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type in ("error", "stream")]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert sum(TITLE in output.get("data", {}).get("text/markdown", "") for output in outputs) == 1
    assert "in test_loss: " in outputs[-1]["data"]["text/markdown"]


def test_the_notebook_is_committed_with_its_outputs_and_without_paths_of_a_machine() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in cells)
    assert str(ROOT) not in NOTEBOOK.read_text(encoding="utf-8")
