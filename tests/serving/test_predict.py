"""A champion in use: by the command, by MLflow's server, and on pictures from a camera."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from user_pictures import as_bytes, first_digits, on_paper, rates

from handwriting.tracking import Store
from handwriting.tracking.model import load_picture_model

SEEDS = {"2": 1, "0": 3, "6": 11}  # the places of a 2, a 0 and a 6 among MNIST's test digits


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with a champion, made by the commands: one epoch of a small CNN, 99 % right."""
    folder = tmp_path_factory.mktemp("champion")
    uri = f"sqlite:///{folder}/mlflow.db"
    run(uri, "train", "-m", "experiment=fast", "seed=0", f"hydra.sweep.dir={folder}/jobs")
    run(uri, "promote", "--name", "digits")
    return Store(uri)


def run(
    uri: str, command: str, *arguments: str, content: bytes = b"", code: int = 0
) -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-m", f"handwriting.{command}", *arguments]
    env = os.environ | {"MLFLOW_TRACKING_URI": uri}
    done = subprocess.run(words, input=content, capture_output=True, check=False, env=env)
    assert done.returncode == code, done.stderr.decode()
    return done


@pytest.fixture(scope="module")
def year() -> bytes:
    """Return a picture of 2026 on paper."""
    digits = first_digits(20).x[[SEEDS[sign] for sign in "2026"]]
    return as_bytes(on_paper(digits, np.random.default_rng(1)), quality=75)


def test_users_pictures_are_read_as_well_as_the_test_set(promoted: Store) -> None:
    """The first 1,000 test digits: 200 pixels large, off-centre, inverted, on noisy paper, as JPEG."""
    version = promoted.client.get_model_version_by_alias("digits", "champion")
    found = rates(load_picture_model(promoted, str(version.run_id)))
    assert found["pictures"] >= 0.985
    assert found["pictures"] >= found["the test set's images"] - 0.005
    assert found["pictures, only made smaller"] < 0.3, "what it is for"


def test_a_picture_of_a_year_is_read(promoted: Store, year: bytes, tmp_path: Path) -> None:
    (tmp_path / "year.jpg").write_bytes(year)
    done = run(promoted.uri, "predict", str(tmp_path / "year.jpg"), "--show", str(tmp_path / "seen.png"))
    first, *lines = done.stdout.decode().splitlines()
    assert first == "read by digits@champion (version 1, all runs)"
    assert lines[0] == f"{tmp_path}/year.jpg: 2026"
    assert [line.split()[0] for line in lines[1:]] == list("2026")
    assert done.stderr == b"", "and nothing of TensorFlow's"
    with Image.open(tmp_path / "seen.png") as sheet:
        assert sheet.size == (4 * (28 * 4 + 8), 28 * 4 + 22)


def test_json_standard_input_folders_and_what_cannot_be_read(
    promoted: Store, year: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for place, digit in enumerate(first_digits(3).x):  # 7, 2, 1
        Image.fromarray(digit).save(folder / f"{2 - place}.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "9.png").write_text("broken")
    done = run(promoted.uri, "predict", "-", str(folder), "--json", "--model", "digits", content=year, code=1)
    found = json.loads(done.stdout)
    assert found["model"] == "digits@champion (version 1, all runs)"
    assert [picture["file"] for picture in found["pictures"]] == [
        "-",
        *(f"{folder}/{n}.png" for n in (0, 1, 2)),
    ]
    assert [picture["reading"] for picture in found["pictures"]] == ["2026", "1", "2", "7"]
    part = found["pictures"][0]["parts"][0]
    assert set(part) == {"label", "probability", "second", "second_probability", "box"}
    assert 0.5 < part["probability"] <= 1
    said = f"error: {folder}/9.png: it is no picture that can be read, as PNG, JPEG, BMP, WEBP are\n"
    assert done.stderr.decode() == said
    alone = run(promoted.uri, "predict", str(folder / "9.png"), code=1)
    assert (alone.stdout, alone.stderr.decode()) == (b"", said), "and no model is loaded for it"


def test_a_model_that_is_not_there_is_named_with_those_that_are(promoted: Store, tmp_path: Path) -> None:
    Image.fromarray(first_digits(1).x[0]).save(tmp_path / "7.png")
    done = run(promoted.uri, "predict", str(tmp_path / "7.png"), "--model", "digit", code=1)
    assert (
        done.stderr.decode() == "error: there is no model digit. Did you mean 'digits'? There are: digits\n"
    )


@pytest.fixture(scope="module")
def port(promoted: Store) -> Iterator[int]:
    """Serve the champion as MLflow's documentation says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = ["models", "serve", "-m", "models:/digits@champion", "--env-manager", "local", "-p", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words], start_new_session=True,
        env=os.environ | {
            "MLFLOW_TRACKING_URI": promoted.uri,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # it starts uvicorn by its name
        },
    )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while _ask(port, "GET", "/ping")[0] != 200:
            assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _ask(port: int, method: str, path: str, body: object = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def test_mlflows_server_takes_pictures_and_says_what_it_does_not_take(port: int) -> None:
    digits = first_digits(2).x
    for pictures in (digits.tolist(), (digits / 255).tolist(), digits[..., None].tolist()):
        status, text = _ask(port, "POST", "/invocations", {"inputs": pictures})
        assert status == 200, text
        rows = json.loads(text)["predictions"]
        assert [max(row, key=row.get) for row in rows] == ["7", "2"]
        assert [sum(row.values()) for row in rows] == pytest.approx([1, 1], abs=1e-5)
    status, text = _ask(port, "POST", "/invocations", {"inputs": digits[0].tolist()})
    assert status == 200
    status, text = _ask(port, "POST", "/invocations", {"inputs": digits[:, :20].tolist()})
    assert status == 400
    assert "Received: shape (2, 20, 28)" in json.loads(text)["message"]
