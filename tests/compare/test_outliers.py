"""Which seed decides alone."""

import math

import numpy as np
import pytest
from made_runs import compared, run, said, two

from handwriting.compare import sentence
from handwriting.tracking.plans import LOOKS, Plan

MINUS = "\N{MINUS SIGN}"


def decisive(*differences: float, **arguments: object) -> tuple[str, ...]:
    """Return what is said of seeds of adam less rmsprop, in points, by seed from 0."""
    runs = [
        run(name, seed, round(0.9 + points * place / 100, 7))
        for seed, points in enumerate(differences)
        for place, name in enumerate(("rmsprop", "adam"))
    ]
    for made in runs:
        made["tags.arm"] = "01"[made["params.optimizer"] == "adam"]
    return compared(runs, **arguments).deciding


def test_a_seed_without_which_the_mean_has_the_other_sign_is_named_with_both_means() -> None:
    (caveat,) = decisive(-0.15, -0.07, -0.44, 0.11, 1.29, -0.23)
    # Both intervals are those of SciPy's ttest_1samp.
    assert caveat == (
        f"Seed 4 decides: without it adam {MINUS} rmsprop is -0.156 points (95 % interval -0.408 to +0.096), "
        "not +0.085 points (95 % interval -0.563 to +0.733)"
    )


@pytest.mark.parametrize("far", [-1.5, 3.0])
def test_a_seed_without_which_the_interval_tells_another_thing_of_0_is_named(far: float) -> None:
    (said,) = decisive(0.3, 0.32, 0.28, 0.31, 0.29, 0.3, far)
    assert "Seed 6 decides" in said


@pytest.mark.parametrize(
    "differences",
    [
        (0.3, 0.32, 0.28, 0.31, 0.29, 0.3, 0.6),  # far, and better without it too
        (-0.3, 0.32, -0.28, 0.31, -0.29, 0.3, 0.5),  # 0 is in the interval with it and without, no outlier
        (-0.15, -0.07, -0.44, 0.11, 1.29),  # too few to be told anything
        (0, 0, 0, 0, 0, 0.01),  # one alone is not 0, and nothing follows
        (0, 0, 0, 0, 0, 0),
    ],
)
def test_a_seed_that_changes_nothing_is_not_named(differences: tuple[float, ...]) -> None:
    assert not decisive(*differences)


def test_seeds_without_any_of_which_it_would_not_be_better_are_named_though_none_is_far() -> None:
    """Seven of eight ahead, p = 10/256; without one of the seven it is 8/128 or 10/128."""
    differences = (1, 1.1, 1.2, 1, 0.3, 0.35, 0.38, -0.4)
    (told,) = decisive(*differences)
    assert told.startswith("It is close: 7 of 8 seeds decide, 0, 1, 2, 3, 4 and 2 more; without any one of")
    result = compared(
        [
            run(name, seed, round(0.9 + points * place / 100, 7))
            for seed, points in enumerate(differences)
            for place, name in enumerate(("rmsprop", "adam"))
        ]
    )
    assert sentence(result).endswith(f"{result.deciding[0]}."), "it is part of the verdict of two arms"
    assert not any("decide" in caveat for caveat in result.caveats)


def test_a_seed_decides_where_without_it_p_is_not_below_the_level_with_the_lost_ones() -> None:
    """Eight pairs and a lost one have p = .039, seven and one .070."""
    close = (0.5, 0.6, 0.5, 0.4, 0.5, 0.6, 0.5, 0.55)
    result = two(*close, math.nan)
    assert result.pairs["better"][0] == "adam"
    assert result.deciding[0].startswith("It is close: 8 of 8 seeds decide")
    assert not two(*close).deciding


def test_of_more_than_24_pairs_only_a_seed_far_from_all_others_is_tried() -> None:
    """One of thousands always decides where the answer is near the edge, and each would take a second."""
    near_the_edge = np.tile([1.0, -0.38], 13)
    result = two(*near_the_edge)
    assert (result.pairs["better"][0], two(*near_the_edge[1:]).pairs["better"][0]) == ("adam", "")
    assert not result.deciding
    (told,) = two(*np.tile([0.4, -0.5], 13), 10.0).deciding
    assert told.startswith("Seed 26 decides:")


def test_of_several_arms_it_decides_with_holms_correction() -> None:
    """Of three pairs of arms eight seeds have p = .023 at best, seven .047; with one seed tied, .094."""
    rng = np.random.default_rng(0)
    means = {"a": 0.9, "b": 0.95, "c": 0.93}
    runs = [
        run(name, seed, 0.9 if seed == 7 else round(mean + rng.normal(0, 0.0005), 5))
        | {"tags.arm": str(place)}
        for seed in range(8)
        for place, (name, mean) in enumerate(means.items())
    ]
    result = compared(runs)
    assert (result.pairs["better"] != "").all()
    close = [caveat for caveat in result.caveats if "7 of 8 seeds decide, 0, 1, 2, 3, 4 and 2 more" in caveat]
    assert len(close) == 3


def test_after_looks_a_seed_decides_by_the_interval_that_holds_at_all_of_them() -> None:
    points = (0.82, 0.18, 0.32, 0.81, 0.53, 0.53)
    looked = Plan(tuple(range(LOOKS[-1])), LOOKS, 0.001)
    (told,) = decisive(*points, plan=looked)
    assert told.startswith(
        "It is close: 2 of 6 seeds decide, 4, 5; without any one of them adam would not be"
    )
    assert not decisive(*points)


def test_of_several_arms_only_pairs_with_the_best_or_the_baseline_are_looked_at() -> None:
    runs = [
        run(name, seed, mean + 0.0001 * ((seed + place) % 3) - 0.5 * (name == "d" and seed == 3))
        for seed in range(7)
        for place, (name, mean) in enumerate({"a": 0.90, "b": 0.95, "c": 0.93, "d": 0.94}.items())
    ]
    named = [caveat for caveat in compared(runs).caveats if "decides" in caveat]
    assert [caveat.partition(" is ")[0] for caveat in named] == [
        f"Seed 3 decides: without it d {MINUS} {other}" for other in "ab"
    ]


def test_of_many_arms_whose_seeds_decide_the_first_are_named_and_the_rest_counted() -> None:
    rng = np.random.default_rng(0)
    means = {"a": 0.90, "b": 0.95, **{f"c{place}": 0.93 for place in range(10)}}
    runs = [
        run(name, seed, round(mean + rng.normal(0, 0.0002), 4))
        for name, mean in means.items()
        for seed in range(7)
    ]
    for made in runs:  # as far from the one as from the other
        if made["params.seed"] == "3" and str(made["params.optimizer"]).startswith("c"):
            made["metrics.test_accuracy"] = 0.2
    result = compared(runs)
    named = [caveat for caveat in result.caveats if "decides" in caveat]
    assert len(named) == 8
    assert all(f" {MINUS} a is" in caveat or "b" in caveat for caveat in named)
    assert "more sentences like the last" in said(result, "more sentences")
