"""A stored model loads only if its bytes are those that its run recorded, and none of its code runs."""

import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
from test_server import server  # noqa: F401  # a fixture

from conftest import Opened
from handwriting.errors import UserError
from handwriting.tracking import Store, names
from handwriting.tracking.model import load_model
from handwriting.tracking.run import tracked_run
from servers import Server

IMAGES = np.random.default_rng(0).random((5, 2, 2, 1), np.float32)
CLASSES = ("no", "yes", "perhaps")
FILE = "data/model.keras"


class Twice(keras.layers.Layer):
    """A layer of a user's own."""

    def call(self, inputs: Any) -> Any:
        return inputs * 2


def network(*layers: keras.Layer) -> keras.Model:
    end = keras.layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), *layers, end])


def run_with(opened: Opened, model: keras.Model) -> str:
    """Return the id of a run that has stored a model, as a training run does."""
    with tracked_run(*opened, "run", {}) as run:
        run.set_tags({names.FINAL_WEIGHTS: "5ea1", **run.log_model(model, 0, IMAGES[:1], CLASSES)})
    return run.id


def folder_of(opened: Opened, run_id: str) -> Path:
    """Return MLflow's folder of a run's model."""
    (stored,) = opened[0].client.search_logged_models([opened[1]], f"source_run_id = '{run_id}'")
    return Path(stored.artifact_location.removeprefix("file://"))


def refusal(store: Store, run_id: str) -> str:
    """Return the one line with which a model is refused."""
    with pytest.raises(UserError) as caught:
        load_model(store, run_id)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_comes_back_as_it_was(opened: Opened) -> None:
    model = network(keras.layers.Dense(8, activation="relu"))
    loaded = load_model(opened[0], run_with(opened, model))
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    assert not loaded.compiled


@pytest.mark.parametrize("place", [0, 100, -1], ids=["first", "among the weights", "last"])
def test_a_model_with_a_flipped_bit_is_refused(opened: Opened, place: int) -> None:
    run_id = run_with(opened, network())
    file = folder_of(opened, run_id) / FILE
    content = bytearray(file.read_bytes())
    if place == 100:
        place += content.index(b"\x89HDF")
    content[place] ^= 1
    file.write_bytes(content)
    said = refusal(opened[0], run_id)
    expected = opened[0].client.get_run(run_id).data.tags["model.sha256"]
    assert said.startswith(
        f"the model of run {run_id} is not loaded: file://{file} is not what the run record"
    )
    assert f", not {expected}. Bring the right file back, or train that run again" in said


def test_the_model_of_another_run_is_refused(opened: Opened) -> None:
    run_id, other = (run_with(opened, network()) for _ in range(2))
    mine, theirs = (folder_of(opened, of) / FILE for of in (run_id, other))
    shutil.copy(theirs, mine)
    assert "is not what the run recorded" in refusal(opened[0], run_id)
    load_model(opened[0], other)


def test_what_a_store_spoilt_as_it_took_it_is_refused(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest is of what the run wrote, not of what the store gives back."""
    take = mlflow.MlflowClient.log_model_artifacts

    def spoil(client: mlflow.MlflowClient, model_id: str, folder: str) -> None:
        file = Path(folder, FILE)
        file.write_bytes(file.read_bytes()[:-1])
        take(client, model_id, folder)

    monkeypatch.setattr(mlflow.MlflowClient, "log_model_artifacts", spoil)
    assert "is not what the run recorded" in refusal(opened[0], run_with(opened, network()))


class Bomb:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return pytest.fail, ("unpickled",)


def test_nothing_of_mlflows_folder_is_read_but_the_keras_file(opened: Opened) -> None:
    """MLflow's loaders follow MLmodel to another file, import what keras_module.txt names, and unpickle."""
    run_id, other = (run_with(opened, network()) for _ in range(2))
    folder, elsewhere = folder_of(opened, run_id), folder_of(opened, other)
    before = load_model(opened[0], run_id).get_weights()
    told = (folder / "MLmodel").read_text()
    (folder / "MLmodel").write_text(told.replace("data: data", f"data: {elsewhere}/data"))
    followed = mlflow.keras.load_model(folder.as_uri()).get_weights()
    assert any((theirs != mine).any() for theirs, mine in zip(followed, before, strict=True))
    (folder / "data/keras_module.txt").write_text("antigravity")
    (folder / "data/custom_objects.cloudpickle").write_bytes(pickle.dumps(Bomb()))
    for ours, mine in zip(load_model(opened[0], run_id).get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, mine)


def test_a_lambda_is_refused_and_its_code_does_not_run(opened: Opened, tmp_path: Path) -> None:
    mark = str(tmp_path / "ran")

    def code(inputs: Any, path: str = mark) -> Any:
        open(path, "w").close()
        return inputs

    run_id = run_with(opened, network(keras.layers.Lambda(lambda inputs, path=mark: code(inputs, path))))
    Path(mark).unlink()  # it ran when the model was made
    said = refusal(opened[0], run_id)
    assert "Keras does not load it: Requested the deserialization of a `Lambda` layer" in said
    assert "a Lambda must become such a layer" in said
    assert not Path(mark).exists()


def test_a_layer_of_ones_own_loads_once_it_is_registered(opened: Opened) -> None:
    model = network(Twice())
    said = refusal(opened[0], run_with(opened, model))
    assert (
        "Keras does not load it: Could not locate class 'Twice'. Each layer of your own needs @keras." in said
    )
    keras.saving.register_keras_serializable()(Twice)
    try:
        loaded = load_model(opened[0], run_with(opened, model))
        assert any(isinstance(layer, Twice) for layer in loaded.layers)
    finally:
        del keras.saving.get_custom_objects()["Custom>Twice"]


def test_what_has_no_model_to_load_is_said(opened: Opened) -> None:
    store = opened[0]
    assert refusal(store, "0" * 32) == f"there is no run {'0' * 32} in the store {store.uri}"
    assert refusal(store, "../run").startswith("there is no run ../run in")

    with suppress(KeyboardInterrupt), tracked_run(*opened, "unfinished", {}) as run:
        raise KeyboardInterrupt
    assert refusal(store, run.id).startswith(f"run {run.id} has no model: it is KILLED. An unfinished run")

    with tracked_run(*opened, "of an earlier version", {}) as run:
        run.log_model(network(), 0, IMAGES[:1], CLASSES)
        run.set_tags({names.FINAL_WEIGHTS: "5ea1"})
    assert "cannot be checked: an earlier version made it" in refusal(store, run.id)

    run_id = run_with(opened, network())
    file = folder_of(opened, run_id) / FILE
    file.rename(file.with_suffix(".gone"))
    assert refusal(store, run_id).startswith(
        f"the model of run {run_id} cannot be read from file://{file} (No "
    )
    file.mkdir()
    assert "Is a directory" in refusal(store, run_id)

    (stored,) = store.client.search_logged_models([opened[1]], f"source_run_id = '{run_id}'")
    store.client.delete_logged_model(stored.model_id)
    assert refusal(store, run_id).startswith(f"the model of run {run_id} was deleted from the store; train")


def test_a_servers_model_is_fetched_and_checked(server: Server, tmp_path: Path) -> None:  # noqa: F811
    store, model = Store(server.address), network()
    store.folder = tmp_path  # else the checkout's mlruns/
    opened = store, store.open_experiment("models")
    run_id = run_with(opened, model)
    loaded = load_model(store, run_id)
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    (file,) = server.folder.rglob("model.keras")
    content = file.read_bytes()
    file.write_bytes(content + b"\0")
    assert "data/model.keras is not what the run recorded" in refusal(store, run_id)
    file.unlink()
    assert "cannot be read from mlflow-artifacts:/" in refusal(store, run_id)
