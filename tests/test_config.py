import functools
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from conftest import CONF, jobs_of
from handwriting.config import check_config, check_value, compose, flatten, keys_help
from handwriting.errors import UserError
from handwriting.keys import KEYS
from handwriting.sweeps.tuning import space_asked

# A new file is tested the day it is added.
FILES = [path.relative_to(CONF) for path in sorted(CONF.rglob("*/*.yaml"))]
EXPERIMENTS = [file for file in FILES if file.parts[0] == "experiment"]
TUNINGS = [file for file in FILES if file.parts[0] == "tuning"]

# For each range, values just outside it and values at its edge.
OUTSIDE_AND_INSIDE: dict[str, tuple[list[object], list[object]]] = {
    "batch_size": ([0, -3], [1]),
    "epochs": ([0, -1], [1]),
    "test_shift": ([-1, 4], [0, 3]),
    "seed": ([-1, 2**32, 1.5, "until_clear", "one", None], [0, 2**32 - 1]),
    "threads": ([0, -1], [1, None]),
    "data.validation_size": ([1, 0, -10], [2]),
    "data.limit_train": ([1, 0], [2, None]),
    "data.limit_test": ([0, -1], [1, None]),
    "optimizer.learning_rate": ([0, -1, math.nan, math.inf, "fast", None, True], [1e-9]),
    "optimizer.momentum": ([-0.1, 1], [0, 0.999]),
    "optimizer.rho": ([-0.1, 1], [0, 0.999]),
    "optimizer.beta_1": ([-0.1, 1], [0, 0.999]),
    "optimizer.beta_2": ([-0.1, 1], [0, 0.999]),
    "optimizer.epsilon": ([0, -1e-7], [1e-12]),
    "optimizer.weight_decay": ([-0.1, math.nan], [0, None]),
    "model.dropout": ([-0.1, 1, "half"], [0, 0.9]),
    "model.units": ([0, -1, 3.5], [1]),
    "model.deviation": ([0, -0.1, math.inf], [0.001]),
    "margin": ([0.0, -0.1, math.inf], [0.001, 5]),
    "label_smoothing": ([-0.1, 1.0], [0, 0.999]),
    "schedule.warmup": ([0, 1, None], [0.001, 0.999]),
    "augmentation.rotation": ([-0.1, 3.2], [0, 3.14]),
    "augmentation.scale": ([-0.1, 1.0], [0, 0.999]),
    "augmentation.shear": ([-0.1, math.inf], [0]),
    "augmentation.shift": ([-0.1, math.inf], [0, 40]),
}


@pytest.fixture
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be one: precision=mixed_float16 is refused elsewhere."""
    monkeypatch.setattr("handwriting.precision.has_gpu", lambda: True)


def test_every_group_has_files() -> None:
    assert {file.parts[0] for file in FILES} >= {
        "optimizer", "schedule", "model", "data", "augmentation", "training", "precision", "tracking",
        "tuning", "experiment",
    }  # fmt: skip


@pytest.mark.usefixtures("_gpu")
@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_composes_with_the_defaults(file: Path) -> None:
    check_config(compose(f"{file.parent}={file.stem}"))


@pytest.mark.usefixtures("_gpu")
@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_begins_with_a_command_that_composes_and_uses_it(file: Path) -> None:
    found = re.search(r"^# (python -m handwriting\.t(?:rain|une).*)", (CONF / file).read_text(), re.MULTILINE)
    assert found
    for job in jobs_of(found[1]):
        assert f"{file.parent}={file.stem}" in job
        check_config(compose(*job))


@pytest.mark.parametrize("file", EXPERIMENTS, ids=str)
def test_every_job_of_an_experiment_composes(file: Path) -> None:
    params = OmegaConf.select(OmegaConf.load(CONF / file), "hydra.sweeper.params") or {}
    swept = " ".join(f"'{key}={value}'" for key, value in params.items())
    arms = OmegaConf.select(OmegaConf.load(CONF / file), "arms") or {}
    for job in jobs_of(f"python -m handwriting.train experiment={file.stem} {swept}"):
        for own in arms.values() or [""]:
            check_config(compose(*job, *shlex.split(own)))


@pytest.mark.parametrize("file", TUNINGS, ids=str)
def test_every_setting_of_a_tuning_composes(file: Path) -> None:
    space, _ = space_asked(OmegaConf.to_container(OmegaConf.load(CONF / file)), [])
    settings = space.settings({arm: flatten(compose(*own.fixed)) for arm, own in space.arms.items()})
    for arm, own in settings.items():
        assert len(own) == space.number
        for words in own:
            check_config(compose(*space.arms[arm].fixed, *words))


def test_the_experiment_compares_the_optimizers_as_the_notebook_trained() -> None:
    cfg = compose("experiment=rmsprop_vs_adam")
    assert (cfg.model._target_, cfg.batch_size, cfg.epochs) == (
        "handwriting.training.models.build_cnn",
        32,
        10,
    )
    assert compose("optimizer=rmsprop").optimizer.learning_rate == 0.001
    assert compose("optimizer=adam").optimizer.learning_rate == 0.001


@functools.cache
def with_keys_of(*members: str) -> DictConfig:
    return compose(*members)


def default_with(key: str, value: object) -> DictConfig:
    optimizer = "adam" if "beta" in key else "rmsprop"
    model = "small_cnn" if key == "model.deviation" else "mlp"
    cfg = with_keys_of(f"model={model}", "schedule=one_cycle", f"optimizer={optimizer}").copy()
    OmegaConf.update(cfg, key, value)
    return cfg


def test_every_range_is_tested() -> None:
    of_hydra = {f"hydra.launcher.{name}" for name in OF_LAUNCHERS}  # in no job's config
    assert {*OUTSIDE_AND_INSIDE, *of_hydra} == {name for name, key in KEYS.items() if key.holds is not None}


@pytest.mark.parametrize("launcher", ["processes", "ray", "submitit"])
def test_help_tells_of_the_settings_of_each_launcher(launcher: str) -> None:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        root = hydra.compose("config", [f"hydra/launcher={launcher}"], return_hydra_config=True)
    said = [line for line in keys_help(root).splitlines() if line.startswith("hydra.launcher.")]
    assert len(said) == len(root.hydra.launcher) - 1, "_target_ is none"
    assert max(map(len, said)) <= 100


OF_LAUNCHERS: dict[str, tuple[list[object], list[object]]] = {
    "jobs": ([1, None], [0, "two"]),
    "num_gpus": ([0, 0.5, 2], [-1, None]),
    "retries": ([0, 3], [-1, None]),
    "timeout_min": ([1, 1440], [0, None]),
    "mem_gb": ([0.5, 4], [0, None]),
    "queued": ([1, 100], [0, None]),
}


@pytest.mark.parametrize("name", OF_LAUNCHERS)
def test_the_settings_of_launchers_have_ranges(name: str) -> None:
    """As many jobs as fit is null."""
    good, bad = OF_LAUNCHERS[name]
    for value in good:
        check_value(f"hydra.launcher.{name}", value)
    for value in bad:
        with pytest.raises(UserError, match=rf"^hydra\.launcher\.{name} must be .* Received: {value}"):
            check_value(f"hydra.launcher.{name}", value)


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, (bad, _) in OUTSIDE_AND_INSIDE.items() for value in bad]
)
def test_a_value_out_of_range_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(
        UserError, match=rf"^{re.escape(key)} must be .+\. Received: {re.escape(str(value))}$"
    ):
        check_config(default_with(key, value))


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, (_, good) in OUTSIDE_AND_INSIDE.items() for value in good]
)
def test_a_value_at_the_edge_of_its_range_is_accepted(key: str, value: object) -> None:
    check_config(default_with(key, value))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+typo=1", r"^typo: there is no such key"),
        ("+lr=1", r"^lr: there is no such key\. Did you mean 'optimizer\.learning_rate'\?"),
        ("+epoch=1", r"^epoch: there is no such key\. Did you mean 'epochs'\?"),
        ("+data.limit=1", r"^data\.limit: there is no such key\. Did you mean 'data\.limit_t"),
        ("+tracking.url=x", r"^tracking\.url: there is no such key\. Did you mean 'tracking\.uri'\?"),
        ("tracking.experiment_name=' '", r"^tracking\.experiment_name must not be empty"),
        ("tracking.mode=both", r"^tracking\.mode must be local_first or direct\. Received: both$"),
        ("epochs=???", r"^epochs has no value\. Give one: epochs=VALUE$"),
        ("optimizer._target_=null", r"^optimizer\._target_ must name a function or class"),
        ("+schedule.peak=9", r"^schedule\.peak follows from the data and the training\. Leave it out"),
        ("+model.classes=9", r"^model\.classes follows from the data and the training\. Leave it out"),
        ("~optimizer.learning_rate", r"^optimizer\.learning_rate has no value"),
        ("augmentation=affine +augmentation.flip=1", r"^augmentation\.flip: there is no such key"),
        ("metrics=[f1]", r"^metrics\[0\] must be \{_target_: MODULE\.NAME, \.\.\.\}\. Received: f1$"),
        ("metrics=[{name: f1}]", r"^metrics\[0\]\._target_ must name a function or class\. Received: none"),
        (
            "metrics=[{_target_: keras.metrics.F1Score, averag: x}]",
            r"^metrics\[0\]\.averag: keras\.metrics\.F1S",
        ),
        (
            "+model.activation=gelu",
            r"^model\.activation: handwriting\.training\.models\.build_cnn takes no 'act",
        ),
        (
            "+optimizer.lr=1",
            r"^optimizer\.lr: keras\..* takes no 'lr'\. Did you mean 'optimizer\.learning_rate'",
        ),
        (
            "schedule._target_=shlex.quote",
            r"^schedule\._target_: shlex\.quote must take 'peak', which a run pas",
        ),
        (
            "schedule=one_cycle ~schedule.warmup",
            r"^schedule\.warmup has no value, and handwriting\..* needs one: \+schedule\.warmup=VALUE",
        ),
        ("callbacks=[{monitor: loss}]", r"^callbacks\[0\]\._target_ must name a function or class"),
        ("metrics=[{_target_: keras.metrics.F1Score, better: up}]", r"^metrics\[0\]\.better must be more or"),
        ("model._target_=keras.Modle", r"^model\._target_: keras has no 'Modle'\. Did you mean 'Model'\?"),
        (
            "start=after_rmsprop start.optimizer.rho=1",
            r"^start\.optimizer\.rho must be a number from 0 to below 1",
        ),
        (
            "callbacks=[{_target_: keras.callbacks.EarlyStopping, monitor: [{_target_: os.system}]}]",
            r"^callbacks\[0\]\.monitor\[0\]\._target_: Hydra refuses os\.system: ",
        ),
        ("+optimizer.inner={_target_:3}", r"^optimizer\.inner\._target_ must name a .* Received: 3$"),
    ],
)
def test_what_no_schema_sees_is_refused_too(override: str, message: str) -> None:
    words = [override] if "'" in override or "[" in override else override.split()
    cfg = compose(*words)
    with pytest.raises(UserError, match=message):
        check_config(cfg)


def test_a_target_that_hydra_does_not_call_is_not_looked_at() -> None:
    check_config(compose("+optimizer._recursive_=false", "+optimizer.name={_target_: nobodys.module}"))


@pytest.mark.parametrize(
    "override",
    [
        "+optimizer.clipnorm=1",  # of the base class
        "+optimizer._partial_=true",
        "metrics=[{_target_: keras.metrics.F1Score, better: more}]",  # ours
        "+model.anything=1 model._target_=keras.layers.Dense",  # what Dense takes cannot be told
    ],
)
def test_what_a_target_takes_is_accepted(override: str) -> None:
    check_config(compose(*([override] if "[" in override else override.split())))


def test_importing_the_command_imports_neither_tensorflow_nor_mlflow() -> None:
    code = (
        "import sys, handwriting.train, handwriting.config, handwriting.data, handwriting.sweeps.sweep, "
        "hydra_plugins.handwriting_sweeper, handwriting.ui, handwriting.report, handwriting.orphans; "
        "print({name.partition('.')[0] for name in sys.modules} & {'tensorflow', 'keras', 'mlflow'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_conf_resolves_wherever_the_package_is_imported() -> None:
    """Also in a process that did not go through the command, such as a worker on another machine."""
    code = (
        "import handwriting; from omegaconf import OmegaConf; "
        "cfg = OmegaConf.create({'f': '${store_folder:${u}}', 'u': 'sqlite:////a/b.db'}); "
        "cfg.s = '${default_store:}'; assert cfg.s; print(cfg.f)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("/a\n", 0), done.stderr
