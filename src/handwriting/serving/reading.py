"""What a model reads on pictures: which model is meant, and each part's class with its probability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mlflow.exceptions import MlflowException

from handwriting.data import Ink
from handwriting.errors import UserError, nearest
from handwriting.serving.champion import CHALLENGER, CHAMPION, version_of
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
        name: NAME@ALIAS, NAME (its champion, or challenger where it has none), or a run's id; None for the
            registered model that was changed last.

    Raises:
        UserError: there is no such model, or it is another one by now, or it takes no pictures.
    """
    wanted = (name or _latest(store)).removeprefix("models:/")
    registered, _, alias = wanted.partition("@")
    found = None
    for each in [alias] if alias else [CHAMPION, CHALLENGER]:
        found = found or version_of(store, registered, each)
    if found is None:
        if not alias and _is_run(store, registered):
            return load_picture_model(store, registered), f"run {registered}"
        known = [model.name for model in store.client.search_registered_models()]
        there = f"There are: {', '.join(known)}" if known else f"The store has no champion yet: {FIRST}"
        raise UserError(f"there is no model {wanted}.{nearest(registered, known)} {there}")
    run_id = str(found.run_id)
    recorded = store.client.get_run(run_id).data.tags.get(names.MODEL)
    if found.tags.get(names.MODEL, recorded) != recorded:
        raise UserError(f"the model of run {run_id} is not the one that was promoted: promote it again")
    called = f"{found.name}@{alias or next(each for each in found.aliases if each in (CHAMPION, CHALLENGER))}"
    arm = f", {found.tags['arm']}" if "arm" in found.tags else ""
    return load_picture_model(store, run_id), f"{called} (version {found.version}{arm})"


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
