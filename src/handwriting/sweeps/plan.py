"""The jobs of a sweep, checked before the first one starts, and the sweep's name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from handwriting.config import check_config
from handwriting.data import dataset_digest
from handwriting.tracking import Store
from handwriting.tracking.identity import Identity, digest, identify


class JobsFailed(Exception):
    """Some jobs of a sweep did not finish; each that failed has said why."""


@dataclass(frozen=True)
class Job:
    """One job of a sweep: overrides, config, what it is known by, and the place of its arm, from 0."""

    overrides: list[str]
    cfg: DictConfig
    identity: Identity
    arm: int


def plan_jobs(overrides: Sequence[list[str]], compose: Callable[[list[str]], DictConfig]) -> list[Job]:
    """Check every job of a sweep, and return them.

    An arm is all that determines a result except the seed; arms are counted as they come.

    Raises:
        UserError: the first mistake found.
    """
    digests: dict[str, str] = {}  # each data set is read once
    places: dict[str, int] = {}
    jobs = []
    for words in overrides:
        cfg = compose(words)
        check_config(cfg)
        asked = repr(cfg.data)
        if asked not in digests:
            digests[asked] = dataset_digest(cfg.data)
        identity = identify(cfg, digests[asked])
        jobs.append(Job(words, cfg, identity, places.setdefault(identity.arm, len(places))))
    for uri in {job.cfg.tracking.uri for job in jobs}:
        Store(uri).check()
    return jobs


def name_of(experiment: str, jobs: Sequence[Job]) -> str:
    """Return a sweep's name: the experiment file's, and eight hex digits of its arms.

    So the same sweep started again, or with more seeds, keeps its name, and one with another learning rate
    has another.
    """
    return f"{experiment.replace('/', '-')}-{digest(sorted({job.identity.arm for job in jobs}))[:8]}"
