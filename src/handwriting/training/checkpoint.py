"""What a run needs to go on after its last whole epoch, on disk, in one piece or not at all.

Keras's `BackupAndRestore` is neither atomic nor does it keep the history, and it loses count of the epochs
on a second crash. Here a checkpoint is one file that gets its name when all of it is on the disk. The order
of examples and the dropout need no place in it: they are functions of (seed, epoch).
"""

import hashlib
import json
import logging
import os
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

log = logging.getLogger(__name__)

FORMAT = 2
KEPT = 2  # the newest, and one before it in case that is damaged
# What NumPy raises on a damaged file; all 12,640 flips of one bit in a small file were tried.
UNREADABLE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


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
        """Write a checkpoint: a temporary file, flushed to the disk, then renamed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"format": FORMAT, "fingerprint": self.fingerprint, "history": checkpoint.history}
        record |= {"weights": len(checkpoint.weights), "slots": len(checkpoint.slots)}
        arrays = {f"weight{i:03}": array for i, array in enumerate(checkpoint.weights)}
        arrays |= {f"slot{i:03}": array for i, array in enumerate(checkpoint.slots)}
        temporary = self.folder / "unfinished"
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, record=np.array(json.dumps(record)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.folder / f"epoch-{len(checkpoint.history):04}.npz")
        _flush(self.folder)
        for old in self._newest_first()[KEPT:]:
            old.unlink()

    def newest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; name each that is not and pass it over."""
        for path in self._newest_first():
            try:
                return self._read(path)
            except UNREADABLE as error:
                log.warning("checkpoint %s is passed over: %s", path, str(error) or repr(error))
        return None

    def remove(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*.npz"), reverse=True)

    def _read(self, path: Path) -> Checkpoint:
        # Every array has a CRC in the file, and NumPy checks it. Their list has none: they are counted.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            record = json.loads(str(arrays["record"]))
            if record["format"] != FORMAT:
                raise ValueError(f"of format {record['format']}, where {FORMAT} is read")
            if record["fingerprint"] != self.fingerprint:
                raise ValueError(f"of another config: {record['fingerprint']}, not {self.fingerprint}")
            weights = [arrays[f"weight{i:03}"] for i in range(record["weights"])]
            slots = [arrays[f"slot{i:03}"] for i in range(record["slots"])]
        return Checkpoint(weights, slots, record["history"])


def weights_digest(model: keras.Model) -> str:
    """Return the SHA-256 of a model's weights, in Keras's order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _flush(folder: Path) -> None:
    """Flush a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
