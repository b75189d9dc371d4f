"""The exported file gives the same answers where there is no TensorFlow."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from promoted_runs import IMAGES, answer, made
from user_pictures import first_digits

from conftest import ONLY_TESTS
from handwriting.config import compose
from handwriting.data import load_dataset
from handwriting.errors import UserError
from handwriting.export import export, write_litert
from handwriting.serving.champion import promote
from handwriting.tracking.model import load_picture_model, scaled
from handwriting.training import build

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="installed by make test: tests/requirements.lock",
)

READ = """
import importlib.util, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

model, images, out = sys.argv[1:]
images = np.load(images)
found = []
interpreter = Interpreter(model)
(given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
for block in np.array_split(images, max(1, len(images) // 500)):
    interpreter.resize_tensor_input(given["index"], block.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], block)
    interpreter.invoke()
    found.append(interpreter.get_tensor(taken["index"]))
assert not [name for name in ("tensorflow", "keras", "mlflow") if importlib.util.find_spec(name)]
np.save(out, np.concatenate(found))
"""


def read(file: Path, images: np.ndarray) -> np.ndarray:
    """Return what LiteRT says of images, by a Python without TensorFlow (`-S`: without those packages)."""
    np.save(file.with_suffix(".in.npy"), images.astype(np.float32))
    out = file.with_suffix(".out.npy")
    words = [sys.executable, "-S", "-c", READ, str(file), str(file.with_suffix(".in.npy")), str(out)]
    env = os.environ | {"PYTHONPATH": str(ONLY_TESTS)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.load(out)


@pytest.mark.parametrize("name", ["cnn", "small_cnn", "deep_cnn", "mlp"])
def test_each_network_says_the_same_of_ten_thousand_test_digits(name: str, tmp_path: Path) -> None:
    cfg = compose(f"model={name}")
    network = scaled(build(cfg, load_dataset(cfg.data, 0)).model, (28, 28, 1))
    write_litert(network, tmp_path / "digits.tflite")
    images = first_digits(10_000).x[..., None].astype(np.float32)
    found = read(tmp_path / "digits.tflite", images)
    right = np.concatenate([network(block, training=False) for block in np.array_split(images, 20)])
    assert len(found) == 10_000
    assert abs(found - right).max() < 1e-5
    assert (found.argmax(axis=1) == right.argmax(axis=1)).mean() > 0.9999


def test_what_was_promoted_is_exported_with_its_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = made(tmp_path, 0.002)
    promote(store, answer(store), "report", "signs", None)
    file = tmp_path / "signs.tflite"
    export(store, None, file)
    assert "signs@champion (version 1, adam)" in capsys.readouterr().out
    about = json.loads((tmp_path / "signs.json").read_text())
    assert about["classes"] == ["circle", "cross", "line"]
    assert about["image_shape"] == [6, 6, 1]
    version = store.client.get_model_version_by_alias("signs", "champion")
    right = load_picture_model(store, str(version.run_id)).predict(IMAGES)
    np.testing.assert_allclose(read(file, IMAGES[..., None]), right, atol=1e-6)
    assert {path.name for path in tmp_path.glob("signs.*")} >= {"signs.tflite", "signs.json"}
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path.name.startswith("tmp")]


def test_what_litert_does_not_know_is_said_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(tmp_path, 0.002)
    promote(store, answer(store), "report", "signs", None)

    def refuse(*_: object) -> None:
        raise RuntimeError("unknown operation")

    monkeypatch.setattr("handwriting.export.write_litert", refuse)
    with pytest.raises(UserError, match="has something that LiteRT does not: unknown operation"):
        export(store, None, tmp_path / "signs.tflite")
    assert not list(tmp_path.glob("signs.*"))
