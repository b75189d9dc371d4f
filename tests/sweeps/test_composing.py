"""Configs whose groups are composed once, beside those that Hydra composes job by job."""

from collections.abc import Iterator

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from conftest import CONF
from handwriting.sweeps.composing import Composer


@pytest.fixture
def composer() -> Iterator[Composer]:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", return_hydra_config=True)
        yield Composer(GlobalHydra.instance().config_loader(), config)


@pytest.mark.parametrize(
    "job",
    [
        [],
        ["optimizer=adam", "optimizer.learning_rate=0.1", "seed=3", "epochs=2"],
        ["experiment=fast", "epochs=3", "schedule=constant"],
        ["+optimizer.clipnorm=1.0", "optimizer.learning_rate=0.5", "~callbacks"],
        ["optimizer.learning_rate=0.5", "optimizer=sgd"],
        ["start=after_rmsprop", "start.optimizer.learning_rate=0.2", "data=digits8x8", "data.path=digits"],
        ["batch_size=${seed}", "label_smoothing=0.1", "model.units=7", "model=mlp"],
        ["augmentation=affine", "augmentation.shift=2", "metrics=[{_target_: a.b}]"],
        ["hydra.sweep.subdir=${hydra.job.override_dirname}", "optimizer=adam", "seed=1", "epochs=2"],
        ["tracking.label='a, b = \\'c\\''", "tracking.arm=1", "threads=1"],
    ],
    ids=" ".join,
)
def test_a_job_is_composed_as_hydra_does(composer: Composer, job: list[str]) -> None:
    theirs = composer.loader.load_sweep_config(composer.config, list(job))
    cfg, runtime = composer.compose(job)
    keys = [str(key) for key in theirs if key != "hydra"]
    assert OmegaConf.to_yaml(cfg) == OmegaConf.to_yaml(OmegaConf.masked_copy(theirs, keys))
    assert runtime.choices == theirs.hydra.runtime.choices
    whole, theirs.hydra.job.id, theirs.hydra.job.num = composer.whole(job, 7), "7", 7
    assert OmegaConf.to_yaml(whole.hydra) == OmegaConf.to_yaml(theirs.hydra)
    assert whole.hydra.sweep.dir == theirs.hydra.sweep.dir == composer.config.hydra.sweep.dir, "of one moment"
    assert OmegaConf.to_container(OmegaConf.masked_copy(whole, keys)) == OmegaConf.to_container(
        OmegaConf.masked_copy(theirs, keys), resolve=True
    )


@pytest.mark.parametrize("job", [["epoch=3"], ["optimizer.rate=1"], ["epochs=many"], ["optimizer=adamm"]])
def test_a_mistake_is_hydras_own(composer: Composer, job: list[str]) -> None:
    with pytest.raises(HydraException) as theirs:
        composer.loader.load_sweep_config(composer.config, list(job))
    with pytest.raises(HydraException) as ours:
        composer.compose(job)
    assert str(ours.value) == str(theirs.value)
