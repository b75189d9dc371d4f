"""The comparison in words, and what may never be in them."""

import itertools
import math

import pandas as pd
import pytest
from made_runs import ADAM, RMSPROP, compared, run, said, sweep, two

from handwriting.compare import Comparison, method, sentence, tables
from handwriting.compare.doubts import doubts_of
from handwriting.compare.pairs import by_seed, p_of
from handwriting.compare.tables import level
from handwriting.compare.wording import markdown


def test_below_six_seeds_it_is_too_few_seeds_to_tell_in_those_words() -> None:
    for seeds in (1, 5):
        result = compared(sweep(seeds))
        assert "too few seeds to tell" in sentence(result)
        assert f"{seeds} paired seed" in sentence(result)
        assert "seed=range(6)" in sentence(result)
        assert "nan" not in markdown(result)
    assert "better" in sentence(compared(sweep(6)))


def test_equal_arms_have_no_difference_larger_than_the_margin() -> None:
    result = compared(sweep(rmsprop=RMSPROP, adam=RMSPROP))
    assert "no difference larger than 0.1 points" in sentence(result)
    assert "All 7 differences of" in said(result, "no width")
    assert "7 tied" in sentence(result)


# Several arms


def several(seeds: int, **means: float) -> Comparison:
    """Compare arms of these accuracies, in this order; with more seeds a little more."""
    runs = [
        run(arm, seed, round(mean + 0.001 * seed + 0.0001 * ((seed + place) % 3), 4))
        | {"tags.arm": str(place)}
        for seed in range(seeds)
        for place, (arm, mean) in enumerate(means.items())
    ]  # fmt: skip
    return compared(runs)


def test_of_several_arms_the_best_is_named_and_judged_against_the_baseline_and_the_others() -> None:
    text = sentence(several(7, first=0.7, best=0.9, worst=0.5))
    assert text.startswith("Best by val_accuracy: best (90.310 ± 0.215 %). first against best in test_")
    assert "best is better (best \N{MINUS SIGN} first is +20.0" in text
    assert "p = 0.047 after Holm's correction)" in text
    assert text.endswith("best is better in test_accuracy than worst.")


def test_a_baseline_that_is_the_best_is_said_to_be() -> None:
    text = sentence(several(7, first=0.9, second=0.7, third=0.8999))
    assert text.startswith("Best by val_accuracy: first (90.309")
    assert " %), the baseline. first is better in test_accuracy than second. " in text
    assert text.endswith("No difference larger than 0.1 points between first and third.")


def test_an_arm_that_is_better_than_the_one_chosen_is_said_to_be() -> None:
    runs = [
        run(arm, seed, round(mean + 0.001 * seed, 4), metrics__val_accuracy=chosen)
        for seed in range(7)
        for arm, mean, chosen in (("a", 0.7, 0.5), ("b", 0.8, 0.9), ("c", 0.9, 0.6))
    ]
    assert sentence(compared(runs)).endswith("Better in test_accuracy than b: c.")


@pytest.mark.parametrize("seeds", [1, 5, 6])
def test_the_correction_for_several_pairs_raises_the_seeds_needed(seeds: int) -> None:
    text = sentence(several(seeds, first=0.7, best=0.9, worst=0.5))
    assert f"Too few seeds to tell best from any other arm in test_accuracy ({seeds} paired seed" in text
    assert text.endswith("fewer than 7 cannot show a difference). Run them with seed=range(7) or more.")
    assert "nan" not in text


def test_of_many_arms_those_not_named_are_counted() -> None:
    text = sentence(several(11, **{name: 0.9 - 0.01 * place for place, name in enumerate("abcdefghi")}))
    assert text.endswith("a is better in test_accuracy than b; c; d; e; f and 3 more.")


def test_a_failed_arm_of_several_is_said_and_is_not_too_few_seeds() -> None:
    runs = sweep(7, rmsprop=RMSPROP, adam=ADAM, sgd=ADAM)
    for made in runs:
        if made["params.optimizer"] == "sgd":
            made["status"] = "FAILED"
    text = sentence(compared(runs))
    assert "sgd" not in text.removeprefix("Failed, and in no pair: 7 runs of sgd.")


FAILED = math.nan


def test_failed_runs_are_the_first_words_of_the_verdict() -> None:
    assert sentence(two(0.5, 0.6, 0.5, 0.7, 0.5, 0.6, FAILED)).startswith(
        "Failed, and in no pair: 1 run of adam. rmsprop against adam in test_accuracy: "
    )


@pytest.mark.parametrize("metric", ["test_accuracy", "test_loss"])
@pytest.mark.parametrize(("wins", "p", "better"), [(8, 0.039, "adam"), (6, 0.125, "")])
def test_a_seed_that_failed_in_one_arm_counts_as_lost_by_the_most(
    wins: int, p: float, better: str, metric: str
) -> None:
    """One failure beside six pairs and it is not better; beside eight it is."""
    result = two(*[0.5] * wins, FAILED, metric=metric)
    pair = result.pairs.iloc[0]
    assert pair["p"] == pytest.approx(p, abs=5e-4)
    assert (pair["better"], pair["lost"], pair["n"]) == (better, 1, wins)
    assert f"{pair['p']:.2g}, {2 / 2**wins:.2g} without" in said(result, "counts in p as lost")
    assert not any("in each arm" in caveat for caveat in result.caveats), "one run has failed"
    assert not any("leaves out 0" in caveat for caveat in result.caveats), "the lost seed is why"


def test_a_seed_that_failed_in_both_arms_or_without_a_partner_speaks_against_neither() -> None:
    runs = [*sweep(6), run("rmsprop", 6, 0.9), run("adam", 6, 0.9), run("adam", 7, 0.9)]
    for made in runs[12:]:
        made["status"] = "FAILED"
    result = compared(runs)
    assert (result.pairs["lost"][0], result.pairs["better"][0]) == (0, "adam")
    assert sentence(result).startswith("Failed, and in no pair: 2 runs of adam, 1 run of rmsprop. ")


def test_a_run_that_finished_without_a_number_counts_as_failed() -> None:
    """Where its arm has numbers; a metric that nobody logged is no failure."""
    runs = sweep(7)
    runs[-1]["metrics.test_accuracy"] = math.nan  # of adam, which is ahead with the other seeds
    pair = compared(runs).pairs.iloc[0]
    assert (pair["n"], pair["lost"], pair["better"]) == (6, 1, "")


def test_where_both_arms_failed_half_the_time_neither_is_better() -> None:
    """In the same seeds, so that none is lost by one arm alone."""
    runs = [
        run(name, seed, 0.9) | {"status": "FAILED"} for seed in range(7, 14) for name in ("adam", "rmsprop")
    ]
    result = compared(sweep(7) + runs)
    pair = result.pairs.iloc[0]
    assert pair["p"] < 0.05
    assert (pair["lost"], pair["better"], pair["verdict"]) == (0, "", "no difference shown")
    assert not [caveat for caveat in result.caveats if "leaves out 0" in caveat], "p is not why"


@pytest.mark.parametrize("failed", [7, 12])
def test_an_arm_half_of_whose_runs_failed_is_never_better(failed: int) -> None:
    result = two(*[0.5, 0.6, 0.4, 0.5, 0.6, 0.5, 0.4], *[FAILED] * failed)
    assert result.pairs["better"][0] == ""
    assert f"adam is never called better: {failed} of its {7 + failed} runs failed" in result.caveats
    assert "is better" not in sentence(result)


def test_failures_of_the_worse_arm_do_not_make_the_other_better_by_less() -> None:
    """They count as won by the most; p stays that of the pairs, which is the larger one."""
    runs = two(0.5, 0.6, 0.4, 0.5, 0.6, 0.5, FAILED)
    turned = two(-0.5, -0.6, -0.4, -0.5, -0.6, -0.5, FAILED)
    assert runs.pairs["p"][0] > 0.05 > turned.pairs["p"][0] == 2 / 2**6
    assert turned.pairs["better"][0] == "rmsprop"


# The margin


def test_better_by_less_than_the_margin_and_no_difference_larger_are_verdicts() -> None:
    both = two(0.03, 0.04, 0.03, 0.05, 0.04, 0.03)
    assert "adam is better, by less than 0.1 points (" in sentence(both)
    neither_way = two(0.03, -0.04, 0.03, -0.05, 0.04, -0.03)
    assert ": no difference larger than 0.1 points (" in sentence(neither_way)
    assert "no difference larger" not in sentence(two(0.03, -0.04, 0.03, -0.05, 0.04, -0.03, margin=0.02))
    assert "larger than 0.02 points" not in sentence(two(0.3, -0.4, 0.3, -0.5, 0.4, -0.3))
    lost = two(0.03, -0.04, 0.03, -0.05, 0.04, -0.03, FAILED)
    assert "larger than" not in sentence(lost).partition("(")[0], "the run that failed differs by more"


def test_where_nothing_is_shown_the_seeds_that_would_find_the_margin_are_told_with_their_range() -> None:
    text = sentence(two(-0.15, -0.07, -0.44, 0.11, 1.29, -0.23))
    assert "no difference shown (" in text
    assert "0.1 points, in four sweeps of five, would take about 302 seeds (119 to 1,803: 6 pairs" in text
    assert "within a factor of 0.62 to 2.45 only)." in text
    assert "would take more than 10,000 seeds." in sentence(two(-15, -7, -44, 11, 129, -23))
    assert "8,309 seeds (3,239 to more than 10,000: " in sentence(two(-0.8, -0.4, -2.3, 0.6, 6.8, -1.2))
    assert "To find" not in sentence(two(-0.15, -0.07, -0.44, 0.11, 1.29, -0.23, FAILED)), (
        "a failure has no sd"
    )


def test_a_margin_is_in_the_metrics_own_unit_and_only_per_cent_has_one_by_default() -> None:
    small = [0.03, -0.04, 0.03, -0.05, 0.04, -0.03]
    assert two(*small, metric="test_loss").margin is None
    assert "larger than" not in sentence(two(*small, metric="test_loss"))
    loss = two(*small, metric="test_loss", margin=0.001)
    assert "no difference larger than 0.001 (" in sentence(loss)
    assert two(*small, margin=0.001).margin == pytest.approx(0.00001)


def test_a_p_below_the_level_is_never_printed_as_the_level() -> None:
    assert [p_of(p) for p in (0.0498, 0.04996, 0.05, 0.0501, 0.03125, 1.0)] == [
        "0.0498", "0.04996", "0.05", "0.05", "0.031", "1",
    ]  # fmt: skip


def test_an_interval_that_leaves_out_0_beside_no_difference_shown_gets_its_sentence() -> None:
    result = two(1, 1.1, 1.2, 1, 0.3, 0.35, -0.4)
    pair = result.pairs.iloc[0]
    assert (pair["p"], pair["low"] > 0) == (8 / 2**7, True)
    assert "takes the differences for normal" in said(result, "leaves out 0")
    several_pairs = several(7, first=0.7, best=0.9, worst=0.5)
    assert not [caveat for caveat in several_pairs.caveats if "leaves out 0" in caveat]


def test_zero_failures_in_few_seeds_bound_their_rate() -> None:
    assert "0 of 6 runs failed, in each arm: that rules out only a rate above 39 %" in said(
        two(0.5, 0.6, 0.5, 0.7, 0.5, 0.6), "rules out"
    )
    nothing = two(-0.15, -0.07, -0.44, 0.11, 1.29, -0.23)
    assert not [caveat for caveat in nothing.caveats if "rules out" in caveat], "it matters to “better” only"


def test_beyond_24_pairs_p_is_drawn_and_with_252_arms_that_is_said_to_show_nothing() -> None:
    pairs = pd.DataFrame({"first": "a", "second": "b", "n": [25] * 251, "verdict": "no difference shown"})
    pairs = pairs.assign(better="", lost=0, low=-1.0, high=1.0, p=0.5, p_paired=0.5, p_holm=0.5)
    alone = two(0.1)
    seeds = by_seed(alone.runs, alone.left_out, ["adam"], more_is_better=True)
    (about_draws,) = doubts_of(seeds, pairs)
    assert "never below 0.0002" in about_draws
    assert "251 pairs of arms" in about_draws
    assert not doubts_of(seeds, pairs[:249])


def test_the_method_says_what_chooses_and_what_judges_where_there_is_a_choice() -> None:
    chosen = "The best of several settings is chosen by val_accuracy; the verdict is on test_accuracy."
    result = several(7, first=0.7, best=0.9, worst=0.5)
    assert method(result).startswith(chosen)
    assert "corrected by Holm for 3 pairs of arms" in method(result)
    assert "chosen" not in method(compared(sweep()))


# Tables


def each(comparison: Comparison) -> pd.DataFrame:
    (found,) = [table for title, table in tables(comparison).items() if title.startswith("Each arm")]
    return found.set_index("arm")


def test_each_of_several_arms_stands_against_the_best_and_the_baseline_the_best_first() -> None:
    table = each(several(7, first=0.7, best=0.9, worst=0.5))
    assert list(table.index) == ["best", "first", "worst"]
    assert table["test_accuracy, %"].to_list()[0] == "90.310 ± 0.215"
    assert table["\N{MINUS SIGN} best, points"].to_list()[0] == "the best"
    assert table["\N{MINUS SIGN} baseline, points"].to_list()[1] == "the baseline"
    worst = table.loc["worst"]
    assert float(worst["\N{MINUS SIGN} best, points"]) == pytest.approx(-40, abs=0.01)
    assert float(worst["\N{MINUS SIGN} baseline, points"]) == pytest.approx(-20, abs=0.01)
    assert table["verdict (best)"].to_list() == ["", "worse", "worse"]
    assert table["verdict (baseline)"].to_list() == ["better", "", "worse"]
    assert table["p, Holm (best)"].to_list() == ["", "0.047", "0.047"]
    low, _, high = worst["95 % interval (baseline)"].split()
    assert float(low) < float(worst["\N{MINUS SIGN} baseline, points"]) < float(high)


def test_a_baseline_that_is_the_best_has_one_set_of_columns() -> None:
    table = each(several(7, first=0.9, second=0.7, third=0.6))
    assert [name for name in table if name.startswith("verdict")] == ["verdict (best)"]
    assert table.iloc[0]["\N{MINUS SIGN} best, points"] == "the best, the baseline"


def test_more_than_40_arms_stand_against_the_baseline_only() -> None:
    table = each(several(2, **{f"arm {place}": 0.5 + 0.01 * place for place in range(41)}))
    assert len(table) == 41
    assert [name for name in table if name.startswith("verdict")] == ["verdict (baseline)"]
    assert set(table["verdict (baseline)"]) == {"", "too few seeds to tell"}


def test_two_arms_have_a_table_of_their_pair() -> None:
    assert "Paired differences in test_accuracy" in tables(compared(sweep()))
    assert not any(title.startswith("Each arm") for title in tables(compared(sweep())))


def test_a_metric_that_is_no_accuracy_is_shown_as_it_is_stored() -> None:
    runs = [
        made | {"metrics.test_f1": made["metrics.test_accuracy"], "tags.better.f1": "more"}
        for made in sweep()
    ]
    result = compared(runs, metric="test_f1")
    assert "rmsprop \N{MINUS SIGN} adam is -0.000743, 95 % interval" in sentence(result)
    arms, pairs, *_ = tables(result).values()
    assert arms["test_f1"].iloc[0].startswith("0.9881 ± 0.0")
    assert arms["test_accuracy, %"].iloc[0].startswith("98.806 ± 0.0")
    assert pairs["mean"].to_list() == ["-0.000743"]


def test_a_level_is_said_in_per_cent_without_rounding() -> None:
    assert [level(target) for target in (0.98, 0.985, 0.9975, 0.29)] == ["98%", "98.5%", "99.75%", "29%"]


def test_the_method_claims_the_same_order_only_where_it_is_the_same() -> None:
    assert "in the same order" in method(compared(sweep()))
    starts = [made | {"params.start": start} for start in ("fresh", "after") for made in sweep()]
    for index, made in enumerate(starts):
        made["run_id"] = f"start{index}"
    assert "in the same order" not in method(compared(starts))


@pytest.mark.parametrize("by", [None, ["optimizer"]])
def test_one_arm_is_a_table_and_a_sentence_that_says_what_is_missing(by: list[str] | None) -> None:
    result = compared(sweep(3, adam=ADAM), by=by)
    assert "3 runs, is of one arm (adam). Sweep over two values" in sentence(result)
    assert len(result.pairs) == 0
    assert result.arms["n"].to_list() == [3]
    assert markdown(result)


def test_no_usable_run_is_said() -> None:
    result = compared([made | {"status": "FAILED"} for made in sweep()])
    assert "none of the 14 runs can be used" in sentence(result)
    assert markdown(result)


def test_two_arms_without_a_common_seed_are_too_few_seeds_to_tell() -> None:
    result = compared([run("adam", 0, 0.9), run("rmsprop", 1, 0.9)])
    assert "too few seeds to tell (0 paired seeds" in sentence(result)
    assert markdown(result)


def test_names_of_runs_cannot_write_markdown_or_html() -> None:
    runs = sweep()
    runs[0] |= {"status": "FAILED", "name": "<script>alert(1)</script> | [x](http://evil) **b**\n# h"}
    text = markdown(compared(runs))
    assert "<script>" not in text
    assert "[x](" not in text
    assert "\n# h" not in text
    piped = [made | {"params.optimizer": f"a|{made['params.optimizer']}"} for made in sweep()]
    grids = [line for line in markdown(compared(piped)).splitlines() if line.startswith("|")]
    assert any(r"a\|adam" in line for line in grids)
    for line, above in itertools.pairwise(grids):
        if "---" in above:
            assert line.replace(r"\|", "").count("|") == above.count("|")


def test_a_long_comparison_fits_into_a_description() -> None:
    runs = [run("adam", s, 0.9 + s / 100, params__batch_size=str(b)) for s in range(2) for b in range(45)]
    result = compared(runs)
    assert "45 arms" in said(result, "not each with each")
    assert len(markdown(result)) <= 5000
    assert "more rows" in markdown(result)
    assert len(markdown(result, limit=300)) == 300
