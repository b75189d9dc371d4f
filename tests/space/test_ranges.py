"""The range of a key: each kind's values, and how it is widened."""

import math

import numpy as np
import pytest

from handwriting.space import range_of


def test_each_kind_of_range_keeps_within_its_ends_and_reaches_toward_them() -> None:
    kinds = {
        "log(1e-4, 1e-2)": (1e-4, 1e-2),
        "one_minus_log(0.5, 0.99)": (0.5, 0.99),
        "interval(0.9, 0.9005)": (0.9, 0.9005),
        "interval(-2, 3)": (-2, 3),
        "int(interval(1, 8))": (1, 8),
    }
    for text, (low, high) in kinds.items():
        range_ = range_of("key", text)
        assert range_, text
        found = [float(range_.at(u)) for u in np.linspace(0, 1, 1000, endpoint=False)]
        assert found == sorted(found), text
        assert found[0] == pytest.approx(low, rel=1e-3), text
        assert found[-1] == pytest.approx(high, rel=6e-3), text
        assert low <= min(found), text
        assert max(found) <= high, text
    whole = range_of("key", "int(interval(1, 8))")
    assert whole
    assert {whole.at(u) for u in np.linspace(0, 1, 100, endpoint=False)} == set("12345678")


def test_choices_are_hydras_own() -> None:
    for text in ("choice(32, 'a b', true)", "32,'a b',true"):
        choices = range_of("key", text)
        assert choices
        assert [choices.at(u) for u in (0, 0.34, 0.99)] == ["32", "'a b'", "true"]
        assert math.isnan(choices.low)
    none = range_of("key", "0.004,null")
    assert none
    assert none.choices == ("0.004", "null")
    numbers = range_of("key", "32,64,128")
    assert numbers
    assert (numbers.low, numbers.high, numbers.at(0.5)) == (32, 128, "64")
    assert range_of("key", "rmsprop") is None
    assert range_of("key", "0.5") is None


@pytest.mark.parametrize(
    ("best", "text", "wider"),
    [
        (0.009, "log(1e-4, 1e-2)", "log(0.0001, 0.1)"),
        (0.0002, "log(1e-4, 1e-2)", "log(1e-05, 0.01)"),
        (1.0, "log(1e-4, 1e-2)", "log(0.0001, 10)"),
        (0.98, "one_minus_log(0.5, 0.995)", "one_minus_log(0.5, 0.9995)"),
        (0.6, "one_minus_log(0.5, 0.995)", "one_minus_log(0, 0.995)"),
        (0.4, "interval(0, 0.5)", "interval(0, 0.75)"),
        (0.1, "interval(0, 0.5)", ""),
        (-2, "interval(-2, 2)", "interval(-4, 2)"),
        (8, "int(interval(1, 8))", "int(interval(1, 12))"),
        (128, "choice(32, 64, 128)", ""),
    ],
)
def test_a_range_is_widened_beyond_the_best_on_its_own_scale(best: float, text: str, wider: str) -> None:
    range_ = range_of("key", text)
    assert range_
    assert range_.widened(best) == wider
