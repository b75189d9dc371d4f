"""A sweep from its first check to its exit code, with a launcher that the test makes."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from conftest import CHOICES, SMALL, fit_tracked
from handwriting.config import compose
from handwriting.data import Dataset, dataset_digest, load_dataset
from handwriting.errors import UserError
from handwriting.sweeps import JobsFailed
from handwriting.sweeps.plan import name_of, plan_jobs
from handwriting.sweeps.sweep import run_sweep
from handwriting.tracking import names

TINY = [*SMALL, "model=mlp", "model.units=8", "epochs=1"]


def overrides_of(experiment: str, *seeds: int) -> list[list[str]]:
    place = f"tracking.experiment_name={experiment}"
    return [[f"optimizer={arm}", f"seed={seed}", place, *TINY] for seed in seeds for arm in ("sgd", "adam")]


def compose_words(words: list[str]) -> DictConfig:
    return compose(*words)


def test_jobs_that_were_never_run_fail_the_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[list[str]] = []

    def launch(jobs: Sequence[list[str]]) -> list[JobReturn]:
        told.extend(jobs)
        return []

    with pytest.raises(JobsFailed):
        run_sweep("mine", overrides_of("never", 0, 1), compose_words, launch)
    assert capsys.readouterr().out.count("NOT RUN") == 4
    assert [job[-1] for job in told] == [f"tracking.arm={arm}" for arm in (0, 1, 0, 1)]
    (sweep,) = {job[-2] for job in told}
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

    run_sweep("mine", overrides_of("told", 0), compose_words, launch)
    assert [run.data.tags[names.ARM] for run in runs] == ["0", "1"]
    assert len({run.data.tags[names.COLOR] for run in runs}) == 2
    assert len({run.data.tags[names.SWEEP] for run in runs}) == 1
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
    made += ["data.limit_test=null", "batch_size=64", "data.targets=[0.01]", "epochs=2"]
    runs = []

    def launch(jobs: Sequence[list[str]]) -> list[JobReturn]:
        for job in jobs:
            cfg = compose(*job)
            choices = CHOICES | {"optimizer": job[0].partition("=")[2], "model": "mlp"}
            runs.append(fit_tracked(cfg, load_dataset(cfg.data, cfg.seed), choices))
        return []

    run_sweep("mine", [[*job, *made] for job in overrides_of("colors", 0, 1)], compose_words, launch)
    out = capsys.readouterr().out
    assert out.count("FINISHED") == 4
    assert "1%" in out, "the level that the data set names"
    (page,) = re.findall(r"^page and figures: (.*)$", out, re.MULTILINE)
    text = Path(page).read_text(encoding="utf-8")
    assert text.count("<img") == 5, "curves, differences, time to target, what each arm got wrong"
    assert "What adam got wrong" in text
    assert {run.data.tags["data.sha256"] for run in runs} == {dataset_digest(compose(*made).data)}


def test_a_sweep_keeps_its_name_with_more_seeds_and_has_another_with_another_arm() -> None:
    few, more = (plan_jobs(overrides_of("x", *seeds), compose_words) for seeds in ((0,), (0, 1, 2)))
    assert name_of("mine", few) == name_of("mine", more)
    other = plan_jobs([[*words, "batch_size=7"] for words in overrides_of("x", 0)], compose_words)
    assert name_of("mine", other) != name_of("mine", few)
    assert [job.arm for job in more] == [0, 1] * 3


def test_the_first_mistake_of_any_job_is_said_before_one_starts() -> None:
    with pytest.raises(UserError, match="epochs must be at least 1"):
        run_sweep(
            "mine",
            [*overrides_of("x", 0), [*TINY, "epochs=0"]],
            compose_words,
            lambda _: pytest.fail("started"),
        )
