"""How many seeds a sweep was planned to have: written into the store before its first job starts."""

import json
import logging
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from handwriting.tracking import names

if TYPE_CHECKING:
    from handwriting.tracking.store import Store

log = logging.getLogger(__name__)

LOOKS = (6, 8, 12, 16, 20)  # paired seeds, of a sweep until clear; its rule is that of compare/sequential.py


@dataclass(frozen=True)
class Plan:
    """What was planned.

    Args:
        seeds: all that may be run.
        looks: the paired seeds at which the sweep may end; none where the number of seeds is fixed.
        margin: a difference of test accuracy that does not matter, as a fraction; None where none was given.
    """

    seeds: tuple[int, ...]
    looks: tuple[int, ...] = ()
    margin: float | None = None


def keep_plan(store: "Store", experiment_id: str, sweep: str, plan: Plan) -> None:
    """Write a plan beside those of the sweep that are stored; the same one again changes nothing."""
    client, key = store.client, names.plan_of(sweep)
    before = plans_in(client.get_experiment(experiment_id).tags.get(key))
    if plan in before:
        return
    text = json.dumps([_as_json(kept) for kept in (*before, plan)])
    if len(text) > names.LONGEST_TAG:
        log.warning("the plan of %d seeds is too long to be stored", len(plan.seeds))
    else:
        client.set_experiment_tag(experiment_id, key, text)


def joined_plans(text: str | None, more: str) -> str:
    """Return the plans of two stores' tags as one tag: those of the first, then what the second adds."""
    before = plans_in(text)
    new = [plan for plan in plans_in(more) if plan not in before]
    return json.dumps([_as_json(plan) for plan in (*before, *new)])


def plans_in(text: str | None) -> tuple[Plan, ...]:
    """Return the plans in an experiment's tag, oldest first; none where there is no tag."""
    return tuple(
        Plan(_seeds_of(plan["seeds"]), tuple(plan["looks"]), plan["margin"])
        for plan in json.loads(text or "[]")
    )


def _as_json(plan: Plan) -> dict[str, Any]:
    return {"seeds": _ranges(plan.seeds), "looks": plan.looks, "margin": plan.margin}


def _ranges(seeds: tuple[int, ...]) -> str:
    """Return seeds in order as "0-5,7"."""
    gaps = [0, *(place for place, (a, b) in enumerate(pairwise(seeds), start=1) if b != a + 1), len(seeds)]
    parts = [seeds[start:end] for start, end in pairwise(gaps)]
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts if part)


def _seeds_of(text: str) -> tuple[int, ...]:
    ends = [part.split("-") for part in text.split(",")]
    return tuple(seed for end in ends for seed in range(int(end[0]), int(end[-1]) + 1))
