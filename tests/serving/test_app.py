"""The page's server: what it reads, what it refuses, and that nothing it is sent ends it."""

import base64
import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import psutil
import pytest
import uvicorn
from PIL import Image
from test_pictures import INK, seven
from user_pictures import as_bytes

from handwriting.data import Dataset, Split
from handwriting.errors import UserError
from handwriting.serving.app import LONGEST_BODY, Gallery, Reader, make_app
from handwriting.serving.arms import Served
from handwriting.tracking.picture_model import PictureModel

CLASSES = list("0123456789")
PICTURE = as_bytes(seven(), "PNG")


def unused_port() -> int:
    """Return a port of the operating system's choice: other tests' servers take those from 5000."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def model(seed: int) -> PictureModel:
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    facts = {"image_shape": [28, 28, 1], "channels_first": False, "classes": CLASSES, "ink": INK.as_json()}
    return PictureModel(keras.Sequential([keras.Input((28, 28, 1)), *layers]), facts)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader([Served("adam", "champion", model(0)), Served("rmsprop", "", model(1))])


@pytest.fixture(scope="module")
def dataset(reader: Reader) -> Dataset:
    """Return a data set of which the first model gets the last 3 of 12 test images wrong."""
    x = np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)
    y = reader.probabilities((x[..., None] / 255).astype(np.float32))[:, 0].argmax(axis=1).astype(np.int32)
    y[9:] = (y[9:] + 1) % 10
    split = Split(x, y)
    return Dataset(split, split, split, (28, 28, 1), tuple(CLASSES), "")


@pytest.fixture(scope="module")
def port(reader: Reader, dataset: Dataset) -> Iterator[int]:
    port = unused_port()
    app = make_app(reader, Gallery(reader, dataset), port)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield port
    server.should_exit = True
    thread.join()


def ask(
    port: int, method: str = "POST", path: str = "/read", body: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    given = {"Content-Type": "image/png"} if method == "POST" else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, given)
    answer = connection.getresponse()
    found = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return found


def test_a_picture_is_answered_with_what_each_model_says_of_what_it_sees(port: int, reader: Reader) -> None:
    status, body, _ = ask(port, body=PICTURE)
    assert status == 200
    (part,) = json.loads(body)["parts"]
    seen = np.frombuffer(base64.b64decode(part["seen"]), np.uint8).reshape(28, 28)
    image = (seen / 255).astype(np.float32)[None, ..., None]
    for place, served in enumerate(reader.served):
        np.testing.assert_allclose(
            part["probabilities"][place], served.model.probabilities(image)[0], atol=0.01
        )


def test_the_page_says_who_reads(port: int) -> None:
    status, body, _ = ask(port, "GET", "/facts")
    assert status == 200
    assert json.loads(body) == {
        "models": [{"label": "adam", "alias": "champion"}, {"label": "rmsprop", "alias": ""}],
        "classes": CLASSES,
        "shape": [28, 28],
    }


def test_the_gallery_has_the_mistakes_the_most_certain_first(port: int, dataset: Dataset) -> None:
    until = time.monotonic() + 30
    while not (found := json.loads(ask(port, "GET", "/gallery")[1]))["ready"]:
        assert time.monotonic() < until
    assert (found["tests"], found["wrong"], len(found["images"])) == (12, 3, 3)
    certain = [image["probability"] for image in found["images"]]
    assert certain == sorted(certain, reverse=True)
    shown = {base64.b64decode(image["seen"]) for image in found["images"]}
    assert shown == {dataset.test.x[place].tobytes() for place in (9, 10, 11)}
    assert all(image["right"] != image["read"] for image in found["images"])


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/facts", "/nothing"])
def test_each_answer_allows_nothing_from_elsewhere(port: int, path: str) -> None:
    status, body, headers = ask(port, "GET", path)
    assert status == (404 if path == "/nothing" else 200)
    assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert b"http://" not in body, "no foreign address"
    assert b"https://" not in body


@pytest.mark.parametrize(
    "path", ["/../ui.py", "/page/../app.py", "/%2e%2e/ui.py", "//etc/passwd", "/page.html"]
)
def test_no_file_is_named_from_outside(port: int, path: str) -> None:
    assert ask(port, "GET", path)[0] == 404


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Host": "evil.example"}, 421, "this page is at 127.0.0.1:"),
        ({"Host": "localhost"}, 421, "this page is at"),
        ({"Origin": "http://evil.example"}, 403, "only this page's own requests"),
        ({"Origin": "null"}, 403, "only this page's own requests"),
        ({"Content_Type": "text/plain"}, 415, "must be sent as image/png"),
        ({"Content_Type": "multipart/form-data"}, 415, "must be sent as image/png"),
    ],
)
def test_another_site_is_refused(port: int, headers: dict[str, str], status: int, said: str) -> None:
    found, body, _ = ask(port, body=PICTURE, **headers)
    assert found == status
    assert said in json.loads(body)["error"]


def test_the_pages_own_origin_is_answered(port: int) -> None:
    for host in ("localhost", "127.0.0.1"):
        name = f"{host}:{port}"
        assert ask(port, body=PICTURE, Host=name, Origin=f"http://{name}")[0] == 200


def test_a_body_above_1_mb_is_refused_whether_it_says_so_or_not(port: int) -> None:
    large = PICTURE + bytes(LONGEST_BODY)
    assert ask(port, body=large)[0] == 413
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    chunks = (large[start : start + 100_000] for start in range(0, len(large), 100_000))
    try:
        connection.request("POST", "/read", chunks, {"Content-Type": "image/png"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):  # it was hung up on before all was sent
        pass
    finally:
        connection.close()
    assert ask(port, body=PICTURE)[0] == 200


def bad_body(number: int) -> bytes:
    """Return one of 200 bodies that are no picture of a sign, each another."""
    rng = random.Random(number)  # noqa: S311
    kind = number % 5
    if kind == 0:
        return rng.randbytes(rng.randrange(0, 5000))
    if kind == 1:  # cut off
        return PICTURE[: rng.randrange(1, len(PICTURE) - 20)]
    if kind == 2:  # a broken header
        broken = bytearray(PICTURE)
        for place in rng.sample(range(8, 33), 6):
            broken[place] ^= rng.randrange(1, 256)
        return bytes(broken)
    if kind == 3:  # nothing is on it
        size = rng.randrange(1, 300), rng.randrange(1, 300)
        return as_bytes(Image.new("L", size, rng.randrange(256)), rng.choice(["PNG", "JPEG"]))
    side = rng.randrange(2001, 9000)  # small as a file, and huge
    return as_bytes(Image.new("1", (side, side)), "PNG")


def test_200_bad_bodies_get_200_clear_answers_and_the_server_lives(
    port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: ask(port, body=bad_body(number)), range(200)))
    for number, (status, body, _) in enumerate(answers):
        assert status == 422, (number, body)
        assert json.loads(body)["error"].startswith(("it is no picture", "nothing is on it", "it has ")), (
            number
        )
    assert ask(port, body=PICTURE)[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_more_than_can_wait_are_told_to_come_again(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def slow(_: bytes) -> dict[str, list]:
        release.wait(30)
        raise UserError("slow")

    monkeypatch.setattr(reader, "read", slow)
    port = unused_port()
    server = uvicorn.Server(
        uvicorn.Config(make_app(reader, None, port), host="127.0.0.1", port=port, log_level="critical")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    with ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(ask, port, body=PICTURE) for _ in range(30)]
        until = time.monotonic() + 20
        while sum(each.done() for each in asked) < 12 and time.monotonic() < until:
            time.sleep(0.05)
        release.set()
        answers = [each.result() for each in asked]
    server.should_exit = True
    thread.join()
    statuses = sorted(status for status, *_ in answers)
    assert statuses == [422] * 18 + [429] * 12, "2 are read, 16 wait"
    assert all(headers["retry-after"] == "1" for status, _, headers in answers if status == 429)


def test_memory_is_flat(reader: Reader) -> None:
    """10,000 pictures take minutes; a leak of one array a picture would show in 600."""
    process = psutil.Process()
    for _ in range(200):
        reader.read(PICTURE)
    before = process.memory_info().rss
    for _ in range(600):
        reader.read(PICTURE)
    assert process.memory_info().rss - before < 600 * 3136 * 2
