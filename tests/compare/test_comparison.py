"""The comparison: what is paired, which way is better, and how soon a target is reached."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_runs import ADAM, RMSPROP, TIME_TO_TARGET, compared, epochs_of, run, said, sweep
from scipy import stats

from handwriting.compare import compare, sentence, tables
from handwriting.compare.wording import markdown
from handwriting.errors import UserError


def test_two_arms_are_paired_by_seed_and_agree_with_scipy() -> None:
    runs = [run | {"tags.arm": "01"[run["params.optimizer"] == "adam"]} for run in sweep()]
    result = compared(runs)
    assert (result.keys, list(result.arms.index)) == (("optimizer",), ["rmsprop", "adam"])
    pair = result.pairs.iloc[0]
    theirs = stats.ttest_rel(ADAM, RMSPROP)
    assert (pair["first"], pair["second"], pair["n"]) == ("rmsprop", "adam", 7)
    assert pair["difference"] == pytest.approx(np.mean(ADAM) - np.mean(RMSPROP))
    assert (pair["low"], pair["high"]) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert (pair["first_won"], pair["tied"], pair["second_won"]) == (0, 0, 7)
    assert pair["p"] == 2 / 2**7
    assert pair["better"] == "adam"
    assert result.arms.loc["adam", "test_accuracy"] == pytest.approx(np.mean(ADAM))
    assert result.arms.loc["adam", "test_accuracy_sd"] == pytest.approx(np.std(ADAM, ddof=1))
    assert result.arms["n"].to_list() == [7, 7]
    assert not result.caveats
    assert sentence(result) == (
        "rmsprop against adam in test_accuracy: adam is better (adam \N{MINUS SIGN} rmsprop is "
        "+0.074 points, 95 % interval +0.052 to +0.096, 7 paired seeds, adam ahead in 7, p = 0.016)."
    )


def test_the_order_of_the_rows_changes_nothing() -> None:
    runs = sweep()
    again = pd.DataFrame(runs).sample(frac=1, random_state=0)
    result, other = compared(runs), compare(again, epochs_of(*runs).sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(result.pairs, other.pairs)
    pd.testing.assert_frame_equal(result.arms, other.arms)
    assert markdown(result) == markdown(other)


def test_three_arms_are_compared_two_by_two_with_holms_correction() -> None:
    result = compared(sweep(rmsprop=RMSPROP, adam=ADAM, sgd=[x - 0.01 for x in ADAM]))
    assert list(zip(result.pairs["first"], result.pairs["second"], strict=True)) == [
        ("adam", "rmsprop"), ("adam", "sgd"), ("rmsprop", "sgd")
    ]  # fmt: skip
    assert result.pairs["p_holm"].to_list() == [pytest.approx(3 * 2 / 2**7)] * 3


def test_a_seed_that_only_one_arm_has_is_in_no_pair_and_said() -> None:
    result = compared([*sweep(), run("adam", 41, 0.1)])
    assert result.pairs["n"].to_list() == [7]
    assert result.arms["n"].to_list() == [8, 7]
    assert "rmsprop has no result for seed 41" in said(result, "Unpaired")


# Which way is better


def test_of_a_loss_less_is_better() -> None:
    pair = compared(sweep(), metric="test_loss").pairs.iloc[0]
    assert (pair["first"], pair["second"], pair["better"]) == ("adam", "rmsprop", "adam")
    assert pair["difference"] > 0
    assert (pair["first_won"], pair["second_won"]) == (7, 0)


@pytest.mark.parametrize("name", ["test_error", "val_error", "error"])
@pytest.mark.parametrize(("better", "winner", "won"), [("less", "adam", (7, 0)), ("more", "rmsprop", (0, 7))])
def test_of_a_metric_of_the_users_the_runs_tell_which_way_is_better(
    name: str, better: str, winner: str, won: tuple[int, int]
) -> None:
    runs = [
        run | {f"metrics.{name}": run["metrics.test_loss"], "tags.better.error": better} for run in sweep()
    ]
    pair = compared(runs, metric=name).pairs.iloc[0]
    assert (pair["better"], (pair["first_won"], pair["second_won"])) == (winner, won)


@pytest.mark.parametrize("tags", [[None], ["sideways"], ["more", "less"], ["other metric"]])
def test_a_metric_whose_better_way_nobody_knows_is_refused_by_name(tags: list[str | None]) -> None:
    tag = "tags.better.f1" if tags == ["other metric"] else "tags.better.error"
    runs = [run | {"metrics.test_error": run["metrics.test_loss"]} for run in sweep()]
    for number, made in enumerate(runs):
        made[tag] = tags[number % len(tags)]
    with pytest.raises(
        UserError, match=r"^test_error: .*more or less.*cannot be guessed.*`better: less`"
    ) as error:
        compared(runs, metric="test_error")
    assert "\n" not in str(error.value)


def test_of_a_metric_that_is_shared_the_better_way_is_known_though_one_arm_alone_tells_it() -> None:
    runs = [run | {"metrics.test_error": run["metrics.test_loss"]} for run in sweep()]
    runs[0]["tags.better.error"] = "less"
    assert compared(runs, metric="test_error").pairs["better"].to_list() == ["adam"]


# Time to target


def test_time_to_target_counts_epochs_from_one_and_seconds_to_the_epochs_end() -> None:
    (made,) = runs = sweep(1, adam=ADAM)
    up_and_down = [0.97, float(np.float32(0.98)), 0.9851, 0.97, float(np.float32(0.99)) - 6e-8]
    result = compare(pd.DataFrame(runs), epochs_of(**{str(made["run_id"]): up_and_down}))
    assert result.times["epochs"].to_list() == [2, 3, 5]
    assert result.times["seconds"].to_list() == [20, 30, 50]
    assert result.arms["best_epoch"].to_list() == [5]


@pytest.mark.parametrize(("reached", "median"), [(4, 2.0), (3, 2.0), (2, np.inf), (0, np.inf)])
def test_a_run_that_never_reaches_the_target_counts_as_later_than_all(reached: int, median: float) -> None:
    runs = [made | {"params.data.targets": "[0.99]"} for made in sweep(4, adam=ADAM)]
    values = [[0.9, 0.995] if i < reached else [0.9, 0.91] for i in range(4)]
    ids = [str(made["run_id"]) for made in runs]
    result = compare(pd.DataFrame(runs), epochs_of(**dict(zip(ids, values, strict=True))))
    row = result.targets.iloc[0]
    assert (row["n"], row["reached"], row["median_epochs"]) == (4, reached, median)
    assert row["median_seconds"] == median * 10
    assert len(result.times) == 4
    shown = tables(result)[TIME_TO_TARGET]
    assert (shown["median epochs"].iloc[0] == "not reached") == (median == np.inf)


def test_runs_without_stored_epochs_count_as_not_reached_and_are_said() -> None:
    runs = sweep(3, adam=ADAM)
    result = compare(pd.DataFrame(runs), epochs_of(*runs[:2]))
    assert result.targets["n"].to_list() == [3, 3, 3]
    assert said(result, "No val_accuracy per epoch").endswith("1 of 3 runs")
    assert len(compare(pd.DataFrame(runs), epochs_of()).times) == 9


def test_seconds_are_unknown_where_an_epochs_are_missing() -> None:
    (made,) = runs = sweep(1, adam=ADAM)
    epochs = epochs_of(**{str(made["run_id"]): [0.9, 0.982, 0.986, 0.991]})
    epochs.loc[2, "epoch_seconds"] = np.nan
    times = compare(pd.DataFrame(runs), epochs).times
    assert times["epochs"].to_list() == [2, 3, 4]
    assert times["seconds"].to_list() == pytest.approx([20, np.nan, np.nan], nan_ok=True)
    assert compare(pd.DataFrame(runs), epochs.drop(index=0)).times["seconds"].isna().all()


@pytest.mark.parametrize(
    ("stored", "levels"),
    [
        (["[0.9, 0.95]"], [0.9, 0.95]),
        (["[0.95]", "[0.9, 0.95]"], [0.9, 0.95]),
        ([None, "(0.5,)", "0.7", "__import__('os')", "[a", "['x']"], [0.5]),
        (["None"], []),
        (["[]"], []),
        ([None], []),
    ],
)
def test_the_targets_are_those_that_the_runs_data_set_names(
    stored: list[str | None], levels: list[float]
) -> None:
    runs: list[dict[str, Any]] = sweep()
    for number, made in enumerate(runs):
        made["params.data.targets"] = stored[number % len(stored)]
    result = compared(runs)
    assert sorted(set(result.times["target"])) == levels
    assert sorted(set(result.targets["target"])) == levels
    assert (TIME_TO_TARGET in tables(result)) == bool(levels)
    assert not result.caveats
