"""Stores of synthetic runs, and the command that reports on them."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mlflow.entities import Experiment
from sqlalchemy import create_engine, text

from handwriting.bench.synthetic import fill
from handwriting.tracking import Store


def made(folder: Path, runs: int) -> Store:
    """Return a store with so many synthetic runs: of rmsprop and adam, seed by seed."""
    store = Store(f"sqlite:///{folder}/mlflow.db")
    fill(store, runs)
    return store


def spread(store: Store, key: str, values: Sequence[str]) -> Store:
    """Give the runs of each seed one of the values, as if that had been swept too; each has fewer seeds."""
    engine = create_engine(store.uri)
    with engine.begin() as connection:
        seeds = connection.execute(text("SELECT run_uuid, value FROM params WHERE key = 'seed'")).all()
        for statement, column in (
            ("UPDATE params SET value = :value WHERE run_uuid = :run AND key = 'seed'", "seed"),
            ("DELETE FROM params WHERE run_uuid = :run AND key = :key", "key"),
            ("INSERT INTO params (run_uuid, key, value) VALUES (:run, :key, :value)", "value"),
        ):
            for run, seed in seeds:
                place, chosen = divmod(int(seed), len(values))
                value = str(place) if column == "seed" else values[chosen]
                connection.execute(text(statement), {"run": run, "key": key, "value": value})
        # Each tells the arm of the two that were there.
        connection.execute(text("DELETE FROM tags WHERE key = 'arm' OR key LIKE 'arm.%'"))
    engine.dispose()
    return store


def experiment(store: Store, name: str) -> Experiment:
    found = store.client.get_experiment_by_name(name)
    assert found is not None
    return found


def command(store: Store, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m handwriting.report` on a store."""
    words = [sys.executable, "-m", "handwriting.report", "--uri", store.uri, *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False)
