"""The report from the question to its page: on the screen, and each question in a place of its own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_stores import command, experiment, made, spread
from sqlalchemy import create_engine, text

from handwriting.bench.synthetic import SWEEP
from handwriting.compare import compare, load_runs, report, sentence
from handwriting.compare.asked import LONGEST, Asked, folder_of
from handwriting.tracking import Store
from handwriting.tracking.tunings import Tuning, keep_tuning

TITLE = "rmsprop against adam in test_accuracy: "


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with 16 synthetic runs, eight pairs."""
    return made(tmp_path_factory.mktemp("filled"), 16)


def test_the_report_is_on_the_screen_in_files_and_in_the_store(
    filled: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    page = report(filled)
    figures = [path for path in page.parent.iterdir() if path.suffix in (".png", ".svg", ".pdf")]
    before = {path: path.read_bytes() for path in figures}
    assert report(filled) == page, "the second takes the place of the first"
    assert {path: path.read_bytes() for path in figures} == before, "the same figure is the same file"
    screen = capsys.readouterr().out
    assert TITLE in screen
    assert screen.endswith(f"\n\npage: {page}\nruns side by side, with their curves: make ui\n")
    assert TITLE in page.read_text(encoding="utf-8")
    files = {path.name for path in page.parent.iterdir()}
    tables = ("runs", "epochs", "arms", "pairs", "left_out", "times_to_target")
    assert files == {"report.html", "verdict.md"} | {f"{name}.csv" for name in tables} | {
        f"{name}.{kind}"
        for name in ("curves", "differences", "time_to_target")
        for kind in ("png", "svg", "pdf")
    }
    assert [path for path in page.parent.parent.iterdir() if path != page.parent] == [], (
        "nothing is left over"
    )
    client = filled.client
    (run,) = client.search_runs([experiment(filled, "synthetic-reports").experiment_id])
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == files
    assert run.data.tags["verdict"].startswith(TITLE)
    description = experiment(filled, "synthetic").tags["mlflow.note.content"]
    assert description.startswith(f"**{TITLE}".replace("_", r"\_"))
    assert load_runs(filled).sweep == SWEEP, "the report's own run is no run of the sweep"


def test_runs_that_chose_and_are_gone_are_said_and_the_verdict_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = made(tmp_path, 16)
    tuning = Tuning("mine", "mine-tuning-12345678", "0123", {}, 2, (100,), (0,), {"adam": 1}, SWEEP)
    keep_tuning(store, experiment(store, "synthetic").experiment_id, tuning)
    report(store)
    screen = capsys.readouterr().out
    assert (
        "- The runs that chose these settings, of mine-tuning-12345678, are gone from the store\n" in screen
    )
    assert TITLE in screen


def test_each_question_has_a_page_and_a_run_of_its_own_and_the_same_question_the_same(tmp_path: Path) -> None:
    store = made(tmp_path, 16)
    chosen: dict[str, Any] = {"by": ["optimizer"], "targets": [0.99]}
    pages = [
        report(store),
        report(store, metric="test_loss"),
        report(store, where=["model=cnn", "batch_size=32"], **chosen),
    ]
    before = experiment(store, "synthetic").tags["mlflow.note.content"]
    assert report(store, where=["batch_size=32", "model=cnn", "model=cnn"], **chosen) == pages[2]
    assert report(store, metric="test_loss") == pages[1]
    titles = [
        SWEEP,
        f"{SWEEP} test_loss",
        f"{SWEEP} by optimizer where batch_size=32 model=cnn targets 0.99",
    ]
    plain = [title.replace(" ", "-") for title in titles]
    assert all(page.parent.name.startswith(name) for page, name in zip(pages, plain, strict=True))
    assert pages[0].parent.name == SWEEP
    assert len({folder_of(title) for title in ("a b", "a-b", "..", ".", "a/b")}) == 5
    assert all(page.exists() for page in pages)
    runs = store.client.search_runs([experiment(store, "synthetic-reports").experiment_id])
    assert {run.info.run_name for run in runs} == {*titles}
    assert len(runs) == 3
    assert experiment(store, "synthetic").tags["mlflow.note.content"] == before, "of the default question"
    assert "test\\_loss: " not in before


def test_a_margin_belongs_to_the_question_and_its_verdict_names_it(
    filled: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    page, usual = report(filled, margin=50), load_runs(filled)
    out = capsys.readouterr().out
    assert "by less than 50 points" in out or "no difference larger than 50 points" in out
    assert page.parent.name.startswith(f"{SWEEP}-margin-50-")
    assert "50 points" not in sentence(compare(usual.runs, usual.epochs))


def test_a_long_question_has_a_short_name_of_its_own() -> None:
    names = {Asked(where=[f"model.activation={'é' * 200}", other]).title("sweep") for other in ("a=1", "a=2")}
    assert len(names) == 2
    assert all(name.startswith("sweep where a=") and len(name) < LONGEST for name in names)


def test_the_direction_that_a_user_tells_belongs_to_the_question() -> None:
    told = Asked(metric="test_f1_score", more_is_better=False).title("sweep")
    assert told == "sweep test_f1_score less-is-better"
    assert Asked(metric="test_loss", more_is_better=False).title("sweep") == "sweep test_loss"


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


@pytest.mark.parametrize("name", ["..", 'it\'s "mine" /a', "長" * 120])
def test_an_experiment_may_have_any_name(tmp_path: Path, name: str) -> None:
    store = made(tmp_path, 4)
    store.client.rename_experiment(experiment(store, "synthetic").experiment_id, name)
    for _ in range(2):
        page = report(store, experiment=name)
        assert page.parent.parent == tmp_path / "reports"
    reports = experiment(store, f"{name}-reports").experiment_id
    assert len(store.client.search_runs([reports])) == 1
    assert len(load_runs(store, experiment=name).runs) == 4, "the store is as it was"


def test_a_store_made_before_arms_and_codes_were_stored_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = made(tmp_path, 16)
    with create_engine(store.uri).begin() as connection:
        keys = "key IN ('arm', 'code.sha256') OR key LIKE 'arm.%' OR key LIKE 'better.%'"
        connection.execute(text(f"DELETE FROM tags WHERE {keys}"))  # noqa: S608
    report(store)
    screen = capsys.readouterr().out
    assert "adam against rmsprop in test_accuracy: " in screen
    assert "Pooled" not in screen
    first, *_ = load_runs(store).runs["run_id"]
    store.client.set_tag(first, "code.sha256", "c" * 64)
    report(store)
    (caveat,) = re.findall("Pooled although code.sha256 differs.*", capsys.readouterr().out)
    assert "rmsprop unknown (7 runs)" in caveat
    assert "adam unknown (8 runs)" in caveat


def test_the_tables_of_forty_arms_fit_a_screen_of_100_letters_and_keep_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [f"activation-{number:02}-{'x' * 30}" for number in range(20)]
    store = spread(made(tmp_path, 80), "model.activation", values)
    report(store)
    tables = capsys.readouterr().out.partition("\n- ")[0]
    assert max(map(len, tables.splitlines())) <= 100
    assert "verdict" in tables


# The command


def test_the_command_says_in_one_line_that_there_is_no_store(tmp_path: Path) -> None:
    done = command(Store(f"sqlite:///{tmp_path}/mlflow.db"))
    assert done.returncode == 1
    assert done.stderr == (
        f"error: there is no store {tmp_path}/mlflow.db yet. Train some runs: make sweep, or make quick\n"
    )
    assert not (tmp_path / "mlflow.db").exists()


def test_where_the_disk_takes_no_page_the_command_says_so_in_one_line_and_the_one_before_stays_whole(
    tmp_path: Path,
) -> None:
    """A limit on a file's size, in blocks of 1,024 bytes, stands for a full disk."""
    store = made(tmp_path, 4)
    folder = report(store).parent
    before = {path: path.read_bytes() for path in folder.iterdir()}
    words = shlex.join([sys.executable, "-m", "handwriting.report", "--uri", store.uri])
    limited = ["bash", "-c", f"ulimit -f 100; {words}"]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder], "nothing is left over"


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


def test_targets_the_direction_of_a_metric_and_the_margin_come_from_the_command(tmp_path: Path) -> None:
    store = made(tmp_path, 4)
    with create_engine(store.uri).begin() as connection:
        connection.execute(text("UPDATE latest_metrics SET key = 'test_kappa' WHERE key = 'test_loss'"))
    words = ("--metric", "test_kappa", "--less-is-better", "--targets", "0.97", "0.975", "--margin", "0.02")
    done = command(store, *words)
    assert done.returncode == 0, done.stderr
    assert "97.5%" in done.stdout
    assert "page: " in done.stdout
    assert f"/{SWEEP}-test_kappa-less-is-better-targets-0.97-0.975-margin-0.02-" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--where", "model"], "must be KEY=VALUE, as batch_size=32. Received: model"),
        (["--targets", "high"], "invalid float value: 'high'"),
        (["--targets", "98"], "98"),
        (["--margin", "0"], "must be a number > 0. Received: 0"),
        (["--metrics", "test_loss"], "unrecognized arguments: --metrics test_loss"),
        (["--metric", "test_loss", "--more-is-better"], "test_loss"),
        (["--metric", "test_acuracy"], "Did you mean 'test_accuracy'?"),
    ],
)
def test_a_mistake_in_the_command_is_said_in_one_line(filled: Store, words: list[str], said: str) -> None:
    done = command(filled, *words)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
