"""What a model reads on pictures: which model is meant, and each part's class with its probability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from handwriting.data import Ink
from handwriting.errors import UserError, nearest
from handwriting.serving.champion import ARM, CHALLENGER, CHAMPION, version_of
from handwriting.serving.pictures import Seen
from handwriting.tracking import Store, names
from handwriting.tracking.model import load_picture_model
from handwriting.tracking.picture_model import PictureModel

FIRST = "make promote makes one"


@dataclass(frozen=True)
class Reading:
    """What a model says of one part of a picture.

    Args:
        label: the most probable class.
        probability: of it, from 0 to 1.
        second: the next one.
        second_probability: of that.
        box: left, top, width, height of the part, in pixels of the picture.
    """

    label: str
    probability: float
    second: str
    second_probability: float
    box: tuple[int, int, int, int]


def model_named(store: Store, name: str | None) -> tuple[PictureModel, str]:
    """Return a model, loaded only if its bytes are those that were recorded, and what it is called.

    Args:
        store: where the registry is.
        name: as for `promoted`, or a run's id.

    Raises:
        UserError: there is no such model, or it is another one by now, or it takes no pictures.
    """
    if name and _is_run(store, name):
        return load_picture_model(store, name), f"run {name}"
    version, alias = promoted(store, name)
    arm = f", {version.tags[ARM]}" if ARM in version.tags else ""
    called = f"{version.name}@{alias} (version {version.version}{arm})"
    return load_picture_model(store, str(version.run_id)), called


def promoted(store: Store, name: str | None) -> tuple[ModelVersion, str]:
    """Return the version of a registered model that is meant, and its alias.

    Args:
        store: where the registry is.
        name: NAME@ALIAS, or NAME: its champion, or its challenger where it has none; None for the registered
            model that was changed last.

    Raises:
        UserError: there is none, or its run has another model by now.
    """
    wanted = (name or _latest(store)).removeprefix("models:/")
    registered, _, alias = wanted.partition("@")
    for each in [alias] if alias else [CHAMPION, CHALLENGER]:
        version = version_of(store, registered, each)
        if version is not None:
            recorded = store.client.get_run(str(version.run_id)).data.tags.get(names.MODEL)
            if version.tags.get(names.MODEL, recorded) != recorded:
                raise UserError(f"run {version.run_id} has another model by now: promote it again")
            return version, each
    known = [model.name for model in store.client.search_registered_models()]
    there = f"There are: {', '.join(known)}" if known else f"The store has no champion yet: {FIRST}"
    raise UserError(f"there is no model {wanted}.{nearest(registered, known)} {there}")


def ink_for(model: PictureModel) -> Ink | None:
    """Return how the images are framed that a model learned from."""
    return Ink.from_json(model.facts["ink"])


def read(model: PictureModel, seen: Sequence[Seen]) -> list[Reading]:
    """Return what a model says of each part, in one batch for all."""
    if not seen:
        return []
    probabilities = model.probabilities(np.stack([part.image for part in seen]))
    classes = model.facts["classes"]
    readings = []
    for part, row in zip(seen, probabilities, strict=True):
        second, first = np.argsort(row)[-2:]
        readings.append(
            Reading(classes[first], float(row[first]), classes[second], float(row[second]), part.box)
        )
    return readings


def _latest(store: Store) -> str:
    models = store.client.search_registered_models(order_by=["last_updated_timestamp DESC"], max_results=1)
    if not models:
        raise UserError(f"the store has no champion and no challenger: {FIRST}")
    return str(models[0].name)


def _is_run(store: Store, run_id: str) -> bool:
    try:
        return store.client.get_run(run_id) is not None
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return False
