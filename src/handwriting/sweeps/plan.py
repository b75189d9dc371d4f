"""The jobs of a sweep, checked before the first one starts, and the sweep's name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from handwriting.tracking.identity import Identity, digest, identify


class JobsFailed(Exception):
    """Some jobs of a sweep did not finish; each that failed has said why."""


@dataclass(frozen=True)
class Job:
    """One job of a sweep: overrides, config, what it is known by; its arm's place, from 0, and label."""

    overrides: list[str]
    cfg: DictConfig
    identity: Identity
    arm: int
    label: str


Compose = Callable[[list[str]], tuple[DictConfig, RuntimeConf]]


def plan_jobs(asked: Sequence[Asked], compose: Compose) -> tuple[list[Job], list[str]]:
    """Check every job of a sweep; return them, and sentences about settings that were hardly meant.

    An arm is all that determines a result except the seed; arms are counted as they come.

    Args:
        asked: each job.
        compose: returns the config of a job's overrides, and Hydra's notes on it.

    Raises:
        UserError: the first mistake found.
    """
    digests: dict[str, str] = {}  # each data set is read once
    checked: set[tuple[str, ...]] = set()  # overrides less the seed
    configs, identities, notes = [], [], []
    for job in asked:
        own = tuple(word for word in job.overrides if not word.startswith("seed="))
        try:
            cfg, runtime = compose(job.overrides)
            if own in checked:
                check_value("seed", cfg.seed)
            else:
                check_config(cfg)
                checked.add(own)
        except (UserError, HydraException) as error:
            if job.where:
                error.add_note(job.where)
            raise
        data = repr(cfg.data)
        if data not in digests:
            digests[data] = dataset_digest(cfg.data)
        configs.append(cfg)
        identities.append(identify(cfg, digests[data]))
        notes.append(runtime)
    named = bool(asked[0].arm)
    labels = [job.arm for job in asked] if named else product_labels(asked, configs)
    if named:
        _check_named(labels, identities)
    places: dict[str, int] = {}
    jobs = [
        Job(job.overrides, cfg, identity, places.setdefault(identity.arm, len(places)), label)
        for job, cfg, identity, label in zip(asked, configs, identities, labels, strict=True)
    ]
    for tracking in {cfg.tracking.uri: cfg.tracking for cfg in configs}.values():
        stores_of(tracking)[0].check()
    first: dict[int, int] = {}  # of each arm the first job
    for number, planned in enumerate(jobs):
        first.setdefault(planned.arm, number)
    members = [_members(configs[number], notes[number]) for number in first.values()]
    asks = {check_precision(cfg.precision) for cfg in configs} - {""}
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


def _members(cfg: DictConfig, runtime: RuntimeConf) -> dict[str, Member]:
    """Return the chosen member of each open group, with its file's own values and those of the config."""
    chosen = {group: str(runtime.choices[group]) for group in OPEN_GROUPS}
    return {
        group: (name, own_values(runtime, group, name), dict(flatten(cfg[group])))
        for group, name in chosen.items()
    }


def name_of(experiment: str, jobs: Sequence[Job], named: bool) -> str:
    """Return a sweep's name: the experiment file's, and eight hex digits of its arms, and of their own names.

    So the same sweep started again, or with more seeds, keeps its name, and one with another learning rate
    has another.
    """
    arms = sorted({f"{job.identity.arm} {job.label}" if named else job.identity.arm for job in jobs})
    return f"{experiment.replace('/', '-')}-{digest(arms)[:8]}"
