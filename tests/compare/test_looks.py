"""Sweeps that were planned with looks: what is compared, what is left out, and how many seeds come next."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_runs import compared, reasons, run, two
from made_stores import experiment, made

from handwriting.bench.synthetic import SWEEP
from handwriting.compare import Comparison, method, report, sentence
from handwriting.compare.facts import facts_of
from handwriting.compare.looks import Standing, standing
from handwriting.compare.wording import look_line
from handwriting.tracking import Store
from handwriting.tracking.plans import LOOKS, Plan, keep_plan

LOOKED = Plan(tuple(range(LOOKS[-1])), LOOKS, 0.001)
CLEAR = (0.15, 0.17, 0.26, 0.17, 0.32, 0.35)
OPEN = (-0.15, -0.07, -0.44, 0.11, 1.29, -0.23, 0.4, -0.5, 0.6, -0.7, 0.8, -0.9)


def planned(*points: float, plan: Plan = LOOKED, **more: Any) -> Comparison:
    return two(*points, plan=plan, **more)


def test_what_was_run_beyond_the_look_that_was_clear_is_left_out_with_the_reason() -> None:
    result = planned(*CLEAR, -9, -9)
    assert (result.pairs["n"][0], result.pairs["better"][0]) == (6, "adam")
    assert reasons(result) == ["beyond the look at 6 seeds"] * 4
    assert set(result.runs["seed"]) == set(range(6))
    assert result.pairs[["low", "high"]].iloc[0].to_list() == pytest.approx([0.000959, 0.003775], abs=1e-6)
    assert "95 % interval at all looks +0.096 to +0.377, 6 paired seeds" in sentence(result)
    assert "each spending one per cent" in method(result)
    assert facts_of(result)["plan"] == (
        "seeds until clear, at most 20, with looks at 6, 8, 12, 16, 20 (done: 6); margin 0.1 points"
    )


def test_what_failed_beyond_the_look_that_was_clear_did_not_fail_in_it() -> None:
    result = planned(*CLEAR, math.nan, 0.2)
    assert (result.pairs["lost"][0], result.arms["failed"].sum()) == (0, 0)
    assert not sentence(result).startswith("Failed")
    going_on = planned(*OPEN[:6], math.nan)
    assert (going_on.pairs["lost"][0], going_on.arms["failed"].sum()) == (0, 1), "the next look has it"


def test_between_two_looks_the_last_one_is_told_and_the_next_one_named() -> None:
    result = planned(*OPEN[:7])
    assert (result.pairs["n"][0], result.pairs["verdict"][0]) == (6, "too few seeds to tell")
    assert set(reasons(result)) == {"beyond the look at 6 seeds; the next is at 8"}
    assert ": not clear yet, and the next look is at 8 seeds (" in sentence(result)
    assert look_line(result).endswith("p = 0.94: not clear, the next look is at 8 seeds")


def test_p_is_that_of_the_looks() -> None:
    points = np.random.default_rng(2).normal(0.8, 1, 20).round(2)
    pair = planned(*points).pairs.iloc[0]
    assert (round(pair["p"], 5), round(pair["p_holm"], 5), pair["n"]) == (0.03378, 0.03378, 16)
    assert two(*points[:16]).pairs["p"][0] < 0.03
    lost = planned(math.nan, *points[:16]).pairs.iloc[0]
    assert (round(lost["p_paired"], 5), lost["n"]) == (0.03378, 16), (
        "without the lost seed it is the looks' too"
    )
    assert lost["p"] > lost["p_paired"]


def test_before_the_first_look_it_is_too_few_seeds_to_tell() -> None:
    result = planned(*CLEAR[:5])
    assert "too few seeds to tell (5 paired seeds; fewer than 6" in sentence(result)
    assert "the first look is at 6)." in sentence(result)
    assert "seed=range" not in sentence(result), "the sweep is planned"
    assert reasons(result) == []


def test_the_rule_is_not_that_of_one_look() -> None:
    """Six differences that a fixed number of seeds calls better, and the first of five looks does not."""
    near = (0.1, 0.5, 0.2, 0.6, 0.1, 0.3)
    fixed, looked = planned(*near, plan=Plan(tuple(range(6)))), planned(*near)
    assert (fixed.pairs["better"][0], looked.pairs["better"][0]) == ("adam", "")


def test_futility_ends_a_sweep_with_no_difference_shown() -> None:
    result = planned(*OPEN)
    assert result.looks[-1].outcome == "none"
    assert result.pairs["verdict"][0] == "no difference shown"
    assert look_line(result).endswith("no difference shown, no more seeds")


def test_a_sweep_whose_seeds_have_all_run_is_over_though_a_look_lacks_one() -> None:
    points = np.random.default_rng(4).normal(0.4, 1, 20).round(2)
    points[17] = math.nan
    result = planned(*points)
    assert (result.looks[-1].n, result.looks[-1].outcome) == (16, "none")
    assert look_line(result).endswith("no difference shown, no more seeds")
    assert planned(*points[:19]).looks[-1].outcome == "", "one more may come"


def test_so_many_lost_seeds_that_they_show_the_other_direction_make_p_1() -> None:
    assert planned(*[math.nan] * 14, *CLEAR).pairs["p"][0] == 1


def test_a_seed_that_is_not_of_the_plan_is_left_out_and_three_arms_are_compared_as_ever() -> None:
    without_5 = planned(*CLEAR[:5], -9, CLEAR[5], plan=Plan((0, 1, 2, 3, 4, 6), LOOKS, 0.001))
    assert (without_5.pairs["better"][0], len(reasons(without_5))) == ("adam", 2)
    few = Plan(tuple(range(6)), LOOKS, 0.001)
    assert reasons(planned(*CLEAR, 5.0, plan=few)) == ["beyond the look at 6 seeds"] * 2
    assert set(reasons(planned(*CLEAR[:3], 5.0, plan=Plan((0, 1, 2), LOOKS)))) == {
        "its seed is not of the plan"
    }
    runs = [run(name, seed, 0.9 + 0.001 * seed) for seed in range(7) for name in ("a", "b", "c")]
    result = compared(runs, plan=LOOKED)
    assert (len(result.runs), result.looks, result.sequential) == (21, (), False)


def test_another_metric_has_the_looks_of_its_own_differences() -> None:
    result = planned(*CLEAR, metric="test_loss")
    assert (result.looks[-1].n, result.pairs["better"][0]) == (6, "adam")


def test_a_metric_that_the_sweep_does_not_end_by_is_promised_no_look() -> None:
    runs = [
        run(name, seed, 0.9 + CLEAR[seed] / 100 * place, metrics__test_loss=0.1 + OPEN[seed] / 100 * place)
        | {"tags.arm": str(place)}
        for seed in range(6)
        for place, name in enumerate(("rmsprop", "adam"))
    ]
    assert "is better" in sentence(compared(runs, plan=LOOKED)), "so no more seeds are run"
    told = sentence(compared(runs, plan=LOOKED, metric="test_loss"))
    assert "not clear at 6 seeds (" in told
    assert "the next look" not in told


def test_another_margin_than_the_planned_one_changes_the_words_and_not_the_end() -> None:
    result = planned(*OPEN, margin=5)
    assert result.looks == planned(*OPEN).looks
    assert result.pairs["verdict"][0] == "no larger difference"
    assert "no difference larger than 5 points" in sentence(result)
    near = (0.01, -0.02, 0.02, -0.01, 0.01, -0.02)
    assert (planned(*near).looks[-1].outcome, planned(*near).pairs["verdict"][0]) == (
        "same",
        "no larger difference",
    )
    assert planned(*near, margin=0.01).pairs["verdict"][0] == "no difference shown"
    loss = planned(*near, metric="test_loss")
    assert (loss.margin, loss.looks[-1].outcome) == (None, ""), "it is planned for the accuracy alone"


def test_a_seed_that_failed_in_one_arm_is_made_up_for_by_another_and_counts_as_lost() -> None:
    result = planned(*CLEAR[:3], math.nan, *CLEAR[3:])
    assert (result.pairs["n"][0], result.pairs["lost"][0]) == (6, 1)
    assert result.looks[-1].outcome == ""
    assert sentence(result).startswith("Failed, and in no pair: 1 run of adam.")


def test_of_a_loss_a_failed_run_counts_as_the_worse_one() -> None:
    against = planned(*CLEAR[:3], math.nan, *CLEAR[3:], metric="test_loss")
    assert (against.looks[-1].outcome, against.pairs["better"][0]) == ("", "")
    turned = [-points for points in CLEAR]
    with_it = planned(*turned[:3], math.nan, *turned[3:], metric="test_loss")
    assert (with_it.looks[-1].outcome, with_it.pairs["better"][0]) == ("better", "rmsprop")
    assert (with_it.pairs["lost"][0], with_it.pairs["p"][0]) == (1, 2 / 2**6)


# What a sweep asks of a store.


def stored(folder: Path, runs: int, *points: float) -> Store:
    """Return a store of synthetic runs, seed by seed, with a plan; adam less rmsprop by so many points."""
    from sqlalchemy import create_engine, text

    store = made(folder, runs)
    keep_plan(store, experiment(store, "synthetic").experiment_id, SWEEP, LOOKED)
    engine = create_engine(store.uri)
    with engine.begin() as connection:
        for seed, difference in enumerate(points):
            for place in range(2):
                value = 0.9 + difference / 100 * place
                statement = "UPDATE latest_metrics SET value = :value WHERE run_uuid = :run AND key = :key"
                row = {"value": value, "run": f"{2 * seed + place:032x}", "key": "test_accuracy"}
                connection.execute(text(statement), row)
    engine.dispose()
    return store


@pytest.mark.parametrize(
    ("points", "runs", "wanted", "words"),
    [
        (CLEAR, 12, 0, "adam is better, no more seeds"),
        (OPEN, 12, 2, "not clear, the next look is at 8 seeds"),
        (OPEN, 14, 1, "not clear, the next look is at 8 seeds"),
        (OPEN, 15, 1, "not clear, the next look is at 8 seeds"),  # half a pair
        (OPEN, 16, 4, "not clear, the next look is at 12 seeds"),
        (OPEN, 24, 0, "no difference shown, no more seeds"),
        (OPEN, 8, 2, ""),
    ],
)
def test_a_sweep_is_told_what_its_last_look_says_and_how_many_seeds_the_next_one_lacks(
    tmp_path: Path, points: tuple[float, ...], runs: int, wanted: int, words: str
) -> None:
    found = standing(stored(tmp_path, runs, *points), SWEEP)
    assert found.wanted == wanted
    assert found.line.endswith(words)
    assert found.line.startswith("look at ") == bool(words)


def test_a_sweep_of_which_an_arm_fails_half_the_time_gets_no_more_seeds(tmp_path: Path) -> None:
    store = stored(tmp_path, 12, *CLEAR)
    for seed in range(3):
        store.client.set_terminated(f"{2 * seed + 1:032x}", "FAILED")
    assert standing(store, SWEEP) == Standing(
        "no more seeds: 3 of 6 runs of adam failed, and such an arm is never better", 0
    )
    store.client.set_terminated(f"{1:032x}", "FINISHED")
    assert standing(store, SWEEP).wanted == 2, "two pairs are lost, and made up for"


def test_an_arm_is_counted_with_its_runs_beyond_the_last_look(tmp_path: Path) -> None:
    """Seven of thirteen runs are sound: six that the look had, and one since."""
    store = stored(tmp_path, 26, *OPEN[:7])
    for seed in range(7, 13):
        store.client.set_terminated(f"{2 * seed + 1:032x}", "FAILED")
    assert standing(store, SWEEP).wanted == 1


def test_all_failed_runs_get_no_more_seeds_either(tmp_path: Path) -> None:
    store = stored(tmp_path, 12)
    for number in range(12):
        store.client.set_terminated(f"{number:032x}", "FAILED")
    found = standing(store, SWEEP)
    assert found.wanted == 0
    assert "6 of 6 runs of rmsprop and 6 of 6 runs of adam failed" in found.line


# Looks that nobody planned.


def reported(store: Store, capsys: pytest.CaptureFixture[str]) -> str:
    report(store)
    return capsys.readouterr().out


def test_seeds_added_without_a_plan_are_said_to_be_several_looks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = made(tmp_path, 18)
    runs = [f"{number:032x}" for number in range(18)]
    for run_id in runs[6:]:
        store.client.delete_run(run_id)
    words = "p holds for one look, and this is number"
    assert words not in reported(store, capsys)
    for run_id in runs[6:12]:
        store.client.restore_run(run_id)
    assert words not in reported(store, capsys), "three seeds showed nothing"
    assert words not in reported(store, capsys), "the same seeds again are no other look"
    for run_id in runs[12:]:
        store.client.restore_run(run_id)
    assert f"{words} 2, with 6 and 9 paired seeds" in reported(store, capsys)
    keep_plan(store, experiment(store, "synthetic").experiment_id, SWEEP, Plan(tuple(range(9))))
    keep_plan(store, experiment(store, "synthetic").experiment_id, SWEEP, LOOKED)
    out = reported(store, capsys)
    assert words not in out
    assert "A fixed number of seeds was planned before the looks were" in out


def test_a_plan_with_looks_counts_whatever_was_planned_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = stored(tmp_path, 18, *CLEAR)
    keep_plan(store, experiment(store, "synthetic").experiment_id, SWEEP, Plan(tuple(range(9))))
    out = reported(store, capsys)
    assert "95 % interval at all looks +0.096 to +0.377, 6 paired seeds" in out
    assert "planned before the looks" not in out
    assert "Left out: 6 runs (beyond the look at 6 seeds)" in out
    report(store, experiment="synthetic")
    assert "Some of these runs were added until a sweep was clear" in capsys.readouterr().out


def test_the_report_of_an_old_store_knows_no_plan() -> None:
    result = compared([run(name, seed, 0.9) for seed in range(2) for name in ("rmsprop", "adam")])
    assert result.plan is None
    assert "plan" not in facts_of(result)
    assert isinstance(result.runs, pd.DataFrame)
