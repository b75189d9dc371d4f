"""The comparison in words, and what may never be in them."""

import itertools

import pandas as pd
import pytest
from made_runs import ADAM, RMSPROP, compared, run, said, sweep

from handwriting.compare import Comparison, method, sentence, tables
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


def test_equal_arms_are_no_difference_shown() -> None:
    result = compared(sweep(rmsprop=RMSPROP, adam=RMSPROP))
    assert "no difference shown" in sentence(result)
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
    assert text.endswith("No difference shown between first and third.")


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
    assert "sgd" not in text.removesuffix("Failed, and in no pair: 7 runs of sgd.")


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
