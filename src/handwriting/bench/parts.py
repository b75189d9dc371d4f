"""The parts of the benchmark. Each returns rows of one table: what was measured, n, median and range."""

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import pandas as pd

from handwriting.bench.contestants import Setting
from handwriting.bench.turns import by_round, in_turn, ratio
from handwriting.config import compose, cores
from handwriting.train import stderr_muted

BATCHES = (32, 64, 128, 256, 512, 1024)
STORED_RUNS = (10, 100, 1_000, 10_000)
PROJECTED = (8, 32, 128)
NOTEBOOKS_EPOCH, NOTEBOOKS_EPOCHS = 55_000, 10  # images, epochs
SHARE = "share of the matrix product's rate"
TRACKING = (
    ("start a run, with its setting", "store the model"),
    ("an epoch's checkpoint", "an epoch's metrics"),
)


def rows(part: str, unit: str, measured: Mapping[str, pd.Series] | pd.DataFrame) -> pd.DataFrame:
    """Return a row for each thing that was measured: part, what, n, median, least, most, unit."""
    table = [
        (part, what, len(values), values.median(), values.min(), values.max(), unit)
        for what, values in measured.items()
    ]
    return pd.DataFrame(table, columns=["part", "what", "n", "median", "least", "most", "unit"])


def epochs(images: int, rounds: int) -> pd.DataFrame:
    """Time the notebook's code, the same with MLflow's autolog, and ours, for both optimizers."""
    names = ["notebook", "autolog", "ours", "untracked", "matmul"]
    if importlib.util.find_spec("torch"):
        names.insert(2, "pytorch")
    found = []
    for optimizer in ("rmsprop", "adam"):
        part = f"epoch of {images} images, batch 32, {optimizer}"
        print(part, flush=True)
        turns = in_turn({name: [Setting(name, optimizer, images)] for name in names}, rounds)
        found.append(rows(part, "s", by_round(turns)))
        pairs = [("notebook", "ours"), ("autolog", "ours"), ("pytorch", "ours"), ("ours", "untracked")]
        compared = {f"{one} ÷ {other}": ratio(turns, one, other) for one, other in pairs if one in names}
        found.append(rows(part, "ratio", compared))
        share = ratio(turns, "matmul", "untracked") * _work_ratio(images)
        found.append(rows(part, SHARE, {"untracked": share}))
    return pd.concat(found)


def _work_ratio(images: int) -> float:
    """Return the work of an epoch of the notebook's network over that of the matrix products."""
    with stderr_muted():
        from handwriting.bench.work import MATMUL_WORK, work_of_epoch
        from handwriting.data import CLASSES
        from handwriting.models import build_cnn

    return work_of_epoch(build_cnn((28, 28, 1), CLASSES), images) / MATMUL_WORK


def sweeps(images: int, rounds: int) -> pd.DataFrame:
    """Time one, two and as many jobs at once as there are cores, and project to machines with more."""
    part = f"jobs at once, {images} images each"
    print(part, flush=True)
    shared = {jobs: max(1, cores() // jobs) for jobs in sorted({1, 2, cores()})}
    groups = {
        f"{jobs} of {threads} threads": [Setting("untracked", images=images, threads=threads)] * jobs
        for jobs, threads in shared.items()
    }
    groups["1 of 1 thread"] = [Setting("untracked", images=images, threads=1)]
    taken = by_round(in_turn(groups, rounds))
    rates = {name: len(groups[name]) * images / seconds for name, seconds in taken.items()}
    if cores() > 1:
        rates |= projected(rates["1 of 1 thread"], rates[f"{cores()} of 1 threads"], cores())
    return rows(part, "training images/s, validation in the time", rates)


def projected(one: pd.Series, all_cores: pd.Series, here: int) -> dict[str, pd.Series]:
    """Return what more cores would give, between two bounds: not measured.

    n cores give n times what one gives; or, by Amdahl's law (1967), n / (1 + s (n - 1)) times, with the share
    s that jobs here are seen to contend for.

    Args:
        one: images per second of one job of one thread, by round.
        all_cores: of as many such jobs as there are cores here, together.
        here: how many cores that is, 2 or more.
    """
    share = ((here * one / all_cores - 1) / (here - 1)).clip(lower=0)
    return {
        f"{n} cores, projected, {how}": n * one / (1 + contended * (n - 1))
        for n in PROJECTED
        for how, contended in (("contending as here", share), ("not contending", 0 * share))
    }


def batches(images: int, rounds: int) -> pd.DataFrame:
    """Time an epoch by batch size, beside the machine's matrix product."""
    part = f"epoch of {images} images by batch size"
    print(part, flush=True)
    groups = {f"batch {size}": [Setting("untracked", images=images, batch=size)] for size in BATCHES}
    turns = in_turn(groups | {"matmul": [Setting("matmul")]}, rounds)
    work = _work_ratio(images)
    shares = {name: ratio(turns, "matmul", name) * work for name in groups}
    return pd.concat([rows(part, "s", by_round(turns)), rows(part, SHARE, shares)])


def start_up(images: int, rounds: int) -> pd.DataFrame:
    """Time what a run costs besides its epochs."""
    part = "a run besides its epochs"
    print(part, flush=True)
    command = [sys.executable, "-m", "handwriting.bench.startup"]
    found = []
    for number in range(rounds):
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"  round {number + 1}/{rounds}", flush=True)
    return rows(part, "s", pd.DataFrame(found))


def tracking_share(found: pd.DataFrame) -> pd.DataFrame:
    """Return the cost of tracking the notebook's run over that of training it, from what was measured.

    As if an image of a long epoch cost what one of the short epochs here does.
    """
    started = found[found["part"] == "a run besides its epochs"].set_index("what")["median"]
    once, each = (started[list(parts)].sum() for parts in TRACKING)
    adam = found["part"].str.endswith("adam")
    ((_, trained),) = found[adam & (found["what"] == "untracked") & (found["unit"] == "s")].iterrows()
    images = int(trained["part"].split()[2])
    training = trained["median"] / images * NOTEBOOKS_EPOCH * NOTEBOOKS_EPOCHS
    tracking = once + each * NOTEBOOKS_EPOCHS
    share = {
        f"tracking ÷ training, {NOTEBOOKS_EPOCHS} epochs of {NOTEBOOKS_EPOCH} images": pd.Series(
            [tracking / training]
        )
    }
    return rows("tracking", "ratio of medians", share)


def stored_runs(images: int, rounds: int) -> pd.DataFrame:
    """Time a report, and the question whether a run is finished, by the number of runs in the store."""
    from handwriting.bench.synthetic import fill
    from handwriting.claim import claim

    found = []
    for count in STORED_RUNS:
        print(f"{count} runs in the store", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            uri = f"sqlite:///{folder}/mlflow.db"
            fill(uri, count)
            cfg = compose(f"tracking.uri={uri}", "tracking.experiment_name=synthetic")
            reports, questions = [], []
            for _ in range(rounds):
                started = time.perf_counter()
                command = [sys.executable, "-m", "handwriting.report", "--uri", uri]
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                reports.append(time.perf_counter() - started)
            for _ in range(rounds + 1):  # the first opens the store
                started = time.perf_counter()
                with claim(cfg, f"{count - 1:016x}") as claimed:
                    assert claimed.finished
                questions.append(time.perf_counter() - started)
        measured = {"report": pd.Series(reports), "is it finished?": pd.Series(questions[1:])}
        found.append(rows(f"{count} runs in the store", "s", measured))
    return pd.concat(found)
