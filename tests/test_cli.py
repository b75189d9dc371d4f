"""The command as a user runs it, in a process of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import CONF, SMALL, runs_in
from handwriting.config import ROOT, TrackingConfig, compose
from handwriting.tracking import Store

if TYPE_CHECKING:  # mistakes are answered without it
    from mlflow.entities import Run

OPTIMIZERS = ", ".join(sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml")))
# Fails on any import of what takes seconds: a mistake is answered before.
REFUSE = """
import json, os, runpy, sys

def refuse(event, arguments):
    if event == "import" and arguments[0] in ("tensorflow", "keras", "mlflow"):
        raise ImportError(f"{arguments[0]} was imported")

sys.addaudithook(refuse)
"""
WITHOUT_SLOW_IMPORTS = f"""{REFUSE}
runpy.run_module("handwriting.train", run_name="__main__", alter_sys=True)
"""
# The same in many processes, forked when what each of them needs is there: that is most of their time.
FORKED = f"""{REFUSE}
from handwriting import train
from handwriting.config import compose

compose()  # once, so that Hydra's plug-ins and grammar are there
for number, words in enumerate(json.load(sys.stdin)):
    pid = os.fork()
    if pid == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{{sys.argv[1]}}/{{number}}.{{name}}", os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv[1:] = words
        train.main()
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
MISTAKES = {
    # arms
    "arms={a:'batch_size=16'}": r"arms: a sweep compares them\. Add -m$",
    "-m arms={a:'epochs=0'}": r"arms\.a: epochs must be a whole number, at least 1\. Received: 0$",
    "-m arms={a:'epochs=2',b:'epochs=3',a:'epochs=4'}": r"arms: the name a stands twice\. Give each",
    "-m arms={}": r"arms must be names with the overrides of each",
    "-m experiment=adamw_or_sgd arms.z='epochs=2'": r"arms\.z: there is no such arm\. Add it: '\+arms\.z=",
    # tuning
    "tuning=rmsprop_vs_adam": r"tuning: python -m handwriting\.tune tries its settings, with the same words",
    "-m tuning=rmsprop": r"tuning=rmsprop: there is no such file in conf/tuning\. There are: rmsprop_vs_",
    # keys
    "lr=1": r"lr: there is no such key\. Did you mean 'optimizer\.learning_rate'\?",
    "optimizer.lr=1": r"optimizer\.lr: there is no such key\. Did you mean 'optimizer\.learning_rate'\?",
    "model.units=3": r"model\.units: there is no such key here; model=mlp has it$",
    "--config-dir={tmp}/conf optimizer=mine optimizer.use_em=1": r"optimizer\.use_em: .*'optimizer\.use_ema'",
    "optimzer=adam": r"optimzer: there is no such key\. Did you mean 'optimizer'\?",
    "epoch=1": r"epoch: there is no such key\. Did you mean 'epochs'\?",
    "optimizer.learnin_rate=1": r"optimizer\.learnin_rate: .* Did you mean 'optimizer\.learning_rate'\?",
    "optimizer=adam optimizer.beta_3=0": r"optimizer\.beta_3: .* Did you mean 'optimizer\.beta_[12]'\?",
    "model=mlp model.dropot=0": r"model\.dropot: there is no such key\. Did you mean 'model\.dropout'\?",
    "data.pth=x": r"data\.pth: there is no such key\. Did you mean 'data\.path'\?",
    "+typo=1": r"typo: there is no such key\.",
    # members of groups
    "optimizer=adm": rf"optimizer=adm: .* There are: {OPTIMIZERS}\. Did you mean 'adam'\?",
    "model=lenet": r"model=lenet: there is no such file in conf/model\. There are: cnn, deep_cnn, mlp, sm",
    "experiment=rmsprop": r"experiment=rmsprop: there is .* Did you mean 'rmsprop_vs_adam'\?",
    "data=null": r"a group takes the name of a member: GROUP=MEMBER",
    # types and grammar
    "epochs=1.5": r"epochs must be a whole number, at least 1\. Received: 1\.5$",
    "seed=until_clear": r"seed=until_clear: a sweep adds seeds until it is clear\. Add -m$",
    "-m seed=until_clear": r"seed=until_clear compares two arms, and there is one\. Give a key two values",
    "-m seed=until_clar epochs=1,2": r"seed must be a whole number from 0 to \d+, or a sweep's until_clear\.",
    "margin=0": r"margin must be a number > 0, in points of test accuracy\. Received: 0\.0$",
    "precision=bf16": r"precision=bf16: there is no such file in conf/precision\. There are: float32, mi",
    "seed=0-2": r"seed must be a whole .*\. Received: 0-2\. For a sweep: -m 'seed=range\(3\)'$",
    "seed 3": r"seed: not in Hydra's grammar: a setting is KEY=VALUE, without spaces around the =$",
    "~epochs": r"epochs has no value\. Give one: epochs=VALUE",
    "optimizer=adam,sgd": r"optimizer=adam,sgd is several values\. With -m in front they are a sweep: -m",
    # options
    "--lr 0.1": r"--lr: there is no such option\. Settings have no dashes: optimizer\.learning_rate=0\.1\.",
    "-epochs=3": r"-epochs=3: there is no such option\. Settings have no dashes: epochs=3\.",
    "--config-dir": r"argument --config-dir/-cd: expected one argument\. Settings have no dashes",
    "epochs=3 -m seed=0,1": r"seed=0,1: options such as -m stand before all settings: -m \.\.\. seed=0,1$",
    # kinds, as a group's file has them
    "optimizer=sgd optimizer.nesterov=yess": r"optimizer\.nesterov must be true or false, as in conf/o",
    "model=small_cnn model.mean=grey": r"model\.mean must be a number, as in conf/model/small_cnn\.yaml\.",
    "model=mlp model.units=abc": r"model\.units must be a whole number, at least 1\. Received: abc$",
    "start=after_rmsprop start.optimizer.centered=maybe": r"start\.optimizer\.centered must be true or false",
    "--config-dir={tmp}/conf optimizer=mine optimizer.use_ema=1": r"optimizer\.use_ema must be .*mine\.yaml",
    # ranges
    "epochs=0": r"epochs must be a whole number, at least 1\. Received: 0$",
    "batch_size=-3": r"batch_size must be a whole number, at least 1\. Received: -3$",
    "optimizer.learning_rate=-1": r"optimizer\.learning_rate must be a number > 0\. Received: -1$",
    "optimizer.learning_rate=nan": r"optimizer\.learning_rate must be a number > 0\. Received: nan$",
    "data.validation_size=70000": r"data\.validation_size must be at most 59990: .* Received: 70000$",
    # files
    "data.path=/nowhere.npz": r"data\.path must name an \.npz file, a folder .* none at /nowhere\.npz",
    "data.path={tmp}/text": r"{tmp}/text: not a whole \.npz file with x_train, .* Copy it again",
    "data.path={tmp}": r"{tmp}",
    # what a _target_ names
    "model._target_=mymodels.tiny": r"model\._target_: there is no module 'mymodels', neither in the current",
    "optimizer._target_=keras.optimizers.Adma": r"optimizer\._target_: keras\.optimizers has no 'Adma'\. Did",
    "metrics=[{_target_:keras.metrics.F2}]": r"metrics\[0\]\._target_: keras\.metrics has no 'F2'",
    "optimizer._target_=os.system": r"optimizer\._target_: Hydra refuses os\.system: Target 'os\.system' is",
    "model._target_=builtins.eval": r"model\._target_: Hydra refuses builtins\.eval: Target '",
    "callbacks=[{_target_:subprocess.Popen}]": r"callbacks\[0\]\._target_: Hydra refuses subprocess\.Popen: ",
    "model=mlp +model.inner={_target_:os.remove}": r"model\.inner\._target_: Hydra refuses os\.remove: .*OVE",
    # stores
    "tracking.uri=./mlruns hydra.run.dir={tmp}/job": r"tracking\.uri must be .* Received: \./mlruns$",
    "tracking.uri=sqlite:///{tmp}/text": r"the store {tmp}/text cannot be written .* tracking\.uri=sqlite:",
    "tracking.uri=sqlite:///{tmp}": r"the store {tmp} cannot be written .* tracking\.uri=sqlite:",
    "tracking.uri=sqlite:///{tmp}/text/mlflow.db": r".*{tmp}/text.* cannot be ",
    # a sweep: before its first job
    "-m optimizer=adam,adm": r"optimizer=adm: there is no such file .* Did you mean 'adam'\?",
    "-m epochs=1,0": r"epochs must be a whole number, at least 1\. Received: 0$",
    "-m optimizer=adam optimizer.amsgrad=true,1.5": r"optimizer\.amsgrad must be true or false, .*: 1\.5$",
    "-m --config-dir={tmp}/conf experiment=wrong": r"optimizer\.use_ema must be true or false, .*: maybe$",
    "-m model=mlp model.units=5,abc": r"model\.units must be a whole number, at least 1\. Received: abc$",
    "-m optimizer._target_=keras.optimizers.RMSprop,os.system": r"optimizer\._target_: Hydra refuses os",
    "-m data.path=/nowhere.npz seed=0,1": r"data\.path must name an \.npz file",
    "-m tracking.uri=sqlite:///{tmp}/text/mlflow.db seed=0,1": r"the store {tmp}/text/mlflow\.db cannot be",
}
TUNING_MISTAKES = {
    "tuning.seeds=range(4,6)": r"tuning\.seeds and .*: the verdict has seed 4, 5 too, and seeds that",
    "tuning.seeds=19 tuning.verdict_seeds=until_clear": r"tuning\.seeds .* may take seed 19 too, and",
    "tuning.seeds=one": r"tuning\.seeds must be seeds, as range\(100, 102\) or 100,101\. Received: one$",
    "seed=0,1": r"seed=0,1: a tuning has tuning\.seeds, which choose, and tuning\.verdict_seeds$",
    "data.validation_on_test=true": r"data\.validation_on_test=true: .* chosen by the test set\.",
    "model=cnn,mlp": r"model=cnn,mlp has several values, and a tuning has one for all arms, which are",
    "tuning.settings=1": r"tuning\.settings must be a whole number, at least 2\. Received: 1$",
    "+tuning.metric=test_loss": r"tuning\.metric: there is no such key\. .*There are: arms, settings,",
    "optimizer=sgd": r"tuning\.arms\.rmsprop: optimizer=rmsprop is set for all arms too, by optimizer=",
    "optimizer.rho=0.5": r"tuning\.arms\.rmsprop: optimizer\.rho has a range, and optimizer\.rho=0\.5 sets",
    "epochs=0": r"tuning\.arms\.rmsprop: epochs must be a whole number, at least 1\. Received: 0$",
}
MISTAKES |= {f"-m tuning=rmsprop_vs_adam {words}": said for words, said in TUNING_MISTAKES.items()}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def train(*overrides: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "handwriting.train", *overrides)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """Make each mistake in a process of its own."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "text").write_text("neither images nor a database")
    for name, text in {
        "optimizer/mine": "_target_: keras.optimizers.SGD\nlearning_rate: 0.1\nuse_ema: false\n",
        "experiment/wrong": "# @package _global_\ndefaults: [override /optimizer: mine]\n"
        "optimizer: {use_ema: maybe}\n",
    }.items():
        (folder / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "conf" / f"{name}.yaml").write_text(text)

    said = tmp_path_factory.mktemp("said")
    words = [overrides.replace("{tmp}", str(folder)).split() for overrides in MISTAKES]
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(said)], input=json.dumps(words), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    found = {
        overrides: subprocess.CompletedProcess(
            words[number], int(code), *((said / f"{number}.{name}").read_text() for name in ("out", "err"))
        )
        for number, (overrides, code) in enumerate(zip(MISTAKES, done.stdout.split(), strict=True))
    }
    assert (folder / "text").read_text() == "neither images nor a database"
    return found


@pytest.mark.parametrize("overrides", MISTAKES)
def test_a_mistake_is_answered_in_one_line_without_slow_imports(
    answers: dict[str, subprocess.CompletedProcess[str]], overrides: str
) -> None:
    done = answers[overrides]
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert re.match("error: " + MISTAKES[overrides].replace("{tmp}", r"\S+"), said)


def test_an_error_is_all_that_a_mistake_prints() -> None:
    done = train("epochs=0")
    assert (done.stdout, done.stderr) == (
        "",
        "error: epochs must be a whole number, at least 1. Received: 0\n",
    )


def test_tune_without_a_tuning_asks_for_one() -> None:
    done = run("-c", WITHOUT_SLOW_IMPORTS.replace("handwriting.train", "handwriting.tune"))
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "error: tuning has no value. Give one: tuning=NAME, of a file in conf/tuning\n",
    )


@pytest.mark.parametrize(("words", "said"), {
    "promote --anyway": r"argument --anyway: expected one argument\. All options: .*promote --help$",
    "promote --anyway=": r"--anyway needs a reason of 1 to 500 characters: it is stored with the champion$",
    "promote --anyway=smaller --back": r"argument --back: not allowed with argument --anyway\.",
    "predict": r"the following arguments are required: PICTURE\. All options: .*predict --help$",
    "predict {tmp}/8.png": r"\S+/8\.png: there is no such file$",
    "predict {tmp}": r"\S+: no picture is in this folder \(\.png, \.jpg, \.jpeg, \.bmp, \.webp\)$",
    "predict {tmp}/text --show {tmp}/no/seen.png": r"--show: there is no folder \S+/no$",
    "export {tmp}/digits.onnx": r"\S+/digits\.onnx: the name must end in \.tflite$",
    "export {tmp}/no/digits.tflite": r"\S+/no: there is no such folder, or nothing can be written there$",
    "export {tmp}/result.zip": r"\S+/result\.zip: the name must end in \.tflite$",
    "bundle {tmp}/no/result.zip": r"\S+/no: there is no such folder$",
    "bundle {tmp}": r"\S+: what is there is no result of a sweep as it was written, so it stays\. Name an",
    "bundle {tmp}/text": r"\S+/text: what is there is no result of a sweep as it was written, so it stays",
    "bundle --sweep name digits.tflite": r"digits\.tflite: the champion is no sweep's\. Leave out SWEEP: ",
    "bundle --swep name": r"unrecognized arguments: --swep\. All options: .*bundle --help$",
    "demo --port 70000": r"port 70000 cannot be used \(.*\)\. Name another one, or none$",
}.items())  # fmt: skip
def test_a_mistake_with_a_model_is_answered_in_one_line_without_slow_imports(
    tmp_path: Path, words: str, said: str
) -> None:
    (tmp_path / "text").write_text("no picture")
    command, *arguments = words.format(tmp=tmp_path).split()
    done = run("-c", WITHOUT_SLOW_IMPORTS.replace("handwriting.train", f"handwriting.{command}"), *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"error: {said.removesuffix('$')}.*\n", done.stderr)


def test_an_error_shows_no_password(tmp_path: Path) -> None:
    done = train("tracking.uri=postgres://me:geheim@db.example/mlflow", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert "tracking.uri must be" in done.stderr
    assert "geheim" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "report",
        "promote",
        "predict src/handwriting/ui.py",
        "export digits.tflite",
        "demo",
        "ui",
        "orphans",
    ],
)
def test_a_copied_checkout_does_not_run_the_code_of_the_other_on_its_store(
    tmp_path: Path, command: str
) -> None:
    """A .venv that is copied with it has the other's path."""
    shutil.copytree(ROOT / "src" / "handwriting", tmp_path / "src" / "handwriting")
    done = subprocess.run(
        [sys.executable, "-m", *f"handwriting.{command}".split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"error: this folder is a checkout, and the code that runs is that of another one, {ROOT}. "
        "make setup builds this one's own .venv\n"
    )


def test_help_says_of_each_key_of_the_chosen_members_what_it_is_without_slow_imports() -> None:
    words = ("--help", "model=mlp", "tracking.uri=postgresql://me:geheim@db/mlflow")
    done = run("-c", WITHOUT_SLOW_IMPORTS, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"optimizer: {OPTIMIZERS}\n" in done.stdout
    for key in (
        "optimizer.learning_rate=0.001 ",
        "batch_size=32 ",
        "model.units=512 ",
        "data.path=",
        "seed=0 ",
    ):
        assert f"\n{key}" in done.stdout
    assert "passes over the training images: a whole number, at least 1\n" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100
    assert "geheim" not in done.stdout


def test_the_shell_completes_members_and_keys() -> None:
    def complete(line: str) -> set[str]:
        command = [str(Path(sys.executable).with_name("handwriting-train")), "-sc", "query=bash"]
        environment = os.environ | {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert complete("handwriting-train optimizer=") >= {"optimizer=adam", "optimizer=rmsprop"}
    assert complete("handwriting-train optimizer.l") == {"optimizer.learning_rate="}


def test_a_sweep_ends_in_a_table_and_in_flat_runs_that_share_a_tag() -> None:
    mine = (*SMALL, "epochs=1", "tracking.experiment_name=sweep")
    words = ["-m", "optimizer=rmsprop,adam", "hydra.launcher.jobs=1", *mine]
    done = train(*words)
    assert done.returncode == 0, done.stderr
    for optimizer in ("rmsprop", "adam"):
        assert re.search(
            rf"^ *{optimizer} +0 FINISHED( +0\.\d{{4}}){{2}} +\d\.\d{{4}} ", done.stdout, re.MULTILINE
        )
    runs = runs_in(compose(*mine).tracking)
    assert {run.data.params["optimizer"] for run in runs} == {"rmsprop", "adam"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs)
    (sweep,) = {run.data.tags["sweep"] for run in runs}
    assert f"sweep {sweep}: 2 jobs" in done.stdout
    assert done.stdout.endswith("make ui\n")
    assert len({run.data.tags["weights.initial"] for run in runs}) == 1  # paired
    assert len({run.data.tags["weights.final"] for run in runs}) == 2
    command = " ".join(["python -m handwriting.train", *words])
    assert {run.data.tags["command"] for run in runs} == {command}


# The command, which prints what a job returns to Hydra's own launcher, and that to any sweeper.
RETURNED = """
from hydra.core import utils

run_job = utils.run_job

def spy(*arguments, **named):
    job = run_job(*arguments, **named)
    if job.status == utils.JobStatus.COMPLETED:
        print("returned", job.return_value)
    return job

utils.run_job = spy  # before Hydra imports its launchers, which take it from there

from handwriting.train import main

main()
"""
OURS, BASIC = "hydra.launcher.jobs=1", "hydra/launcher=basic"


@cache
def one_fails(launcher: str) -> tuple[subprocess.CompletedProcess[str], "list[Run]"]:
    """Run a sweep of two jobs, the first of which fails; both launchers have one worker."""
    name = re.sub(r"\W", "_", launcher)
    mine = (*SMALL, "model=mlp", "epochs=1", "optimizer=sgd", f"tracking.experiment_name={name}")
    start = ["-c", RETURNED] if launcher == BASIC else ["-m", "handwriting.train"]
    done = run(*start, "-m", "optimizer.learning_rate=1e20,0.01", launcher, *mine)
    return done, runs_in(compose(*mine).tracking)


@pytest.mark.parametrize("launcher", [OURS, BASIC])
def test_a_job_that_fails_leaves_the_others_to_go_on_and_the_sweep_says_so(launcher: str) -> None:
    """Whichever launcher runs the jobs: its worker must go on after the failure."""
    done, runs = one_fails(launcher)
    assert done.returncode == 1
    assert re.search(r"^ *learning_rate 1e\+20 +0 +FAILED ", done.stdout, re.MULTILINE)
    assert re.search(r"^learning_rate 1e\+20 seed 0: .*the loss became nan", done.stdout, re.MULTILINE)
    assert re.search(r"^ *learning_rate 0\.01 +0 FINISHED ", done.stdout, re.MULTILINE)
    said = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(said) == 1
    assert "learning_rate 1e+20: " in said[0]
    assert "Traceback" not in done.stderr
    assert {run.data.params["optimizer.learning_rate"]: run.info.status for run in runs} == {
        "1e+20": "FAILED",
        "0.01": "FINISHED",
    }


def test_a_job_returns_its_validation_accuracy_to_the_sweeper() -> None:
    done, runs = one_fails(BASIC)
    returned = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("returned")]
    assert returned == [run.data.metrics["val_accuracy"] for run in runs if run.info.status == "FINISHED"]


def has_an_epoch(tracking: TrackingConfig) -> bool:
    return any("loss" in run.data.metrics for run in runs_in(tracking))


def test_a_run_ended_by_a_signal_is_killed_in_the_store() -> None:
    codes = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 1}
    mine = (*SMALL, "model=mlp", "model.units=16", "epochs=10000")
    settings = {number: (*mine, f"tracking.experiment_name={number.name}") for number in codes}
    tracking = {number: compose(*words).tracking for number, words in settings.items()}
    for place in tracking.values():
        Store(place.uri).open_experiment(place.experiment_name)
    # A shell lets what it starts with `&` ignore SIGINT, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    processes = {
        number: subprocess.Popen(
            [sys.executable, "-m", "handwriting.train", *words], stderr=subprocess.PIPE, text=True
        )
        for number, words in settings.items()
    }
    signal.signal(signal.SIGINT, before)
    for number, process in processes.items():
        with process:
            while process.poll() is None and not has_an_epoch(tracking[number]):
                time.sleep(0.1)
            assert [run.info.status for run in runs_in(tracking[number])] == ["RUNNING"]
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        assert process.returncode == codes[number]
        assert "Traceback" not in said
        assert [run.info.status for run in runs_in(tracking[number])] == ["KILLED"]
