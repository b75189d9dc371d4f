"""What the benchmark measures. Each measurement is rows of one table: what, n, median and range."""

import importlib.util
import json
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from handwriting.bench.flops import MATMUL_FLOPS, epoch_flops
from handwriting.bench.implementations import Setting
from handwriting.bench.rounds import time_in_turn
from handwriting.compare.sequential import replay
from handwriting.compare.statistics import PAIRS_NEEDED
from handwriting.config import cores
from handwriting.precision import BFLOAT16, FLOAT32, computes_in_bfloat16, flags
from handwriting.tracking import Store
from handwriting.tracking.plans import LOOKS

BATCHES = (32, 64, 128, 256, 512, 1024)
STORED_RUNS = (10, 100, 1_000, 10_000)
PROJECTED = (8, 32, 128)
LOWER = ", bfloat16"  # ends the name of what computes in it
EFFECTS, SIMULATED, BLOCKS = (0, 1, 2.75), 50, 10  # standard deviations; sweeps in a mean; means
NOTEBOOKS_EPOCH, NOTEBOOKS_EPOCHS = 55_000, 10  # images, epochs
SHARE = "share of the matrix product's rate"
BESIDES = "a run besides its epochs"
# Of it, what tracking costs: once a run, and once an epoch.
TRACKING_ONCE = ["start a run, with its setting", "store the model"]
TRACKING_EACH = ["an epoch's checkpoint", "an epoch's metrics"]


def rows(part: str, unit: str, measured: Mapping[str, pd.Series] | pd.DataFrame) -> pd.DataFrame:
    """Return a row for each thing that was measured: part, what, n, median, minimum, maximum, unit."""
    table = [
        (part, what, len(values), values.median(), values.min(), values.max(), unit)
        for what, values in measured.items()
    ]
    return pd.DataFrame(table, columns=["part", "what", "n", "median", "minimum", "maximum", "unit"])


def epochs(images: int, rounds: int) -> pd.DataFrame:
    """Time the notebook's code, the same with MLflow's autolog, and ours, for both optimizers.

    In float32 and, where the processor has it, in bfloat16; each share is of the product in that precision.
    """
    torch = ["pytorch"] if importlib.util.find_spec("torch") else []
    names = ["notebook", "autolog", *torch, "ours", "untracked", "matmul"]
    pairs = [("notebook", "ours"), ("autolog", "ours"), ("pytorch", "ours"), ("ours", "untracked")]
    found = []
    for optimizer in ("rmsprop", "adam"):
        part = f"epoch of {images} images, batch 32, {optimizer}"
        print(part, flush=True)
        settings = {name: [Setting(name, optimizer, images)] for name in names}
        compared = [pair for pair in pairs if pair[0] in names]
        if in_bfloat16():
            lower = [name for name in names if name != "pytorch"]
            settings |= {
                f"{name}{LOWER}": [Setting(name, optimizer, images, precision=BFLOAT16)] for name in lower
            }
            compared += [(f"{a}{LOWER}", f"{b}{LOWER}") for a, b in pairs if a in lower]
            compared += [("notebook", f"ours{LOWER}"), ("autolog", f"ours{LOWER}"), ("ours", f"ours{LOWER}")]
        seconds = time_in_turn(settings, rounds)
        ratios = {f"{a} ÷ {b}": seconds[a] / seconds[b] for a, b in compared}
        shares = _shares(seconds, [name for name in settings if name.startswith("untracked")], images)
        found += [rows(part, "s", seconds), rows(part, "ratio", ratios), rows(part, SHARE, shares)]
    return pd.concat(found)


def in_bfloat16() -> bool:
    """Tell whether this processor computes in bfloat16, and say so where it does not."""
    has = computes_in_bfloat16(flags())
    if not has:
        print("this processor does not compute in bfloat16: float32 only", flush=True)
    return has


def verdict(images: int, rounds: int) -> pd.DataFrame:
    """Time what a user would write and a sweep of ours, both optimizers, to a verdict of six seeds.

    The user trains one run after the other on all cores, with autolog; a sweep has a job of one thread on
    each core. As if an image of the notebook's epochs cost what one of the short epochs here does; without
    starting, importing and tracing, which both have, and without autolog's storing of models.
    """
    arms = ("rmsprop", "adam")
    settings = {f"autolog, {arm}": [Setting("autolog", arm, images)] for arm in arms}
    precisions = {"ours": FLOAT32} | ({f"ours{LOWER}": BFLOAT16} if in_bfloat16() else {})
    jobs = max(cores(), len(arms))
    settings |= {
        name: [Setting("ours", arms[job % 2], images, 32, 1, precision) for job in range(jobs)]
        for name, precision in precisions.items()
    }
    seconds = time_in_turn(settings, rounds)
    longer = NOTEBOOKS_EPOCH / images * NOTEBOOKS_EPOCHS / 60
    minutes = {"autolog": PAIRS_NEEDED * longer * sum(seconds[f"autolog, {arm}"] for arm in arms)}
    minutes |= {name: PAIRS_NEEDED * len(arms) / jobs * longer * seconds[name] for name in precisions}
    part = f"a verdict of {PAIRS_NEEDED} seeds, {NOTEBOOKS_EPOCHS} epochs of {NOTEBOOKS_EPOCH} images"
    ratios = {f"autolog ÷ {name}": minutes["autolog"] / minutes[name] for name in precisions}
    return pd.concat([rows(part, "min", minutes), rows(part, "ratio", ratios), _seeds_until_clear()])


def _seeds_until_clear() -> pd.DataFrame:
    """Return how many of 20 seeds a sweep until clear takes, by the effect: means of 50 sweeps."""
    rng = np.random.default_rng(0)
    taken = {
        f"a difference of {effect} standard deviations": pd.Series(
            [
                np.mean([replay(rng.normal(effect, 1, LOOKS[-1]))[-1].n for _ in range(SIMULATED)])
                for _ in range(BLOCKS)
            ]
        )
        for effect in EFFECTS
    }
    return rows("seeds until clear, simulated", "seeds, mean", taken)


def sweeps(images: int, rounds: int) -> pd.DataFrame:
    """Time one, two and as many jobs at once as there are cores, and project to machines with more."""
    part = f"jobs at once, {images} images each"
    shared = {jobs: max(1, cores() // jobs) for jobs in sorted({1, 2, cores()})}
    groups = {
        f"{jobs} of {threads} threads": [Setting("untracked", images=images, threads=threads)] * jobs
        for jobs, threads in shared.items()
    }
    groups["1 of 1 thread"] = [Setting("untracked", images=images, threads=1)]
    seconds = time_in_turn(groups, rounds)
    rates = {name: len(group) * images / seconds[name] for name, group in groups.items()}
    if cores() > 1:
        rates |= projected(rates["1 of 1 thread"], rates[f"{cores()} of 1 threads"], cores())
    return rows(part, "training images/s, validation in the time", rates)


def projected(single: pd.Series, all_cores: pd.Series, here: int) -> dict[str, pd.Series]:
    """Return what more cores would give, between two bounds: not measured.

    From the images per second, by round, of a single job of one thread, and of `here` such jobs, 2 or more,
    on as many cores. n cores give n times what a single core gives; or, by Amdahl's law (1967),
    n / (1 + s (n - 1)) times, with the share s that jobs here are seen to contend for.
    """
    share = ((here * single / all_cores - 1) / (here - 1)).clip(lower=0)
    return {
        f"{n} cores, projected, {how}": n * single / (1 + contended * (n - 1))
        for n in PROJECTED
        for how, contended in (("contending as here", share), ("not contending", 0 * share))
    }


def batches(images: int, rounds: int) -> pd.DataFrame:
    """Time an epoch by batch size, beside the machine's matrix product."""
    part = f"epoch of {images} images by batch size"
    groups = {f"batch {size}": [Setting("untracked", images=images, batch=size)] for size in BATCHES}
    seconds = time_in_turn(groups | {"matmul": [Setting("matmul")]}, rounds)
    return pd.concat([rows(part, "s", seconds), rows(part, SHARE, _shares(seconds, groups, images))])


def start_up(images: int, rounds: int) -> pd.DataFrame:
    """Time what a run costs besides its epochs."""
    found = []
    for number in range(rounds):
        found.append(json.loads(_output("handwriting.bench.startup").splitlines()[-1]))
        print(f"  round {number + 1}/{rounds}", flush=True)
    return rows(BESIDES, "s", pd.DataFrame(found))


def tracking_share(found: pd.DataFrame) -> pd.DataFrame:
    """Return the cost of tracking the notebook's run over that of training it, from what was measured.

    As if an image of a long epoch cost what one of the short epochs here does.
    """
    besides = found[found["part"] == BESIDES].set_index("what")["median"]
    tracking = besides[TRACKING_ONCE].sum() + NOTEBOOKS_EPOCHS * besides[TRACKING_EACH].sum()
    adam = found["part"].str.endswith("adam")
    ((_, trained),) = found[adam & (found["what"] == "untracked") & (found["unit"] == "s")].iterrows()
    images = int(trained["part"].split()[2])
    training = trained["median"] / images * NOTEBOOKS_EPOCH * NOTEBOOKS_EPOCHS
    what = f"tracking ÷ training, {NOTEBOOKS_EPOCHS} epochs of {NOTEBOOKS_EPOCH} images"
    return rows("tracking", "ratio of medians", {what: pd.Series([tracking / training])})


def stored_runs(images: int, rounds: int) -> pd.DataFrame:
    """Time a report, and the question whether a run is finished, by the number of runs in the store."""
    return pd.concat([_stored_runs(count, rounds) for count in STORED_RUNS])


def _stored_runs(count: int, rounds: int) -> pd.DataFrame:
    from handwriting.bench.synthetic import EXPERIMENT, fill, identity
    from handwriting.tracking.resume import find_run

    part = f"{count} runs in the store"
    print(part, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/mlflow.db")
        fill(store, count)

        def ask() -> None:
            with find_run(store, EXPERIMENT, identity(count - 1)) as found:
                assert found.finished

        command = ("handwriting.report", "--uri", store.uri)
        reports = timeit.repeat(lambda: _output(*command), number=1, repeat=rounds)
        answers = timeit.repeat(ask, number=1, repeat=rounds + 1)[1:]  # the first opens the store
    return rows(part, "s", {"report": pd.Series(reports), "is it finished?": pd.Series(answers)})


def _shares(seconds: pd.DataFrame, names: Iterable[str], images: int) -> dict[str, pd.Series]:
    """Return the share of the matrix product's rate at which epochs of the notebook's network compute.

    Of the product in the same precision.
    """
    from handwriting.training.models import build_cnn

    flops = epoch_flops(build_cnn((28, 28, 1), 10), images) / MATMUL_FLOPS
    product = {name: f"matmul{LOWER}" if name.endswith(LOWER) else "matmul" for name in names}
    return {name: flops * seconds[product[name]] / seconds[name] for name in names}


def _output(module: str, *arguments: str) -> str:
    """Return what `python -m MODULE` prints; where it fails, raise what it said."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(f"{command} ended with exit code {done.returncode}:\n{done.stderr}")
    return done.stdout
