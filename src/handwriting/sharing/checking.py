"""Whether a copy is what it is a copy of: by value, and of each file by its SHA-256."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow.entities import Run

from handwriting.sharing.contents import folder_at, metrics_of, models_of, outputs_of, values_of
from handwriting.sharing.copying import OWN, Copier
from handwriting.sharing.states import files_in
from handwriting.tracking import Store, names


def differences(copier: Copier, run_id: str, copy_id: str) -> list[str]:
    """Return what differs between a run and its copy, in words; nothing where they are the same.

    Args:
        copier: of both stores.
        run_id: the run's, in the source.
        copy_id: the copy's, in the target.
    """
    source, target = copier.source, copier.target
    run, copy = source.client.get_run(run_id), target.client.get_run(copy_id)
    tags = run.data.tags | copier.references(run)
    return [
        f"{what} {key}: {_short(own)}, and in the copy {_short(theirs)}"
        for what, key, own, theirs in _unequal(
            _facts(source, run, _tags(tags, tags)), _facts(target, copy, _tags(copy.data.tags, tags))
        )
    ]


def _tags(tags: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that are compared: a copy may belong to sweeps of other machines besides."""
    sweeps = set(names.words(own.get(names.SWEEP)))
    found = {
        key: value
        for key, value in tags.items()
        if key not in OWN and (key in own or not key.startswith(names.ARM_OF))
    }
    if names.SWEEP in found:
        found[names.SWEEP] = " ".join(sorted(sweeps & set(names.words(found[names.SWEEP]))))
    return found


def _unequal(
    own: Mapping[str, Mapping[Any, Any]], theirs: Mapping[str, Mapping[Any, Any]]
) -> Iterator[tuple[str, Any, Any, Any]]:
    for what in own:
        for key in sorted(own[what].keys() | theirs[what].keys(), key=str):
            if own[what].get(key) != theirs[what].get(key):
                yield what, key, own[what].get(key), theirs[what].get(key)


def _facts(store: Store, run: Run, tags: Mapping[str, str]) -> dict[str, dict[Any, Any]]:
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
        "tag": dict(tags),
        "point": {values_of(point): True for point in metrics_of(store, run)},
        "data set": {
            (used.dataset.name, used.dataset.digest): (
                # Not its source: of each digest MLflow keeps one in an experiment, that of whoever was first.
                used.dataset.source_type, used.dataset.schema, used.dataset.profile,
                {tag.key: tag.value for tag in used.tags},
            )
            for used in (run.inputs.dataset_inputs if run.inputs else [])
        },
        "file": _files(store, info.artifact_uri),
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
            for file, digest in _files(store, model.artifact_location).items()
        },
    }  # fmt: skip


def _files(store: Store, uri: str) -> dict[str, str]:
    """Return the SHA-256 of each file below an address, read from where it lies."""
    with folder_at(store, uri) as folder:
        return {
            file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files_in(folder)
        }


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
