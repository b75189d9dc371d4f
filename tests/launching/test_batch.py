"""Sweeps whose jobs are handed to a batch system: submitit's local one, and a small one in Slurm's place."""

import dataclasses
import importlib.util
import os
import re
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import hydra
import psutil
import pytest
from far_sweeps import ENDS, PATIENCE, Sweep, command, doing_jobs, of

from conftest import CONF
from handwriting.config import ROOT
from handwriting.errors import UserError
from handwriting.launching import batch
from handwriting.launching.slurm import LOCAL, SLURM, Asked
from handwriting.launching.worker import Setting
from handwriting.sweeps.composing import Jobs
from handwriting.tracking import names
from servers import TINY, Server, wait_for

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("submitit"), reason="submitit is missing: make submitit"
)

HERE = ("hydra/launcher=submitit", "hydra.launcher.cluster=local", "hydra.launcher.queued=2")
TWO = ("optimizer=rmsprop,adam", "threads=1", *TINY)


def at_work() -> list[psutil.Process]:
    """Return the processes that do jobs, each below one that submitit started."""
    return doing_jobs(lambda parent: "submitit.core._submit" in " ".join(parent.cmdline()))


def test_a_lost_job_is_that_jobs_failure_and_the_same_command_goes_on() -> None:
    """One of two is killed; one is as it is at home, to the bit."""
    alone = command("batch-at-home", "optimizer=adam", "epochs=30", "threads=1", *TINY)
    subprocess.run(alone, cwd=ROOT, check=True, capture_output=True)
    with Sweep("batch", *HERE, *TWO, "seed=0", "epochs=30") as sweep:
        sweep.wait_for_training(2)
        at_work()[0].kill()
        code, said = sweep.end()
    assert code == 1, said
    assert said.count("the job's process was ended by SIGKILL; the same command goes on with it") == 1
    assert sorted(run.info.status for run in of("batch")) == ["FINISHED", "RUNNING"]
    assert "INTERRUPTED" in said
    assert f"[{os.uname().nodename}] " in said
    with Sweep("batch", *HERE, *TWO, "seed=0", "epochs=30") as sweep:
        code, said = sweep.end()
    assert code == 0, said
    (files,) = {Path(files) for files in re.findall(r"; their files: (/.*)", said)}
    assert list(files.glob("told-*")) != list(files.glob("*_submitted.pkl")) == []  # a password may be in one
    runs, (home,) = of("batch"), of("batch-at-home")
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    same = {run.data.tags[names.FINGERPRINT]: run.data.tags[names.FINAL_WEIGHTS] for run in runs}
    assert same[home.data.tags[names.FINGERPRINT]] == home.data.tags[names.FINAL_WEIGHTS]


def test_a_sweep_that_is_told_to_end_ends_its_jobs_in_order() -> None:
    with Sweep("batch-ended", *HERE, *TWO, "epochs=100000") as sweep:
        sweep.wait_for_training(2)
        told = time.monotonic()
        sweep.interrupt()
        code, said = sweep.end()
    assert time.monotonic() - told < ENDS
    assert (code, at_work()) == (1, [])
    assert [run.info.status for run in of("batch-ended")] == ["KILLED", "KILLED"], said


# A Slurm of one machine: what it does with a job is what Slurm does, less the queue.
SLURMS = {
    "sbatch": """
        cat "$1" >> {folder}/scripts
        if [ -e {folder}/closed ]; then echo "sbatch: error: invalid partition specified" >&2; exit 1; fi
        SLURM_JOB_ID=$$ setsid sh "$1" > {folder}/log-$$ 2>&1 &
        echo $! > {folder}/job-$$
        echo "Submitted batch job $$"
        """,
    "srun": """
        while true; do
            case "$1" in --output|--error) shift 2;; --*) shift;; *) exec "$@";; esac
        done
        """,
    "scancel": """
        echo $1 >> {folder}/cancelled
        pkill -TERM -s $(cat {folder}/job-$1)
        """,
    "sacct": """
        if [ -e {folder}/uncounted ]; then echo "Slurm accounting storage is disabled" >&2; exit 1; fi
        echo "JobID|State|NodeList"
        while [ $# -gt 0 ]; do
            if [ "$1" = -j ]; then
                kill -0 $(cat {folder}/job-$2) && state=RUNNING || state=NODE_FAIL
                echo "$2|$(cat {folder}/state || echo $state)|n1"
            fi
            shift
        done
        """,
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in SLURMS.items():
        (tmp_path / name).write_text("#!/bin/sh" + text.replace("{folder}", str(tmp_path)))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def asked(cluster: str = SLURM) -> Asked:
    return Asked(cluster, "short", 90, 2.5, 1, 3, 5, {"account": "lab"})


@pytest.mark.parametrize(
    ("word", "options"),
    [
        ("hydra.launcher.more={account: lab, mail-type: END}", {"account": "lab", "mail-type": "END"}),
        ("hydra.launcher.more=null", {}),
    ],
)
def test_other_options_are_given_in_one_word(word: str, options: dict[str, str]) -> None:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", ["hydra/launcher=submitit", word], return_hydra_config=True)
    assert hydra.utils.instantiate(config.hydra.launcher).asked.more == options


def test_what_slurm_is_asked(slurm: Path) -> None:
    executor = asked().executor(slurm / "jobs")
    executor.update_parameters(cpus_per_task=2, name="handwriting")
    executor.submit(print)
    script = (slurm / "scripts").read_text()
    for option in (
        "partition=short",
        "time=90",
        "cpus-per-task=2",
        "gpus-per-node=1",
        "account=lab",
        "mem=2560MB",
    ):
        assert f"#SBATCH --{option}\n" in script


def test_a_slurm_that_does_not_say_how_jobs_ended_is_said(
    slurm: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked().check("http://127.0.0.1:5000")
    assert caplog.messages == []
    (slurm / "uncounted").touch()
    asked().check("http://127.0.0.1:5000")
    (said,) = caplog.messages
    assert said.startswith(
        "sacct says: Slurm accounting storage is disabled. So nothing says that a job is lost"
    )


def test_a_job_that_gave_its_place_to_another_is_waited_for_only_so_long(
    slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm begins it again where it is set to; else it would be waited for without end."""
    (slurm / "state").write_text("PREEMPTED")
    monkeypatch.setattr(batch, "COMES_BACK", 2.0)
    monkeypatch.setattr(batch, "Errand", lambda *_: partial(time.sleep, 8))
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", ["threads=1"], return_hydra_config=True)
        setting = Setting(None, None, config)  # type: ignore[arg-type]
        jobs = Jobs(lambda *_: config, [["seed=0"]])
        began = time.monotonic()
        (job,) = batch.Batch(setting, jobs, asked(), slurm / "jobs").run()
    assert time.monotonic() - began > batch.COMES_BACK
    with pytest.raises(
        UserError, match=r"gave its place to another \(PREEMPTED\), .*; the same command goes on"
    ):
        _ = job.return_value
    (cancelled,) = (slurm / "cancelled").read_text().split()  # else it might begin beside the next attempt
    assert (slurm / f"job-{cancelled}").exists()
    assert list((slurm / "jobs").glob("*.pkl")) == []


def test_a_sweep_through_slurm_writes_to_the_server_and_a_lost_job_is_that_jobs_failure(
    slurm: Path, tmp_path: Path
) -> None:
    (tmp_path / "server").mkdir()
    on_it = ("hydra/launcher=submitit", "hydra.launcher.partition=short")
    with Server(tmp_path / "server") as server:
        words = (*on_it, *TWO, "seed=0", "epochs=100000")
        with Sweep("through-slurm", *words, MLFLOW_TRACKING_URI=server.address) as sweep:
            wait_for(lambda: sum(names.LOSS in run.data.metrics for run in server.runs()) == 2, PATIENCE)
            first, _ = at_work()
            first.parent().kill()  # type: ignore[union-attr]
            wait_for(lambda: "NODE_FAIL" in sweep.said)
            sweep.process.send_signal(signal.SIGTERM)
            code, said = sweep.end()
        assert (code, at_work()) == (128 + signal.SIGTERM, []), said
        assert re.search(r"job \d+ ended without a result \(NODE_FAIL\), its log: /.*\.err; the same", said)
        assert [run.info.status for run in server.runs()] == ["KILLED", "KILLED"]
        (slurm / "closed").touch()
        with Sweep("through-slurm", *words, MLFLOW_TRACKING_URI=server.address) as sweep:
            code, said = sweep.end()
    assert code == 1
    assert said.endswith(
        "error: Slurm takes no job of this sweep: sbatch: error: invalid partition specified\n"
    )


def test_a_mistake_is_one_line_before_the_jobs_are_planned(
    slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked().check("http://127.0.0.1:5000")
    with pytest.raises(
        UserError, match=r"^the store sqlite.* is a file, and Slurm's nodes are other machines"
    ):
        asked().check("sqlite:////folder/mlflow.db")
    with pytest.raises(
        UserError, match=r"^hydra\.launcher\.cluster must be slurm or local\. Received: slrum$"
    ):
        asked("slrum").check("http://127.0.0.1:5000")
    with pytest.raises(
        UserError, match=r"^hydra\.launcher\.more must not have ntasks-per-node: a run is one"
    ):
        dataclasses.replace(asked(), more={"ntasks-per-node": 2}).check("http://127.0.0.1:5000")
    with pytest.raises(UserError, match=r"^hydra\.launcher\.more must be \{NAME: VALUE\}.* Received: lab$"):
        dataclasses.replace(asked(), more="lab").check("http://127.0.0.1:5000")  # type: ignore[arg-type]
    (slurm / "sbatch").unlink()
    with pytest.raises(
        UserError, match=r"^hydra/launcher=submitit hands jobs to Slurm, and there is no sbatch"
    ):
        asked().check("http://127.0.0.1:5000")
    asked(LOCAL).check("sqlite:////folder/mlflow.db")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs submitit, which is not installed: make submitit$"):
        asked(LOCAL).check("sqlite:////folder/mlflow.db")
