"""The jobs of a sweep as tasks of a Ray cluster: sent to whichever node has room, heard as they go.

`hydra-ray-launcher` 1.2.2 does not serve: it waits for all jobs in one call, so that one that is lost takes
the others' results along, and it begins none again. Ray's own retries are off: a job that is begun again is
counted and said.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus

from handwriting.config import TrackingConfig
from handwriting.launching.cluster import Cluster
from handwriting.launching.node import Begun, Told, do_job, parcel_of
from handwriting.launching.placement import Placement
from handwriting.launching.processes import PATIENCE
from handwriting.launching.progress import Epoch, Progress, called, label_and_seed
from handwriting.launching.screen import screen_of
from handwriting.launching.worker import Lost, Setting, Unfit, failed
from handwriting.sweeps.composing import Jobs
from handwriting.tracking import names, stores_of
from handwriting.tracking.elsewhere import where_kept
from handwriting.tracking.identity import code_of, targets_of

if TYPE_CHECKING:  # a second, and only a sweep on a cluster needs it
    from ray import ObjectRefGenerator

log = logging.getLogger(__name__)

LOOK = 1.0  # s until the screen is drawn again and the nodes are counted, where nothing is told
AHEAD = 2  # jobs that are sent, for each that has room: a node that becomes free waits for nobody


class Dispatch:
    """Some jobs of a sweep, on their way.

    Args:
        setting: what all jobs have in common.
        jobs: all of them.
        cluster: where they run.
        retries: how often a job is begun again whose process or node was lost.
    """

    def __init__(self, setting: Setting, jobs: Jobs, cluster: Cluster, retries: int):
        import ray

        self.jobs, self.cluster, self.retries = jobs, cluster, retries
        self.progress = Progress(len(jobs), cluster.at_once())
        self.screen = screen_of(self.progress, far=True)
        self.parcel = ray.put(parcel_of(setting, self.screen.pipes))
        self.task = ray.remote(do_job)
        self.waiting = deque(range(len(jobs)))
        self.sent: dict[ObjectRefGenerator, int] = {}
        self.lost: Counter[int] = Counter()
        self.where: dict[int, str] = {}  # the names of nodes
        self.first = jobs.config(0)
        self.placement: Placement | None = None  # where the nodes are of several kinds
        self.placed: dict[int, str] = {}  # the nodes of jobs that were sent to one
        self.wary = False  # whether jobs go only to nodes that were asked
        self.looked = 0.0
        self.returned: dict[int, JobReturn] = {}

    def run(self) -> list[JobReturn]:
        """Run all jobs; return what each returned or raised, or why it was given up.

        Raises:
            UserError: no node has room for a job, or one cannot do it: it has other code, for example.
        """
        self.cluster.check(self.parcel, self.first)
        there, kinds = len(self.cluster.kinds), len({*self.cluster.kinds.values()})
        log.info(
            "%d jobs, %d at a time, on %d node%s%s",
            len(self.jobs), self.progress.at_once, there, "s" * (there != 1),
            f" with {kinds} kinds of processor: the jobs of a seed go to one" if kinds > 1 else "",
        )  # fmt: skip
        log.info(where_kept(self.first.tracking))
        with ExitStack() as after:
            after.callback(self.screen.stop)
            after.callback(self.cancel)
            self.screen.start()
            while len(self.returned) < len(self.jobs):
                if time.monotonic() > self.looked + LOOK:  # nodes come and go
                    self.cluster.look_again(self.parcel, self.first)
                    self.room = self.cluster.room()
                    self.progress.at_once = max(1, sum(self.room.values()))
                    self.looked = time.monotonic()
                self._send_some()
                self.screen.draw()
                for generator, index, told in self._heard():
                    self._take(generator, index, told)
            self.screen.draw()
        return [self.returned[index] for index in range(len(self.jobs))]

    def cancel(self) -> None:
        """Cancel the jobs that are on their way, and wait until their runs have ended in order."""
        import ray

        for generator in self.sent:
            ray.cancel(generator)
        deadline = time.monotonic() + PATIENCE
        while self.sent and time.monotonic() < deadline:
            for generator in ray.wait([*self.sent], timeout=LOOK)[0]:
                try:
                    ray.get(next(generator))
                except (StopIteration, ray.exceptions.RayError, Lost):
                    del self.sent[generator]
        for generator in self.sent:
            ray.cancel(generator, force=True)

    def _send_some(self) -> None:
        """Send the jobs that have room: to whichever node, or to those of their seeds' kinds."""
        kinds = self.cluster.kinds
        if len(set(kinds.values())) < 2 and not self.cluster.refused and not self.wary:
            while self.waiting and len(self.sent) < AHEAD * self.progress.at_once:
                self._send(self.waiting.popleft())
            return
        if self.placement is None:
            self.placement = Placement({} if self.cluster.num_gpus else _kinds_before(self.first.tracking))
        taken = Counter(self.placed.values())
        room = {node: most - taken[node] for node, most in self.room.items() if node in kinds and most}
        waiting = ((index, label_and_seed(self.jobs.overrides[index])[1]) for index in self.waiting)
        for index, node in self.placement.place(waiting, room, {node: kinds[node] for node in room}):
            self.waiting.remove(index)
            self.placed[index] = node
            self._send(index, node)

    def _send(self, index: int, node: str | None = None) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        again = [f"tracking.retries={self.lost[index]}"] if self.lost[index] else []
        job = self.jobs.config(index, *again)
        where = NodeAffinitySchedulingStrategy(node, soft=False) if node else None
        task = self.task.options(
            num_returns="streaming", num_cpus=job.threads, num_gpus=self.cluster.num_gpus, max_retries=0,
            scheduling_strategy=where,
        )  # fmt: skip
        self.sent[task.remote(self.parcel, self.jobs.overrides[index], job, code_of(targets_of(job)))] = index

    def _heard(self) -> "Iterator[tuple[ObjectRefGenerator, int, Told | None]]":
        """Wait for a word of a job; yield it, None where the job is to begin again."""
        import ray

        if not self.sent:  # all wait for nodes of their seeds' kinds
            time.sleep(LOOK)
            return
        ready = ray.wait([*self.sent], timeout=LOOK)[0]
        if ready:  # all that have told something by now: to ask is work for each that is on its way
            ready = ray.wait([*self.sent], num_returns=len(self.sent), timeout=0)[0]
        for generator in ready:
            index = self.sent[generator]
            try:
                yield generator, index, ray.get(next(generator))
            except (ray.exceptions.RayError, Lost) as error:
                yield generator, index, self._given_up(index, error)

    def _take(self, generator: "ObjectRefGenerator", index: int, told: "Told | None") -> None:
        """Note what a job has told."""
        if isinstance(told, Begun):
            self.progress.begin(index, self.jobs.overrides[index])
            self.where[index] = self.cluster.name_of(told.node)
        elif isinstance(told, Epoch):
            self.progress.epoch(index, told)
        elif isinstance(told, list):
            self.screen.say([f"[{self.where[index]}] {line}" for line in told])
        else:
            del self.sent[generator]
            self.placed.pop(index, None)
            if told is None:
                self.progress.back(index)
                self.waiting.appendleft(index)
            else:
                self.returned[index] = told
                self.progress.end(index, failed=told.status == JobStatus.FAILED)

    def _given_up(self, index: int, error: Exception) -> JobReturn | None:
        """Return what became of a job that came to no end; None for one to begin again."""
        from ray.exceptions import RayTaskError

        overrides = self.jobs.overrides[index]
        reason = str(getattr(error, "cause", error)).strip().partition("\n")[0]
        if isinstance(error, Unfit) or (isinstance(error, RayTaskError) and not isinstance(error, Lost)):
            if index not in self.placed and not self.cluster.all_fit():
                self.wary = True  # Ray has sent it to a node that has just come, before that was asked
                return None
            if not isinstance(error, Unfit):
                return failed(overrides, reason)
        reason = reason.partition(". ")[0].rstrip(".")  # Ray's goes on with where to look
        self.lost[index] += 1
        if self.lost[index] > self.retries:
            times = f", for the {self.lost[index]}th time" if self.lost[index] > 1 else ""
            return failed(overrides, f"{reason}{times}; the same command goes on with it")
        log.warning(
            "%s: %s. It is begun again (%d of %d)", called(overrides), reason, self.lost[index], self.retries
        )
        return None


def _kinds_before(tracking: TrackingConfig) -> dict[str, str]:
    """Return the kinds of processor that jobs of a sweep were done on before, by their seeds."""
    from handwriting.sweeps.table import runs_of_sweep  # MLflow

    store, _ = stores_of(tracking)
    with store.errors():
        runs = runs_of_sweep(store.open_experiment(tracking.experiment_name), tracking.sweep)
    return {
        run.data.params["seed"]: run.data.tags[names.CPU]
        for run in runs
        if "seed" in run.data.params and names.CPU in run.data.tags
    }
