"""What a run needs to go on after its last whole epoch, on disk, in one piece or not at all.

Keras's `BackupAndRestore` is neither atomic nor does it keep the history, and it loses count of the epochs
on a second crash. Here a checkpoint is a folder that gets its name when all of it is on the disk. The order
of examples and the dropout need no place in it: they are functions of (seed, epoch).
"""

import hashlib
import io
import json
import logging
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

log = logging.getLogger(__name__)

FORMAT = 1
KEPT = 2  # the newest, and the one before it in case the newest is damaged


@dataclass(frozen=True)
class Checkpoint:
    """A run after `len(history)` whole epochs.

    Args:
        weights: the model's, in Keras's order.
        slots: the optimizer's variables: its count of steps and what it keeps for each weight.
        history: the metrics of each epoch.
    """

    weights: list[np.ndarray]
    slots: list[np.ndarray]
    history: list[dict[str, float]]

    @classmethod
    def of(cls, model: keras.Model, history: list[dict[str, float]]) -> "Checkpoint":
        """Take a compiled model's state."""
        slots = [np.asarray(variable) for variable in model.optimizer.variables]
        return cls(model.get_weights(), slots, history)

    def restore(self, model: keras.Model) -> None:
        """Put the state back into a model of the same config."""
        model.set_weights(self.weights)
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(model.optimizer.variables, self.slots, strict=True):
            variable.assign(value)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: the run's own; it is made when needed.
        fingerprint: of the run's config; a checkpoint of another is passed over.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.folder, self.fingerprint = folder, fingerprint

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint: a temporary folder, flushed to the disk, then renamed."""
        epoch = len(checkpoint.history)
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / "unfinished"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        buffer = io.BytesIO()
        arrays = {f"weight{i:03}": array for i, array in enumerate(checkpoint.weights)}
        arrays |= {f"slot{i:03}": array for i, array in enumerate(checkpoint.slots)}
        np.savez(buffer, allow_pickle=False, **arrays)
        state = buffer.getvalue()
        record = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "history": checkpoint.history,
            "state": hashlib.sha256(state).hexdigest(),
        }
        text = json.dumps(record, sort_keys=True)
        _write(temporary / "state.npz", state)
        _write(temporary / "record.json", text.encode())
        _write(temporary / "record.sha256", hashlib.sha256(text.encode()).hexdigest().encode())
        _flush(temporary)
        target = self.folder / f"epoch-{epoch:04}"
        shutil.rmtree(target, ignore_errors=True)  # one that was damaged and passed over
        temporary.rename(target)
        _flush(self.folder)
        for old in self._newest_first()[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; name each that is not and pass it over."""
        for folder in self._newest_first():
            try:
                return self._read(folder)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                log.warning("checkpoint %s is passed over: %s", folder, error)
        return None

    def remove(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*"), reverse=True)

    def _read(self, folder: Path) -> Checkpoint:
        text, state = (folder / "record.json").read_bytes(), (folder / "state.npz").read_bytes()
        if hashlib.sha256(text).hexdigest() != (folder / "record.sha256").read_text():
            raise ValueError("damaged: record.json has another digest than record.sha256 says")
        record = json.loads(text)
        if record["format"] != FORMAT:
            raise ValueError(f"of format {record['format']}, where {FORMAT} is read")
        if record["fingerprint"] != self.fingerprint:
            raise ValueError(f"of another config: {record['fingerprint']}, not {self.fingerprint}")
        if hashlib.sha256(state).hexdigest() != record["state"]:
            raise ValueError("damaged: state.npz has another digest than record.json says")
        with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
            weights = [arrays[name] for name in arrays.files if name.startswith("weight")]
            slots = [arrays[name] for name in arrays.files if name.startswith("slot")]
        return Checkpoint(weights, slots, record["history"])


def weights_digest(model: keras.Model) -> str:
    """Return the SHA-256 of a model's weights, in Keras's order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """Flush a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
