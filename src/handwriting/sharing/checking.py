"""Whether a copy is what it is a copy of: by value, and of each file by its SHA-256."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from handwriting.sharing.copying import (
    OWN,
    Copier,
    metrics_of,
    models_of,
    outputs_of,
    values_of,
)
from handwriting.sharing.states import files_in
from handwriting.tracking import Store


def differences(copier: Copier, run_id: str, copy_id: str) -> list[str]:
    """Return what differs between a run and its copy, in words; nothing where they are the same.

    Args:
        copier: of both stores.
        run_id: the run's, in the source.
        copy_id: the copy's, in the target.
    """
    source, target = copier.source, copier.target
    run, copy = source.client.get_run(run_id), target.client.get_run(copy_id)
    with tempfile.TemporaryDirectory() as folder:
        return [
            f"{what} {key}: {_short(own)}, and in the copy {_short(theirs)}"
            for what, key, own, theirs in _unequal(
                _facts(source, run, run.data.tags | copier.references(run), Path(folder, "own")),
                _facts(target, copy, copy.data.tags, Path(folder, "copy")),
            )
        ]


def _unequal(
    own: Mapping[str, Mapping[Any, Any]], theirs: Mapping[str, Mapping[Any, Any]]
) -> Iterator[tuple[str, Any, Any, Any]]:
    for what in own:
        for key in sorted(own[what].keys() | theirs[what].keys(), key=str):
            if own[what].get(key) != theirs[what].get(key):
                yield what, key, own[what].get(key), theirs[what].get(key)


def _facts(store: Store, run: Run, tags: Mapping[str, str], folder: Path) -> dict[str, dict[Any, Any]]:
    """Return all that is stored of a run, as it has to be in a copy too."""
    info = run.info
    models = {model.name: model for model in models_of(store.client, run) if str(model.status) == "READY"}
    steps = {output.model_id: output.step for output in outputs_of(run)}
    return {
        "the run's": {
            "name": info.run_name, "status": info.status, "start": info.start_time,
            "end": info.end_time if info.status != "RUNNING" else None,
        },
        "parameter": dict(run.data.params),
        "tag": {key: value for key, value in tags.items() if key not in OWN},
        "point": {values_of(point): True for point in metrics_of(store.client, run)},
        "data set": {
            (used.dataset.name, used.dataset.digest): (
                used.dataset.source_type, used.dataset.source, used.dataset.schema, used.dataset.profile,
                {tag.key: tag.value for tag in used.tags},
            )
            for used in (run.inputs.dataset_inputs if run.inputs else [])
        },
        "file": _files(store, info.artifact_uri, folder / "run"),
        "model": {
            (name, part): value
            for name, model in models.items()
            for part, value in {
                "type": model.model_type or "",  # a server has no None
                "step": steps.get(model.model_id),
                "parameters": model.params,
                "tags": {key: value for key, value in model.tags.items() if key not in OWN},
                "points": sorted(map(values_of, model.metrics or [])),
            }.items()
        },
        "file of model": {
            (name, file): digest
            for name, model in models.items()
            for file, digest in _files(store, model.artifact_location, folder / name).items()
        },
    }  # fmt: skip


def _files(store: Store, uri: str, folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below an address, read from where it lies."""
    folder.mkdir(parents=True)
    try:
        there = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder), tracking_uri=store.uri))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    return {
        file.relative_to(there).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files_in(there)
    }


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
