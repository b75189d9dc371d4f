"""A tuning: what it is asked for, and a real one that is killed twice and has an arm that diverges."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hydra.conf import RuntimeConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from mlflow.entities import Run
from omegaconf import DictConfig

from handwriting.config import compose
from handwriting.errors import UserError
from handwriting.space import Space
from handwriting.sweeps.arms import Asked
from handwriting.sweeps.tuning import Tuner, space_asked
from handwriting.tracking import Store, names
from handwriting.tracking.tunings import Tuning, tunings_in

PARSER = OverridesParser.create()
PATIENCE = 200  # s
RATE = {"optimizer.learning_rate": "log(1e-4, 1e-2)"}
FILE = {
    "arms": {"a": RATE, "b": RATE},
    "settings": 3,
    "seeds": "range(100, 102)",
    "verdict_seeds": "range(6)",
}


def asked(*words: str, **file: object) -> tuple[Space, list[str]]:
    return space_asked(FILE | file, PARSER.parse_overrides(list(words)))


def test_a_tuning_is_asked_for_by_its_file_and_the_command_line_counts() -> None:
    space, shared = asked("tuning=mine", "model=mlp", "~optimizer.rho", "arms=null", "threads=1")
    assert (space.seeds, space.verdict_seeds) == ((100, 101), (0, 1, 2, 3, 4, 5))
    assert shared == ["model=mlp", "~optimizer.rho", "threads=1"], "what all arms have in common"
    for words in (
        ["tuning.seeds=7,8"],
        ["tuning.seeds=[7,8]"],
        ["tuning.seeds=9", "tuning.seeds=range(7,9)"],
    ):
        assert asked(*words)[0].seeds == (7, 8)
    assert asked("tuning.verdict_seeds=3")[0].verdict_seeds == (3,)
    assert asked("tuning.verdict_seeds=until_clear")[0].verdict_seeds is None
    assert asked(verdict_seeds="until_clear")[0].verdict_seeds is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=3"], r"^seed=3: a tuning has tuning\.seeds, which choose, and tuning\.verdict_seeds"),
        (["model=mlp,cnn"], r"^model=mlp,cnn has several values, and a tuning has one for all arms"),
        (["tuning.verdict_seeds=range(99,101)"], r"^tuning\.seeds and .*: the verdict has seed 100 too"),
    ],
)
def test_what_is_no_setting_of_all_arms_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        asked(*words)


# The first setting of `wild`, its default, is the only one that does not diverge.
TUNING = """
arms:
  calm:
    optimizer: adam
    optimizer.learning_rate: log(1e-3, 1e-2)
  wild:
    optimizer: sgd
    optimizer.learning_rate: log(1e20, 1e30)
settings: 3
seeds: 7
verdict_seeds: 0,1
"""
WORDS = [
    "--config-dir", "conf", "tuning=mine", "model=mlp", "model.units=16", "data=digits8x8", "training=short",
    "epochs=2", "hydra.launcher.jobs=1", "tracking.experiment_name=mine",
]  # fmt: skip


def test_a_tuning_that_is_killed_twice_goes_on_and_judges_what_it_chose(tmp_path: Path) -> None:
    (tmp_path / "conf" / "tuning").mkdir(parents=True)
    (tmp_path / "conf" / "tuning" / "mine.yaml").write_text(TUNING, encoding="utf-8")
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    command = [sys.executable, "-m", "handwriting.tune", *WORDS, f"tracking.uri={store.uri}"]

    killed_after(command, tmp_path, "(?s)(starts\n.*){3}", "in the middle of tuning")
    before = tuning_in(store)
    assert (before.chosen, before.settings, before.seeds, before.verdict_seeds) == ({}, 3, (7,), (0, 1))

    said = killed_after(command, tmp_path, "4 jobs, 1 at a time", "between tuning and verdict")
    chose = re.search(r"the best settings, by val_accuracy: calm: (.*); wild: its default\n", said)
    assert chose, said
    chosen = tuning_in(store)
    assert chosen.chosen["wild"] == 0
    assert chosen.jobs == before.jobs

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{chosen.sweep} has chosen already\n" in done.stderr
    assert f"the best settings, by val_accuracy: calm: {chose[1]}; wild: its default\n" in done.stderr
    assert not re.search(r"(calm|wild) (default|[12]) seed", done.stderr), "nothing is tried again"
    assert tuning_in(store) == chosen

    tried = runs_of(store, "mine-tuning")
    status = {(run.data.tags[names.TUNING], run.info.run_name): run.info.status for run in tried}
    assert len(tried) == len(status) == 6, "no setting twice"
    assert status == {
        **{("calm", f"calm {name} seed 7"): "FINISHED" for name in ("default", 1, 2)},
        ("wild", "wild default seed 7"): "FINISHED",
        **{("wild", f"wild {name} seed 7"): "FAILED" for name in (1, 2)},
    }
    for run in tried:
        assert not [name for name in run.data.metrics if name.startswith(names.TEST)], (
            "the test set is not read"
        )
        assert names.MISTAKES not in [file.path for file in store.client.list_artifacts(run.info.run_id)]
    judged = runs_of(store, "mine")
    assert {run.info.run_name for run in judged} == {
        f"{arm} seed {s}" for arm in ("calm", "wild") for s in (0, 1)
    }
    assert all(
        names.TEST_ACCURACY in run.data.metrics and names.TUNING not in run.data.tags for run in judged
    )
    rates = {run.data.params["optimizer"]: run.data.params["optimizer.learning_rate"] for run in judged}
    assert rates["sgd"] == "0.01"
    assert chose[1] in (f"optimizer.learning_rate={rates['adam']}", "its default")

    assert "Each arm has the best of 3 settings, chosen on validation with seed 7." in done.stdout
    assert re.search(r"wild 1 +0\.000 +1 of 1", done.stdout), "counts as the worst"
    (page,) = re.findall(r"^page: (.*)$", done.stdout, re.MULTILINE)
    text = Path(page).read_text(encoding="utf-8")
    for heading in ("every setting that was tried", "the expected best of so many settings"):
        assert f"Tuning: {heading}" in text
    tuning = store.client.get_experiment_by_name("mine-tuning")
    assert tuning
    assert tuning.tags[names.DESCRIPTION].startswith("These runs chose the settings of the experiment mine.")
    report = [sys.executable, "-m", "handwriting.report", "--uri", store.uri, "--sweep", chosen.sweep]
    refused = subprocess.run(report, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "error: these runs chose the settings of a tuning, and enter no verdict."
    )


def killed_after(command: list[str], folder: Path, words: str, when: str) -> str:
    """Start a tuning, kill all of it once it has said these words, and return all that it said."""
    screen = folder / "screen"
    with screen.open("wb") as output:
        sweep = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True)
    said, deadline = "", time.monotonic() + PATIENCE
    try:
        while not re.search(words, said):
            assert time.monotonic() < deadline, said
            assert sweep.poll() is None, said
            time.sleep(0.05)
            said = screen.read_text(encoding="utf-8")
    finally:
        os.killpg(sweep.pid, signal.SIGKILL)
        sweep.wait()
    assert "FINISHED" not in said or when.startswith("between")
    return said


def tuning_in(store: Store) -> Tuning:
    experiment = store.client.get_experiment_by_name("mine")
    assert experiment is not None
    (found,) = tunings_in(experiment.tags)
    return found


def runs_of(store: Store, experiment: str) -> list[Run]:
    found: Any = store.client.get_experiment_by_name(experiment)
    return list(store.client.search_runs([found.experiment_id]))


def test_arms_whose_best_settings_are_the_same_are_not_judged() -> None:
    def composed(words: list[str]) -> tuple[DictConfig, RuntimeConf]:
        return compose(*words), RuntimeConf()

    nothing: Any = None
    tuner = Tuner("mine", "mine", asked()[0], [], composed, PARSER, nothing, at_once=lambda: 1)
    own = Asked(["seed=0"], "a", ["optimizer=adam"], "tuning.arms.a")
    tuner.check_differ([own, Asked(["seed=0"], "b", ["optimizer=sgd"], "tuning.arms.b")])
    same = Asked(["seed=0"], "b", ["optimizer=adam", "optimizer.learning_rate=1e-3"], "tuning.arms.b")
    with pytest.raises(UserError, match=r"^tuning\.arms\.b: its best setting is that of a: there is nothing"):
        tuner.check_differ([own, same])
