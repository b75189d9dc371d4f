"""The comparison in words, and what may never be in them."""

import itertools

import pytest
from made_runs import ADAM, RMSPROP, compared, run, said, sweep

from handwriting.compare import method, sentence, tables
from handwriting.compare.wording import level, markdown


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


def test_the_correction_for_several_pairs_is_said_and_raises_the_seeds_needed() -> None:
    runs = sweep(rmsprop=RMSPROP, adam=ADAM, sgd=[x - 0.01 for x in ADAM])
    assert sentence(compared(runs)).count("after Holm's correction") == 3
    few = compared([made for made in runs if made["params.seed"] != "6"])
    assert "too few seeds to tell (6 paired seeds, where 7 are needed" in sentence(few)
    fewer = compared([made for made in runs if int(str(made["params.seed"])) < 5])
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
    runs = [run("adam", s, 0.9 + s / 100, params__batch_size=str(b)) for s in range(2) for b in range(30)]
    result = compared(runs)
    assert len(result.pairs) == 29, "each with the first"
    assert "30 arms" in said(result, "not each with each")
    assert len(markdown(result)) <= 5000
    assert "more rows" in markdown(result)
    assert len(markdown(result, limit=300)) == 300
