"""A sweep at home, and on a cluster of three nodes of which one is removed: are the weights the same?

    python tests/three_nodes.py FOLDER [OVERRIDE ...]

Not part of the tests, which have the same with four small jobs: this one takes ten minutes. By default the
sweep of `make quick`. The cluster's nodes are three of Ray's on this machine, with a core each; its store is
an MLflow server. A job's process is killed by SIGKILL, and later a node is removed while it works. Stores and
screens stay in FOLDER. A row of CSV for each run on stdout; exit code 1 where a run differs or is missing, or
fewer than two were begun again.
"""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

from mlflow.entities import Run

from handwriting.config import ROOT
from handwriting.tracking import names

sys.path.insert(0, str(ROOT / "tests" / "launching"))
from far_sweeps import minded

from servers import Server, runs_in, wait_for

PATIENCE = 1200  # s, for a run to end
KILLED, REMOVED = 2, 5  # the runs that have ended before


def runs(uri: str) -> list[Run]:
    """Return the training runs of a store."""
    return [run for run in runs_in(uri) if names.REPORT not in run.data.tags]


def finished(uri: str) -> int:
    return sum(run.info.status == "FINISHED" for run in runs(uri))


def start(uri: str, screen: Path, *words: str) -> "subprocess.Popen[bytes]":
    with screen.open("wb") as shown:
        return subprocess.Popen(
            [sys.executable, "-m", "handwriting.train", "-m", *words],
            cwd=ROOT, env=os.environ | {"MLFLOW_TRACKING_URI": uri}, stdout=shown, stderr=shown,
        )  # fmt: skip


def disturbed(uri: str, screen: Path, *words: str) -> None:
    """Run the sweep on three nodes, kill a process and remove a node; return when it has ended."""
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    for name in ("one", "two", "three"):
        nodes.add_node(num_cpus=1, node_name=name, include_dashboard=False, object_store_memory=80_000_000)
    sweep = start(uri, screen, "hydra/launcher=ray", f"hydra.launcher.address={nodes.address}", *words)

    def ended(number: int) -> bool:
        assert sweep.poll() is None, screen.read_text()
        return finished(uri) >= number

    wait_for(lambda: ended(KILLED), PATIENCE)
    max(minded(), key=lambda process: sum(process.cpu_times()[:2])).kill()  # one that trains already
    wait_for(lambda: ended(REMOVED), PATIENCE)
    nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
    assert sweep.wait() == 0, screen.read_text()
    nodes.shutdown()


def main() -> None:
    """Run both sweeps and print what came of them."""
    os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    folder, *words = sys.argv[1:]
    here = Path(folder).absolute()
    here.mkdir(parents=True)
    words = ["threads=1", *(words or ["experiment=quick"])]
    home = f"sqlite:///{here}/home/mlflow.db"
    began = time.monotonic()
    assert start(home, here / "home.txt", *words).wait() == 0, (here / "home.txt").read_text()
    seconds = [time.monotonic() - began]
    with Server(here) as server:
        disturbed(server.address, here / "away.txt", *words)
        seconds.append(time.monotonic() - began - seconds[0])
        away = {run.data.tags[names.FINGERPRINT]: run for run in runs(server.address)}
    print("home {:.0f} s, away {:.0f} s".format(*seconds), file=sys.stderr)
    table = csv.writer(sys.stdout)
    table.writerow(["seed", "arm", "test_accuracy", "begun_again", "epochs", "at_home", "on_three_nodes"])
    again = sum(int(run.data.tags.get(names.RETRIES, 0)) for run in away.values())
    same = again >= 2 and len(away) == len(runs(home))
    for run in sorted(runs(home), key=lambda run: (run.data.params["seed"], run.data.tags[names.ARM])):
        other = away[run.data.tags[names.FINGERPRINT]]
        both = [each.data.tags.get(names.FINAL_WEIGHTS, "") for each in (run, other)]
        same &= both[0] == both[1] != ""
        table.writerow([
            run.data.params["seed"], run.data.tags[names.ARM], run.data.metrics[names.TEST_ACCURACY],
            other.data.tags.get(names.RETRIES, 0), run.data.params["epochs"], *(each[:16] for each in both),
        ])  # fmt: skip
    sys.exit(not same)


if __name__ == "__main__":
    main()
