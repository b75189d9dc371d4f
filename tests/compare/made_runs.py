"""Tables of runs and epochs as the store gives them, made up, and what is compared of them."""

import math
from typing import Any

import pandas as pd

from handwriting.compare import Comparison, compare

RMSPROP = [0.9871, 0.9880, 0.9868, 0.9875, 0.9873, 0.9879, 0.9866]
ADAM = [0.9879, 0.9886, 0.9879, 0.9880, 0.9880, 0.9889, 0.9871]
OPTIMIZERS = {"rmsprop": {"params.optimizer.rho": "0.9"}, "adam": {"params.optimizer.beta_1": "0.9"}}
TIME_TO_TARGET = "Time to target, of the finished runs; one that never gets there counts as not reached"


def run(optimizer: str, seed: object, accuracy: float, **more: object) -> dict[str, object]:
    """Return one run as `load_runs` gives it; `more` as params__batch_size="64"."""
    run.number = number = getattr(run, "number", 0) + 1  # type: ignore[attr-defined]
    return {
        "run_id": f"id{number}",
        "name": f"{optimizer} cnn seed {seed}",
        "status": "FINISHED",
        "start_time": pd.Timestamp("2026-01-01") + pd.Timedelta(minutes=number),
        "params.seed": str(seed),
        "params.optimizer": optimizer,
        "params.optimizer._target_": f"keras.optimizers.{optimizer}",
        "params.optimizer.learning_rate": "0.001",
        **OPTIMIZERS.get(optimizer, {}),
        "params.keras_optimizer.name": optimizer,
        "params.model": "cnn",
        "params.model.units": "128",
        "params.batch_size": "32",
        "params.metrics": "[]",
        "params.data": "mnist",
        "params.data.path": f"/home/{optimizer}/mnist.npz",
        "params.data.limit_test": "None",
        "params.threads": "None",
        "params.force": "False",
        "params.tracking.uri": f"sqlite:////{seed}",
        "tags.data.sha256": "de" * 32,
        "tags.git.commit": "ab" * 20,
        "tags.git.dirty": "false",
        "tags.cpu": "EPYC",
        "tags.threads": "2",
        "tags.weights.initial": f"weights {seed}",
        "metrics.test_accuracy": accuracy,
        "metrics.test_loss": 1 - accuracy,
        "metrics.val_accuracy": accuracy,
        "metrics.training_seconds": 400.0,
        **{key.replace("__", ".", 1).replace("__", "."): value for key, value in more.items()},
    }


def sweep(seeds: int = 7, **arms: list[float]) -> list[dict[str, object]]:
    """Return runs of each arm with the seeds 0 to `seeds`; by default of rmsprop and adam."""
    arms = arms or {"rmsprop": RMSPROP, "adam": ADAM}
    return [run(arm, seed, arms[arm][seed]) for seed in range(seeds) for arm in arms]


def epochs_of(*runs: dict[str, object], **by_id: list[float]) -> pd.DataFrame:
    """Return epochs of 10 s; by default two for each run, of 0.9 and 0.95."""
    found: dict[Any, list[float]] = {run["run_id"]: [0.9, 0.95] for run in runs} | by_id
    rows = [
        {"run_id": run_id, "epoch": epoch, "val_accuracy": v, "val_loss": 1 - v, "epoch_seconds": 10.0}
        for run_id, values in found.items()
        for epoch, v in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["run_id", "epoch", "val_accuracy", "val_loss", "epoch_seconds"])


def compared(runs: list[dict[str, object]], **arguments: Any) -> Comparison:
    return compare(pd.DataFrame(runs), epochs_of(*runs), **arguments)


def two(*points: float, **more: Any) -> Comparison:
    """Compare adam with rmsprop, which it is so many points above in each seed; NaN is a failed run."""
    runs = [
        run(name, seed, round(0.9 + (difference / 100 if place else 0), 7)) | {"tags.arm": str(place)}
        for seed, difference in enumerate(points)
        for place, name in enumerate(("rmsprop", "adam"))
    ]
    for made in runs:
        if math.isnan(made["metrics.test_accuracy"]):  # type: ignore[arg-type]
            made["status"] = "FAILED"
    return compared(runs, **more)


def reasons(comparison: Comparison) -> list[str]:
    return comparison.left_out["reason"].to_list()


def said(comparison: Comparison, words: str) -> str:
    """Return the caveat with these words; there must be exactly one."""
    (found,) = [caveat for caveat in comparison.caveats if words in caveat]
    return found
