"""A Ray cluster: joined or made, its nodes, and whether they can do a sweep's jobs as this machine would."""

import importlib.util
import logging
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from handwriting.config import ROOT, cores
from handwriting.errors import UserError, redact
from handwriting.launching.node import describe
from handwriting.tracking import Store
from handwriting.tracking.identity import code_of, targets_of
from handwriting.tracking.signals import ENDINGS

if TYPE_CHECKING:
    from ray import ObjectRef

log = logging.getLogger(__name__)

GPU_KIND = "accelerator_type:"  # begins the resource that Ray names a node's GPUs by
ANSWER = 2.0  # s until an address at which nothing answers is given up; Ray takes half a minute


class Cluster:
    """The nodes of a Ray cluster, or this machine as one of its own.

    Args:
        address: of a cluster, HOST:PORT; None for one that is made here and ends with the sweep.
        threads: cores that each job has.
        num_gpus: GPUs that each job has, or a share of one.

    Raises:
        UserError: there is no cluster.
    """

    def __init__(self, address: str | None, threads: int, num_gpus: float):
        self.threads, self.num_gpus = threads, num_gpus
        self.kinds: dict[str, str] = {}  # of processor, of each node that can do the jobs
        self.refused: set[str] = set()  # nodes that cannot
        self._asked: dict[str, ObjectRef] = {}
        _connect(address)

    def at_once(self) -> int:
        """Return how many jobs have room at a time, at least 1."""
        return max(1, sum(self.room().values()))

    def room(self) -> dict[str, int]:
        """Return for how many jobs at a time each node has room, by its id."""
        return {
            node["NodeID"]: _room(node, self.threads, self.num_gpus)
            for node in self.nodes()
            if node["NodeID"] not in self.refused
        }

    def nodes(self) -> list[dict[str, Any]]:
        """Return what Ray says of each node that is there."""
        import ray

        return [node for node in ray.nodes() if node["Alive"]]

    def all_fit(self) -> bool:
        """Tell whether each node that is there was asked, and can do the jobs."""
        return all(node["NodeID"] in self.kinds for node in self.nodes())

    def name_of(self, node_id: str) -> str:
        """Return what a node is called."""
        return next((_name(node) for node in self.nodes() if node["NodeID"] == node_id), node_id)

    def check(self, parcel: Any, job: DictConfig) -> None:
        """Make sure that some node has room for a job, and that each would do what this machine does.

        Args:
            parcel: of the sweep, in Ray's store.
            job: the config of one of its jobs.

        Raises:
            UserError: no node has room, where Ray would wait for one without end; or one has other code or
                versions, or none, or cannot reach the store.
        """
        nodes = self.nodes()
        most, gpus = (max(node["Resources"].get(what, 0) for node in nodes) for what in ("CPU", "GPU"))
        if most < self.threads:
            has = f"{most:.0f} core{'s' * (most != 1)}"
            raise UserError(f"threads={self.threads}: the largest node has {has}")
        if gpus < self.num_gpus:
            raise UserError(f"hydra.launcher.num_gpus={self.num_gpus}: no node has more than {gpus:.0f}")
        for known in (self.kinds, self.refused, self._asked):
            known.clear()
        self._ask(parcel, job)
        for node in nodes:
            if node["NodeID"] in self._asked:  # it is there still
                self._hear(node, job)

    def look_again(self, parcel: Any, job: DictConfig) -> None:
        """Take in nodes that came since the check: one that cannot do the jobs is named, and gets none."""
        import ray

        self._ask(parcel, job)
        if not self._asked:
            return
        told = ray.wait([*self._asked.values()], num_returns=len(self._asked), timeout=0)[0]
        for node in self.nodes():
            if self._asked.get(node["NodeID"]) in told:
                try:
                    self._hear(node, job)
                except UserError as error:
                    log.warning("%s; it gets no job", error)
                    self.refused.add(node["NodeID"])

    def _ask(self, parcel: Any, job: DictConfig) -> None:
        """Ask each node that has not been asked what it is."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = {node["NodeID"] for node in self.nodes()}
        self._asked = {node: answer for node, answer in self._asked.items() if node in there}
        for node in there - {*self._asked, *self.kinds, *self.refused}:
            self._asked[node] = (
                ray.remote(describe)
                .options(
                    num_cpus=0,
                    max_retries=0,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
                )
                .remote(parcel, job, code_of(targets_of(job)))
            )

    def _hear(self, node: Mapping[str, Any], job: DictConfig) -> None:
        """Take a node's answer; raises as `check`."""
        import ray

        name = _name(node)
        try:
            told = ray.get(self._asked.pop(node["NodeID"]))
        except ray.exceptions.RayError as error:
            reason = str(getattr(error, "cause", None) or error).strip().rpartition("\n")[2]
            raise UserError(
                f"the node {name} cannot run this code: {reason}. Its Ray must be started from the .venv "
                f"of this checkout, in the same place: {ROOT}"
            ) from error
        if told.wrong:
            raise UserError(f"the node {name} has {told.wrong}. Bring {ROOT} there to the same state")
        if told.lacks:
            raise UserError(
                f"the node {name} has no folder {told.lacks}. tracking.checkpoints must be one that all "
                "nodes share, or an address such as s3://BUCKET/FOLDER"
            )
        if told.host != platform.node() and Store(job.tracking.uri).database:
            raise UserError(
                f"the store {redact(job.tracking.uri)} is a file of this machine, and the node {name} is "
                "another one. Name one that all nodes reach: MLFLOW_TRACKING_URI=http://SERVER:5000"
            )
        gpus = [what for what in node["Resources"] if what.startswith(GPU_KIND)] if self.num_gpus else []
        self.kinds[node["NodeID"]] = gpus[0].removeprefix(GPU_KIND) if gpus else told.cpu

    def close(self) -> None:
        """Leave the cluster; one that was made here ends."""
        import ray

        ray.shutdown()


def check_address(address: str | None, threads: int) -> None:
    """Make sure of what can be known before a cluster is joined or made.

    Args:
        address: at which something has to answer; None for this machine, which must have a job's cores.
        threads: cores that each job has.

    Raises:
        UserError: it is not so, or Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("hydra/launcher=ray needs Ray, which is not installed: make ray")
    if not address and threads > cores():
        raise UserError(f"threads={threads}: more than the cores of this machine, the cluster: {cores()}")
    if address:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), ANSWER).close()
        except (OSError, ValueError, OverflowError) as error:
            raise UserError(
                "hydra.launcher.address must be HOST:PORT of a Ray cluster that this machine is part of. At "
                f"{address} nothing answers ({error}). `ray start --head` makes one and says its address; "
                "without an address this machine is the cluster"
            ) from error


def _connect(address: str | None) -> None:
    """Join a cluster, or make one of this machine.

    Raises:
        UserError: there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers
    # Ray would kill a process that is about to end its run in order, when its own process ends.
    os.environ.setdefault("RAY_kill_child_processes_on_worker_exit", "false")
    if address and not os.environ.get("RAY_AUTH_MODE"):
        os.environ["RAY_AUTH_MODE"] = mode_of(address)
    import ray

    before = {ending: signal.getsignal(ending) for ending in ENDINGS}
    try:
        ray.init(
            address or "local", num_cpus=None if address else cores(), include_dashboard=False,
            log_to_driver=False, logging_level=logging.ERROR,
        )  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"hydra.launcher.address={address}: {str(error).partition(chr(10))[0]}") from error
    finally:
        for ending, handler in before.items():  # Ray puts its own in their place
            signal.signal(ending, handler)
    # `log_to_driver` does not hold for this: a paragraph on stdout for each worker that dies. Ours is a line.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None


def mode_of(address: str) -> str:
    """Return Ray's name for whether a cluster asks for a token: it does where its machines had one.

    `ray.init` finds that out for the address `auto` only. With a token where none is asked for it hears
    nothing from its workers; without one where it is, it tries for 20 s. Hence `ray status`, 2 s.

    Raises:
        UserError: this machine has not the token that it asks for.
    """
    for mode in ("disabled", "token"):
        asked = subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address],
            env=os.environ | {"RAY_AUTH_MODE": mode}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "uthentication" not in asked.stderr:  # what else is wrong `ray.init` says
            return mode
    raise UserError(
        f"hydra.launcher.address={address}: the cluster asks for another token than this machine has. "
        "~/.ray/auth_token must be the same on each"
    )


def _room(node: Mapping[str, Any], threads: int, num_gpus: float) -> int:
    """Return for how many jobs at a time a node has room."""
    has = node["Resources"]
    rooms = [has.get("CPU", 0) / threads, *([has.get("GPU", 0) / num_gpus] if num_gpus else [])]
    return int(min(rooms))


def _name(node: Mapping[str, Any]) -> str:
    """Return what a node was named by whoever started it, or its machine's name."""
    given = node["NodeName"]
    return str(node["NodeManagerHostname"] if given == node["NodeManagerAddress"] else given)
