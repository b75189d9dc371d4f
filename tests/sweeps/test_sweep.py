"""A sweep from its first check to its exit code, with a launcher that the test makes."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.conf import RuntimeConf
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from conftest import CHOICES, SMALL, fit_tracked
from handwriting.config import compose
from handwriting.data import Dataset, dataset_digest, load_dataset
from handwriting.errors import UserError
from handwriting.sweeps import JobsFailed
from handwriting.sweeps.arms import Asked
from handwriting.sweeps.plan import name_of, plan_jobs
from handwriting.sweeps.sweep import run_sweep
from handwriting.tracking import names
from handwriting.tracking.identity import identify


class Launched(Launcher):
    """A launcher that hands jobs to a function."""

    def __init__(self, launch: Callable[[Sequence[list[str]]], Sequence[JobReturn]]):
        self.run = launch

    def setup(self, **_: Any) -> None:
        """Nothing."""

    def launch(self, job_overrides: Any, initial_job_idx: int) -> Sequence[JobReturn]:
        """Hand them over."""
        return self.run(job_overrides)


TINY = [*SMALL, "model=mlp", "model.units=8", "epochs=1"]


def asked(experiment: str, *seeds: int, more: Sequence[str] = ()) -> list[Asked]:
    words = [f"tracking.experiment_name={experiment}", *TINY, *more]
    return [Asked([f"optimizer={arm}", f"seed={seed}", *words]) for seed in seeds for arm in ("sgd", "adam")]


def compose_words(words: list[str]) -> tuple[DictConfig, RuntimeConf]:
    chosen = dict(word.split("=", 1) for word in words)
    choices = {group: chosen.get(group, "constant") for group in ("optimizer", "model", "schedule")}
    return compose(*words), RuntimeConf(choices=choices, config_sources=[])


def test_jobs_that_were_never_run_fail_the_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[list[str]] = []

    def launch(jobs: Sequence[list[str]]) -> list[JobReturn]:
        told.extend(jobs)
        return []

    with pytest.raises(JobsFailed):
        run_sweep("mine", asked("never", 0, 1), compose_words, Launched(launch))
    assert capsys.readouterr().out.count("NOT RUN") == 4
    assert [job[-2:] for job in told] == 2 * [
        ["tracking.arm=0", "tracking.label='sgd'"],
        ["tracking.arm=1", "tracking.label='adam'"],
    ]
    (sweep,) = {job[-3] for job in told}
    assert sweep.startswith("tracking.sweep='mine-"), "in words, so that it reaches any worker"


def test_a_job_tells_its_run_the_sweep_and_the_arm(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report counts differences from the arm that was named first."""
    runs = []

    def launch(jobs: Sequence[list[str]]) -> list[JobReturn]:
        for job in jobs:
            choices = CHOICES | {"optimizer": job[0].partition("=")[2]}
            runs.append(fit_tracked(compose(*job), dataset, choices))
        return []

    run_sweep("mine", asked("told", 0), compose_words, Launched(launch))
    assert [run.data.tags[names.ARM] for run in runs] == ["0", "1"]
    assert len({run.data.tags[names.COLOR] for run in runs}) == 2
    (sweep,) = {run.data.tags[names.SWEEP] for run in runs}
    assert [run.data.tags[names.arm_of(sweep)] for run in runs] == ["0 sgd", "1 adam"]
    assert [run.info.run_name for run in runs] == ["sgd seed 0", "adam seed 0"], "what MLflow's legend says"
    assert "tracking.sweep" not in runs[0].data.params
    assert "adam − sgd" in capsys.readouterr().out


def test_a_sweep_of_any_images_ends_in_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """32 by 32 in colour, 47 classes with names: each class is a colour."""
    chance = np.random.default_rng(0)
    colors = chance.integers(40, 216, (47, 3))
    arrays: dict[str, np.ndarray] = {"class_names": np.array([f"kind {label}" for label in range(47)])}
    for part, each in (("train", 12), ("test", 2)):
        labels = np.repeat(np.arange(47), each)
        noise = chance.integers(-30, 30, (len(labels), 32, 32, 3))
        arrays |= {f"x_{part}": (colors[labels][:, None, None] + noise).astype(np.uint8), f"y_{part}": labels}
    np.savez(tmp_path / "colors.npz", allow_pickle=False, **arrays)
    made = [f"data.path={tmp_path}/colors.npz", "data.validation_size=94", "data.limit_train=null"]
    made += ["data.limit_test=null", "batch_size=64", "epochs=2"]
    runs = []

    def launch(jobs: Sequence[list[str]]) -> list[JobReturn]:
        for job in jobs:
            cfg = compose(*job)
            choices = CHOICES | {"optimizer": job[0].partition("=")[2], "model": "mlp"}
            runs.append(fit_tracked(cfg, load_dataset(cfg.data, cfg.seed), choices))
        return []

    run_sweep("mine", asked("colors", 0, 1, more=made), compose_words, Launched(launch))
    out = capsys.readouterr().out
    assert out.count("FINISHED") == 4
    (page,) = re.findall(r"^page: (.*)$", out, re.MULTILINE)
    text = Path(page).read_text(encoding="utf-8")
    assert text.count("<svg") >= 2, "differences and curves"
    assert text.count("<img") == 2, "what each arm got wrong"
    assert "What adam got wrong" in text
    assert {run.data.tags["data.sha256"] for run in runs} == {dataset_digest(compose(*made).data)}


def test_a_sweep_keeps_its_name_with_more_seeds_and_has_another_with_another_arm() -> None:
    few, more = (plan_jobs(asked("x", *seeds), compose_words)[0] for seeds in ((0,), (0, 1, 2)))
    name = name_of("mine", few, named=False)
    assert name == name_of("mine", more, named=False)
    other, _ = plan_jobs(asked("x", 0, more=["batch_size=7"]), compose_words)
    assert name not in (name_of("mine", other, named=False), name_of("mine", few, named=True))
    assert [job.arm for job in more] == [0, 1] * 3


@pytest.mark.parametrize("more", [[], ["batch_size=${seed}"]], ids=["seed alone", "follows from the seed"])
def test_a_job_is_known_by_the_same_whether_it_is_composed_or_follows_from_others(more: list[str]) -> None:
    """Of jobs that differ in the seed alone two are composed, if nothing else follows from the seed."""
    composed: list[list[str]] = []

    def counted(words: list[str]) -> tuple[DictConfig, RuntimeConf]:
        composed.append(words)
        return compose_words(words)

    jobs, _ = plan_jobs(asked("x", 3, 5, 7, 11, more=more), counted)
    assert [job.seed for job in jobs] == [3, 3, 5, 5, 7, 7, 11, 11]
    assert len(composed) == (8 if more else 4)
    for job in jobs:
        cfg = compose(*job.overrides)
        alone = identify(cfg, dataset_digest(cfg.data))
        assert (job.identity.fingerprint, job.identity.arm) == (alone.fingerprint, alone.arm)


def test_the_seed_of_each_job_is_checked_though_only_two_are_composed() -> None:
    with pytest.raises(UserError, match=r"seed must be a whole number .* Received: 4294967296"):
        plan_jobs(asked("x", 0, 1, 2**32), compose_words)


def test_the_first_mistake_of_any_job_is_said_before_one_starts() -> None:
    with pytest.raises(UserError, match="epochs must be a whole number, at least 1"):
        run_sweep(
            "mine",
            [*asked("x", 0), *asked("x", 1, more=["epochs=0"])],
            compose_words,
            Launched(lambda _: pytest.fail("started")),
        )
