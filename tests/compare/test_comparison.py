"""The comparison: what is paired, which way is better, and how soon a target is reached."""

import numpy as np
import pandas as pd
import pytest
from made_runs import ADAM, RMSPROP, compared, epochs_of, run, said, sweep
from scipy import stats

from handwriting.compare import compare, sentence
from handwriting.compare.comparison import against
from handwriting.compare.question import differing
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
    (caveat,) = result.caveats
    assert caveat.startswith("0 of 7 runs failed")
    assert sentence(result) == (
        "rmsprop against adam in test_accuracy: adam is better, by less than 0.1 points "
        "(adam \N{MINUS SIGN} rmsprop is +0.074 points, 95 % interval +0.052 to +0.096, 7 paired seeds, "
        "adam ahead in 7, p = 0.016)."
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


def test_up_to_40_arms_each_is_compared_with_each_and_more_with_the_baseline_only() -> None:
    runs = [run("adam", 0, 0.9, params__batch_size=str(size)) for size in range(1, 42)]
    result = compared(runs[:40])
    assert len(result.pairs) == 40 * 39 / 2
    assert not any("not each with each" in caveat for caveat in result.caveats)
    result = compared(runs)
    assert result.baseline == "batch_size 1"
    assert result.pairs["first"].to_list() == ["batch_size 1"] * 40
    assert "41 arms: each is compared with batch_size 1" in said(result, "not each with each")
    assert sentence(result)


def test_against_one_arm_its_pairs_are_turned_so_that_it_is_the_first() -> None:
    rng = np.random.default_rng(0)
    arms = {name: list(0.9 + rng.normal(0, 0.01, 7).round(4)) for name in ("a", "b", "c", "d")}
    result = compared(sweep(7, **arms))
    turned = against(result, "c")
    assert turned["first"].to_list() == ["c"] * 3
    assert turned["second"].to_list() == ["a", "b", "d"]
    for _, pair in turned.iterrows():
        differences = np.array(arms[pair["second"]]) - arms["c"]
        low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        assert pair["difference"] == pytest.approx(differences.mean())
        assert (pair["low"], pair["high"]) == pytest.approx((low, high))
        assert (pair["first_won"], pair["second_won"]) == ((differences < 0).sum(), (differences > 0).sum())
    assert list(turned) == list(result.pairs)


def test_every_setting_of_each_arm_is_there_and_those_that_differ_are_known() -> None:
    result = compared(sweep(), by=["optimizer"])
    settings = result.settings
    assert list(settings) == ["adam", "rmsprop"]
    assert settings.loc["optimizer.rho"].to_list() == ["", "0.9"]
    assert settings.loc["model.units"].to_list() == ["128", "128"]
    assert not {"seed", "tracking.uri", "keras_optimizer.name", "data.path", "force"} & set(settings.index)
    assert differing(settings) == [
        "optimizer", "optimizer._target_", "optimizer.rho", "optimizer.beta_1"
    ]  # fmt: skip
    of_adam = {"adam": {"status": "FAILED"}}
    failed = [made | of_adam.get(str(made["params.optimizer"]), {}) for made in sweep()]
    assert compared(failed).settings.loc["optimizer.beta_1", "adam"] == "0.9"


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
        UserError, match=r"^test_error: .*cannot be guessed.*--more-is-better or --less.*`better: less`"
    ) as error:
        compared(runs, metric="test_error")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("more", "winner"), [(False, "adam"), (True, "rmsprop")])
def test_who_reports_can_say_which_way_is_better_where_nobody_knows(more: bool, winner: str) -> None:
    runs = [run | {"metrics.test_error": run["metrics.test_loss"]} for run in sweep()]
    result = compared(runs, metric="test_error", more_is_better=more)
    assert result.pairs["better"].to_list() == [winner]
    assert result.metric.more_is_better == more
    assert result.choice.metric.more_is_better == more


def test_the_other_way_than_the_vocabularys_is_refused() -> None:
    assert compared(sweep(), more_is_better=True).pairs["better"].to_list() == ["adam"]
    with pytest.raises(UserError, match=r"^test_accuracy: more of it is better. Leave --less-is-better out"):
        compared(sweep(), more_is_better=False)
    with pytest.raises(UserError, match=r"^val_loss: less of it is better"):
        compared(
            [made | {"metrics.val_loss": 0.1} for made in sweep()], metric="val_loss", more_is_better=True
        )


def test_of_a_metric_that_is_shared_the_better_way_is_known_though_one_arm_alone_tells_it() -> None:
    runs = [run | {"metrics.test_error": run["metrics.test_loss"]} for run in sweep()]
    runs[0]["tags.better.error"] = "less"
    assert compared(runs, metric="test_error").pairs["better"].to_list() == ["adam"]
