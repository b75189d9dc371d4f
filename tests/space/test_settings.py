"""The settings that are tried, the seeds that choose and judge, and what is refused as unfair."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import qmc

from handwriting.errors import UserError
from handwriting.space import Space, label_of, seeds_of, space_of

UNTIL_CLEAR = range(20)
RATE = {"optimizer.learning_rate": "log(1e-4, 1e-2)"}
TWO = {
    "rmsprop": {"optimizer": "rmsprop", **RATE, "optimizer.rho": "one_minus_log(0.5, 0.999)"},
    "adam": {"optimizer": "adam", **RATE},
}


def space(arms: Any = TWO, settings: object = 4, seeds: tuple[int, ...] = (100,), **more: object) -> Space:
    tuning = {"arms": arms, "settings": settings, **more}
    return space_of(tuning, seeds, (0, 1), UNTIL_CLEAR)


def settings(number: int = 9, arms: Any = TWO, default: Any = None, **more: object) -> dict[str, Any]:
    return space(arms, number, (100,), **more).settings(dict.fromkeys(arms, default or {}))


def values(setting: tuple[str, ...]) -> list[float]:
    return [float(word.partition("=")[2]) for word in setting]


def test_the_points_are_those_that_scipy_gives() -> None:
    found = np.array([values(setting) for setting in settings()["rmsprop"][1:]])
    u = qmc.Halton(2, scramble=True, rng=0).random(8)
    np.testing.assert_allclose(found[:, 0], 1e-4 * 100 ** u[:, 0], rtol=5e-4)
    np.testing.assert_allclose(1 - found[:, 1], 0.5 * (0.001 / 0.5) ** u[:, 1], rtol=5e-4)
    other = settings(design_seed=1)["rmsprop"][1:]
    assert other != settings()["rmsprop"][1:]
    np.testing.assert_allclose(
        values(other[0])[0], 1e-4 * 100 ** qmc.Halton(2, scramble=True, rng=1).random(1)[0, 0], rtol=5e-4
    )


def test_more_settings_begin_with_those_that_fewer_have_and_the_first_is_the_default() -> None:
    few, many = settings(4), settings(50)
    for arm, own in few.items():
        assert own[0] == ()
        assert many[arm][:4] == own
        assert len(set(many[arm])) == 50


def test_arms_try_the_same_values_of_a_key_that_both_have_first() -> None:
    found = settings()
    assert [setting[:1] for setting in found["rmsprop"]] == [setting[:1] for setting in found["adam"]]


def test_a_setting_is_tried_once_the_default_too() -> None:
    arms = {"a": {"batch_size": "choice(32, 64, 128)"}, "b": RATE}
    found = space(arms, 3).settings({"a": {"batch_size": 64}, "b": {}})
    assert found["a"][0] == ()
    assert {*found["a"][1:]} == {("batch_size=32",), ("batch_size=128",)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seeds": (1, 100)}, r"^tuning\.seeds and tuning\.verdict_seeds: the verdict has seed 1 too, and "),
        ({"settings": 1}, r"^tuning\.settings must be a whole number, at least 2\. Received: 1"),
        ({"settings": "many"}, r"^tuning\.settings must be a whole number, at least 2\. Received: many"),
        ({"design_seed": -1}, r"^tuning\.design_seed must be a whole number, at least 0\. Received: -1"),
        ({"setings": 8}, r"^tuning\.setings: there is no such key\. Did you mean 'settings'\? There are:"),
        ({"arms": {"a": RATE}}, r"^tuning\.arms must be two names or more, .* Received: a"),
        ({"arms": None}, r"^tuning\.arms must be two names or more, .* Received: None"),
        (
            {"arms": {**TWO, "b": {"epochs": 3}}},
            r"^tuning\.arms\.b has one setting, and each arm tries as many",
        ),
        (
            {"arms": {**TWO, "b": 3}},
            r"^tuning\.arms\.b must be keys with ranges, as optimizer\.learning_rate:",
        ),
        (
            {"arms": {**TWO, "b": {**RATE, "settings": 9}}},
            r"^tuning\.arms\.b\.settings: all arms have the same",
        ),
        (
            {"arms": {**TWO, "b": {"optimizer": RATE}}},
            r"^tuning\.arms\.b\.optimizer must be a range or a value",
        ),
        (
            {"arms": {**TWO, "b": {"x": "log(2, 1)"}}},
            r"^tuning\.arms\.b\.x: log\(2, 1\): a range goes from the",
        ),
        (
            {"arms": {**TWO, "b": {"x": "log(0, 1)"}}},
            r"^tuning\.arms\.b\.x: .* both ends are above 0\. A range",
        ),
        (
            {"arms": {**TWO, "b": {"x": "one_minus_log(0.5, 1)"}}},
            r"^tuning\.arms\.b\.x: .* own values, below 1",
        ),
        (
            {"arms": {**TWO, "b": {"x": "log(1, many)"}}},
            r"^tuning\.arms\.b\.x: .*: many is no number\. A range",
        ),
        (
            {"arms": {**TWO, "b": {"x": "lag(1, 2)"}}},
            r"^tuning\.arms\.b\.x: .*Unknown function 'lag'\. A range",
        ),
        (
            {"arms": {**TWO, "b": {"x": "log(1)"}}},
            r"^tuning\.arms\.b\.x: .*argument: 'high'\. A range is log\(",
        ),
    ],
)
def test_what_is_no_space_or_not_fair_is_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        space(**given)


def test_an_arm_with_fewer_settings_than_the_others_is_refused() -> None:
    arms = {**TWO, "b": {"batch_size": "choice(32, 64)"}}
    with pytest.raises(UserError, match=r"^tuning\.arms\.b has 3 different settings, and each arm tries as"):
        settings(4, arms)
    with pytest.raises(UserError, match=r"^tuning\.arms\.b has 2 different settings"):
        settings(4, arms, {"batch_size": 32})


def test_seeds_that_a_verdict_until_clear_may_take_choose_nothing() -> None:
    tuning = {"arms": TWO, "settings": 4}
    assert space_of(tuning, [20, 21], None, UNTIL_CLEAR).verdict_seeds is None
    with pytest.raises(UserError, match=r"the verdict may take seed 19 too, and seeds that chose"):
        space_of(tuning, [19, 20], None, UNTIL_CLEAR)


def test_seeds_are_written_as_those_of_a_sweep() -> None:
    for value in ("range(3)", "0,1,2", [0, 1, 2], (0, 1, 2, 0)):
        assert seeds_of("tuning.seeds", value) == [0, 1, 2]
    assert seeds_of("tuning.seeds", 7) == seeds_of("tuning.seeds", "7") == [7]
    wrong: object
    for wrong in ("x", "1.5", True, [], "range(0)", None, "range(3", -1, 2**32, "until_clear"):
        with pytest.raises(UserError, match=r"^tuning\.seeds must be seeds, as range\(100, 102\) or 100,101"):
            seeds_of("tuning.seeds", wrong)


def test_a_label_tells_the_arm_and_the_setting() -> None:
    assert [label_of("adam", number) for number in range(3)] == ["adam default", "adam 1", "adam 2"]
