"""A report in the store: where MLflow's UI shows it, with its figures as metrics to sort reports by."""

import math
import time
from pathlib import Path

from handwriting.compare.asked import Asked
from handwriting.compare.comparison import Comparison, against
from handwriting.compare.load import LoadedRuns
from handwriting.compare.wording import markdown, sentence
from handwriting.tracking import Store, names

LONGEST_PARAMETER = 6000  # letters that MLflow takes


def publish(
    store: Store,
    loaded: LoadedRuns,
    comparison: Comparison,
    asked: Asked,
    folder: Path,
) -> str:
    """Store a report as one run for each question, and in words above the training runs; return its id.

    The run is in an experiment `<experiment>-reports`, so that it stands in no chart of training runs. Words
    above the training runs are those of the default question; of another one only where there are none.

    Args:
        store: where the runs are.
        loaded: the runs that the report is on.
        comparison: what they say.
        asked: what was asked of them.
        folder: the report's files.
    """
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    name = asked.title(loaded.sweep or loaded.experiment)
    experiment_id = store.open_experiment(loaded.experiment + names.REPORTS)
    client = store.client
    # Not with a filter: a name may have quotes in it. And no copy: it is another machine's report.
    runs = (run for run in client.search_runs([experiment_id]) if names.ORIGIN not in run.data.tags)
    run = next((run for run in runs if run.data.tags.get(names.REPORT) == name), None)
    if run is None:
        tags = {names.REPORT: name, names.SWEEP: loaded.sweep}
        run = client.create_run(experiment_id, tags=tags, run_name=name)
    # What an earlier report wrote and this one does not must not stand beside it.
    get_artifact_repository(run.info.artifact_uri).delete_artifacts()  # type: ignore[no-untyped-call]
    client.log_artifacts(run.info.run_id, str(folder))
    figures = dict.fromkeys(run.data.metrics, math.nan) | figures_of(comparison)
    description = markdown(comparison)
    # A parameter cannot be changed, so they are what is asked; what is found may change with the next seed.
    params = {"sweep": loaded.sweep, "experiment": loaded.experiment, **asked.words()}
    new = {key: value[:LONGEST_PARAMETER] for key, value in params.items() if key not in run.data.params}
    tags = {
        "baseline": comparison.baseline,
        "best": comparison.choice.best,
        "question": comparison.question,
        "keys": ", ".join(comparison.keys),
        names.VERDICT: sentence(comparison),
        names.DESCRIPTION: description,
    }
    now = int(time.time() * 1000)
    client.log_batch(
        run.info.run_id,
        [Metric(key, value, now, 0) for key, value in figures.items()],
        [Param(key, value) for key, value in new.items()],
        [RunTag(key, value[: names.LONGEST_TAG]) for key, value in tags.items()],
    )
    client.set_terminated(run.info.run_id)
    if comparison.tuned is not None:
        tried = client.get_experiment_by_name(loaded.experiment + names.TRIED)
        words = f"These runs chose the settings of the experiment {loaded.experiment}.\n\n{description}"
        if tried is not None:
            text = words[: names.LONGEST_TAG]
            client.set_experiment_tag(tried.experiment_id, names.DESCRIPTION, text)
    training = client.get_experiment_by_name(loaded.experiment)
    assert training is not None
    answers = asked.words() == Asked().words() and comparison.pairs["n"].any()
    if answers or names.DESCRIPTION not in training.tags:
        client.set_experiment_tag(training.experiment_id, names.DESCRIPTION, description)
    return str(run.info.run_id)


def figures_of(comparison: Comparison) -> dict[str, float]:
    """Return what reports can be sorted by; a number that is not known is left out.

    The difference is that of two arms, or of the best of several from the baseline.
    """
    arms, best = comparison.arms, comparison.choice.best
    found = {
        "arms": len(arms),
        "runs": len(comparison.runs),
        "left_out": len(comparison.left_out),
        "seeds": comparison.runs["seed"].nunique(),
    }
    if best:
        found["best_mean"] = arms.loc[best, comparison.metric.name]
    second = arms.index[1] if len(arms) == 2 else best
    pairs = against(comparison, comparison.baseline)
    for _, pair in pairs[pairs["second"] == second].iterrows():
        found[names.PAIRS] = pair["n"]
        found |= {key: pair[key] for key in ("difference", "low", "high")} | {"p": pair["p_holm"]}
    return {key: float(value) for key, value in found.items() if math.isfinite(value)}
