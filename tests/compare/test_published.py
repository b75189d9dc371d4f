"""The report's run in MLflow: reports can be sorted by what they found, and nothing old stands beside it."""

import math
from pathlib import Path

import pytest
from made_runs import compared, run, sweep
from made_stores import experiment, made
from mlflow.entities import Run

from handwriting.bench.synthetic import SWEEP
from handwriting.compare import load_runs, report
from handwriting.compare.published import figures_of
from handwriting.tracking import Store


def published(store: Store) -> Run:
    (found,) = store.client.search_runs([experiment(store, "synthetic-reports").experiment_id])
    return found


def test_the_reports_run_has_its_figures_as_metrics_and_what_was_asked_as_params(tmp_path: Path) -> None:
    store = made(tmp_path, 16)
    report(store)
    found = published(store)
    values = load_runs(store).runs.pivot(
        index="params.seed", columns="params.optimizer", values="metrics.test_accuracy"
    )
    assert found.data.metrics["difference"] == pytest.approx((values["adam"] - values["rmsprop"]).mean())
    assert found.data.metrics["low"] < found.data.metrics["difference"] < found.data.metrics["high"]
    counted = {key: found.data.metrics[key] for key in ("arms", "seeds", "pairs", "runs", "left_out")}
    assert counted == {"arms": 2, "seeds": 8, "pairs": 8, "runs": 16, "left_out": 0}
    assert found.data.params == {
        "sweep": SWEEP, "experiment": "synthetic", "metric": "test_accuracy",
        "by": "", "where": "", "targets": "", "margin": "",
    }  # fmt: skip
    told = {key: found.data.tags[key] for key in ("baseline", "question", "keys")}
    assert told == {"baseline": "rmsprop", "question": "two", "keys": "optimizer"}


def test_what_a_report_no_longer_knows_does_not_stand_in_its_run(tmp_path: Path) -> None:
    store = made(tmp_path, 4)
    report(store)
    before = published(store)
    assert before.data.metrics["pairs"] == 2
    store.client.log_text(before.info.run_id, "old", "old.txt")
    for each in load_runs(store).runs.itertuples():
        if "adam" in each.name:
            store.client.set_terminated(each.run_id, "FAILED")
    report(store)
    after = published(store)
    assert after.info.run_id == before.info.run_id
    assert math.isnan(after.data.metrics["difference"])
    assert after.data.metrics["left_out"] == 2
    assert "old.txt" not in [file.path for file in store.client.list_artifacts(after.info.run_id)]


def test_of_several_arms_the_difference_is_the_best_ones_from_the_baseline() -> None:
    arms = {"sgd": 0.95, "rmsprop": 0.97, "adam": 0.99}
    runs = [
        run(arm, seed, value + seed / 1000, tags__arm=str(place))
        for seed in range(3)
        for place, (arm, value) in enumerate(arms.items())
    ]
    found = figures_of(compared(runs))
    assert found["difference"] == pytest.approx(0.04)
    assert found["best_mean"] == pytest.approx(0.991)
    of_two = compared(sweep(3, adam=[0.99, 0.991, 0.992], rmsprop=[0.97, 0.971, 0.972]))
    assert figures_of(of_two)["difference"] == pytest.approx(-0.02), "the second less the first"
