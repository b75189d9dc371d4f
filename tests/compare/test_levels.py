"""Time to target: which levels, and how soon each was reached."""

import numpy as np
import pandas as pd
import pytest
from made_runs import ADAM, RMSPROP, TIME_TO_TARGET, compared, epochs_of, run, said, sweep

from handwriting.compare import Comparison, compare, tables
from handwriting.compare.levels import LADDER
from handwriting.errors import UserError

FEW = [0.98, 0.985, 0.99]


def of_curves(*curves: list[float], arms: str | None = None, **arguments: object) -> Comparison:
    """Compare runs with these validation accuracies by epoch, of one arm or of the arms of letters."""
    letters = arms or "a" * len(curves)
    runs = [run(letter, seed, 0.9) for seed, letter in enumerate(letters)]
    by_id = {str(made["run_id"]): curve for made, curve in zip(runs, curves, strict=True)}
    return compare(pd.DataFrame(runs), epochs_of(**by_id), **arguments)  # type: ignore[arg-type]


def levels(comparison: Comparison) -> list[float]:
    assert set(comparison.targets["target"]) == set(comparison.times["target"])
    return sorted(set(comparison.targets["target"]))


# Which levels


def test_the_levels_are_the_three_hardest_steps_of_the_ladder_that_were_reached() -> None:
    assert LADDER[:8] == (50, 30, 20, 15, 10, 7, 5, 3)
    assert LADDER[-1] == 0.01
    assert list(LADDER) == sorted(set(LADDER), reverse=True)
    assert levels(of_curves([0.1, 0.9, 0.988])) == [0.97, 0.98, 0.985]
    assert levels(of_curves([0.1, 0.4, 0.61])) == [0.5]
    assert levels(of_curves([0.1, 1.0])) == [0.9998, 0.99985, 0.9999]
    assert float(np.float32(0.95)) < 0.95
    assert levels(of_curves([0.1, float(np.float32(0.95))])) == [0.9, 0.93, 0.95]


def test_half_of_the_runs_of_some_arm_must_have_reached_a_level() -> None:
    low, high = [0.1, 0.86], [0.1, 0.96]
    assert levels(of_curves(low, low, low, high, high, arms="aaabb")) == [0.9, 0.93, 0.95]
    assert levels(of_curves(low, high, low, low, arms="aabb")) == [0.9, 0.93, 0.95], "one of two is half"
    assert levels(of_curves(low, low, high, low, high, low, low, arms="aaabbbb")) == [0.7, 0.8, 0.85]


def test_a_level_that_every_run_reached_in_its_first_epoch_tells_nothing() -> None:
    assert levels(of_curves([0.94, 0.96], [0.91, 0.96])) == [0.93, 0.95]
    assert levels(of_curves([0.96, 0.96], [0.961, 0.969])) == []


@pytest.mark.parametrize("curve", [[], [0.1, 0.2], [np.nan, np.nan], [0.995, 0.995]])
def test_where_no_level_tells_anything_there_is_no_table(curve: list[float]) -> None:
    result = of_curves(curve, curve)
    assert len(result.times) == len(result.targets) == 0
    assert TIME_TO_TARGET not in tables(result)
    assert not result.caveats


def test_who_reports_can_name_the_levels() -> None:
    assert levels(of_curves([0.1, 0.7], targets=[0.99, 0.6, 0.99])) == [0.6, 0.99]
    for wrong in (98, 1.0, 0.0, -0.5, float("nan")):
        with pytest.raises(UserError, match=rf"above 0 and below 1, as 0\.98\. Received: {wrong:g}$"):
            of_curves([0.1, 0.7], targets=[0.5, wrong])


def test_levels_that_older_runs_have_stored_are_passed_over() -> None:
    runs = [made | {"params.data.targets": "[0.5]"} for made in sweep()]
    assert levels(compared(runs)) == levels(compared(sweep())) == [0.93, 0.95]


# How soon


def test_time_to_target_counts_epochs_from_one_and_seconds_to_the_epochs_end() -> None:
    up_and_down = [0.97, float(np.float32(0.98)), 0.9851, 0.97, float(np.float32(0.99)) - 6e-8]
    result = of_curves(up_and_down, targets=FEW)
    assert result.times["epochs"].to_list() == [2, 3, 5]
    assert result.times["seconds"].to_list() == [20, 30, 50]
    assert result.arms["best_epoch"].to_list() == [5]


@pytest.mark.parametrize(("reached", "median"), [(4, 2.0), (3, 2.0), (2, np.inf), (0, np.inf)])
def test_a_run_that_never_reaches_the_target_counts_as_later_than_all(reached: int, median: float) -> None:
    result = of_curves(*[[0.9, 0.995] if i < reached else [0.9, 0.91] for i in range(4)], targets=[0.99])
    row = result.targets.iloc[0]
    assert (row["n"], row["reached"], row["median_epochs"]) == (4, reached, median)
    assert row["median_seconds"] == median * 10
    assert len(result.times) == 4
    shown = tables(result)[TIME_TO_TARGET]
    assert (shown["median epochs"].iloc[0] == "not reached") == (median == np.inf)


def test_runs_without_stored_epochs_count_as_not_reached_and_are_said() -> None:
    runs = sweep(3, adam=ADAM)
    result = compare(pd.DataFrame(runs), epochs_of(*runs[:2]), targets=FEW)
    assert result.targets["n"].to_list() == [3, 3, 3]
    assert said(result, "No val_accuracy per epoch").endswith("1 of 3 runs")
    assert len(compare(pd.DataFrame(runs), epochs_of(), targets=FEW).times) == 9


def test_seconds_are_unknown_where_an_epochs_are_missing() -> None:
    (made,) = runs = sweep(1, adam=ADAM)
    epochs = epochs_of(**{str(made["run_id"]): [0.9, 0.982, 0.986, 0.991]})
    epochs.loc[2, "epoch_seconds"] = np.nan
    times = compare(pd.DataFrame(runs), epochs, targets=FEW).times
    assert times["epochs"].to_list() == [2, 3, 4]
    assert times["seconds"].to_list() == pytest.approx([20, np.nan, np.nan], nan_ok=True)
    without_the_first = compare(pd.DataFrame(runs), epochs.drop(index=0), targets=FEW)
    assert without_the_first.times["seconds"].isna().all()


def test_targets_stand_beside_each_arm_in_the_sweeps_order() -> None:
    result = compared(sweep(3, rmsprop=RMSPROP, adam=ADAM), targets=[0.94])
    assert result.targets[["target", "arm"]].to_numpy().tolist() == [[0.94, "adam"], [0.94, "rmsprop"]]
