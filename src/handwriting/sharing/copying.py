"""Runs of one store in another: copied as they grow, each once, until both are the same.

`mlflow-export-import` 1.2 does not serve: it copies no logged models, and a second import makes each run a
second time. Here a copy carries where it comes from, names.ORIGIN, and what it was made of, names.STATE. All
that is written may be written again, so that a process that is killed at any moment leaves nothing that the
next one does not finish.

MLflow gives a copy a run id, a model id and a model's time of creation of its own. The first ones stand in
tags; tags that name other runs name their copies.
"""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from handwriting.sharing.states import files_in, folder_of, states
from handwriting.tracking import Store, names
from handwriting.tracking.identity import digest
from handwriting.tracking.plans import joined_plans

OWN = (names.ORIGIN, names.STATE, names.CREATED)  # tags that only copies have
REFERENCES = (names.STARTS_FROM, names.REPEATS)  # tags that name a run of the same store
POINTS, PAIRS = 1000, 100  # most metrics, and parameters or tags, that MLflow takes at once


class Copier:
    """Copies runs from one store into another.

    Args:
        source: with files on this machine.
        target: any store.
    """

    def __init__(self, source: Store, target: Store):
        self.source, self.target = source, target
        self._from, self._to = source.client, target.client
        self.source_id = store_id(source)
        self._experiments: dict[str, str] = {}  # the target's, by the source's
        self._refused: dict[str, str] = {}  # states by run
        # What this process has written already, by run: points, and files with their time of change.
        self._points: dict[str, set[tuple]] = {}
        self._files: dict[str, set[tuple]] = {}

    def look(self) -> dict[str, str]:
        """Return the source's runs of which the target has no copy, or not as they are now: states by id.

        A copy that somebody has deleted is not made again.
        """
        done = {origin: state for origin, _, state in copies_in(self.target, self.source_id)}
        deleted = {origin for origin, *_ in copies_in(self.target, self.source_id, ViewType.DELETED_ONLY)}
        return {
            run_id: state
            for run_id, state in states(self.source).items()
            if done.get(origin := f"{self.source_id}/{run_id}") != state
            and (origin in done or origin not in deleted)
        }

    def bring(self) -> Iterator[tuple[Run, str | None]]:
        """Copy what `look` finds; yield each run once it is copied, or with what the target refused.

        What was refused is tried again when the run has changed.

        Raises:
            MlflowException: the target does not answer.
        """
        with FileLock(self.source.folder / f".sync-{digest(self.target.uri)}.lock"):  # one process at a time
            self._experiments.clear()
            for run_id, state in self.look().items():
                if self._refused.get(run_id) == state:
                    continue
                run, problem = self._from.get_run(run_id), None
                try:
                    self.copy(run_id)
                except MlflowException as error:
                    if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                        raise
                    self._refused[run_id] = state
                    problem = f"is not copied: {str(error).splitlines()[0]}"
                yield run, problem

    def pairs(self) -> list[tuple[str, str]]:
        """Return the ids of the source's runs and of their copies."""
        copies = {origin: copy for origin, copy, _ in copies_in(self.target, self.source_id)}
        runs = states(self.source)
        return [
            (run, copies[f"{self.source_id}/{run}"]) for run in runs if f"{self.source_id}/{run}" in copies
        ]

    def copy(self, run_id: str) -> str:
        """Bring the copy of a run to what the run is now; return the copy's id.

        Its status is set after all else: a copy that is FINISHED is whole.
        """
        state = states(self.source, run_id)[run_id]  # before: what changes meanwhile is copied the next time
        run = self._from.get_run(run_id)
        copy = self._copy_of(run)
        to = copy.info.run_id
        points = metrics_of(self._from, run)
        self._copy_data(run, copy, points)
        if run.inputs and run.inputs.dataset_inputs:
            self._to.log_inputs(to, run.inputs.dataset_inputs)
        self._copy_files(run, to)
        self._copy_models(run, copy, points)
        status = run.info.status
        if status in ("FINISHED", "FAILED", "KILLED"):
            self._to.set_terminated(to, status, run.info.end_time)
        elif copy.info.status != status:
            self._to.update_run(to, status)
        self._to.set_tag(to, names.STATE, state)
        return to

    def _copy_of(self, run: Run) -> Run:
        """Return the copy of a run; make it where there is none."""
        experiment = self._experiment_of(run)
        origin = f"{self.source_id}/{run.info.run_id}"
        found = self._found(experiment, origin)
        if not found:
            self._to.create_run(experiment, run.info.start_time, {names.ORIGIN: origin}, run.info.run_name)
            # An answer that was lost, or another process, may have made a second one.
            found = self._found(experiment, origin)
        for twin in found[1:]:
            self._to.delete_run(twin.info.run_id)
        return found[0]

    def _found(self, experiment: str, origin: str) -> list[Run]:
        found = self._to.search_runs([experiment], f"tags.{names.ORIGIN} = '{origin}'")
        return sorted(found, key=lambda run: run.info.run_id)

    def _experiment_of(self, run: Run) -> str:
        """Return the id of the target's experiment; tell it what the source's knows of sweeps."""
        own = run.info.experiment_id
        if own not in self._experiments:
            experiment = self._from.get_experiment(own)
            to = self.target.open_experiment(experiment.name)
            there = self._to.get_experiment(to).tags
            for key, value in experiment.tags.items():
                is_plan = key.startswith(names.PLAN_OF)
                wanted = joined_plans(there.get(key), value) if is_plan else there.get(key, value)
                if there.get(key) != wanted and key != names.STORE_ID:
                    self._to.set_experiment_tag(to, key, wanted)
            self._experiments[own] = to
        return self._experiments[own]

    def _copy_data(self, run: Run, copy: Run, points: Sequence[Metric]) -> None:
        """Write parameters, tags and points that are not there."""
        to, there = copy.info.run_id, copy.data
        params = [Param(key, value) for key, value in run.data.params.items() if key not in there.params]
        tags = run.data.tags | self.references(run)
        new = [RunTag(key, value) for key, value in tags.items() if there.tags.get(key) != value]
        sent = self._points.setdefault(to, set())
        new_points = [point for point in points if values_of(point) not in sent]
        for params_, tags_ in _in_parts(params, new):
            self._to.log_batch(to, params=params_, tags=tags_)
        self._log_points(to, new_points)
        sent |= {values_of(point) for point in new_points}
        for key in there.tags.keys() - tags.keys() - set(OWN):
            if not key.startswith("mlflow."):
                self._to.delete_tag(to, key)

    def references(self, run: Run) -> dict[str, str]:
        """Return the tags of a run that name other runs, as its copy has them."""
        return {
            key: self.copied(run.data.tags[key]) or run.data.tags[key]
            for key in REFERENCES
            if key in run.data.tags
        }

    def copied(self, run_id: str) -> str | None:
        """Return the id of the copy of another of the source's runs; copy it first where that is needed."""
        try:
            run = self._from.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # it is gone
        found = self._found(self._experiment_of(run), f"{self.source_id}/{run_id}")
        return found[0].info.run_id if found else self.copy(run_id)

    def _copy_files(self, run: Run, to: str) -> None:
        folder = folder_of(run.info.artifact_uri)
        sent = self._files.setdefault(to, set())
        for file in files_in(folder):
            stat = file.stat()
            if (file, stat.st_size, stat.st_mtime_ns) not in sent:
                below = file.parent.relative_to(folder)
                self._to.log_artifact(to, str(file), None if below == Path() else below.as_posix())
                sent.add((file, stat.st_size, stat.st_mtime_ns))

    def _copy_models(self, run: Run, copy: Run, points: Sequence[Metric]) -> None:
        to = copy.info.run_id
        there = models_of(self._to, copy)
        own = models_of(self._from, run)
        by_origin: dict[str, LoggedModel] = {}
        wanted = {f"{self.source_id}/{model.model_id}" for model in own}
        for model in sorted(there, key=lambda model: model.model_id):
            origin = model.tags.get(names.ORIGIN, "")
            if origin in wanted and origin not in by_origin:
                by_origin[origin] = model
            else:  # of a model that the source has no more, or a second copy
                self._to.delete_logged_model(model.model_id)
        # A model's point of NaN is stored as 0; written again as 0, it would be a point of the run as well.
        values = {(point.key, point.step, point.timestamp): point.value for point in points}
        steps = {output.model_id: output.step for output in outputs_of(run)}
        linked = {output.model_id for output in outputs_of(copy)}
        for model in own:
            if str(model.status) != "READY":
                continue
            origin = f"{self.source_id}/{model.model_id}"
            made = by_origin.get(origin) or self._to.create_logged_model(
                copy.info.experiment_id, model.name, to,
                {**model.tags, names.ORIGIN: origin, names.CREATED: str(model.creation_timestamp)},
                model.params, model.model_type,
            )  # fmt: skip
            if str(made.status) != "READY":
                folder = folder_of(model.artifact_location)
                self._to.log_model_artifacts(made.model_id, str(folder))
                self._to.finalize_logged_model(made.model_id, "READY")
            if model.model_id in steps and made.model_id not in linked:
                self._to.log_outputs(to, [LoggedModelOutput(made.model_id, steps[model.model_id])])
            has = {values_of(point) for point in made.metrics or []}
            of_model = [
                Metric(
                    point.key, values.get((point.key, point.step, point.timestamp), point.value),
                    point.timestamp, point.step, model_id=made.model_id, run_id=to,
                    dataset_name=point.dataset_name, dataset_digest=point.dataset_digest,
                )
                for point in model.metrics or [] if values_of(point) not in has
            ]  # fmt: skip
            self._log_points(to, of_model)

    def _log_points(self, to: str, points: Sequence[Metric]) -> None:
        for start in range(0, len(points), POINTS):
            self._to.log_batch(to, points[start : start + POINTS])


def store_id(store: Store) -> str:
    """Return a store's own id; give it one where it has none. It stays when the store is moved."""
    client = store.client
    with store.creating():
        first = client.get_experiment("0")
        if names.STORE_ID not in first.tags:
            client.set_experiment_tag("0", names.STORE_ID, uuid.uuid4().hex)
            first = client.get_experiment("0")
    return str(first.tags[names.STORE_ID])


def copies_in(
    target: Store, source_id: str, which: int = ViewType.ACTIVE_ONLY
) -> Iterator[tuple[str, str, str]]:
    """Return the origin, the id and the state of each copy of a store's runs."""
    client = target.client
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    token: str | None = ""
    while token is not None:
        found = client.search_runs(
            experiments, f"tags.{names.ORIGIN} LIKE '{source_id}/%'", which, 1000, page_token=token or None
        )
        for run in found:
            yield run.data.tags[names.ORIGIN], run.info.run_id, run.data.tags.get(names.STATE, "")
        token = found.token or None


def metrics_of(client: MlflowClient, run: Run) -> list[Metric]:
    """Return all points of a run."""
    return [point for key in run.data.metrics for point in client.get_metric_history(run.info.run_id, key)]


def values_of(point: Metric) -> tuple:
    """Return what makes a point; of two NaN the same."""
    return point.key, point.step, point.timestamp, repr(float(point.value))


def models_of(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """Return the models of a run."""
    found = client.search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'"
    )
    return list(found)


def outputs_of(run: Run) -> Sequence[LoggedModelOutput]:
    """Return the models that a run made, each with the step after which."""
    return run.outputs.model_outputs if run.outputs else []


def _in_parts(params: list[Param], tags: list[RunTag]) -> Iterator[tuple[list[Param], list[RunTag]]]:
    for start in range(0, max(len(params), len(tags)), PAIRS):
        yield params[start : start + PAIRS], tags[start : start + PAIRS]
