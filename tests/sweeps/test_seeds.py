"""Seeds until clear: how a sweep is asked for it, in which batches it runs, and a real one that is killed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from conftest import SMALL
from handwriting.errors import UserError
from handwriting.sweeps.seeds import all_seeds, batches, check_arms
from handwriting.tracking import Store, names
from handwriting.tracking.plans import LOOKS, Plan, plans_in

PARSER = OverridesParser.create()
PATIENCE = 200  # s


def asked(*words: str) -> tuple[list[str], bool]:
    overrides, until_clear = all_seeds(PARSER.parse_overrides(list(words)), PARSER)
    return [str(override.input_line) for override in overrides], until_clear


def test_until_clear_stands_where_seeds_stand_and_the_last_word_counts() -> None:
    assert asked("epochs=1", "seed=until_clear") == (["seed=range(20)", "epochs=1"], True)
    assert asked("seed='until_clear'") == (["seed=range(20)"], True)
    assert asked("seed=until_clear", "seed=range(3)")[1] is False, "the command line comes after the file"
    assert asked("seed=range(3)", "seed=until_clear") == (["seed=range(20)"], True)
    assert asked("seed=0,1", "epochs=1") == (["seed=0,1", "epochs=1"], False)
    assert asked("epochs=1") == (["epochs=1"], False)


def test_one_arm_cannot_become_clear() -> None:
    check_arms(2)
    with pytest.raises(UserError, match=r"^seed=until_clear compares two arms, and there is one\. Give a"):
        check_arms(1)


def batched(at_once: int, *answers: int) -> list[list[str]]:
    """Return the jobs of each batch; a job is its seed and its arm."""
    jobs = [f"{seed}{arm}" for seed in range(LOOKS[-1]) for arm in "ab"]
    wanted = iter(answers)
    return [list(batch) for batch in batches(jobs, at_once, lambda: next(wanted))]


def test_a_sweep_runs_up_to_each_look_seed_by_seed_with_both_arms_side_by_side() -> None:
    first, second, third = batched(2, 2, 4, 0)
    assert first == ["0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b", "4a", "4b", "5a", "5b"]
    assert second == ["6a", "6b", "7a", "7b"]
    assert third == [f"{seed}{arm}" for seed in (8, 9, 10, 11) for arm in "ab"]


def test_it_ends_when_the_seeds_do() -> None:
    """As far as the last look; and where failed seeds were made up for, some looks are never due."""
    assert [len(batch) for batch in batched(2, 2, 4, 4, 4, 0)] == [12, 4, 8, 8, 8]
    assert [len(batch) for batch in batched(2, 9, 9, 9)] == [12, 18, 10]


def test_idle_cores_begin_the_seeds_that_follow() -> None:
    assert [len(batch) for batch in batched(8, 0)] == [16]
    assert [len(batch) for batch in batched(64, 0)] == [40], "there are no more"
    # Five at once do 15 jobs, so a pair is half done, and the next batch begins with its other half.
    assert batched(5, 1, 0)[0][12:] == ["6a", "6b", "7a"]
    assert batched(5, 1, 0)[1] == ["7b", "8a", "8b", "9a", "9b"]


# A network that takes every image for one class, which the seed draws, plus a step: so the differences of two
# arms are known beforehand, on any machine.
PARTS = """
import os

import keras
import numpy as np
from keras import layers

def one_class(input_shape, classes, step):
    chosen = np.eye(classes)[(np.random.randint(classes) + step) % classes]
    image = keras.Input(input_shape)
    learned = layers.Dense(classes, kernel_initializer="zeros")(layers.Flatten()(image))
    return keras.Model(image, layers.Softmax()(layers.Rescaling(1e-9, (99 * chosen).tolist())(learned)))

class Tells(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        print(f"process {os.getpid()}", flush=True)
"""
KNOWN = [
    *SMALL, "model=mlp", "model._target_=parts.one_class", "~model.units", "~model.dropout",
    "+model.step=0,5", "epochs=1", "margin=4.5", "callbacks=[{_target_: parts.Tells}]",
    "tracking.experiment_name=known", "hydra.launcher.jobs=2",
]  # fmt: skip


def test_a_sweep_until_clear_that_is_killed_goes_on_with_its_plan_and_tells_the_same(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(PARTS, encoding="utf-8")
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "known.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: until_clear\n",
        encoding="utf-8",
    )
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    words = ["--config-dir", "conf", "experiment=known", *KNOWN, f"tracking.uri={store.uri}"]
    command = [sys.executable, "-m", "handwriting.train", *words]
    with (tmp_path / "screen").open("wb") as screen:
        sweep = subprocess.Popen(command, cwd=tmp_path, stdout=screen, stderr=screen, start_new_session=True)
    said, deadline = "", time.monotonic() + PATIENCE
    try:
        while said.count("jobs, 2 at a time") < 2 or not said.endswith("starts\n"):  # in the second batch
            assert time.monotonic() < deadline, said
            assert sweep.poll() is None, said
            time.sleep(0.05)
            said = (tmp_path / "screen").read_text(encoding="utf-8")
    finally:
        os.killpg(sweep.pid, signal.SIGKILL)
        sweep.wait()
    tag = names.plan_of(re.findall(r"known-\w{8}", " ".join(_sweeps(store)))[0])
    before = _tags(store)[tag]
    assert plans_in(before) == (Plan(tuple(range(20)), LOOKS, 0.045),)
    assert len(set(re.findall(r"process (\d+)", said))) == 2, "the workers of the first batch do the second"

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    looks = re.findall(r"^look at \d+ seeds: .*$", done.stdout, re.MULTILINE)
    assert re.findall(r"^look at \d+ seeds: .*$", said, re.MULTILINE) == looks[:1]
    first, second = looks
    assert first.startswith(
        "look at 6 seeds: step 5 \N{MINUS SIGN} step 0 is -0.667 points, 95 % interval at all looks"
    )
    assert first.endswith("-5.586 to +4.253, p = 0.69: not clear, the next look is at 8 seeds")
    assert second.endswith("-4.145 to +3.145, p = 0.7: no difference larger than 4.5 points, no more seeds")
    assert done.stderr.count("is finished already") >= 12
    assert re.search(r"^sweep known-\w+: 16 jobs in", done.stdout, re.MULTILINE)
    assert done.stdout.count("FINISHED") == 16
    assert "in test_accuracy: no difference larger than 4.5 points (" in done.stdout
    assert _tags(store)[tag] == before, "the plan is the same"


def _tags(store: Store) -> dict[str, str]:
    experiment = store.client.get_experiment_by_name("known")
    assert experiment is not None
    return experiment.tags


def _sweeps(store: Store) -> list[str]:
    experiment = store.client.get_experiment_by_name("known")
    assert experiment is not None
    return [run.data.tags[names.SWEEP] for run in store.client.search_runs([experiment.experiment_id])]
