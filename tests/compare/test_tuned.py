"""What a tuning came to: the best setting, whether it lies on the edge, and what more would bring."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_runs import epochs_of, reasons, run, said, sweep

from handwriting.compare import Comparison, compare, draw_figures, sentence, tables
from handwriting.compare.about_tuned import crossing
from handwriting.compare.facts import facts_of
from handwriting.compare.tuned import Tuned, choose, expected_best, tried, tuned_of
from handwriting.errors import UserError
from handwriting.space import label_of
from handwriting.tracking.tunings import Tuning

Settings = Sequence[tuple[float | None, ...]]
RATES = (0.001, 0.0003, 0.003, 0.01)  # of each arm's settings; the first is the default
PLAN = Tuning(
    "mine",
    "mine-tuning-12345678",
    "digest",
    {
        "rmsprop": {"optimizer.learning_rate": "log(1e-4, 1e-2)"},
        "adam": {"optimizer.learning_rate": "log(1e-4, 1e-2)", "+optimizer.clipnorm": "log(0.1, 10)"},
    },
    settings=4,
    seeds=(100, 101),
    verdict_seeds=(0, 1, 2, 3, 4, 5, 6),
    verdict="mine-00000000",
    at=1,
)
# Of each setting, the validation accuracies of both seeds; None is a run that failed.
RMSPROP = [(0.96, 0.98), (0.95, 0.95), (0.98, 0.99), (0.97, 0.97)]
ADAM = [(0.94, 0.96), (0.95, 0.95), (0.97, 0.97), (0.99, 0.99)]


def runs_of(**arms: Settings) -> list[dict[str, object]]:
    found = []
    for arm, settings in arms.items():
        for number, values in enumerate(settings):
            for seed, value in zip(PLAN.seeds, values, strict=True):
                made = run(arm, seed, value or 0.1, tags__tuning=arm, label=label_of(arm, number))
                del made["metrics.test_accuracy"], made["metrics.test_loss"]
                made["params.optimizer.learning_rate"] = str(RATES[number])
                if number and arm == "adam":
                    made["params.optimizer.clipnorm"] = str(number)
                if value is None:
                    made["status"] = "FAILED"
                found.append(made)
    return found


def tuned(others: tuple[Tuning, ...] = (), **arms: Settings) -> Tuned:
    """Return a tuning of rmsprop and adam that chose by these values."""
    given: dict[str, Settings] = {"rmsprop": RMSPROP, "adam": ADAM, **arms}
    runs = runs_of(**given)
    frame = pd.DataFrame(runs)
    before = tuned_of(PLAN, frame, epochs_of(*runs))
    return tuned_of(replace(PLAN, chosen=choose(before.runs)), frame, epochs_of(*runs), others)


def judged(*runs: dict[str, object], tuning: Tuned | None = None) -> Comparison:
    made = [*sweep(), *runs]
    return compare(pd.DataFrame(made), epochs_of(*made), tuned=tuning or tuned())


def test_the_best_setting_has_the_highest_mean_over_the_seeds() -> None:
    assert tuned().tuning.chosen == {"rmsprop": 2, "adam": 3}
    one_high = [(0.96, 0.98), (0.95, 0.95), (0.99, 0.94), (0.97, 0.97)]
    assert tuned(rmsprop=one_high).tuning.chosen["rmsprop"] == 0, "of equal ones the first"


def test_a_run_that_failed_counts_as_the_worst_and_never_as_missing() -> None:
    found = tuned(rmsprop=[(0.96, 0.98), (0.95, 0.95), (0.999, None), (None, None)])
    assert found.tuning.chosen["rmsprop"] == 0
    assert found.settings.loc[("rmsprop", 2), ["value", "failed"]].to_list() == [0.4995, 1]
    assert found.settings.loc[("rmsprop", 3), ["value", "failed"]].to_list() == [0, 2]
    gone = tried(pd.DataFrame(columns=["label", "seed", "status", "val_accuracy"]), PLAN)
    assert (len(gone), set(gone["status"]), set(gone["value"])) == (16, {"NOT RUN"}, {0.0})


def test_an_arm_without_a_run_that_finished_has_no_best_setting() -> None:
    assert tuned(adam=[(None, None)] * 4).tuning.chosen == {"rmsprop": 2}


def test_of_a_job_that_ran_twice_the_newest_counts() -> None:
    runs = runs_of(rmsprop=RMSPROP, adam=ADAM)
    again = run("rmsprop", 100, 0.5, label="rmsprop 2")
    found = tuned_of(PLAN, pd.DataFrame([*runs, again]), epochs_of(*runs, again))
    assert found.runs.loc[found.runs["setting"] == "rmsprop 2", "value"].to_list() == [0.5, 0.99]
    assert found.runs.loc[found.runs["setting"] == "rmsprop 2", "epochs"].to_list() == [4, 2], "both cost"


def test_the_expected_best_is_that_of_all_ways_to_draw_so_many() -> None:
    values = np.array([0.9, 0.97, 0.95, 0.95])
    found = expected_best(values)
    for k in range(1, 5):
        best = [max(drawn) for drawn in itertools.product(values, repeat=k)]
        assert found.loc[k - 1].to_list() == pytest.approx([k, np.mean(best), np.std(best)])


def test_it_is_said_where_the_arms_cross() -> None:
    ahead = "by the expected best of so many settings, on validation, "
    assert crossing(tuned()) == f"The arms cross: {ahead}rmsprop is ahead with 1 to 2, adam with 3 to 4"
    worse = [(value - 0.02, value - 0.02) for value, _ in RMSPROP]
    assert crossing(tuned(adam=worse)) == f"The arms do not cross: {ahead}rmsprop is ahead with 1 to 4"


def test_a_best_value_beyond_which_none_was_tried_is_said_with_the_line_to_change() -> None:
    found = judged()
    assert said(found, "learning_rate of adam") == (
        "The best optimizer.learning_rate of adam, 0.01, is the largest that was tried: the best may lie "
        "beyond. Widen it in mine.yaml, under adam: “optimizer.learning_rate: log(0.0001, 0.1)”"
    )
    assert "“+optimizer.clipnorm: log(0.1, 100)”" in said(found, "clipnorm of adam, 3, is the largest")
    assert not [caveat for caveat in found.caveats if "of rmsprop" in caveat and "tried" in caveat]
    low = [(0.9, 0.9), (0.99, 0.99), (0.9, 0.9), (0.9, 0.9)]
    lowest = judged(tuning=tuned(rmsprop=low))
    assert "“optimizer.learning_rate: log(1e-05, 0.01)”" in said(lowest, "rmsprop, 0.0003, is the smallest")


def test_a_default_that_is_no_number_is_no_edge_and_stands_on_no_axis() -> None:
    found = judged()
    assert found.tuned
    assert found.tuned.settings.loc[("adam", 0), "optimizer.clipnorm"] == ""
    null = runs_of(rmsprop=RMSPROP, adam=ADAM)
    for made in null:
        if str(made["label"]).startswith("adam"):
            made.setdefault("params.optimizer.clipnorm", "None")
    read = tuned_of(found.tuned.tuning, pd.DataFrame(null), epochs_of(*null))
    comparison = judged(tuning=read)
    assert "“+optimizer.clipnorm: log(0.1, 100)”" in said(comparison, "clipnorm of adam, 3, is the largest")
    norms = draw_figures(comparison, epochs_of())["settings_tried"].axes[1]
    marks = [line.get_marker() for line in norms.lines if len(np.asarray(line.get_xdata()))]
    assert marks.count("s") == 0
    assert marks.count("*") == 1


def test_each_arm_is_set_beside_its_default() -> None:
    found = judged()
    assert said(found, "rmsprop tuned against its default") == (
        "rmsprop tuned against its default in val_accuracy: +1.500 points on seeds 100, 101, ahead in 2 of "
        "2; these seeds chose it, so it looks better here than it is"
    )
    same = judged(tuning=tuned(adam=[(0.99, 0.99), *ADAM[1:]]))
    assert said(same, "adam is its default") == "The best setting of adam is its default"


def test_the_verdict_says_what_the_arms_are() -> None:
    words = "Each arm has the best of 4 settings, chosen on validation with seeds 100, 101."
    assert sentence(judged()).endswith(f"p = 0.016). {words}")
    assert facts_of(judged())["tuning"] == "16 runs, 32 epochs, 5.33 min of training"
    failed = judged(tuning=tuned(adam=[(None, 0.9), *ADAM[1:]]))
    assert facts_of(failed)["tuning"].startswith("16 runs, 1 failed, 32 epochs")


def test_more_seeds_are_asked_for_by_the_key_that_a_tuning_takes() -> None:
    few = compare(pd.DataFrame(sweep(seeds=3)), epochs_of(), tuned=tuned())
    assert "Run it with tuning.verdict_seeds=range(6) or more. Each arm has" in sentence(few)
    three = sweep(seeds=3, rmsprop=[0.9] * 3, adam=[0.91] * 3, sgd=[0.8] * 3)
    several = compare(pd.DataFrame(three), epochs_of(), tuned=tuned())
    assert "Run them with tuning.verdict_seeds=range(" in sentence(several)


def test_runs_that_chose_judge_nothing() -> None:
    (chose,) = runs_of(adam=[(0.99, 0.99)])[:1]
    chose |= {"metrics.test_accuracy": 0.99, "label": "adam"}
    found = judged(chose, run("adam", 100, 0.9), run("rmsprop", 101, 0.9))
    assert reasons(found) == [
        "its seed chose the settings, and judges none",
        "its seed chose the settings, and judges none",
        "its seed chose the settings, and judges none",
    ]
    alone = compare(pd.DataFrame([*sweep(), chose]), epochs_of())
    assert reasons(alone) == ["it chose a setting, and enters no verdict"]
    with pytest.raises(UserError, match=r"^these runs chose the settings of a tuning, and enter no verdict"):
        compare(pd.DataFrame(runs_of(adam=ADAM)), epochs_of())


def test_an_earlier_verdict_on_the_same_seeds_is_said() -> None:
    def other(**changed: Any) -> Tuning:
        return replace(PLAN, **{"verdict": "mine-99999999", "at": 0, **changed})

    words = "Judged on the same seeds before, with other settings: mine-99999999. Whoever saw that"
    assert said(judged(tuning=tuned((other(), PLAN))), "Judged").startswith(words)
    for harmless in (
        other(verdict=""),
        other(verdict=PLAN.verdict),
        other(at=2),
        other(verdict_seeds=(50, 51)),
        other(arms={"sgd": {}, "adam": {}}),
    ):
        assert not tuned((harmless,)).earlier
    assert tuned((other(verdict_seeds=None),)).earlier, "until clear begins with seed 0"


def test_the_table_has_each_arms_settings_the_best_first() -> None:
    table = tables(judged())["Tuning: each arm's settings, the best first"]
    assert table.columns.to_list() == ["setting", "chosen", "val_accuracy, %", "learning_rate", "clipnorm"]
    assert table["setting"].to_list()[:5] == [
        "rmsprop 2",
        "rmsprop default",
        "rmsprop 3",
        "rmsprop 1",
        "adam 3",
    ]
    assert table["chosen"].to_list() == ["yes", "", "", "", "yes", "", "", ""]
    assert table.loc[4].to_list() == ["adam 3", "yes", "99.000 ± 0.000", "0.01", "3"]
    assert table["clipnorm"].to_list()[:4] == [""] * 4, "rmsprop has none"
    failed = tables(judged(tuning=tuned(adam=[(None, None), *ADAM[1:]])))
    assert failed["Tuning: each arm's settings, the best first"]["failed"].to_list()[-1] == "2 of 2"


@pytest.mark.parametrize("adam", [ADAM, [(0.5, None), *ADAM[1:]], [(0.9, 0.9), (None, None), *ADAM[2:]]])
def test_the_figures_show_each_setting_and_the_expected_best(adam: Settings) -> None:
    found = draw_figures(judged(tuning=tuned(adam=adam)), epochs_of())
    rates, norms = found["settings_tried"].axes[:2]
    assert (rates.get_xlabel(), norms.get_xlabel()) == ("learning rate", "clipnorm")
    ends = [float(text.get_text()) for text in rates.get_xticklabels()]
    assert ends == [0.0001, 0.001, 0.01]
    marks = [line.get_marker() for line in rates.lines]
    assert marks.count("*") == 2
    failed = sum(None in values for values in adam)
    assert marks.count("v") == failed, "out of view"
    low, high = rates.get_ylim()
    assert low > 80
    assert high < 101
    (best,) = found["expected_best"].axes
    assert [line.get_label() for line in best.lines] == ["rmsprop", "adam"]
    assert list(np.asarray(best.lines[0].get_xdata())) == [1, 2, 3, 4]
