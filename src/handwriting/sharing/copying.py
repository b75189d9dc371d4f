"""Runs of one store in another: each once, until both are the same.

`mlflow-export-import` 1.2 does not serve: it copies no logged models, and a second import makes each run a
second time. Here a copy carries where it comes from, names.ORIGIN, and what it was made of, names.STATE. All
that is written may be written again, so that a process that is killed at any moment leaves nothing that the
next one does not finish.

MLflow gives a copy a run id, a model id and a model's time of creation of its own. The first ones stand in
tags, those of a copy's copy too; tags that name other runs name their copies.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from mlflow.entities import LoggedModel, LoggedModelOutput, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from handwriting.sharing.contents import folder_at, metrics_of, models_of, outputs_of, values_of
from handwriting.sharing.states import files_in, states
from handwriting.tracking import Store, names
from handwriting.tracking.identity import digest
from handwriting.tracking.plans import joined_plans

OWN = (names.ORIGIN, names.STATE, names.CREATED)  # tags that only copies have
REFERENCES = (names.STARTS_FROM, names.REPEATS)  # tags that name a run of the same store
ENDED = ("FINISHED", "FAILED", "KILLED")
POINTS, PAIRS = 1000, 100  # most metrics, and parameters or tags, that MLflow takes at once


class Copier:
    """Copies runs from one store into another, of whatever kind each is."""

    def __init__(self, source: Store, target: Store):
        self.source, self.target = source, target
        self._from, self._to = source.client, target.client
        self.source_id = store_id(source)
        self._experiments: dict[str, str] = {}  # the target's, by the source's
        # What this process has written already: of each copy its points, and its files with their time of
        # change; of each run what it was then, and its copy.
        self._points: dict[str, set[tuple]] = {}
        self._files: dict[str, set[tuple]] = {}
        self._copied: dict[str, tuple[Run, str]] = {}

    @cached_property
    def target_id(self) -> str:
        """The target's own id."""
        return store_id(self.target)

    def origin_of(self, run: Run) -> str:
        """Return STORE/RUN of where one of the source's runs was made."""
        return run.data.tags.get(names.ORIGIN) or f"{self.source_id}/{run.info.run_id}"

    def look_again(self) -> None:
        """Forget what the target's experiments knew of sweeps: other machines write there as well."""
        self._experiments.clear()

    def copy(self, run_id: str) -> str:
        """Bring the copy of a run to what the run is now; return the copy's id.

        Its status is set after all else: a copy that is FINISHED is whole.

        Raises:
            MlflowException: a store does not answer, or the target does not take something.
        """
        # Before: what changes meanwhile is copied the next time.
        state = states(self.source, [run_id]).get(run_id) if self.source.database else None
        run = self._from.get_run(run_id)
        state = state or sweeps_of(run.data.tags)
        points = metrics_of(self.source, run)
        before = self._copied.pop(run_id, None)  # and back when this was written too
        if before and _has_only_grown(before[0], run):
            to = before[1]
            self._copy_files(run, to)
            self._log_points(to, points)
            self._to.set_tag(to, names.STATE, state)
        else:
            to = self._copy_whole(run, points, state)
        self._copied[run_id] = (run, to)
        return to

    def _copy_whole(self, run: Run, points: Sequence[Metric], state: str) -> str:
        copy = self._copy_of(run)
        to, status = copy.info.run_id, run.info.status
        if status in ENDED:  # all of it once more: the target may be an older state of itself since
            self._points.pop(to, None)
        self._copy_data(run, copy, points)
        if run.inputs and run.inputs.dataset_inputs:
            self._to.log_inputs(to, run.inputs.dataset_inputs)
        self._copy_files(run, to)
        self._copy_models(run, copy, points)
        if names.REPORT in run.data.tags:
            self._copy_description(run)
        if status in ENDED:
            self._to.set_terminated(to, status, run.info.end_time)
        elif copy.info.status != status:
            self._to.update_run(to, status)
        self._to.set_tag(to, names.STATE, state)
        return to

    def join_sweeps(self, run: Run) -> None:
        """Let what one of the source's runs is a copy of belong to the same sweeps as well."""
        experiment = self._experiment_of(run)
        for there in self._found(experiment, self.origin_of(run)):
            tags = joined_tags(there.data.tags, run.data.tags)
            new = [RunTag(key, tags[key]) for key in tags if _of_sweep(key)]
            self._to.log_batch(there.info.run_id, tags=new)
        self._from.set_tag(run.info.run_id, names.STATE, sweeps_of(run.data.tags))

    def _copy_of(self, run: Run) -> Run:
        """Return the copy of a run; make it where there is none."""
        experiment = self._experiment_of(run)
        origin = self.origin_of(run)
        found = self._found(experiment, origin)
        if not found:
            self._to.create_run(experiment, run.info.start_time, {names.ORIGIN: origin}, run.info.run_name)
            # An answer that was lost, or another process, may have made a second one.
            found = self._found(experiment, origin)
        for twin in found[1:]:
            self._to.delete_run(twin.info.run_id)
        return found[0]

    def _found(self, experiment: str, origin: str) -> list[Run]:
        store, _, run_id = origin.partition("/")
        if store == self.target_id:
            return [self._to.get_run(run_id)]
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
        own = {key: value for key, value in run.data.tags.items() if key not in OWN}
        tags = joined_tags(there.tags, own | self.references(run))
        new = [RunTag(key, value) for key, value in tags.items() if there.tags.get(key) != value]
        for params_, tags_ in _in_parts(params, new):
            self._to.log_batch(to, params=params_, tags=tags_)
        self._log_points(to, points)
        for key in there.tags.keys() - tags.keys() - set(OWN):
            if not key.startswith(("mlflow.", names.ARM_OF)):
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
        found = self._found(self._experiment_of(run), self.origin_of(run))
        return found[0].info.run_id if found else self.copy(run_id)

    def _copy_files(self, run: Run, to: str) -> None:
        sent = self._files.setdefault(to, set())
        with folder_at(self.source, run.info.artifact_uri) as folder:
            for file in files_in(folder):
                stat = file.stat()
                name = file.relative_to(folder)
                if (name, stat.st_size, stat.st_mtime_ns) not in sent:
                    below = name.parent.as_posix()
                    self._to.log_artifact(to, str(file), None if below == "." else below)
                    sent.add((name, stat.st_size, stat.st_mtime_ns))

    def _copy_models(self, run: Run, copy: Run, points: Sequence[Metric]) -> None:
        to = copy.info.run_id
        there = models_of(self._to, copy)
        own = models_of(self._from, run)
        by_origin: dict[str, LoggedModel] = {}
        origins = {model.model_id: self._origin_of_model(model) for model in own}
        for model in sorted(there, key=lambda model: model.model_id):
            origin = model.tags.get(names.ORIGIN, "")
            if origin in origins.values() and origin not in by_origin:
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
            origin = origins[model.model_id]
            made = by_origin.get(origin) or self._to.create_logged_model(
                copy.info.experiment_id, model.name, to,
                {names.CREATED: str(model.creation_timestamp), **model.tags, names.ORIGIN: origin},
                model.params, model.model_type,
            )  # fmt: skip
            if str(made.status) != "READY":
                with folder_at(self.source, model.artifact_location) as folder:
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
            self._log_batches(to, of_model)

    def _origin_of_model(self, model: LoggedModel) -> str:
        return str(model.tags.get(names.ORIGIN) or f"{self.source_id}/{model.model_id}")

    def _copy_description(self, report: Run) -> None:
        """Let the verdict stand above the training runs there, too: of several machines, the last one's."""
        experiment = self._from.get_experiment(report.info.experiment_id).name.removesuffix(names.REPORTS)
        for name in (experiment, experiment + names.TRIED):
            own, there = self._from.get_experiment_by_name(name), self._to.get_experiment_by_name(name)
            words = own.tags.get(names.DESCRIPTION) if own else None
            if words and there and there.tags.get(names.DESCRIPTION) != words:
                self._to.set_experiment_tag(there.experiment_id, names.DESCRIPTION, words)

    def _log_points(self, to: str, points: Sequence[Metric]) -> None:
        """Write the points that this process has not written."""
        sent = self._points.setdefault(to, set())
        new = [point for point in points if values_of(point) not in sent]
        self._log_batches(to, new)
        sent |= {values_of(point) for point in new}

    def _log_batches(self, to: str, points: Sequence[Metric]) -> None:
        for start in range(0, len(points), POINTS):
            self._to.log_batch(to, points[start : start + POINTS])


def store_id(store: Store) -> str:
    """Return a store's own id.

    One of this machine is given it where it has none, and keeps it when it is moved. A shared one is known by
    the moment at which it was made, as two machines that give it one at once would each have their own.
    """
    client = store.client
    if store.database is None:
        return f"{client.get_experiment('0').creation_time:x}"
    with store.creating():
        first = client.get_experiment("0")
        if names.STORE_ID not in first.tags:
            client.set_experiment_tag("0", names.STORE_ID, uuid.uuid4().hex)
            first = client.get_experiment("0")
    return str(first.tags[names.STORE_ID])


def _has_only_grown(before: Run, now: Run) -> bool:
    """Tell whether a run that goes on has nothing new but points and files."""
    return before.info.status == now.info.status == "RUNNING" and (
        before.data.tags == now.data.tags
        and before.data.params == now.data.params
        and before.inputs == now.inputs
        and not outputs_of(now)
    )


def sweeps_of(tags: Mapping[str, str]) -> str:
    """Return a digest of the sweeps that a run belongs to, and of its arm in each."""
    return digest({key: value for key, value in tags.items() if _of_sweep(key)})


def joined_tags(there: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return a run's tags for a copy, which may belong to sweeps of other machines besides."""
    if names.SWEEP not in own:
        return dict(own)
    return {**own, names.SWEEP: names.joined(there.get(names.SWEEP), own[names.SWEEP])}


def _of_sweep(key: str) -> bool:
    return key == names.SWEEP or key.startswith(names.ARM_OF)


def _in_parts(params: list[Param], tags: list[RunTag]) -> Iterator[tuple[list[Param], list[RunTag]]]:
    for start in range(0, max(len(params), len(tags)), PAIRS):
        yield params[start : start + PAIRS], tags[start : start + PAIRS]
