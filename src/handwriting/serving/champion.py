"""The model registry by verdict: which arm's model is the champion, which one a challenger, and since when.

A version of a registered model is one run's model. What is known of it stands in its tags; what was the
champion when stands in tags of the registered model, HISTORY with a number, one for each time: a tag has at
most 5,000 characters in PostgreSQL. Importing this imports MLflow.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from handwriting.compare import Answer, Comparison, against, sentence
from handwriting.errors import UserError
from handwriting.tracking import Store, names
from handwriting.tracking.model import recorded_bytes

CHAMPION, CHALLENGER = "champion", "challenger"
HISTORY = "champion.history."
# Tags of a version, beside those of its run.
ARM, REPORT, EXPERIMENT, REASON = "arm", "report", "experiment", "reason"
OF_RUN = (names.FINGERPRINT, names.DATA, names.MODEL, names.PICTURES, names.COMMIT)


@dataclass(frozen=True)
class Candidate:
    """The arm and the run whose model is meant, and whether the verdict makes it the champion.

    Args:
        arm: its label.
        run_id: its run with the highest validation accuracy; of equal ones, that of the smallest seed.
        seed: of that run.
        val_accuracy: of that run, from 0 to 1.
        runs: of the arm, that it is the best of.
        wins: the arm is better than each other, or there is no other.
        why: the verdict in words.
    """

    arm: str
    run_id: str
    seed: int
    val_accuracy: float
    runs: int
    wins: bool
    why: str


@dataclass(frozen=True)
class Event:
    """That a version became the champion.

    Args:
        version: its number.
        at: in ms since 1970.
        how: "verdict", "only arm", "anyway" or "back".
        why: the verdict, or the reason that was given.
    """

    version: str
    at: int
    how: str
    why: str


def best_run(comparison: Comparison, arm: str) -> tuple[str, int, float]:
    """Return the id, the seed and the validation accuracy of an arm's best run by that."""
    runs = comparison.runs[comparison.runs["arm"] == arm]
    value = f"metrics.{names.VAL_ACCURACY}"
    best = runs.sort_values([value, "seed"], ascending=[False, True]).iloc[0]
    return str(best["run_id"]), int(best["seed"]), float(best[value])


def candidate(comparison: Comparison) -> Candidate:
    """Return the arm that is better than each other; where none is, the best by validation, as no winner.

    Raises:
        UserError: no arm has a run that can be used.
    """
    arms = comparison.arms
    ready = list(arms.index[arms["n"] > 0])
    if not ready:
        raise UserError(sentence(comparison))
    winners = [
        arm for arm in ready if len(beaten := against(comparison, arm)) == len(arms) - 1 and
        (beaten["better"] == arm).all()
    ]  # fmt: skip
    arm = winners[0] if winners else comparison.choice.best or ready[0]
    only = len(arms) == 1
    why = f"{arm} is the only arm." if only else sentence(comparison)
    runs = int((comparison.runs["arm"] == arm).sum())
    return Candidate(arm, *best_run(comparison, arm), runs, bool(winners), why)


def promote(store: Store, answer: Answer, report: str, name: str, anyway: str | None) -> tuple[str, str]:
    """Make a candidate's model the champion, or the challenger; return its alias, and the version.

    Whatever ends the process, what was the champion is the champion until the new one is whole: its alias is
    set last.

    Args:
        store: where the runs and the registry are.
        answer: what the comparison says.
        report: the id of the report's run.
        name: of the registered model.
        anyway: a reason to make it the champion whatever the verdict and whatever the champion reads.

    Raises:
        UserError: the model cannot be loaded as it was recorded; or the champion is of other data.
    """
    found = candidate(answer.comparison)
    facts = json.loads(recorded_bytes(store, found.run_id, names.PICTURES))
    recorded_bytes(store, found.run_id)  # the network's
    client, run = store.client, store.client.get_run(found.run_id)
    with store.creating():
        before = version_of(store, name, CHAMPION)
        if found.wins and before is not None and not anyway:
            _check_same_images(store, name, before, run.data.tags, facts)
        version = _version(store, name, found.run_id)
        tags = {
            names.VERDICT: found.why,
            ARM: found.arm,
            REPORT: report,
            names.SWEEP: answer.loaded.sweep,
            EXPERIMENT: answer.loaded.experiment,
            **({REASON: anyway} if anyway else {}),
            **{key: run.data.tags[key] for key in OF_RUN if key in run.data.tags},
        }
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)
        said = f"{found.arm}, seed {found.seed}. {found.why}"
        client.update_model_version(name, version, f"{said} Regardless: {anyway}." if anyway else said)
        if not (found.wins or anyway):
            if before is not None and str(before.version) == version:  # MLflow's number is an int
                return CHAMPION, version  # for an earlier reason, and nothing speaks against it
            client.set_registered_model_alias(name, CHALLENGER, version)
            return CHALLENGER, version
        past = history(store, name)
        if [event.version for event in champions(past)[-1:]] != [version]:
            how = "anyway" if anyway else "verdict" if len(answer.comparison.arms) > 1 else "only arm"
            _add(store, name, len(past), Event(version, int(time.time() * 1000), how, anyway or found.why))
        client.set_registered_model_alias(name, CHAMPION, version)
        challenger = version_of(store, name, CHALLENGER)
        if challenger is not None and str(challenger.version) == version:
            client.delete_registered_model_alias(name, CHALLENGER)
    return CHAMPION, version


def back(store: Store, name: str) -> tuple[Event, Event]:
    """Make the champion before the champion again; return the event of the one that went, and of this.

    Raises:
        UserError: there is none before.
    """
    client = store.client  # which may take the lock itself
    with store.creating():
        past = history(store, name)
        stack = champions(past)
        if len(stack) < 2:
            raise UserError(f"{name} has had {len(stack) or 'no'} champion: there is none to go back to")
        gone, again = stack[-1], stack[-2]
        event = Event(again.version, int(time.time() * 1000), "back", f"back from version {gone.version}")
        _add(store, name, len(past), event)
        client.set_registered_model_alias(name, CHAMPION, again.version)
    return gone, event


def history(store: Store, name: str) -> list[Event]:
    """Return what became the champion, oldest first; nothing where there is no such model."""
    tags = _tags(store, name)
    return [Event(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(HISTORY)]


def champions(past: list[Event]) -> list[Event]:
    """Return those that going back goes through, the champion last."""
    stack: list[Event] = []
    for event in past:
        if event.how == "back":
            stack.pop()
        else:
            stack.append(event)
    return stack


def version_of(store: Store, name: str, alias: str) -> ModelVersion | None:
    """Return the version that an alias names; None where there is none, or no such model."""
    try:
        return store.client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _tags(store: Store, name: str) -> Mapping[str, str]:
    """Return the tags of a registered model, none where there is no such model."""
    try:
        return store.client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def _version(store: Store, name: str, run_id: str) -> str:
    """Return the version that is a run's model; make it, and the registered model, where they are missing."""
    client = store.client
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise UserError(f"{name}: a model cannot have this name. Name another: --name NAME") from error
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for version in client.search_model_versions(f"run_id = '{run_id}'"):
        if version.name == name:
            return str(version.version)
    run = client.get_run(run_id)
    models = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run_id}' AND name = 'model'"
    )
    model = models[0]
    made = client.create_model_version(name, model.artifact_location, run_id, model_id=model.model_id)
    return str(made.version)


def _check_same_images(
    store: Store, name: str, before: ModelVersion, tags: Mapping[str, str], facts: Mapping[str, object]
) -> None:
    """Refuse to replace, in silence, a champion that reads other images or other classes."""
    if before.tags.get(names.DATA) == tags.get(names.DATA):
        return
    try:
        known = json.loads(recorded_bytes(store, str(before.run_id), names.PICTURES))
        classes = "the same classes" if known["classes"] == facts["classes"] else "other classes"
    except UserError:  # that run is gone
        classes = "its classes are not known any more"
    raise UserError(
        f"the champion of {name}, version {before.version}, was trained on other images ({classes}): "
        f"{names.DATA} {str(before.tags.get(names.DATA))[:12]}, not {str(tags.get(names.DATA))[:12]}. Keep "
        "both: --name ANOTHER. Replace it: --anyway REASON"
    )


def _add(store: Store, name: str, place: int, event: Event) -> None:
    store.client.set_registered_model_tag(name, f"{HISTORY}{place:04}", json.dumps(asdict(event)))
