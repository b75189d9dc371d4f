"""A sweep as a whole: its name, and its jobs checked before the first one starts."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig

from handwriting.config import check_config, fingerprint, identity
from handwriting.data import read_checked
from handwriting.store import check_store

_SWEEP = "HANDWRITING_SWEEP"  # in the environment, so that worker processes have it too


class JobsFailed(Exception):
    """Some jobs of a sweep failed; each has said why."""


def current() -> str:
    """Return the name of the sweep that this process works for; empty outside of one."""
    return os.environ.get(_SWEEP, "")


@contextmanager
def named(name: str) -> Iterator[None]:
    """Let all runs that start meanwhile, in this process or its children, belong to a sweep."""
    os.environ[_SWEEP] = name
    try:
        yield
    finally:
        del os.environ[_SWEEP]


def name_of(experiment: str, identities: Sequence[Mapping[str, Any]]) -> str:
    """Return a sweep's name: the experiment file's, and eight hex digits of its arms.

    An arm is all that determines a result except the seed. So the same sweep started again, or with more
    seeds, keeps its name, and one with another learning rate has another.
    """
    arms = {fingerprint({k: v for k, v in one.items() if k != "seed"}) for one in identities}
    return f"{experiment.replace('/', '-')}-{fingerprint(sorted(arms))[:8]}"


def check_jobs(configs: Sequence[DictConfig]) -> list[dict[str, Any]]:
    """Check every job of a sweep, and return what determines the result of each.

    Raises:
        UserError: the first mistake found.
    """
    digests: dict[str, str] = {}  # each data set is read once
    identities = []
    for cfg in configs:
        check_config(cfg)
        asked = repr(cfg.data)
        if asked not in digests:
            digests[asked] = read_checked(cfg.data)[1]
        identities.append(identity(cfg, digests[asked]))
    for uri in {cfg.tracking.uri for cfg in configs}:
        check_store(uri)
    return identities
