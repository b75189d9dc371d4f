"""The jobs of a sweep, checked before the first one starts, and the sweep's name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.conf import RuntimeConf
from hydra.errors import HydraException
from omegaconf import DictConfig

from handwriting.config import OPEN_GROUPS, check_config, check_value, flatten
from handwriting.data import dataset_digest
from handwriting.errors import UserError
from handwriting.kinds import own_values
from handwriting.precision import check_precision
from handwriting.sweeps.arms import Asked, Member, product_labels, reaching
from handwriting.tracking import names, stores_of
from handwriting.tracking.elsewhere import check_place
from handwriting.tracking.identity import Identity, digest, identify


class JobsFailed(Exception):
    """Some jobs of a sweep did not finish; each that failed has said why."""


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Args:
        overrides: its own.
        cfg: its config, but for the seed: jobs that differ in that alone have one.
        seed: its seed.
        identity: what it is known by.
        arm: its arm's place, from 0.
        label: of its arm.
    """

    overrides: list[str]
    cfg: DictConfig
    seed: int
    identity: Identity
    arm: int
    label: str


Compose = Callable[[list[str]], tuple[DictConfig, RuntimeConf]]


@dataclass(frozen=True)
class Composed:
    """The config of a job, and what follows from it.

    Args:
        cfg: the config.
        runtime: Hydra's notes on it.
        flat: the config as one level.
        identity: what the job is known by.
    """

    cfg: DictConfig
    runtime: RuntimeConf
    flat: dict[str, Any]
    identity: Identity


def plan_jobs(asked: Sequence[Asked], compose: Compose) -> tuple[list[Job], list[str]]:
    """Check every job of a sweep; return them, and sentences about settings that were hardly meant.

    An arm is all that determines a result except the seed; arms are counted as they come.

    Args:
        asked: each job.
        compose: returns the config of a job's overrides, and Hydra's notes on it.

    Raises:
        UserError: the first mistake found.
    """
    read = _Reader(compose)
    found: list[tuple[Composed, Identity]] = []
    for job in asked:
        try:
            found.append(read.job(job.overrides))
        except (UserError, HydraException) as error:
            if job.where:
                error.add_note(job.where)
            raise
    identities = [identity for _, identity in found]
    named = bool(asked[0].arm)
    labels = (
        [job.arm for job in asked]
        if named
        else product_labels(asked, [composed.flat for composed, _ in found])
    )
    if named:
        _check_named(labels, identities)
    places: dict[str, int] = {}
    jobs = [
        Job(
            job.overrides, composed.cfg, int(identity.setting["seed"]), identity,
            places.setdefault(identity.arm, len(places)), label,
        )
        for job, (composed, identity), label in zip(asked, found, labels, strict=True)
    ]  # fmt: skip
    each = {id(composed): composed for composed, _ in found}.values()
    for tracking in {composed.cfg.tracking.uri: composed.cfg.tracking for composed in each}.values():
        stores_of(tracking)[0].check()
        check_place(tracking)
    first: dict[int, int] = {}  # of each arm the first job
    for number, planned in enumerate(jobs):
        first.setdefault(planned.arm, number)
    members = [_members(found[number][0]) for number in first.values()]
    asks = {check_precision(composed.cfg.precision) for composed in each} - {""}
    return jobs, [*asks, *reaching([asked[number] for number in first.values()], members)]


def _check_named(arms: Sequence[str], identities: Sequence[Identity]) -> None:
    """Refuse named arms that are the same, or that no report could compare."""
    owners: dict[str, str] = {}
    for arm, identity in zip(arms, identities, strict=True):
        other = owners.setdefault(identity.arm, arm)
        if other != arm:
            raise UserError(f"arms.{arm}: the same settings as arms.{other}. Leave one of them out")
    for key in (names.DATA, "data.limit_test"):
        if len({identity.setting[key] for identity in identities}) > 1:
            raise UserError(
                f"arms: they differ in {key}, and results on different images cannot be compared. "
                "Give all arms the same"
            )


def _members(composed: Composed) -> dict[str, Member]:
    """Return the chosen member of each open group, with its file's own values and those of the config."""
    cfg, runtime = composed.cfg, composed.runtime
    chosen = {group: str(runtime.choices[group]) for group in OPEN_GROUPS}
    return {
        group: (name, own_values(runtime, group, name), dict(flatten(cfg[group])))
        for group, name in chosen.items()
    }


class _Reader:
    """Composes and checks jobs; of those that differ in the seed alone, the first two.

    The second one tells whether anything else follows from the seed, as in batch_size=${seed}: then all do.
    """

    def __init__(self, compose: Compose):
        self.compose = compose
        self.digests: dict[str, str] = {}  # each data set is read once
        self.first: dict[tuple[str, ...], Composed] = {}  # by overrides less the seed
        self.alike: dict[tuple[str, ...], bool] = {}

    def job(self, overrides: list[str]) -> tuple[Composed, Identity]:
        """Return a job's config, in which another seed may stand, and what it is known by."""
        own = tuple(word for word in overrides if not word.startswith("seed="))
        seed = next((word.removeprefix("seed=") for word in reversed(overrides) if word not in own), "")
        if self.alike.get(own) and seed.isdecimal():
            check_value("seed", int(seed))
            first = self.first[own]
            return first, first.identity.with_seed(int(seed))
        cfg, runtime = self.compose(overrides)
        if own in self.first:
            check_value("seed", cfg.seed)
        else:
            check_config(cfg)
        data = repr(cfg.data)
        if data not in self.digests:
            self.digests[data] = dataset_digest(cfg.data)
        flat = flatten(cfg)
        composed = Composed(cfg, runtime, flat, identify(cfg, self.digests[data]))
        first = self.first.setdefault(own, composed)
        if first is not composed and own not in self.alike:
            self.alike[own] = flat | {"seed": 0} == first.flat | {"seed": 0}
        return composed, composed.identity


def name_of(experiment: str, jobs: Sequence[Job], named: bool) -> str:
    """Return a sweep's name: the experiment file's, and eight hex digits of its arms, and of their own names.

    So the same sweep started again, or with more seeds, keeps its name, and one with another learning rate
    has another.
    """
    arms = sorted({f"{job.identity.arm} {job.label}" if named else job.identity.arm for job in jobs})
    return f"{experiment.replace('/', '-')}-{digest(arms)[:8]}"
