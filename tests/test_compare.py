"""The comparison: what is paired, what is left out and why, what is said."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from handwriting.analysis import figures
from handwriting.analysis.compare import Comparison, compare
from handwriting.analysis.verdict import markdown, method, sentence, tables
from handwriting.errors import UserError

TIME_TO_TARGET = "Time to target, of the finished runs; one that never gets there counts as not reached"
RMSPROP = [0.9871, 0.9880, 0.9868, 0.9875, 0.9873, 0.9879, 0.9866]
ADAM = [0.9879, 0.9886, 0.9879, 0.9880, 0.9880, 0.9889, 0.9871]
OPTIMIZERS = {"rmsprop": {"params.optimizer.rho": "0.9"}, "adam": {"params.optimizer.beta_1": "0.9"}}


def run(optimizer: str, seed: object, accuracy: float, **more: object) -> dict[str, object]:
    """Return one run as `mlflow.search_runs` gives it; `more` as params__batch_size="64"."""
    run.number = number = getattr(run, "number", 0) + 1  # type: ignore[attr-defined]
    return {
        "run_id": f"id{number}",
        "name": f"{optimizer} cnn seed {seed}",
        "status": "FINISHED",
        "start_time": pd.Timestamp("2026-01-01") + pd.Timedelta(minutes=number),
        "params.seed": str(seed),
        "params.optimizer": optimizer,
        "params.optimizer._target_": f"keras.optimizers.{optimizer}",
        "params.optimizer.learning_rate": "0.001",
        **OPTIMIZERS.get(optimizer, {}),
        "params.keras_optimizer.name": optimizer,
        "params.model": "cnn",
        "params.model.units": "128",
        "params.batch_size": "32",
        "params.data": "mnist",
        "params.data.path": f"/home/{optimizer}/mnist.npz",
        "params.data.limit_test": "None",
        "params.threads": "None",
        "params.force": "False",
        "params.tracking.uri": f"sqlite:////{seed}",
        "tags.data.sha256": "de" * 32,
        "tags.git.commit": "ab" * 20,
        "tags.git.dirty": "false",
        "tags.cpu": "EPYC",
        "tags.threads": "2",
        "tags.weights.initial": f"weights {seed}",
        "metrics.test_accuracy": accuracy,
        "metrics.test_loss": 1 - accuracy,
        "metrics.val_accuracy": accuracy,
        "metrics.training_seconds": 400.0,
        **{key.replace("__", ".", 1).replace("__", "."): value for key, value in more.items()},
    }


def sweep(seeds: int = 7, **arms: list[float]) -> list[dict[str, object]]:
    arms = arms or {"rmsprop": RMSPROP, "adam": ADAM}
    return [run(arm, seed, arms[arm][seed]) for seed in range(seeds) for arm in arms]


def curves(*of_runs: dict[str, object], **by_id: list[float]) -> pd.DataFrame:
    """Return epochs of 10 s; by default two that stay below every target."""
    found: dict[Any, list[float]] = {one["run_id"]: [0.9, 0.95] for one in of_runs} | by_id
    rows = [
        {"run_id": run_id, "epoch": epoch, "val_accuracy": value, "epoch_seconds": 10.0}
        for run_id, values in found.items()
        for epoch, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["run_id", "epoch", "val_accuracy", "epoch_seconds"])


def compared(runs: list[dict[str, object]], **arguments: Any) -> Comparison:
    return compare(pd.DataFrame(runs), curves(*runs), **arguments)


def reasons(comparison: Comparison) -> list[str]:
    return comparison.left_out["reason"].to_list()


def said(comparison: Comparison, words: str) -> str:
    """Return the remark with these words; there must be one."""
    (found,) = [remark for remark in comparison.remarks if words in remark]
    return found


def test_two_arms_are_paired_by_seed_and_agree_with_scipy() -> None:
    result = compared(sweep(), baseline="rmsprop")
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
    assert not result.remarks
    assert sentence(result) == (
        "rmsprop against adam in test_accuracy: adam is better (adam less rmsprop is +0.074 points, "
        "95 % interval +0.052 to +0.096, 7 paired seeds, adam ahead in 7, p = 0.016)."
    )


def test_the_order_of_the_rows_changes_nothing() -> None:
    runs = sweep()
    again = pd.DataFrame(runs).sample(frac=1, random_state=0)
    one, other = compared(runs), compare(again, curves(*runs).sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(one.pairs, other.pairs)
    pd.testing.assert_frame_equal(one.arms, other.arms)
    assert markdown(one) == markdown(other)


def test_of_a_loss_less_is_better() -> None:
    pair = compared(sweep(), metric="test_loss").pairs.iloc[0]
    assert (pair["first"], pair["second"], pair["better"]) == ("adam", "rmsprop", "adam")
    assert pair["difference"] > 0
    assert (pair["first_won"], pair["second_won"]) == (7, 0)


def test_below_six_seeds_it_is_too_few_seeds_to_tell_in_those_words() -> None:
    for seeds in (1, 5):
        result = compared(sweep(seeds))
        assert "too few seeds to tell" in sentence(result)
        assert f"{seeds} paired seed" in sentence(result)
        assert "seed=range(6)" in sentence(result)
        assert "nan" not in markdown(result)
    assert "better" in sentence(compared(sweep(6)))


def test_equal_arms_are_no_difference_shown() -> None:
    result = compared(sweep(rmsprop=RMSPROP, adam=RMSPROP))
    assert "no difference shown" in sentence(result)
    assert "7 tied" in sentence(result)


def test_three_arms_are_compared_two_by_two_with_holms_correction() -> None:
    runs = sweep(rmsprop=RMSPROP, adam=ADAM, sgd=[x - 0.01 for x in ADAM])
    result = compared(runs)
    assert list(zip(result.pairs["first"], result.pairs["second"], strict=True)) == [
        ("adam", "rmsprop"), ("adam", "sgd"), ("rmsprop", "sgd")
    ]  # fmt: skip
    assert result.pairs["p_holm"].to_list() == [pytest.approx(3 * 2 / 2**7)] * 3
    assert sentence(result).count("after Holm's correction") == 3
    few = compared([one for one in runs if one["params.seed"] != "6"])
    assert "too few seeds to tell (6 paired seeds, where 7 are needed" in sentence(few)
    fewer = compared([one for one in runs if int(str(one["params.seed"])) < 5])
    assert "too few seeds to tell (5 paired seeds, where 7 are needed" in sentence(fewer)


def test_of_many_pairs_that_differ_those_not_named_are_counted() -> None:
    arms = {name: [x - 0.01 * place for x in ADAM] for place, name in enumerate("abcde")}
    result = compared(sweep(7, **arms))
    better = (result.pairs["verdict"] == "better").sum()
    assert better == 0, "10 pairs of arms need 9 seeds"
    runs = [
        run(arm, seed, 0.9 - 0.01 * place + 0.001 * seed)
        for seed in range(9)
        for place, arm in enumerate("abcde")
    ]
    assert sentence(compared(runs)).endswith("One arm is better in 4 more pairs.")


def test_a_figure_says_how_many_arms_and_pairs_it_leaves_out() -> None:
    for count, words in (
        (12, ["", "15 of 66 pairs of arms"]),
        (13, ["12 of 13 arms", "15 of 78 pairs of arms"]),
    ):
        runs = [run(f"arm{place:02}", seed, 0.9) for place in range(count) for seed in range(2)]
        epochs = curves(*runs).assign(val_loss=0.1)
        comparison = compare(pd.DataFrame(runs), epochs, targets=[0.9])
        arms, pairs = (f"the first {one}; the tables have all of them" if one else "" for one in words)
        assert figures.curves(comparison, epochs).get_supxlabel() == arms
        assert figures.time_to_target(comparison).get_supxlabel() == arms
        assert figures.differences(comparison).get_supxlabel() == pairs


def test_a_group_of_which_one_member_has_a_setting_of_its_own_is_compared() -> None:
    """As schedule=one_cycle has a warmup, and schedule=constant has none."""
    members = {"constant": {}, "one_cycle": {"params.schedule.warmup": "0.2"}}
    runs = [
        run("adam", seed, 0.9 + 0.01 * (name == "constant"), params__schedule=name)
        | {"params.schedule._target_": f"handwriting.schedules.{name}"} | own
        for seed in range(7) for name, own in members.items()
    ]  # fmt: skip
    for result in (compared(runs), compared(runs, by=["schedule"])):
        assert list(result.arms.index) == ["constant", "one_cycle"]
        assert result.pairs["n"].to_list() == [7]
        assert result.left_out.empty


@pytest.mark.parametrize("by", [None, ["batch_size"]])
def test_numbers_are_arms_in_order_of_size(by: list[str] | None) -> None:
    runs = [run("adam", s, 0.98, params__batch_size=b) for s in range(3) for b in ("128", "32", "64")]
    result = compared(runs, by=by)
    assert list(result.arms.index) == ["batch_size=32", "batch_size=64", "batch_size=128"]


def test_two_swept_keys_make_an_arm_of_each_combination() -> None:
    runs = [
        run(optimizer, seed, 0.98, params__batch_size=size)
        for seed in range(2) for optimizer in ("rmsprop", "adam") for size in ("32", "64")
    ]  # fmt: skip
    result = compared(runs)
    assert set(result.keys) == {"optimizer", "batch_size"}
    assert "adam, batch_size=32" in result.arms.index
    assert len(result.pairs) == 6
    assert not result.remarks


def test_a_learning_rate_swept_within_one_optimizer_is_part_of_the_arm() -> None:
    key = "params.optimizer.learning_rate"
    runs = [run("adam", 0, 0.98), run("adam", 0, 0.97) | {key: "0.01"}, run("rmsprop", 0, 0.96)]
    labels = {f"{name}, optimizer.learning_rate={rate}" for name, rate in
              [("adam", "0.001"), ("adam", "0.01"), ("rmsprop", "0.001")]}  # fmt: skip
    assert set(compared(runs).arms.index) == labels


def test_a_setting_that_follows_from_the_optimizer_is_said_and_no_arm_of_its_own() -> None:
    runs = [one | ({"params.optimizer.learning_rate": "0.01"} if one["params.optimizer"] == "adam" else {})
            for one in sweep()]  # fmt: skip
    result = compared(runs)
    assert list(result.arms.index) == ["adam", "rmsprop"]
    assert "adam 0.01 (7 runs)" in said(result, "differ in optimizer.learning_rate")


def test_other_settings_are_never_pooled() -> None:
    other = [run("adam", seed, 0.5, params__batch_size="64") for seed in range(20)]
    result = compared([*sweep(), *other], by=["optimizer"])
    assert result.arms["n"].to_list() == [7, 7], "the setting that compares something, not the larger one"
    assert set(reasons(result)) == {"batch_size is 64, not 32"}
    assert "Left out: 20 runs" in said(result, "batch_size is 64, not 32")


def test_within_an_arm_one_setting_is_kept() -> None:
    other = [run("adam", seed, 0.5) | {"params.optimizer.learning_rate": "0.1"} for seed in range(3)]
    result = compared([*sweep(), *other], by=["optimizer"])
    assert result.arms["n"].to_list() == [7, 7]
    assert set(reasons(result)) == {"optimizer.learning_rate is 0.1, not 0.001"}


def test_arms_are_compared_at_a_setting_that_all_of_them_have() -> None:
    """Else the one run that failed would have set rmsprop at 0.1 against adam at 0.001."""
    other = [one | {"params.optimizer.learning_rate": "0.1"} for one in sweep()]
    other[1]["status"] = "FAILED"
    for index, one in enumerate(other):
        one |= {"run_id": f"other{index}", "start_time": pd.Timestamp("2027-01-01")}
    result = compared([*sweep(), *other], by=["optimizer"])
    assert set(result.runs["params.optimizer.learning_rate"]) == {"0.001"}
    assert result.pairs["n"].to_list() == [7]


@pytest.mark.parametrize("by", [None, ["optimizer"]])
@pytest.mark.parametrize(
    ("column", "value"), [("tags.data.sha256", "fa" * 32), ("params.data.limit_test", "100")]
)
def test_other_data_are_never_pooled(by: list[str] | None, column: str, value: str) -> None:
    other = [run("adam", seed, 0.5) | {column: value} for seed in range(5)]
    result = compared([*sweep(), *other], by=by)
    assert result.arms["n"].to_list() == [7, 7]
    assert (result.keys, list(result.arms.index)) == (("optimizer",), ["adam", "rmsprop"])
    assert len(result.left_out) == 5
    assert said(result, "Left out: 5 runs").startswith(f"Left out: 5 runs ({column.partition('.')[2]} is ")


def test_a_setting_that_older_runs_do_not_have_is_not_taken_for_a_swept_one() -> None:
    runs = [one | {"params.augment": "False"} for one in sweep()]
    result = compared([*runs, run("adam", 9, 0.9)])
    assert result.keys == ("optimizer",)
    assert reasons(result) == ["augment is missing, not False"]


@pytest.mark.parametrize("name", ["git.commit", "cpu", "threads", "tensorflow"])
def test_other_code_versions_and_machines_are_pooled_and_said(name: str) -> None:
    runs = [one | {f"tags.{name}": "other" if i % 2 else "one"} for i, one in enumerate(sweep())]
    result = compared(runs)
    remark = said(result, f"Pooled although {name} differs")
    assert "rmsprop one (7 runs), adam other (7 runs)" in remark
    assert ("seconds compare only" in remark) == (name in ("cpu", "threads"))
    assert result.arms["n"].to_list() == [7, 7]


def test_uncommitted_changes_and_other_initial_weights_are_said() -> None:
    runs = sweep()
    runs[0]["tags.git.dirty"], runs[3]["tags.weights.initial"] = "true", "others"
    result = compared(runs)
    assert "1 run of 14" in said(result, "uncommitted changes")
    assert said(result, "Not the same initial weights").endswith("seed 1")


def test_a_seed_that_only_one_arm_has_is_in_no_pair_and_said() -> None:
    result = compared([*sweep(), run("adam", 41, 0.1)])
    assert result.pairs["n"].to_list() == [7]
    assert result.arms["n"].to_list() == [8, 7]
    assert "rmsprop has no result for seed 41" in said(result, "Unpaired")


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING", "INTERRUPTED"])
def test_an_unfinished_run_is_listed_and_counted_but_never_paired(status: str) -> None:
    runs = sweep()
    runs[0]["status"] = status
    result = compared(runs)
    column, other = ("failed", "unfinished") if status == "FAILED" else ("unfinished", "failed")
    assert result.arms.loc["rmsprop", [column, other, "n"]].to_list() == [1, 0, 6]
    assert reasons(result) == [status]
    assert "rmsprop cnn seed 0" in said(result, f"Left out: 1 run ({status})")
    assert result.pairs["n"].to_list() == [6]
    assert column in tables(result)["Arms: mean ± standard deviation over seeds"]
    assert ("Failed, and in no pair: 1 run of rmsprop." in sentence(result)) == (status == "FAILED")


def test_a_failed_run_that_was_run_again_does_not_count_as_failed() -> None:
    result = compared([run("adam", 0, 0.1, status="FAILED"), *sweep()])
    assert result.arms["failed"].to_list() == [0, 0]
    assert reasons(result) == ["FAILED, while another run of the same arm and seed finished"]


def test_of_two_finished_runs_of_one_arm_and_seed_the_newest_counts() -> None:
    result = compared([*sweep(), run("adam", 0, 0.5)])
    assert result.runs.query("arm == 'adam' and seed == 0")["value"].to_list() == [0.5]
    assert "adam cnn seed 0" in said(result, "a newer run of the same arm and seed finished")


@pytest.mark.parametrize("value", [np.nan, None, np.inf, 1.8e308, -1.8e308])
def test_a_run_whose_result_is_no_number_is_listed_and_not_paired(value: float) -> None:
    runs = sweep()
    runs[0]["metrics.test_accuracy"] = value
    result = compared(runs)
    assert result.pairs["n"].to_list() == [6]
    assert reasons(result) == ["its test_accuracy is missing or not a number"]
    assert np.isfinite(result.arms["test_accuracy"]).all()


def test_a_strangers_runs_are_listed_and_do_no_harm() -> None:
    strangers = [
        {"run_id": "s1", "status": "FINISHED", "start_time": pd.Timestamp("2026-02-01"), "params.alpha": "1"},
        run("adam", "first", 0.9),
        run("adam", 3, 0.9) | {"tags.data.sha256": None},
        run("adam", 3, 0.9) | {"params.optimizer": None},
        run("adam", 3, 0.9) | {"params.alpha": "1"},
    ]
    result = compared([*sweep(), *strangers])
    assert result.arms["n"].to_list() == [7, 7]
    assert sorted(reasons(result)) == [
        "alpha is 1, not missing",
        "no digest of its data is stored with it",
        "no optimizer is stored with it",
        "no seed is stored with it",
        "no seed is stored with it",
    ]


def test_without_any_run_or_only_strangers_the_error_says_what_to_do() -> None:
    with pytest.raises(UserError, match="make sweep"):
        compare(pd.DataFrame(), curves())
    with pytest.raises(UserError, match="none of the 1 runs has the parameter seed"):
        compared([{"run_id": "s", "status": "FINISHED", "start_time": pd.Timestamp(0)}])


def test_a_key_that_no_run_has_or_that_makes_other_data_is_refused() -> None:
    with pytest.raises(UserError, match=r"optimiser: there is no such setting.*'optimizer'"):
        compared(sweep(), by=["optimiser"])
    with pytest.raises(UserError, match="different data"):
        compared(sweep(), by=["data"])
    with pytest.raises(UserError, match="seed: there is no such setting"):
        compared(sweep(), by=["seed"])


def test_a_metric_that_no_run_has_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"^test_acuracy: no run has .* Did you mean 'test_accuracy'\?"):
        compared(sweep(), metric="test_acuracy")


def test_the_method_claims_the_same_order_only_where_it_is_the_same() -> None:
    assert "in the same order" in method(compared(sweep()))
    starts = [one | {"params.start": start} for start in ("fresh", "after") for one in sweep()]
    for index, one in enumerate(starts):
        one["run_id"] = f"start{index}"
    assert "in the same order" not in method(compared(starts))


def test_one_arm_is_a_table_and_a_sentence_that_says_what_is_missing() -> None:
    for by in (None, ["optimizer"]):
        result = compared(sweep(3, adam=ADAM), by=by)
        assert "3 runs, is of one arm (adam)" in sentence(result)
        assert "optimizer=rmsprop,adam" in sentence(result)
        assert len(result.pairs) == 0
        assert result.arms["n"].to_list() == [3]
        assert markdown(result)


def test_an_arm_without_a_usable_run_stays_in_the_table() -> None:
    runs = sweep()
    for one in runs[::2]:
        one["status"] = "FAILED"
    result = compared(runs)
    assert result.arms.loc["rmsprop", ["n", "failed"]].to_list() == [0, 7]
    assert "only adam" in sentence(result)
    for one in runs:
        one["status"] = "FAILED"
    result = compared(runs)
    assert "none of the 14 runs can be used" in sentence(result)
    assert markdown(result)


def test_two_arms_without_a_common_seed_are_too_few_seeds_to_tell() -> None:
    result = compared([run("adam", 0, 0.9), run("rmsprop", 1, 0.9)])
    assert "too few seeds to tell (0 paired seeds" in sentence(result)
    assert markdown(result)


def test_time_to_target_counts_epochs_from_one_and_seconds_to_the_epochs_end() -> None:
    (one,) = runs = sweep(1, adam=ADAM)
    up_and_down = [0.97, float(np.float32(0.98)), 0.9851, 0.97, float(np.float32(0.99)) - 6e-8]
    result = compare(pd.DataFrame(runs), curves(**{str(one["run_id"]): up_and_down}))
    assert result.times["epochs"].to_list() == [2, 3, 5]
    assert result.times["seconds"].to_list() == [20, 30, 50]
    assert result.arms["best_epoch"].to_list() == [5]


@pytest.mark.parametrize(("reached", "median"), [(4, 2.0), (3, 2.0), (2, np.inf), (0, np.inf)])
def test_a_run_that_never_reaches_the_target_counts_as_later_than_all(reached: int, median: float) -> None:
    runs = sweep(4, adam=ADAM)
    values = [[0.9, 0.995] if i < reached else [0.9, 0.91] for i in range(4)]
    ids = [str(one["run_id"]) for one in runs]
    result = compare(pd.DataFrame(runs), curves(**dict(zip(ids, values, strict=True))), targets=[0.99])
    row = result.targets.iloc[0]
    assert (row["n"], row["reached"], row["median_epochs"]) == (4, reached, median)
    assert row["median_seconds"] == median * 10
    assert len(result.times) == 4
    shown = tables(result)[TIME_TO_TARGET]
    assert (shown["median epochs"].iloc[0] == "not reached") == (median == np.inf)


def test_remarks_stand_in_the_description() -> None:
    assert "- Unpaired: rmsprop has no result for seed 41" in markdown(
        compared([*sweep(), run("adam", 41, 0.1)])
    )


def test_runs_without_stored_epochs_count_as_not_reached_and_are_said() -> None:
    runs = sweep(3, adam=ADAM)
    epochs = curves(*runs[:2])
    result = compare(pd.DataFrame(runs), epochs)
    assert result.targets["n"].to_list() == [3, 3, 3]
    assert said(result, "No val_accuracy per epoch").endswith("1 of 3 runs")
    assert len(compare(pd.DataFrame(runs), curves()).times) == 9


def test_seconds_are_unknown_where_an_epochs_are_missing() -> None:
    (one,) = runs = sweep(1, adam=ADAM)
    epochs = curves(**{str(one["run_id"]): [0.9, 0.982, 0.986, 0.991]})
    epochs.loc[2, "epoch_seconds"] = np.nan
    times = compare(pd.DataFrame(runs), epochs).times
    assert times["epochs"].to_list() == [2, 3, 4]
    assert times["seconds"].to_list() == pytest.approx([20, np.nan, np.nan], nan_ok=True)
    assert compare(pd.DataFrame(runs), epochs.drop(index=0)).times["seconds"].isna().all()


def test_names_of_runs_cannot_write_markdown_or_html() -> None:
    runs = sweep()
    runs[0] |= {"status": "FAILED", "name": "<script>alert(1)</script> | [x](http://evil) **b**\n# h"}
    text = markdown(compared(runs))
    assert "<script>" not in text
    assert "[x](" not in text
    assert "\n# h" not in text
    piped = [one | {"params.optimizer": f"a|{one['params.optimizer']}"} for one in sweep()]
    grids = [line for line in markdown(compared(piped)).splitlines() if line.startswith("|")]
    assert any(r"a\|adam" in line for line in grids)
    for line, above in itertools.pairwise(grids):
        if "---" in above:
            assert line.replace(r"\|", "").count("|") == above.count("|")


def test_a_long_comparison_fits_into_a_description() -> None:
    runs = [run("adam", s, 0.9 + s / 100, params__batch_size=str(b)) for s in range(2) for b in range(30)]
    result = compared(runs)
    assert len(result.pairs) == 29, "each with the first"
    assert "30 arms" in said(result, "not each with each")
    assert len(markdown(result)) <= 5000
    assert "more rows" in markdown(result)
    assert len(markdown(result, most=300)) == 300
