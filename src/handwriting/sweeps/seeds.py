"""Which seeds a sweep runs: a fixed number of them, or batch by batch until a look says that it is clear."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from handwriting.errors import UserError
from handwriting.tracking.plans import LOOKS

UNTIL_CLEAR = "until_clear"  # in place of a seed, or of several
Job = TypeVar("Job")


def all_seeds(overrides: Sequence[Override], parser: OverridesParser) -> tuple[list[Override], bool]:
    """Return overrides with all the seeds of a sweep until clear, and whether it is one."""
    seeds = [override for override in overrides if override.key_or_group == "seed"]
    if not seeds or not is_until_clear(seeds[-1].value()):  # of several the last one counts
        return list(overrides), False
    others = [override for override in overrides if override.key_or_group != "seed"]
    return [parser.parse_override(f"seed=range({LOOKS[-1]})"), *others], True


def is_until_clear(seed: object) -> bool:
    """Tell whether a value of the key seed asks for seeds until clear."""
    return str(getattr(seed, "text", seed)) == UNTIL_CLEAR


def check_arms(arms: int) -> None:
    """Refuse a sweep until clear with a single arm, as a UserError."""
    if arms < 2:
        raise UserError(
            f"seed={UNTIL_CLEAR} compares two arms, and there is one. Give a key two values, as "
            "optimizer=rmsprop,adam, or name two arms"
        )


def batches(jobs: Sequence[Job], at_once: int, wanted: Callable[[], int]) -> Iterator[Sequence[Job]]:
    """Yield the jobs of a sweep until clear in batches, the first up to its first look.

    A batch is filled up with jobs of the seeds that follow where otherwise cores would be idle.

    Args:
        jobs: all that there may be, by seed, with both arms of a seed side by side.
        at_once: jobs that run at a time.
        wanted: asked after each batch: the paired seeds that the next look lacks, 0 for no more.
    """
    start, pairs = 0, LOOKS[0]
    while pairs and start < len(jobs):
        end = (start // 2 + pairs) * 2
        end += -(end - start) % at_once
        yield jobs[start:end]
        start, pairs = min(end, len(jobs)), wanted()
