"""What the file of a chosen member says of the kind of its values."""

from pathlib import Path

import hydra
import pytest

from conftest import CONF
from handwriting.errors import UserError
from handwriting.kinds import check_kinds

EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for --config-dir, as a user has it."""
    path = tmp_path_factory.mktemp("myconf")
    for name, text in {
        "optimizer/mine": "_target_: keras.optimizers.SGD\nlearning_rate: 1\nname: ${oc.env:NAME,x}\n"
        "use_ema: false\nclipnorm: 1.0\nloss_scale: ???",
        "optimizer/based": "defaults: [adam, _self_]\nname: based\nweight_decay: 0.1",
        "model/tiny": "_target_: mine.tiny\nsizes: [1, 2]\ninner: {depth: 3, act: relu}\n"
        "made: {_target_: a.b}",
        "model/mlp": "_target_: mine.another\nunits: [1]",  # conf/ has this name, and stands before
        "experiment/wrong": "# @package _global_\ndefaults:\n  - override /optimizer: sgd\n"
        "optimizer:\n  nesterov: yess",
        "start/after_mine": "defaults:\n  - /optimizer@optimizer: mine",
    }.items():
        file = path / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{text}\n")
    return path


def check_kinds_of(folder: Path, overrides: str) -> None:
    """Compose as the command does with `--config-dir folder`, and check."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        words = [f"hydra.searchpath=[file://{folder}]", *overrides.split()]
        cfg = hydra.compose("config", words, return_hydra_config=True)
    check_kinds(cfg, cfg.hydra.runtime)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("optimizer=sgd optimizer.nesterov=yess", "optimizer.nesterov must be true or false, as in conf/opt"),
        ("optimizer=sgd optimizer.nesterov=1", "optimizer.nesterov must be true or false"),
        ("optimizer=sgd optimizer.nesterov=null", "optimizer.nesterov must be true or false"),
        ("optimizer=sgd ++optimizer.nesterov=no_", "optimizer.nesterov must be true or false"),
        ("optimizer=adam optimizer.amsgrad=1.5", "optimizer.amsgrad must be true or false, as in conf/opt"),
        ("optimizer.learning_rate={a:1}", "optimizer.learning_rate must be a number, as in conf/optimizer/"),
        ("model=small_cnn model.mean=grey", "model.mean must be a number, as in conf/model/small_cnn.yaml"),
        ("model=small_cnn model.mean=true", "model.mean must be a number"),
        ("model=small_cnn model.mean=[1]", "model.mean must be a number"),
        ("model._target_=3", "model._target_ must be text, as in conf/model/cnn.yaml. Received: 3"),
        ("model=tiny model.sizes=3", "model.sizes must be a list, as in {folder}/model/tiny.yaml. Rec"),
        ("model=tiny model.inner=flat", "model.inner must be a mapping, as in "),
        ("model=tiny model.inner.depth=x", "model.inner.depth must be a number, as in "),
        ("model=tiny model.inner.act=3", "model.inner.act must be text, as in "),
        ("start=after_rmsprop start.optimizer.centered=maybe", "start.optimizer.centered must be true or"),
        ("start=after_mine start.optimizer.use_ema=1", "start.optimizer.use_ema must be true or false, "),
        ("optimizer=based optimizer.amsgrad=7", "optimizer.amsgrad must be true or false, as in conf/op"),
        ("optimizer=based optimizer.name=7", "optimizer.name must be text, as in {folder}/optimizer/based"),
        ("model=[cnn,mlp]", "model takes one member: model=MEMBER. Several are a sweep: -m model=ONE,OTHER"),
        ("optimizer=adam.yaml", "optimizer takes a member's name: optimizer=adam. Received: adam.yaml"),
        ("experiment=fast.yaml", "experiment takes a member's name: experiment=fast. Received: fast.yaml"),
        ("experiment=wrong", "optimizer.nesterov must be true or false, as in conf/optimizer/sgd.yaml. Rece"),
    ],
)  # fmt: skip
def test_a_value_of_an_open_group_is_of_the_kind_that_its_file_has(
    folder: Path, overrides: str, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        check_kinds_of(folder, overrides)
    assert str(caught.value).startswith(said.replace("{folder}", str(folder)))


@pytest.mark.parametrize(
    "overrides",
    [
        "optimizer=adam optimizer.weight_decay=0.1",  # null in its file
        "optimizer=mine optimizer.learning_rate=0.5 optimizer.clipnorm=2",  # both are numbers
        "optimizer=mine optimizer.clipnorm=null",  # as if it were not given
        "optimizer=mine optimizer.name=3",  # an interpolation in its file
        "optimizer=mine optimizer.loss_scale=3",  # without a value in its file
        "optimizer=sgd +optimizer.clipnorm=x",  # not in its file
        "optimizer=sgd +optimizer.clipnorm={a:b}",
        "experiment=wrong optimizer.nesterov=false",  # the file says another
        "model=tiny model.made=x",
        "model=tiny ++model.inner={_target_:a.b}",
        "model=tiny model.sizes=[x]",
        "model=mlp model.units=3",
        "optimizer=mine optimizer.use_ema=${force}",
        "optimizer.learning_rate=fast model=mlp model.units=abc",  # out of range, which `check_config` says
        "optimizer.centered=???",  # the same
        "metrics=[{_target_:keras.metrics.F1Score,average:3}]",
    ],
)
def test_what_no_file_tells_the_kind_of_is_free(folder: Path, overrides: str) -> None:
    check_kinds_of(folder, overrides)


@pytest.mark.parametrize("file", EXPERIMENTS, ids=str)
def test_every_experiment_gives_values_of_the_right_kind(folder: Path, file: Path) -> None:
    check_kinds_of(folder, f"experiment={file.stem}")
