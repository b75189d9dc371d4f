"""A tuning as it was planned and what it chose: stored before its first job, and before its verdict's."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from handwriting.errors import UserError
from handwriting.tracking import names
from handwriting.tracking.signals import signals_held

if TYPE_CHECKING:
    from handwriting.tracking.store import Store


@dataclass(frozen=True)
class Tuning:
    """What was planned, and chosen.

    Args:
        file: the name of the tuning file.
        sweep: the name of the sweep whose runs choose; they are in the experiment that ends in names.TRIED.
        jobs: a digest of all that determines what these runs come to.
        arms: of each arm the keys that are tuned, with their ranges as the tuning file has them.
        settings: how many each arm tries, its default among them.
        seeds: of the runs that settings are chosen by.
        verdict_seeds: that the arms are judged by; None until it is clear.
        chosen: of each arm the place of its best setting, from 0, the default; empty until it is known.
        verdict: the name of the sweep that judges the chosen settings; empty until they are.
        at: when it was written, in ms since 1970.
    """

    file: str
    sweep: str
    jobs: str
    arms: Mapping[str, Mapping[str, str]]
    settings: int
    seeds: tuple[int, ...]
    verdict_seeds: tuple[int, ...] | None
    chosen: Mapping[str, int] = field(default_factory=dict)
    verdict: str = ""
    at: int = 0


@signals_held()
def keep_tuning(store: "Store", experiment_id: str, tuning: Tuning) -> None:
    """Write a tuning in place of what is stored of it, among the tags of the experiment that judges.

    Raises:
        UserError: MLflow does not take as much.
    """
    text = json.dumps(asdict(tuning))
    if len(text) > names.LONGEST_TAG:
        raise UserError(
            f"the tuning is too long to be stored: {len(text)} letters, of at most {names.LONGEST_TAG}. Give "
            "it fewer arms, keys or seeds"
        )
    store.client.set_experiment_tag(experiment_id, names.tuning_of(tuning.sweep), text)


def chosen_by(plan: Tuning, known: Iterable[Tuning]) -> Tuning | None:
    """Return a stored tuning that has chosen, by the very jobs of a plan; None where none has."""
    same = (found for found in known if (found.sweep, found.jobs) == (plan.sweep, plan.jobs))
    return next((found for found in same if found.chosen), None)


def tunings_in(tags: Mapping[str, str]) -> list[Tuning]:
    """Return the tunings in an experiment's tags, as they were written."""
    read = [json.loads(text) for key, text in tags.items() if key.startswith(names.TUNING_OF)]
    for values in read:
        for key in ("seeds", "verdict_seeds"):
            values[key] = None if values[key] is None else tuple(values[key])
    return sorted((Tuning(**values) for values in read), key=lambda tuning: tuning.at)
