"""Which seed decides alone."""

import numpy as np
import pytest
from made_runs import compared, run, said

MINUS = "\N{MINUS SIGN}"


def caveats(*differences: float, **arguments: object) -> tuple[str, ...]:
    """Return what is said of adam less rmsprop, in points, by seed from 0."""
    runs = [
        run(name, seed, round(0.9 + points * place / 100, 7))
        for seed, points in enumerate(differences)
        for place, name in enumerate(("rmsprop", "adam"))
    ]
    for made in runs:
        made["tags.arm"] = "01"[made["params.optimizer"] == "adam"]
    return compared(runs, **arguments).caveats


def test_a_seed_without_which_the_mean_has_the_other_sign_is_named_with_both_means() -> None:
    (caveat,) = caveats(-0.15, -0.07, -0.44, 0.11, 1.29, -0.23)
    # Both intervals are those of SciPy's ttest_1samp.
    assert caveat == (
        f"Seed 4 decides: without it adam {MINUS} rmsprop is -0.156 points (95 % interval -0.408 to +0.096), "
        "not +0.085 points (95 % interval -0.563 to +0.733)"
    )


@pytest.mark.parametrize("far", [-1.5, 3.0])
def test_a_seed_without_which_the_interval_tells_another_thing_of_0_is_named(far: float) -> None:
    (caveat,) = caveats(0.3, 0.32, 0.28, 0.31, 0.29, 0.3, far)
    assert "Seed 6 decides" in caveat


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
    assert not caveats(*differences)


def test_of_several_arms_only_pairs_with_the_best_or_the_baseline_are_looked_at() -> None:
    runs = [
        run(name, seed, mean + 0.0001 * ((seed + place) % 3) - 0.5 * (name == "d" and seed == 3))
        for seed in range(7)
        for place, (name, mean) in enumerate({"a": 0.90, "b": 0.95, "c": 0.93, "d": 0.94}.items())
    ]
    decisive = [caveat for caveat in compared(runs).caveats if "decides" in caveat]
    assert [caveat.partition(" is ")[0] for caveat in decisive] == [
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
    decisive = [caveat for caveat in result.caveats if "decides" in caveat]
    assert len(decisive) == 8
    assert all(f" {MINUS} a is" in caveat or "b" in caveat for caveat in decisive)
    assert "more sentences like the last" in said(result, "more sentences")
