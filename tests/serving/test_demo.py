"""The page in a real browser: what is drawn, uploaded and taken back is what the models read."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from user_pictures import as_bytes, first_digits, on_paper

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="make test installs it: tests/requirements.lock")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

# Strokes in pixels of the sheet, 560 by 400.
STROKES = {
    "3": [(200, 90), (260, 60), (330, 80), (340, 140), (270, 190), (340, 230), (350, 300), (270, 340),
          (190, 310)],
    "7": [(190, 80), (360, 80), (300, 200), (250, 340)],
    "8": [(330, 110), (270, 70), (215, 110), (230, 160), (320, 220), (345, 290), (280, 340), (215, 300),
          (230, 230), (310, 170), (335, 110)],
}  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Train both arms, promote, and open the page, as a user does."""
    folder = tmp_path_factory.mktemp("demo")
    env = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    for words in (
        ["train", "experiment=quick", "seed=0,1", "epochs=1", f"hydra.sweep.dir={folder}/jobs"],
        ["promote"],
    ):
        command = [sys.executable, "-m", f"handwriting.{words[0]}", *words[1:]]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    server = subprocess.Popen(
        [sys.executable, "-m", "handwriting.demo"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stderr is not None
    line = server.stdout.readline()
    found = re.match(r"Draw at (http://127\.0\.0\.1:\d+)  \(Ctrl-C ends it\)", line)
    assert found, server.stderr.read()
    yield found[1]
    server.send_signal(signal.SIGINT)
    out, error = server.communicate(timeout=20)
    assert (server.returncode, out, error) == (0, "\nThe page is closed.\n", "")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=["desktop, light", "phone, dark"])
def page(browser: "Browser", address: str, request: pytest.FixtureRequest) -> Iterator["Page"]:
    phone = "phone" in request.param
    page = browser.new_page(
        viewport={"width": 360, "height": 740} if phone else {"width": 1200, "height": 900},
        color_scheme="dark" if phone else "light",
    )
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda sent: wrong.append(sent.url) if not sent.url.startswith((address, "blob:")) else None,
    )
    page.goto(address)
    page.wait_for_selector(".bars .value", state="attached")
    yield page
    assert wrong == [], "no error, and no foreign address"
    page.close()


def draw(page: "Page", sign: str) -> None:
    box = page.locator("#sheet").bounding_box()
    assert box is not None
    scale = box["width"] / 560
    points = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in STROKES[sign]]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def reads(page: "Page", what: str) -> None:
    """Wait until both models read something."""
    both = re.compile(rf"^adam reads {what} \(.*\), rmsprop reads {what} \(.*\)\.$|"
                      rf"^rmsprop reads {what} \(.*\), adam reads {what} \(.*\)\.$")  # fmt: skip
    sync_api.expect(page.locator("#said")).to_have_text(both, timeout=10_000)


def says(page: "Page", what: str) -> None:
    sync_api.expect(page.locator("#said")).to_have_text(what, timeout=10_000)


def test_strokes_of_a_3_a_7_and_an_8_are_read_and_undone(page: "Page") -> None:
    for sign in STROKES:
        draw(page, sign)
        reads(page, sign)
        best = page.locator(".bars .best")
        assert best.count() == 2, "one bar of each model"
        page.click("#clear")
        says(page, "Nothing is drawn yet.")
    draw(page, "7")
    reads(page, "7")
    draw(page, "3")  # on top of it
    page.keyboard.press("Control+z")
    reads(page, "7")
    page.click("#undo")
    says(page, "Nothing is drawn yet.")


def test_a_picture_that_is_uploaded_is_read_part_by_part(page: "Page", tmp_path: Path) -> None:
    digits = first_digits(20).x[[1, 3, 1, 11]]
    (tmp_path / "year.jpg").write_bytes(as_bytes(on_paper(digits, np.random.default_rng(1)), quality=80))
    page.set_input_files("#file", tmp_path / "year.jpg")
    reads(page, "2026")
    parts = page.locator("#parts button")
    assert parts.count() == 4
    parts.nth(3).click()
    assert parts.nth(3).get_attribute("aria-pressed") == "true"
    (tmp_path / "text.png").write_text("no picture")
    page.set_input_files("#file", tmp_path / "text.png")
    says(page, "That file is no picture that this browser can open.")


def test_it_can_be_drawn_on_without_a_mouse(page: "Page") -> None:
    page.focus("#sheet")
    for key in ["ArrowUp"] * 8 + ["ArrowLeft"] * 5 + [" "] + ["ArrowRight"] * 9 + ["ArrowDown"] * 18:
        page.keyboard.press(key)
    reads(page, "7")


def test_a_mistake_of_the_gallery_is_read_again(page: "Page") -> None:
    first = page.locator("#gallery button").first
    first.wait_for()
    said = first.get_attribute("aria-label") or ""
    label = re.fullmatch(r"A (\d), read as (\d) with .* %", said)
    assert label, said
    assert label[1] != label[2]
    first.click()
    sync_api.expect(page.locator("#parts button")).to_have_count(1)
    assert "of 10,000 test images wrongly" in page.inner_text("#gallery-said")


def test_nothing_is_wider_than_the_screen_and_all_has_a_name(page: "Page") -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#gallery button").first.wait_for()
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, canvas[tabindex], input')].filter(each => "
        "!(each.innerText || each.getAttribute('aria-label') || (each.labels && each.labels.length))).length"
    )
    assert unnamed == 0
    assert page.get_attribute("#said", "aria-live") == "polite"


def test_a_server_that_is_gone_is_said(browser: "Browser", address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector(".bars .value", state="attached")
    page.route("**/read", lambda route: route.abort())
    draw(page, "7")
    says(page, "The server does not answer. Is make demo still running?")
    page.close()
