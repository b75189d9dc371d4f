"""The arms of a sweep: named ones, and the labels of products."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hydra.conf import RuntimeConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from handwriting.config import compose, flatten
from handwriting.errors import UserError
from handwriting.sweeps.arms import Asked, named_jobs, product_labels, reaching
from handwriting.sweeps.plan import plan_jobs
from handwriting.tracking.labels import labels_of

PARSE: Callable = OverridesParser.create().parse_overrides


def test_each_named_arm_is_a_job_for_each_seed() -> None:
    arms = {
        "small": "optimizer=adamw optimizer.learning_rate=3e-4",
        "sgd": ["optimizer=sgd"],
        "as it is": None,
    }
    jobs = named_jobs(arms, [["seed=0", "epochs=1"], ["seed=1", "epochs=1"]], PARSE)
    assert [(job.arm, job.overrides[0]) for job in jobs] == [
        (arm, seed) for seed in ("seed=0", "seed=1") for arm in arms
    ]
    assert jobs[0].overrides[2:] == ["optimizer=adamw", "optimizer.learning_rate=3e-4"]
    assert jobs[2].overrides == ["seed=0", "epochs=1"]


def test_an_arm_is_split_as_a_shell_would() -> None:
    (job,) = named_jobs({"a": "'metrics=[{_target_: keras.metrics.F1Score}]' epochs=2"}, [[]], PARSE)
    assert job.own == ["metrics=[{_target_: keras.metrics.F1Score}]", "epochs=2"]


@pytest.mark.parametrize(
    ("arms", "error"),
    [
        ("small", "arms must be names with the overrides of each"),
        ({}, "arms must be names with the overrides of each"),
        ({"a": 3}, 'arms.a must be overrides, as "batch_size=32 epochs=5". Received: 3'),
        ({"a": "batch_size=32,64"}, "arms.a: batch_size=32,64 has several values"),
        ({"a": "seed=1"}, "arms.a: seed=1 is the same for all arms"),
        ({"a": "tracking.uri=x"}, "arms.a: tracking.uri=x is the same for all arms"),
        ({"a": "epochs=2"}, "arms.a: epochs=2 is set for all arms too, by epochs=1"),
        ({"a": "'batch_size=1"}, "arms.a: 'batch_size=1: No closing quotation"),
        ({" a": ""}, "no blank at its ends and no ${. Received: ' a'"),
        ({"a\nb": ""}, "arms: a name has 1 to 60 printable letters"),
        ({"a" * 61: ""}, "arms: a name has 1 to 60 printable letters"),
        ({"a ${seed}": ""}, "no ${. Received: 'a ${seed}'"),
        ({"a": "threads=1"}, "arms.a: threads=1 is the same for all arms"),
    ],
)
def test_what_is_no_arm_is_refused(arms: Any, error: str) -> None:
    with pytest.raises(UserError, match=re.escape(error)):
        named_jobs(arms, [["seed=0", "epochs=1"]], PARSE)


def test_named_arms_stand_beside_seeds_and_no_other_values() -> None:
    with pytest.raises(UserError, match=r"batch_size has several values, and arms are named\."):
        named_jobs({"a": "epochs=2"}, [["batch_size=32"], ["batch_size=64"]], PARSE)


def test_a_product_is_labelled_by_what_varies_and_as_the_store_has_it() -> None:
    shared = ["optimizer=adam", "model=mlp", "epochs=1"]
    jobs = [
        Asked([*shared, f"optimizer.learning_rate={rate}", f"seed={seed}"])
        for rate in ("1e-3", "3e-4")
        for seed in (0, 1)
    ]
    labels = product_labels(jobs, [flatten(compose(*job.overrides)) for job in jobs])
    assert labels == ["learning_rate 0.001"] * 2 + ["learning_rate 0.0003"] * 2


@pytest.mark.parametrize(
    ("pairs", "label"),
    [
        ([("optimizer", "adam")], "adam"),
        ([("optimizer", "adam"), ("optimizer.learning_rate", "0.1")], "adam, learning_rate 0.1"),
        ([("model.dropout", "0.1"), ("head.dropout", "0.2")], "model.dropout 0.1, head.dropout 0.2"),
        ([("units", "1"), ("model.units", "2")], "units 1, model.units 2"),
        ([], "all runs"),
    ],
)
def test_a_label_has_as_much_of_a_key_as_tells_it_from_others(
    pairs: list[tuple[str, str]], label: str
) -> None:
    assert labels_of([pairs], {"optimizer"}) == [label]


def test_one_rate_for_two_optimizers_is_said_and_a_rate_of_an_arm_or_of_a_grid_is_not() -> None:
    own = {"adamw": {"learning_rate": 0.001, "beta_1": 0.9}, "sgd": {"learning_rate": 0.01}}

    def said(rates: list[float], jobs: list[Asked]) -> list[str]:
        members = [
            {"optimizer": (name, own[name], {"learning_rate": rate})}
            for name, rate in zip(("adamw", "sgd"), rates, strict=True)
        ]
        return list(reaching(jobs, members))

    rate = "optimizer.learning_rate=3e-4"
    product = [Asked([f"optimizer={name}", rate]) for name in own]
    (sentence,) = said([3e-4, 3e-4], product)
    assert sentence.startswith(
        "optimizer.learning_rate=0.0003 reaches adamw (its file has 0.001) and sgd (its file has 0.01)"
    )
    assert 'arms={adamw: "optimizer=adamw optimizer.learning_rate=0.0003", sgd: "optimizer=sgd"}' in sentence
    assert said([0.001, 0.01], product) == [], "each has its own"
    named = [Asked([], name, [f"optimizer={name}", rate]) for name in own]
    assert said([3e-4, 3e-4], named) == [], "each was asked for"
    grid = [
        Asked([f"optimizer={name}", f"optimizer.learning_rate={x}"])
        for name, x in zip(own, "12", strict=True)
    ]
    assert said([3e-4, 3e-4], grid) == []


@pytest.mark.parametrize(
    ("arms", "error"),
    [
        ({"a": "batch_size=16", "b": "batch_size=16"}, r"^arms\.b: the same settings as arms\.a\."),
        ({"a": "data=digits8x8", "b": ""}, r"^arms: they differ in data\.sha256, and"),
        ({"a": "data.limit_test=100", "b": ""}, r"^arms: they differ in data\.limit_test, and"),
    ],
)
def test_arms_that_no_report_could_compare_are_refused_before_training(arms: Any, error: str) -> None:
    def compose_words(words: list[str]) -> tuple[DictConfig, RuntimeConf]:
        return compose(*words), RuntimeConf(choices={}, config_sources=[])

    with pytest.raises(UserError, match=error):
        plan_jobs(named_jobs(arms, [["model=mlp"]], PARSE), compose_words)


def test_a_mistake_in_a_named_arm_says_in_which(store: str) -> None:
    def compose_words(words: list[str]) -> tuple[DictConfig, RuntimeConf]:
        return compose(*words), RuntimeConf(choices={}, config_sources=[])

    with pytest.raises(UserError, match=r"^epochs must be") as caught:
        plan_jobs(named_jobs({"a": "epochs=0"}, [[]], PARSE), compose_words)
    assert caught.value.__notes__ == ["arms.a"]
