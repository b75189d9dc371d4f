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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from handwriting.errors import UserError
from handwriting.tracking.elsewhere import Elsewhere

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
        path: the file that it was read from.
    """

    weights: list[np.ndarray]
    slots: list[np.ndarray]
    history: list[dict[str, float]]
    path: Path | None = None

    @classmethod
    def of(cls, model: keras.Model, history: list[dict[str, float]]) -> "Checkpoint":
        """Take a compiled model's state."""
        slots = [np.asarray(variable) for variable in model.optimizer.variables]
        return cls(model.get_weights(), slots, history)

    def restore(self, model: keras.Model) -> None:
        """Put the state back into a compiled model of the same config.

        Raises:
            UserError: it is the state of another model; this one is as it was.
        """
        model.optimizer.build(model.trainable_variables)
        self._compare("weights", self.weights, model.weights)
        self._compare("optimizer's variables", self.slots, model.optimizer.variables)
        model.set_weights(self.weights)
        for variable, value in zip(model.optimizer.variables, self.slots, strict=True):
            variable.assign(value)

    def _compare(self, what: str, arrays: Sequence[np.ndarray], variables: Sequence[keras.Variable]) -> None:
        ours, models = [array.shape for array in arrays], [tuple(variable.shape) for variable in variables]
        if ours == models:
            return
        differs = f"it has {len(ours)} {what}, the model {len(models)}"
        if len(ours) == len(models):
            number = next(i for i, shape in enumerate(ours) if shape != models[i])
            differs = f"number {number + 1} of its {what} is {ours[number]}, in the model {models[number]}"
        raise UserError(
            f"the checkpoint {self.path} does not fit the model: {differs}. Make the model as it was, and "
            "the same command goes on; or add force=true, which starts a new run"
        )


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: the run's own; it is made at once.
        fingerprint: of the run's config; a checkpoint of another is passed over.
        elsewhere: where a copy of each is kept too, for a machine that does not have the folder.

    Raises:
        UserError: a file or a folder has a name that is needed; so does `save`.
    """

    def __init__(self, folder: Path, fingerprint: str, elsewhere: Elsewhere | None = None):
        self.folder, self.elsewhere, self.fingerprint = folder, elsewhere, fingerprint
        self._make_folder()

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint: a temporary file, flushed to the disk, then renamed."""
        self._make_folder()
        temporary = self.folder / "unfinished"
        path = self.folder / f"epoch-{len(checkpoint.history):04}.npz"
        for needed in (temporary, path):
            if needed.is_dir():
                raise _in_the_way(needed)
        record = {"format": FORMAT, "fingerprint": self.fingerprint, "history": checkpoint.history}
        record |= {"weights": len(checkpoint.weights), "slots": len(checkpoint.slots)}
        arrays = {f"weight{i:03}": array for i, array in enumerate(checkpoint.weights)}
        arrays |= {f"slot{i:03}": array for i, array in enumerate(checkpoint.slots)}
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, record=np.array(json.dumps(record)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush(self.folder)
        files = self._newest_first()
        for old in files[files.index(path) + KEPT :]:  # any before it are damaged, and do not count
            old.unlink()
        if self.elsewhere:
            self.elsewhere.put(path, {kept.name for kept in self._newest_first()})

    def newest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; name each that is not and pass it over.

        Raises:
            UserError: it cannot be seen whether there is one elsewhere.
        """
        if self.elsewhere:
            self.elsewhere.fetch(self.folder)
        for path in self._newest_first():
            try:
                return self._read(path)
            except UNREADABLE as error:
                log.warning("checkpoint %s is passed over: %s", path, str(error) or repr(error))
        return None

    def remove(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.elsewhere:
            self.elsewhere.remove()

    def _newest_first(self) -> list[Path]:
        files = (path for path in self.folder.glob("epoch-*.npz") if path.is_file())
        return sorted(files, key=lambda path: (len(path.name), path.name), reverse=True)  # 9999 before 10000

    def _make_folder(self) -> None:
        for folder in (self.folder.parent, self.folder):
            if os.path.lexists(folder) and not folder.is_dir():
                raise _in_the_way(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

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
        return Checkpoint(weights, slots, record["history"], path)


def weights_digest(model: keras.Model) -> str:
    """Return the SHA-256 of a model's weights, in Keras's order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _in_the_way(path: Path) -> UserError:
    return UserError(
        f"{path} is in the way: the run's checkpoints need its name. Move it away, and the same command "
        "goes on"
    )


def _flush(folder: Path) -> None:
    """Flush a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
