"""What kind of question a sweep asks, and which setting is chosen."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from made_runs import compared, run, said, sweep

from handwriting.compare import Comparison, sentence
from handwriting.compare.comparison import ranked

RATE = "optimizer.learning_rate"


def of_arms(*arms: Mapping[str, object], seeds: int = 2, **arguments: object) -> Comparison:
    """Compare arms with these parameters, as 32 for batch_size; `val` is the validation accuracy."""
    runs = []
    for place, arm in enumerate(arms):
        params = {f"params.{key}": str(value) for key, value in arm.items() if key != "val"}
        runs += [
            run("adam", seed, 0.9, metrics__val_accuracy=float(str(arm.get("val", 0.9))))
            | {"tags.arm": str(place)} | params
            for seed in range(seeds)
        ]  # fmt: skip
    return compared(runs, **arguments)


def grid(**values: Sequence[object]) -> list[dict[str, object]]:
    """Return every combination, of "lr" as a rate."""
    names = [RATE if name == "lr" else name for name in values]
    return [dict(zip(names, row, strict=True)) for row in itertools.product(*values.values())]


# The kind of question


@pytest.mark.parametrize(
    ("arms", "question", "numbers"),
    [
        (grid(optimizer=["adam"]), "two", ()),
        (grid(optimizer=["adam", "sgd"]), "two", ()),
        (grid(batch_size=[32, 64]), "two", ()),
        (grid(optimizer=["adam", "sgd", "lion"]), "several", ()),
        (grid(batch_size=[32, 64, 128]), "number", ("batch_size",)),
        (grid(optimizer=["adam", "sgd"], batch_size=[32, 64]), "several", ()),
        (grid(optimizer=["adam", "sgd"], lr=[0.1, 0.01, 0.001]), "number", (RATE,)),
        (grid(optimizer=["adam", "sgd"], lr=[0.1, 0.01, 0.001])[:-2], "number", (RATE,)),
        (grid(batch_size=[32, 64], lr=[0.1, 0.01]), "two numbers", ("batch_size", RATE)),
        (grid(model=["cnn", "mlp"], batch_size=[1, 2], lr=[0.1, 0.2]), "two numbers", ("batch_size", RATE)),
        (grid(batch_size=[32, 64, 128], lr=[0.1, 0.01, 0.001])[:-1], "several", ()),
        (grid(batch_size=[32, 64], lr=[0.1, 0.01], epochs=[1, 2]), "several", ()),
        ([{"optimizer.clipnorm": value} for value in (None, 1.0, 5.0)], "several", ()),
        ([{"optimizer.clipnorm": value} for value in ("inf", 1.0, 5.0)], "several", ()),
        (grid(model=["cnn", "mlp"], batch_size=["32", "a lot", "64"]), "several", ()),
    ],
)  # fmt: skip
def test_what_was_swept_decides_the_kind_of_question(
    arms: list[dict[str, object]], question: str, numbers: tuple[str, ...]
) -> None:
    result = of_arms(*arms)
    assert (result.question, set(result.numbers)) == (question, set(numbers))
    assert sentence(result)


def test_a_number_that_one_member_of_a_group_alone_has_makes_several_arms() -> None:
    momentum = [{"optimizer": "sgd", "optimizer.momentum": value} for value in (0.0, 0.5, 0.9)]
    result = of_arms({"optimizer": "adam"}, *momentum)
    assert result.question == "several"
    assert result.values["optimizer.momentum"].isna().to_list() == [True, False, False, False]


def test_values_are_numbers_where_all_are_and_the_group_is_what_else_was_swept() -> None:
    arms = grid(optimizer=["adam", "sgd"], model=["cnn", "mlp"], lr=["1e-3", "0.01", "0.1"])
    result = of_arms(*arms)
    assert result.values[RATE].to_list() == [0.001, 0.01, 0.1] * 4
    assert result.values["optimizer"].to_list() == ["adam"] * 6 + ["sgd"] * 6
    assert list(dict.fromkeys(result.values["group"])) == ["adam, cnn", "adam, mlp", "sgd, cnn", "sgd, mlp"]
    assert list(result.values.index) == list(result.arms.index)
    assert set(of_arms(*grid(batch_size=[1, 2, 3])).values["group"]) == {""}


def test_arms_with_names_that_differ_in_one_number_ask_about_that_number() -> None:
    runs = [
        run("adam", seed, 0.9, params__batch_size=str(size)) | {"label": name, "place": float(place)}
        for seed in range(2)
        for place, (name, size) in enumerate({"small": 32, "middle": 64, "large": 128}.items())
    ]
    result = compared(runs)
    assert result.question == "number"
    assert result.values["batch_size"].to_dict() == {"small": 32, "middle": 64, "large": 128}


# The choice


def test_a_choice_goes_by_the_validation_metric_and_the_verdict_by_the_test_metric() -> None:
    runs = [
        made | {"metrics.val_accuracy": 0.9 - 0.1 * (made["params.optimizer"] == "adam")} for made in sweep()
    ]
    result = compared(runs)
    assert (result.choice.metric.name, result.metric.name) == ("val_accuracy", "test_accuracy")
    assert result.choice.best == "rmsprop"
    assert result.pairs["better"].to_list() == ["adam"]


@pytest.mark.parametrize(
    ("metric", "chooses_by", "more"),
    [
        ("test_accuracy", "val_accuracy", True),
        ("val_accuracy", "val_accuracy", True),
        ("test_loss", "val_loss", False),
        ("training_seconds", "training_seconds", False),
        ("accuracy", "accuracy", True),
        ("test_f1", "test_f1", True),
    ],
)
def test_the_metric_to_choose_by_is_the_validation_twin_of_what_is_compared(
    metric: str, chooses_by: str, more: bool
) -> None:
    """Of a metric of the user's too, where runs have the twin."""
    runs = [
        made
        | {"metrics.val_loss": made["metrics.test_loss"], "metrics.test_f1": 0.5, "metrics.accuracy": 1}
        | {"tags.better.f1": "more"}
        for made in sweep()
    ]
    result = compared(runs, metric=metric)
    assert (result.choice.metric.name, result.choice.metric.more_is_better) == (chooses_by, more)
    assert {chooses_by, f"{chooses_by}_sd"} <= set(result.arms)
    with_twin = [made | {"metrics.val_f1": 0.4} for made in runs]
    assert compared(with_twin, metric="test_f1").choice.metric.name == "val_f1"


def test_of_a_loss_the_least_is_chosen() -> None:
    runs = [made | {"metrics.val_loss": made["metrics.test_loss"]} for made in sweep()]
    assert compared(runs, metric="test_loss").choice.best == "adam"


def test_each_group_has_its_best_arm_and_an_arm_without_a_result_is_not_chosen() -> None:
    arms = [arm | {"val": val} for arm, val in zip(
        grid(optimizer=["adam", "sgd"], lr=[0.001, 0.01, 0.1]), (0.7, 0.9, 0.8, 0.1, 0.3, 0.5), strict=True
    )]  # fmt: skip
    result = of_arms(*arms)
    assert result.choice.best == "adam, learning_rate 0.01"
    assert result.choice.by_group == {"adam": "adam, learning_rate 0.01", "sgd": "sgd, learning_rate 0.1"}
    text = sentence(result)
    assert text.startswith("Best by val_accuracy: adam, learning_rate 0.01 (90.000 ± 0.000 %). ")
    assert " Best of sgd: learning_rate 0.1 (50.000 ± 0.000 %). " in text
    arms[1]["val"] = "nan"
    assert of_arms(*arms).choice.best == "adam, learning_rate 0.1"


def test_where_every_arm_lacks_a_value_there_is_no_best_and_it_is_said() -> None:
    runs = [run(name, seed, 0.9) for name in "abc" for seed in range(2)]
    for made in runs[::2]:
        made["metrics.val_accuracy"] = np.nan
    result = compared(runs)
    assert (result.choice.metric.name, result.choice.best, result.choice.by_group) == ("val_accuracy", "", {})
    assert sentence(result).startswith("No arm has a val_accuracy to be chosen by. Too few seeds to tell a ")
    assert ranked(result) == ["a", "b", "c"]
    for made in runs:
        made["metrics.val_accuracy"] = np.nan
    assert compared(runs).choice.metric.name == "test_accuracy"


@pytest.mark.parametrize(
    ("best", "words"),
    [
        (0, "0.001, is the smallest"),
        (1, None),
        (2, None),
        (3, "1.0, is the largest"),
    ],
)
def test_a_best_value_at_the_edge_of_those_tried_is_a_warning(best: int, words: str | None) -> None:
    arms = grid(optimizer=["adam", "sgd"], lr=[0.001, 0.01, 0.1, 1.0])
    for place, arm in enumerate(arms):  # of sgd always in the middle
        arm["val"] = 0.9 if place in (best, 5) else 0.8
    result = of_arms(*arms)
    if words is None:
        assert result.choice.edges == ()
    else:
        (edge,) = result.choice.edges
        assert edge == f"The best learning_rate of adam, {words} that was tried: the best may lie beyond"
        assert said(result, "may lie beyond") == edge


def test_of_two_numbers_each_has_its_edges() -> None:
    arms = grid(batch_size=[16, 32, 64], lr=[0.001, 0.01, 0.1])
    for arm in arms:
        arm["val"] = 0.9 if (arm["batch_size"], arm[RATE]) == (64, 0.01) else 0.8
    assert of_arms(*arms).choice.edges == (
        "The best batch_size, 64, is the largest that was tried: the best may lie beyond",
    )
    two = grid(batch_size=[16, 32], lr=[0.001, 0.01])
    assert of_arms(*two).choice.edges == (), "of two values each is at an edge"


def test_a_choice_among_several_on_the_seeds_compared_is_a_caveat_and_between_two_is_none() -> None:
    three = of_arms(*grid(optimizer=["adam", "sgd", "lion"]))
    assert "judge it on seeds of its own" in said(three, "The best of 3 settings was chosen on the seeds")
    two = of_arms(*grid(optimizer=["adam", "sgd"]))
    assert not [text for text in two.caveats if "judge it" in text]


# The order for people


def test_several_arms_stand_with_the_best_first_and_those_without_a_mean_last() -> None:
    values = {"a": 0.5, "b": np.nan, "c": 0.9, "d": 0.7}
    result = of_arms(*[{"optimizer": name, "val": value} for name, value in values.items()])
    assert list(result.arms.index) == ["a", "b", "c", "d"], "the table for programs keeps the sweep's order"
    assert ranked(result) == ["c", "d", "a", "b"]


def test_of_a_loss_the_least_stands_first() -> None:
    runs = [
        run(name, seed, value) for name, value in {"a": 0.5, "b": 0.9, "c": 0.7}.items() for seed in (0, 1)
    ]
    assert ranked(compared(runs, metric="test_loss")) == ["b", "c", "a"]


def test_two_arms_stand_in_the_sweeps_order_and_numbers_by_group_and_value() -> None:
    assert ranked(of_arms({"optimizer": "b", "val": 0.1}, {"optimizer": "a", "val": 0.9})) == ["b", "a"]
    arms = [{RATE: rate, "optimizer": name} for rate in (0.1, 0.01, 1.0) for name in ("sgd", "adam")]
    assert ranked(of_arms(*arms)) == [
        f"{name}, learning_rate {rate}" for name in ("sgd", "adam") for rate in (0.01, 0.1, 1.0)
    ]  # fmt: skip
