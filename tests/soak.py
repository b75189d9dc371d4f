"""Kill sweeps at random, seeded moments, go on with them, and compare them with the undisturbed one.

    python tests/soak.py [--sweeps N | --minutes M] [--seed S]

Not part of the tests: a sweep and its kills take a minute. A sweep is two optimizers, side by side in
two processes. SIGKILL meets it while it makes the store, or later its own process, one of its workers, or
all of them at once; then the command is given again, until it ends by itself. Before that, the store's
folder may be moved. Exit code 1 where any bit, point or status differs, or a model does not load.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from handwriting.config import ROOT
from handwriting.tracking import Store, names
from handwriting.tracking.model import load_model
from handwriting.training.checkpoint import weights_digest

sys.path.insert(0, str(ROOT / "tests" / "tracking"))
from test_resume import result, runs

SWEEP = [
    sys.executable, "-m", "handwriting.train", "-m", "optimizer=rmsprop,adam",
    "model=cnn", "epochs=4", "data.limit_train=330", "data.limit_test=200", "data.validation_size=200",
    "hydra.launcher.jobs=2",
]  # fmt: skip


def start(store: Path) -> subprocess.Popen[bytes]:
    """Start the sweep on a store, in a process group of its own."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
    with (store / "screen.log").open("ab") as log:
        return subprocess.Popen(
            SWEEP, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def kill(sweep: subprocess.Popen[bytes], whom: str, chance: random.Random) -> None:
    """Kill the sweep's process, one of its workers, or all of them; wait until none of them is left."""
    own = psutil.Process(sweep.pid)
    # Sorted by age: the order is then the same each time.
    children = sorted(own.children(recursive=True), key=lambda child: child.create_time())
    workers = [child for child in children if is_worker(child)]
    victims = {
        "the sweep": [own],
        "a worker": workers and [chance.choice(workers)],
        "all": [own, *children],
    }[whom]
    for victim in victims or [own]:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
    sweep.wait()
    psutil.wait_procs(children)  # workers whose sweep was killed end their runs in order


def is_worker(process: psutil.Process) -> bool:
    """Tell whether a process is a worker that lives; one may end while it is looked at."""
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie counts as one
        return False


def soak(store: Path, chance: random.Random, seconds: float, done: Counter[str]) -> Path:
    """Kill one sweep up to four times; count what was done, and return where its store is in the end."""
    if chance.random() < 0.5:
        sweep = start(store)
        while sweep.poll() is None and not (store / "mlflow.db.unfinished").exists():
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 1))
        if not (store / "mlflow.db").exists():
            done["kills while the store was made"] += 1
        kill(sweep, "all", chance)
        done["kills"] += 1
    for _ in range(chance.randint(1, 3)):
        sweep = start(store)
        try:
            sweep.wait(chance.uniform(0.4, 1) * seconds)
            break  # it was faster than the kill
        except subprocess.TimeoutExpired:
            kill(sweep, chance.choice(["the sweep", "a worker", "all"]), chance)
            done["kills"] += 1
        if chance.random() < 0.3:
            store = store.rename(store.with_name(f"{store.name} moved"))
            done["moves"] += 1
    if start(store).wait():
        sys.exit(f"the sweep failed: {store}/screen.log")
    return store


def main() -> None:
    """Soak, and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sweeps", type=int, default=30)
    parser.add_argument("--minutes", type=float, help="instead of a number of sweeps")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311
    done: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    undisturbed = folder / "undisturbed"
    undisturbed.mkdir()
    started = time.monotonic()
    if start(undisturbed).wait():
        sys.exit(f"the undisturbed sweep failed: {undisturbed}/screen.log")
    seconds = time.monotonic() - started
    expected = {run.data.tags["fingerprint"]: result(undisturbed, run) for run in runs(undisturbed)}

    def minutes() -> float:
        return (time.monotonic() - started) / 60

    while minutes() < arguments.minutes if arguments.minutes else done["sweeps"] < arguments.sweeps:
        store = folder / str(done["sweeps"])
        store.mkdir()
        store = soak(store, chance, seconds, done)
        found = runs(store)
        results = {run.data.tags["fingerprint"]: result(store, run) for run in found}
        wrong = [key for key in expected if results.get(key) != expected[key]]
        for run in found:
            model = load_model(Store(f"sqlite:///{store}/mlflow.db"), run.info.run_id)
            wrong += [run.info.run_id] * (weights_digest(model) != run.data.tags[names.FINAL_WEIGHTS])
        done["sweeps"] += 1
        done["runs"] += len(found)
        done["resumes"] += sum(int(run.data.tags.get("resumes", 0)) for run in found)
        done["points"] += sum(len(series) for one in results.values() for series in one["points"].values())
        done["differences"] += len(wrong) + abs(len(found) - len(expected))
        said = ", ".join(f"{number} {what}" for what, number in done.items())
        print(f"seed {arguments.seed}, {minutes():.0f} min: {said}", flush=True)
    sys.exit(done["differences"] > 0)


if __name__ == "__main__":
    main()
