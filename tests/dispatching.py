"""How well a sweep keeps a cluster busy: jobs that sleep, on more logical cores than there are, some killed.

    python tests/dispatching.py --jobs 5000 --cores 64 --killed 0.05

The sweep's own side is the real one (`Dispatch`, the composed configs, the counted retries), and so is Ray;
a job sleeps, tells of ten epochs as training does, and prints a line. Killed is the process of a job that is
at work, by SIGKILL. The ideal is the time that all sleep takes on so many cores, without what was killed. The
workers are started before, by a batch of their own: to start them takes this machine's few cores a minute.
A row of CSV on stdout.
"""

import argparse
import contextlib
import csv
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import hydra
import psutil
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig

from handwriting.config import ROOT
from handwriting.launching import dispatch
from handwriting.launching.cluster import Cluster
from handwriting.launching.node import Begun, Parcel, Told
from handwriting.launching.progress import Epoch
from handwriting.launching.worker import Setting
from handwriting.sweeps.composing import Composer, Jobs
from handwriting.tracking.identity import Code

SECONDS = (10.0, 20.0)  # that a job sleeps, drawn evenly
EPOCHS = 10
NODES = 4


def length(job: DictConfig) -> float:
    """Return the seconds that a job sleeps."""
    return random.Random(int(job.seed) * 2 + (job.tracking.arm or 0)).uniform(*SECONDS)  # noqa: S311


def sleep(parcel: Parcel, overrides: Sequence[str], job: DictConfig, code: Code) -> Iterator[Told]:
    """Stand for `node.do_job`."""
    import ray

    yield Begun(ray.get_runtime_context().get_node_id())
    yield ["starts"]
    for epoch in range(1, EPOCHS + 1):
        time.sleep(length(job) / EPOCHS)
        yield Epoch(epoch, EPOCHS, length(job) / EPOCHS, 0.5)
    done = JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
    done.return_value = 0.5
    yield done


def kill_some(number: int, seconds: float, over: threading.Event) -> None:
    """Kill workers at work, at random moments of so many seconds."""
    rng = random.Random(1)  # noqa: S311
    moments = sorted(rng.uniform(0, seconds) for _ in range(number))
    began = time.monotonic()
    for moment in moments:
        if over.wait(max(0.0, began + moment - time.monotonic())):
            return
        working = []
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.Error):
                if process.info["cmdline"] and process.info["cmdline"][0].startswith("ray::sleep"):
                    working.append(process)
        if working:
            with contextlib.suppress(psutil.Error):
                rng.choice(working).kill()


def jobs_of(number: int, first: int = 0) -> list[list[str]]:
    """Return the overrides of jobs of two arms, as a sweep tells them."""
    return [
        [
            f"optimizer={('rmsprop', 'adam')[job % 2]}", f"seed={first + job // 2}", "threads=1",
            "tracking.sweep='dispatching-0123abcd'", f"tracking.arm={job % 2}",
            f"tracking.label={('rmsprop', 'adam')[job % 2]}",
        ]
        for job in range(number)
    ]  # fmt: skip


def main() -> None:
    """Run the jobs and print what came of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--jobs", type=int, default=5000)
    options.add_argument("--cores", type=int, default=64)
    options.add_argument("--killed", type=float, default=0.05)
    asked = options.parse_args()

    os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    from ray.cluster_utils import Cluster as Nodes

    nodes = Nodes()
    for _ in range(NODES):
        nodes.add_node(
            num_cpus=asked.cores // NODES, include_dashboard=False, object_store_memory=200_000_000
        )
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    with (
        patch.object(dispatch, "do_job", sleep),
        hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"),
    ):
        loader: Any = GlobalHydra.instance().config_loader()
        config = hydra.compose("config", return_hydra_config=True)
        setting = Setting(HydraContext(loader, None), length, config)  # type: ignore[arg-type]
        whole = Composer(loader, config).whole
        cluster = Cluster(nodes.address, threads=1, num_gpus=0)

        def run(jobs: list[list[str]]) -> tuple[float, float, dispatch.Dispatch]:
            made = dispatch.Dispatch(setting, Jobs(whole, jobs), cluster, 3)
            began, before = time.monotonic(), time.process_time()
            returned = made.run()
            assert len(returned) == len(jobs)
            return time.monotonic() - began, time.process_time() - before, made

        run(jobs_of(2 * asked.cores, first=10**6))
        jobs = jobs_of(asked.jobs)
        ideal = sum(length(whole(job, 0)) for job in jobs) / asked.cores
        over = threading.Event()
        killer = threading.Thread(target=kill_some, args=(round(asked.killed * len(jobs)), ideal, over))
        killer.start()
        seconds, computing, done = run(jobs)
        over.set()
        killer.join()
        cluster.close()
    nodes.shutdown()
    failed = sum(each.status == JobStatus.FAILED for each in done.returned.values())
    row = {
        "jobs": len(jobs), "cores": asked.cores, "ideal_seconds": f"{ideal:.1f}",
        "seconds": f"{seconds:.1f}", "share_of_ideal": f"{ideal / seconds:.3f}",
        "begun_again": done.lost.total(), "failed": failed,
        "driver_ms_per_job": f"{1000 * computing / len(jobs):.1f}",
        "driver_mb": f"{psutil.Process().memory_info().rss / 1e6:.0f}",
    }  # fmt: skip
    written = csv.DictWriter(sys.stdout, row)
    written.writeheader()
    written.writerow(row)


if __name__ == "__main__":
    main()
