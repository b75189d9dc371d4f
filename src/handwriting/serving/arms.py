"""The models on the page: what was promoted, and the best run of each other arm of its sweep."""

import logging
from dataclasses import dataclass

from omegaconf import OmegaConf

from handwriting.compare import Asked, answered
from handwriting.data import Dataset, load_dataset
from handwriting.errors import UserError
from handwriting.serving.champion import ARM, best_run
from handwriting.serving.reading import promoted
from handwriting.tracking import Store, names
from handwriting.tracking.model import load_picture_model
from handwriting.tracking.picture_model import PictureModel

log = logging.getLogger(__name__)

MOST = 4  # models that stand side by side


@dataclass(frozen=True)
class Served:
    """A model on the page.

    Args:
        label: its arm.
        alias: "champion" or "challenger"; "" for the other arms'.
        model: it.
    """

    label: str
    alias: str
    model: PictureModel


def models_of(store: Store, name: str | None) -> tuple[list[Served], str]:
    """Return what was promoted first, then the other arms of its sweep, and the run of the first.

    An arm whose model cannot be loaded, or that takes other images, is left out and said.

    Args:
        store: where they are.
        name: as for `reading.model_named`, but no run.

    Raises:
        UserError: there is no such model, or its file is not as it was recorded.
    """
    version, alias = promoted(store, name)
    run_id, sweep = str(version.run_id), version.tags.get(names.SWEEP)
    first = Served(version.tags.get(ARM, version.name), alias, load_picture_model(store, run_id))
    found = [first]
    if sweep:
        comparison = answered(store, sweep, None, Asked()).comparison
        others = comparison.arms.index[(comparison.arms["n"] > 0) & (comparison.arms.index != first.label)]
        for arm in others[: MOST - 1]:
            try:
                model = load_picture_model(store, best_run(comparison, str(arm))[0])
            except UserError as error:
                log.warning("%s is not on the page: %s", arm, error)
                continue
            same = ("image_shape", "classes", "channels_first")
            if [model.facts[key] for key in same] == [first.model.facts[key] for key in same]:
                found.append(Served(str(arm), "", model))
    return found, run_id


def images_of(store: Store, run_id: str) -> Dataset | None:
    """Return the data set that a run was trained on, or None where it is not there any more."""
    path = store.client.download_artifacts(run_id, "config.yaml")
    cfg = OmegaConf.load(path)
    try:
        dataset = load_dataset(cfg.data, cfg.seed)
    except UserError as error:
        log.warning("no gallery: %s", error)
        return None
    recorded = store.client.get_run(run_id).data.tags[names.DATA]
    if dataset.sha256 != recorded:
        log.warning("no gallery: %s has other images by now", cfg.data.path)
        return None
    return dataset
