"""Sweeps on a Ray cluster of three nodes on one machine: what is killed, what is removed, what is refused."""

import dataclasses
import importlib.metadata
import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from far_sweeps import ENDS, PATIENCE, Sweep, command, minded, of

from handwriting.config import ROOT, compose, cores
from handwriting.errors import UserError
from handwriting.launching import cluster as tested
from handwriting.launching.node import Parcel
from handwriting.tracking import names
from servers import TINY, free_port, wait_for

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is missing: make ray")

TWO = ("optimizer=rmsprop,adam", *TINY)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Cluster"]:
    """Three nodes with a core each, which ask for a token."""
    token = tmp_path_factory.mktemp("ray") / "auth_token"
    token.write_text(secrets.token_hex(32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        patch.setenv("RAY_AUTH_MODE", "token")  # read once, when Ray is imported
        from ray.cluster_utils import Cluster

        made = Cluster()
        for name in ("one", "two", "three"):
            add(made, name, wait=name != "two")
        yield made
        made.shutdown()


def add(nodes: "Cluster", name: str, wait: bool = True, **more: str) -> Any:
    """Add a node whose environment names no store, with more variables in it."""
    # Ray's workers come after all else on a machine, and tests beside these ones would leave them nothing.
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI")
        for variable, value in {**own, **more}.items():
            patch.setenv(variable, value)
        node = nodes.add_node(
            wait=False, num_cpus=1, node_name=name, include_dashboard=False, object_store_memory=80_000_000
        )
    if wait:
        nodes.wait_for_nodes()
    return node


def away(nodes: "Cluster", experiment: str, *words: str, **more: str) -> Sweep:
    """Start a sweep on the cluster, with more variables in its environment; it has to find the token."""
    on_it = ("hydra/launcher=ray", f"hydra.launcher.address={nodes.address}")
    return Sweep(experiment, *on_it, *words, RAY_AUTH_MODE="", **more)


def test_what_is_killed_and_removed_is_begun_again_to_the_same_bits(nodes: "Cluster") -> None:
    """The sweep's own process, a job's, a Ray worker, a node; and only the sweep's environment has EPOCHS."""
    alone = command("at-home", "optimizer=adam", "epochs=30", "threads=1", *TINY)
    subprocess.run(alone, cwd=ROOT, check=True, capture_output=True)
    words = (*TWO, "seed=0,1", 'epochs="${oc.decode:${oc.env:EPOCHS}}"')
    with away(nodes, "away", *words, EPOCHS="30") as sweep:
        sweep.wait_for_training(2)
        sweep.process.kill()
    wait_for(lambda: not minded(), ENDS)
    assert {run.info.status for run in of("away")} <= {"RUNNING", "KILLED", "FINISHED"}
    with away(nodes, "away", *words, EPOCHS="30") as sweep:
        wait_for(lambda: len(minded()) >= 2, PATIENCE)
        sweep.wait_for_training(2)
        first, second, *_ = minded()
        first.kill()
        second.parent().kill()  # type: ignore[union-attr]
        sweep.wait_for_training(1)
        nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
        code, said = sweep.end()
    assert code == 0, said
    runs, (home,) = of("away"), of("at-home")
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    same = {run.data.tags[names.FINGERPRINT]: run.data.tags[names.FINAL_WEIGHTS] for run in runs}
    assert same[home.data.tags[names.FINGERPRINT]] == home.data.tags[names.FINAL_WEIGHTS]
    again = [int(run.data.tags.get(names.RETRIES, 0)) for run in runs]
    assert 2 <= sum(again) <= 3
    assert said.count("It is begun again (") == sum(again)
    assert "the job's process was ended by SIGKILL. It is begun again (1 of 3)" in said
    assert ".. " not in said
    assert "[one] " in said
    begins = "python -m handwriting.train -m hydra/launcher=ray "
    assert all(run.data.tags[names.COMMAND].startswith(begins) for run in runs)


def test_a_sweep_that_is_told_to_end_ends_its_runs_in_order(nodes: "Cluster") -> None:
    with away(nodes, "ended", *TWO, "epochs=100000") as sweep:
        sweep.wait_for_training(2)
        told = time.monotonic()
        sweep.interrupt()
        code, said = sweep.end()
    assert time.monotonic() - told < ENDS
    assert code == 1
    assert [run.info.status for run in of("ended")] == ["KILLED", "KILLED"], said


OTHER_PROCESSOR = """
from pathlib import Path
read = Path.read_text
Path.read_text = lambda path, *words, **more: (
    "model name: Another" if str(path) == "/proc/cpuinfo" else read(path, *words, **more)
)
"""


def test_both_arms_of_a_seed_are_computed_by_one_kind_of_processor(nodes: "Cluster", tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(OTHER_PROCESSOR)
    other = add(nodes, "other", PYTHONPATH=str(tmp_path))
    jobs = len(nodes.list_all_nodes())
    try:
        with away(nodes, "kinds", *TWO, "epochs=2", f"seed=range({jobs})") as sweep:
            code, said = sweep.end()
    finally:
        nodes.remove_node(other)
    assert code == 0, said
    assert f"on {jobs} nodes with 2 kinds of processor: the jobs of a seed go to one" in said
    assert "checkpoints: on each machine's own disk" in said
    kinds: dict[str, list[str]] = {}
    for run in of("kinds"):
        kinds.setdefault(run.data.params["seed"], []).append(run.data.tags[names.CPU])
    assert [len(each) for each in kinds.values()] == [2] * jobs
    assert [first for first, second in kinds.values() if first != second] == []
    assert "Another" in {each[0] for each in kinds.values()}, "no node was left idle"


def other_code(folder: Path) -> str:
    """Copy the code, change it, and return where it is."""
    shutil.copytree(ROOT / "src", folder / "src")
    models = folder / "src/handwriting/training/models.py"
    models.write_text(f"{models.read_text()}\n\nDEEPER = True\n")
    return str(folder / "src")


def no_code(folder: Path) -> str:
    """Return where there is a package of ours that cannot be imported."""
    package = folder / "broken" / "handwriting"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise ImportError("there is a part missing")')
    return str(package.parent)


def test_a_node_that_comes_late_gets_jobs_and_one_that_cannot_do_them_harms_none(
    nodes: "Cluster", tmp_path: Path
) -> None:
    added = []
    try:
        with away(nodes, "late", *TWO, "epochs=20", "seed=range(4)") as sweep:
            sweep.wait_for_training(1)
            added.append(add(nodes, "old", PYTHONPATH=other_code(tmp_path)))
            added.append(add(nodes, "broken", PYTHONPATH=no_code(tmp_path)))
            added.append(add(nodes, "late"))
            code, said = sweep.end()
    finally:
        for node in added:
            nodes.remove_node(node)
    assert code == 0, said
    assert [run.info.status for run in of("late")] == ["FINISHED"] * 8
    assert "the node old has other code: training/models.py: DEEPER. " in said
    assert "the node broken cannot run this code: ImportError: there is a part missing. Its Ray" in said
    assert "[late] " in said
    assert "[old] " not in said
    assert "begun again" not in said


@pytest.fixture
def joined(nodes: "Cluster") -> Iterator[tested.Cluster]:
    """The cluster as the sweep's own process has it."""
    made = tested.Cluster(nodes.address, threads=1, num_gpus=0)
    yield made
    made.close()


def test_what_a_node_lacks_is_said_with_its_name(
    nodes: "Cluster", joined: tested.Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = compose("threads=1")
    versions = {name: importlib.metadata.version(name) for name in names.LIBRARIES}
    parcel = Parcel(b"", {}, versions, ("train.py",), "handwriting.train", str(ROOT), bars=False)
    joined.check(parcel, cfg)
    other = add(nodes, "old", PYTHONPATH=other_code(tmp_path))
    try:
        wrong = rf"the node old has other code: training/models\.py: DEEPER\. Bring {ROOT} there to the same"
        with pytest.raises(UserError, match=wrong):
            joined.check(parcel, cfg)
        joined.refused.clear()  # as where it comes after the check
        until = time.monotonic() + ENDS
        while not joined.refused and time.monotonic() < until:
            joined.look_again(parcel, cfg)
        assert re.search(f"{wrong} state; it gets no job", caplog.text)
        assert len(joined.room()) == len(joined.nodes()) - 1
    finally:
        nodes.remove_node(other)
    older = dataclasses.replace(parcel, versions={**versions, "keras": "3.0.0"})
    with pytest.raises(UserError, match=rf"the node \w+ has keras {versions['keras']}, not 3\.0\.0\. Bring"):
        joined.check(older, cfg)
    joined.threads = 2
    with pytest.raises(UserError, match="threads=2: the largest node has 1 core"):
        joined.check(parcel, cfg)
    joined.threads, joined.num_gpus = 1, 0.5
    with pytest.raises(UserError, match=r"hydra\.launcher\.num_gpus=0\.5: no node has more than 0"):
        joined.check(parcel, cfg)


def test_whether_a_cluster_asks_for_a_token_is_found_out(
    nodes: "Cluster", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tested.mode_of(nodes.address) == "token"
    other = rf"address={nodes.address}: the cluster asks for another token than this machine has\. ~/\.ray"
    monkeypatch.setenv("RAY_AUTH_TOKEN", 64 * "a")
    with pytest.raises(UserError, match=other):
        tested.mode_of(nodes.address)
    for name, value in {"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": "", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=other):
        tested.mode_of(nodes.address)


def test_a_cluster_that_asks_for_no_token_is_joined_without_it(nodes: "Cluster") -> None:
    """As where the token was made after it."""
    port, start = free_port(), [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    own = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    options = [f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]
    head = subprocess.Popen([*start, *options], env=os.environ | own, stdout=subprocess.DEVNULL)
    address = f"{nodes.address.partition(':')[0]}:{port}"
    status = [sys.executable, "-m", "ray.scripts.scripts", "status", f"--address={address}"]
    try:
        wait_for(lambda: subprocess.run(status, capture_output=True, check=False).returncode == 0, ENDS)
        assert tested.mode_of(address) == "disabled"
    finally:
        head.terminate()
        head.wait()


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1", "127.0.0.1:x", "127.0.0.1:99999"])
def test_an_address_without_a_cluster_is_said_at_once(address: str) -> None:
    started = time.monotonic()
    with pytest.raises(
        UserError, match=r"hydra\.launcher\.address must be HOST:PORT of a Ray cluster"
    ) as caught:
        tested.check_address(address, 1)
    assert time.monotonic() - started < tested.ANSWER + 1
    assert address in str(caught.value)


def test_a_job_that_is_too_large_for_this_machine_is_said_before_a_cluster_is_made() -> None:
    tested.check_address(None, cores())
    with pytest.raises(UserError, match=rf"^threads={cores() + 1}: more than the cores .*: {cores()}$"):
        tested.check_address(None, cores() + 1)


def test_ray_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="hydra/launcher=ray needs Ray, which is not installed: make ray"):
        tested.check_address(None, 1)
