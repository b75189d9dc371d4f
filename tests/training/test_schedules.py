"""The learning rate of each step."""

import numpy as np
import pytest

from handwriting.config import compose
from handwriting.data import Dataset
from handwriting.training import build


def rates(dataset: Dataset, *overrides: str) -> list[float]:
    """Return the rate of each of a run's steps, and the rate after the last."""
    cfg = compose(*overrides, "model=mlp", "model.units=4", "optimizer.learning_rate=0.006")
    optimizer = build(cfg, dataset).model.optimizer
    found = []
    for step in range(cfg.epochs * -(-len(dataset.train) // cfg.batch_size) + 1):
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found


def test_one_cycle_rises_to_the_rate_and_falls_to_nothing(dataset: Dataset) -> None:
    """Over all steps of all epochs, the smaller last batch of each among them: 20, of which 4 rise."""
    found = rates(dataset, "schedule=one_cycle", "epochs=2", "batch_size=52")
    assert len(found) == 21
    assert found[0] == pytest.approx(0.0015)
    assert found[4] == pytest.approx(0.006)
    assert np.all(np.diff(found[:5]) > 0)
    assert np.all(np.diff(found[4:]) < 0)
    assert found[12] == pytest.approx(0.003)
    assert found[20] == pytest.approx(0, abs=1e-9)


def test_constant_is_the_optimizers_rate_in_every_step(dataset: Dataset) -> None:
    found = rates(dataset, "schedule=constant", "epochs=2", "batch_size=52")
    assert found == pytest.approx([0.006] * 21)
    assert len(set(found)) == 1
