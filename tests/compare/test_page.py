"""The page: what it holds, that it loads nothing, and that no name in it is markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_stores import experiment, made, spread

from handwriting.compare import Asked, answered, fill, load_runs, report
from handwriting.compare.facts import ui_of
from handwriting.tracking import Store

TITLE = "rmsprop against adam in test_accuracy: "


class Page(HTMLParser):
    """What a page's tags say: the text of each table's rows, and each address and what has it."""

    def __init__(self, text: str):
        super().__init__()
        self.rows: list[list[str]] = []
        self.addresses: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster") and value:
                self.addresses.append((f"{tag} {name}", value))

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.rows[-1][-1] += data.strip()

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.in_cell = False


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with 16 synthetic runs, eight pairs."""
    return made(tmp_path_factory.mktemp("filled"), 16)


@pytest.fixture(scope="module")
def page(filled: Store) -> str:
    return report(filled).read_text(encoding="utf-8")


def test_the_page_loads_no_address_outside_itself_and_forbids_it(page: str) -> None:
    loaded = [value for name, value in Page(page).addresses if name != "a href"]
    assert all(value.startswith(("data:", "#")) for value in loaded)
    assert "url(http" not in page
    assert "@import" not in page
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")


def test_figures_are_in_the_page_with_a_title_each_and_three_files_beside_it(page: str) -> None:
    figures = re.findall(r'<svg [^>]*role="img"><title>(.*?)</title>', page)
    assert len(figures) == page.count("<svg ") == 3
    for heading in figures:
        assert f"<h2>{heading}</h2>" in page
    links = [value for name, value in Page(page).addresses if name == "a href"]
    for name in ("curves", "differences", "time_to_target"):
        assert {f"{name}.png", f"{name}.svg", f"{name}.pdf"} <= set(links)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids)), "of two figures none refers to the other's parts"


def test_the_verdict_comes_first_and_then_the_figure_that_answers(page: str) -> None:
    assert page.index(TITLE) < page.index("<h2>Paired differences</h2>") < page.index("<h2>Arms")
    assert page.index("<h2>Arms") < page.index("<h2>Curves")


def test_the_page_says_of_what_the_runs_were_made(filled: Store, page: str) -> None:
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert facts["network"] == "cnn"
    assert facts["data"].startswith("mnist, SHA-256 000000000000")
    assert facts["seeds"] == "0–7 (8 seeds)"
    assert facts["runs"] == "16 compared, 0 left out"
    assert facts["commit"] == "000000000000"
    assert facts["compared metric"] == "test_accuracy, %, more is better"


def test_the_page_has_what_differs_between_arms_and_what_all_share(tmp_path: Path) -> None:
    store = spread(made(tmp_path, 16), "batch_size", ["32", "64"])
    rows = Page(report(store).read_text(encoding="utf-8")).rows
    header = next(row for row in rows if {"batch_size", "optimizer"} < set(row))
    own = [dict(zip(header, row, strict=True)) for row in rows[rows.index(header) + 1 :][:4]]
    assert {(row["optimizer"], row["batch_size"]) for row in own} == {
        (optimizer, size) for optimizer in ("rmsprop", "adam") for size in ("32", "64")
    }
    assert len({row["arm"] for row in own}) == 4
    assert ["model", "cnn"] in rows
    assert not [row for row in rows if row[:1] in (["optimizer"], ["batch_size"])], "they differ"


def test_each_seed_is_a_number_that_leads_to_its_run(filled: Store, page: str) -> None:
    runs = load_runs(filled).runs
    experiment_id = experiment(filled, "synthetic").experiment_id
    links = {value for name, value in Page(page).addresses if "/runs/" in value}
    address = f"http://127.0.0.1:5000/#/experiments/{experiment_id}/runs"
    assert links == {f"{address}/{run}" for run in runs["run_id"]}
    header = ["seed", "rmsprop", "adam", "adam \N{MINUS SIGN} rmsprop"]
    rows = Page(page).rows
    values = runs.set_index(["params.optimizer", "params.seed"])["metrics.test_accuracy"] * 100
    for seed, row in enumerate(rows[rows.index(header) + 1 :][:8]):
        first, second = values["rmsprop", str(seed)], values["adam", str(seed)]
        assert row == [str(seed), f"{first:.3f}", f"{second:.3f}", f"{second - first:+.3f}"]


def test_links_lead_to_the_server_of_the_store_without_its_password() -> None:
    assert ui_of(Store("https://me:se%40cret@host:8443/mlflow/")) == "https://host:8443/mlflow"
    assert ui_of(Store("sqlite:////folder/mlflow.db")) == "http://127.0.0.1:5000"


def test_the_page_carries_its_tables_to_be_saved_and_leads_to_large_ones(
    filled: Store, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried = [value for name, value in Page(page).addresses if value.startswith("data:text/csv")]
    assert len(carried) == 2
    monkeypatch.setattr("handwriting.compare.page.INLINE_BYTES", 1000)
    links = [value for _, value in Page(report(filled).read_text(encoding="utf-8")).addresses]
    assert "runs.csv" in links
    assert [value[:14] for value in links if value.startswith("data:")] == ["data:text/csv;"]


def test_names_are_no_markup_in_the_page(tmp_path: Path) -> None:
    """Neither of a run that is left out nor of an arm, which stands in figures too."""
    store = spread(made(tmp_path, 16), "model", ["<script>alert(1)</script>--><i>", "</text></svg><b>&amp;"])
    name = "<script>alert(2)</script>"
    store.client.create_run(experiment(store, "synthetic").experiment_id, run_name=name)
    page = report(store, experiment="synthetic").read_text(encoding="utf-8")
    assert not {"script", "i"} & set(Page(page).tags)
    for number in (1, 2):
        assert f"&lt;script&gt;alert({number})&lt;/script&gt;" in page
    shown = re.sub(r"<b>(?=[^<]*</b></td>)", "", page)  # the page's own
    assert "<b>" not in shown
    assert page.count("</svg>") == page.count("<svg ")


def test_what_a_run_got_wrong_stands_in_the_page(tmp_path: Path) -> None:
    store = made(tmp_path, 4)
    for run in store.client.search_runs([experiment(store, "synthetic").experiment_id]):
        picture = tmp_path / "mistakes.png"
        picture.write_bytes(run.info.run_name.encode())
        store.client.log_artifact(run.info.run_id, str(picture))
    html = report(store).read_text(encoding="utf-8")
    assert [html.index(f"<h2>What {arm} got wrong, seed 0</h2>") for arm in ("rmsprop", "adam")]
    assert "cm1zcHJvcCBjbm4gc2VlZCAw" in html, "the picture of 'rmsprop cnn seed 0', in base 64"


def test_a_page_that_is_given_away_leads_to_no_store_and_has_the_same_numbers(
    filled: Store, page: str, tmp_path: Path
) -> None:
    answer = answered(filled, None, None, Asked())
    fill(tmp_path, filled, answer.loaded, answer.comparison, answer.title, "The last run ended today")
    given = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The last run ended today.</p>" in given
    assert not [value for _, value in Page(given).addresses if re.match(r"\w+:(?!text/csv|image/png)", value)]
    assert "Each number leads to its run" in page
    assert "Each number leads to its run" not in given
    assert Page(given).rows == Page(page).rows
