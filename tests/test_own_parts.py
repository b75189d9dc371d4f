"""A network, an optimizer, a schedule, a metric and a callback of the user's own, from a file elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from conftest import SMALL, runs_in
from handwriting.config import ROOT, compose
from handwriting.sweeps.tuning import space_asked

README = (ROOT / "README.md").read_text()
PARTS = re.search(r"```python\n(# myparts\.py\n.*?)```", README, re.DOTALL)
CONF = re.findall(r"^# (myconf/\S+)\n((?:(?!# |```).+\n)+)", README, re.MULTILINE)
COMMAND = re.search(r"^python -m handwriting\.train (--config-dir (?:.*\\\n)*.*)$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README shows."""
    assert PARTS
    path = tmp_path_factory.mktemp("elsewhere")
    (path / "myparts.py").write_text(PARTS[1])
    assert CONF
    for name, text in CONF:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def overrides() -> list[str]:
    assert COMMAND
    shell = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {COMMAND[1]}"], capture_output=True, text=True, check=True
    )
    limits = [word for word in SMALL if not word.startswith("model=")]
    return [*shell.stdout.splitlines(), *limits, "epochs=2", "tracking.experiment_name=own_parts"]


def test_the_readmes_tuning_is_fair(folder: Path) -> None:
    file = OmegaConf.to_container(OmegaConf.load(folder / "myconf" / "tuning" / "mine.yaml"))
    space, _ = space_asked(file, [])
    assert (space.seeds, space.verdict_seeds) == ((100, 101), (0, 1, 2, 3, 4, 5))
    found = space.settings({arm: {} for arm in space.arms})
    assert {arm: len(own) for arm, own in found.items()} == {"adamw": 8, "sgd": 8}


def test_the_readmes_own_parts_train_and_a_change_of_them_is_seen(folder: Path) -> None:
    installed = str(Path(sys.executable).with_name("handwriting-train"))
    module = (sys.executable, "-m", "handwriting.train")
    done = command(folder, installed, *overrides())
    assert done.returncode == 0, done.stderr
    tracking = compose("tracking.experiment_name=own_parts").tracking
    (run,) = runs_in(tracking)
    assert run.info.status == "FINISHED"
    assert {"val_f1_score", "f1_score", "test_f1_score"} <= set(run.data.metrics)
    assert run.data.params["model"] == "tiny"
    assert run.info.run_name == "careful tiny seed 0"
    assert run.data.params["schedule"] == "halved"
    assert "epoch 2: 0." in done.stdout, "what the callback prints"

    # Not the code: a comment.
    file = folder / "myparts.py"
    file.write_text(file.read_text() + "\n# well said\n")
    done = command(folder, *module, *overrides())
    assert f"is finished already: run {run.info.run_id}" in done.stderr

    file.write_text(file.read_text().replace("filters, 3", "filters, 5"))
    done = command(folder, *module, *overrides())
    assert done.returncode == 0, done.stderr
    assert (
        f"run {run.info.run_id} is not skipped: the code differs in myparts.py: tiny; a new run"
        in done.stderr
    )
    assert len(runs_in(tracking)) == 2


@pytest.mark.parametrize("words", [["-m", "handwriting.train"], []], ids=["module", "script"])
def test_a_file_in_the_current_directory_is_found_by_both_commands(folder: Path, words: list[str]) -> None:
    start = [sys.executable, *words] if words else [str(Path(sys.executable).with_name("handwriting-train"))]
    done = command(folder, *start, "model._target_=myparts.tinny")
    assert done.stderr == (
        "error: model._target_: myparts has no 'tinny'. Did you mean 'tiny'? Received: myparts.tinny\n"
    )


def test_a_module_that_cannot_be_imported_is_said_in_full(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import keras\nimport nobodys_module\n\ndef tiny(input_shape, classes, **more): ...\n"
    )
    done = command(tmp_path, sys.executable, "-m", "handwriting.train", *SMALL, "model._target_=broken.tiny")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: model: broken.tiny cannot be loaded: ModuleNotFoundError: No module named 'nobodys_module' "
        f"({tmp_path}/broken.py, line 2)"
    )
    assert "Traceback" not in done.stderr
