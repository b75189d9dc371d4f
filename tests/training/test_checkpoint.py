"""A checkpoint is read as it was written or not at all."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from handwriting.config import compose
from handwriting.data import Dataset
from handwriting.errors import UserError
from handwriting.training import build
from handwriting.training.batches import training_batches
from handwriting.training.callbacks import SeedEpoch
from handwriting.training.checkpoint import Checkpoint, Checkpoints, weights_digest


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    kept = Checkpoints(tmp_path / "run", "feed")
    for epochs in (1, 2, 3):
        kept.save(after(epochs))
    return kept


def after(epochs: int) -> Checkpoint:
    state: list[np.ndarray] = [np.full((2, 3), epochs, np.float32), np.arange(5, dtype=np.int64)]
    return Checkpoint(state, state[:1], [{"loss": 0.1}] * epochs)


def newest(checkpoints: Checkpoints) -> int | None:
    checkpoint = checkpoints.newest()
    return len(checkpoint.history) if checkpoint else None


def same(found: Checkpoint, expected: Checkpoint) -> bool:
    """Tell whether two are the same to the bit: number, order, types and values of arrays, and history."""
    arrays = [[(a.dtype, a.shape, a.tobytes()) for a in (*c.weights, *c.slots)] for c in (found, expected)]
    return (
        arrays[0] == arrays[1]
        and len(found.weights) == len(expected.weights)
        and found.history == expected.history
    )


def test_checkpoint_comes_back_as_it_was_and_two_are_kept(checkpoints: Checkpoints) -> None:
    assert sorted(file.name for file in checkpoints.folder.iterdir()) == ["epoch-0002.npz", "epoch-0003.npz"]
    found = checkpoints.newest()
    assert found is not None
    assert same(found, after(3))
    checkpoints.remove()
    assert not checkpoints.folder.exists()
    assert newest(checkpoints) is None


def test_more_arrays_than_a_thousand_keep_their_order(tmp_path: Path) -> None:
    many = Checkpoint([np.array(i) for i in range(1100)], [np.array(-i) for i in range(1100)], [{}])
    kept = Checkpoints(tmp_path, "feed")
    kept.save(many)
    found = kept.newest()
    assert found is not None
    assert same(found, many)


@pytest.mark.parametrize("damage", ["truncated", "a byte short", "one bit", "empty", "zeros"])
def test_damaged_checkpoint_is_named_and_passed_over(
    checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = checkpoints.folder / "epoch-0003.npz"
    content = path.read_bytes()
    damaged = {
        "truncated": content[: len(content) // 2],
        "a byte short": content[:-1],
        "one bit": bytes([content[0] ^ 1]) + content[1:],
        "empty": b"",
        "zeros": bytes(len(content)),  # a size that was written, and blocks that were not
    }
    path.write_bytes(damaged[damage])
    assert newest(checkpoints) == 2
    assert "epoch-0003.npz is passed over" in caplog.text


def test_missing_checkpoint_leaves_the_one_before_it(checkpoints: Checkpoints) -> None:
    (checkpoints.folder / "epoch-0003.npz").unlink()
    assert newest(checkpoints) == 2


def test_a_flipped_bit_is_refused_or_changes_nothing(checkpoints: Checkpoints) -> None:
    """500 of them: anywhere in a file, and in the list of arrays at its end, which has no checksum.

    A zip file says some things twice, and others that nobody reads.
    """
    path, expected = checkpoints.folder / "epoch-0003.npz", after(3)
    content = path.read_bytes()
    listed = content.index(b"PK\x01\x02")
    rng = np.random.default_rng(0)
    places = [*rng.integers(len(content), size=200), *rng.integers(listed, len(content), size=300)]
    refused = 0
    for place, bit in zip(places, rng.integers(8, size=len(places)), strict=True):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(bit)
        path.write_bytes(flipped)
        found = checkpoints.newest()
        assert found is not None
        assert same(found, expected) or same(found, after(2)), (place, bit)
        refused += same(found, after(2))
    assert refused > 250


def test_checkpoint_cut_anywhere_is_passed_over(checkpoints: Checkpoints) -> None:
    path = checkpoints.folder / "epoch-0003.npz"
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        assert newest(checkpoints) == 2, length


def test_checkpoint_of_another_config_or_format_is_passed_over(
    checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert newest(Checkpoints(checkpoints.folder, "beef")) is None
    assert "of another config: feed, not beef" in caplog.text
    monkeypatch.setattr("handwriting.training.checkpoint.FORMAT", 3)
    assert newest(checkpoints) is None
    assert "of format 2, where 3 is read" in caplog.text


def test_damaged_checkpoints_do_not_push_out_the_one_that_is_saved(checkpoints: Checkpoints) -> None:
    """A run whose checkpoints are all damaged begins again, and its first epoch comes before theirs."""
    for path in checkpoints.folder.iterdir():
        path.write_bytes(b"")
    checkpoints.save(after(1))
    assert newest(checkpoints) == 1


def test_the_ten_thousandth_epoch_is_newer_than_the_one_before(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "feed")
    for epochs in (9999, 10_000):
        kept.save(after(epochs))
    assert newest(kept) == 10_000


@pytest.mark.parametrize("taken", ["all", "all/run", "all/run/unfinished", "all/run/epoch-0001.npz"])
def test_a_name_that_is_taken_is_said_and_serves_when_it_is_free(tmp_path: Path, taken: str) -> None:
    """A file where a folder must be, or a folder where a file must be."""
    path = tmp_path / taken
    path.parent.mkdir(parents=True, exist_ok=True)
    if taken in ("all", "all/run"):
        path.touch()
    else:
        path.mkdir()
    said = f"{path} is in the way: the run's checkpoints need its name. Move it away, and the same command"
    with pytest.raises(UserError, match=re.escape(said)):
        Checkpoints(tmp_path / "all/run", "feed").save(after(1))
    path.rename(tmp_path / "away")
    kept = Checkpoints(tmp_path / "all/run", "feed")
    kept.save(after(1))
    assert newest(kept) == 1


def test_a_broken_link_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="run is in the way"):
        Checkpoints(tmp_path / "run", "feed")


def test_a_folder_with_the_name_of_another_epoch_is_passed_by(checkpoints: Checkpoints) -> None:
    for name in ("epoch-0001.npz", "epoch-9999.npz"):
        (checkpoints.folder / name).mkdir()
    checkpoints.save(after(4))
    checkpoints.save(after(5))
    assert newest(checkpoints) == 5
    files = [path.name for path in checkpoints.folder.iterdir() if path.is_file()]
    assert sorted(files) == ["epoch-0004.npz", "epoch-0005.npz"]


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        (["model.units=17"], "number 1 of its weights is (784, 16), in the model (784, 17)."),
        (["model=cnn"], "it has 6 weights, the model 8."),
        (["optimizer=rmsprop"], "it has 14 optimizer's variables, the model 8."),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_and_changes_nothing(
    dataset: Dataset, tmp_path: Path, settings: list[str], differs: str
) -> None:
    small = ("model=mlp", "model.units=16", "optimizer=adam")
    kept = Checkpoints(tmp_path, "feed")
    model = build(compose(*small), dataset).model
    model.optimizer.build(model.trainable_variables)
    kept.save(Checkpoint.of(model, [{}]))
    saved = kept.newest()
    assert saved is not None
    other = build(compose(*(() if "model=cnn" in settings else small), *settings), dataset).model
    before = weights_digest(other)
    with pytest.raises(UserError) as caught:
        saved.restore(other)
    said = f"the checkpoint {tmp_path}/epoch-0001.npz does not fit the model: {differs} Make the model as"
    assert str(caught.value).startswith(said)
    assert weights_digest(other) == before


def test_half_written_checkpoint_does_not_count(checkpoints: Checkpoints) -> None:
    (checkpoints.folder / "epoch-0003.npz").rename(checkpoints.folder / "unfinished")
    assert newest(checkpoints) == 2
    with np.load(checkpoints.folder / "epoch-0002.npz") as arrays:
        record = json.loads(str(arrays["record"]))
    assert (record["format"], record["fingerprint"]) == (2, "feed")
    assert record["history"] == [{"loss": 0.1}] * 2


def test_checkpoint_gets_its_name_when_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is flushed before it is renamed, its folder after; what fails before leaves no name."""
    calls: list[str] = []
    flush, replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        calls.append(f"flush {os.readlink(f'/proc/self/fd/{descriptor}').removeprefix(str(tmp_path))}")
        flush(descriptor)

    def rename(source: Any, target: Any) -> None:
        calls.append(f"rename {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    kept = Checkpoints(tmp_path / "run", "feed")
    kept.save(after(1))
    assert calls == ["flush /run/unfinished", "rename epoch-0001.npz", "flush /run"]

    def full(descriptor: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="the disk is full"):
        kept.save(after(2))
    assert newest(kept) == 1


def test_a_model_goes_on_from_a_checkpoint_to_the_same_bits(dataset: Dataset, tmp_path: Path) -> None:
    """With dropout, momentum and a schedule; tests/tracking/test_resume.py does it with deep_cnn."""
    small = ("model=mlp", "model.units=16", "batch_size=64", "epochs=2")
    cfg = compose(*small, "optimizer=adamw", "schedule=one_cycle")
    kept = Checkpoints(tmp_path, "feed")

    def train(first: int, last: int) -> Any:
        model, epoch = build(cfg, dataset).model, tf.Variable(0, dtype=tf.int64)
        model.run_eagerly = True
        if first:
            saved = kept.newest()
            assert saved is not None
            saved.restore(model)
        batches, seeding = training_batches(dataset.validation, 10, 64, 0, epoch), [SeedEpoch(0, epoch)]
        model.fit(batches, initial_epoch=first, epochs=last, shuffle=False, verbose=0, callbacks=seeding)
        return model

    kept.save(Checkpoint.of(train(0, 1), [{"loss": 0.5}]))
    resumed, undisturbed = train(1, 2), train(0, 2)
    assert weights_digest(resumed) == weights_digest(undisturbed)
    for ours, theirs in zip(resumed.optimizer.variables, undisturbed.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
