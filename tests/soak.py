"""Kill sweeps at random, seeded moments, go on with them, and compare them with the undisturbed one.

    python tests/soak.py N [SEED]

Not part of the tests: a sweep and its kills take a minute. A sweep is two optimizers, side by side in
two processes. SIGKILL meets the sweep's own process, one of its workers, or all of them at once; then the
command is given again, until it ends by itself. Exit code 1 where any bit, point or status differs.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from handwriting.config import ROOT

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
        return subprocess.Popen(SWEEP, cwd=ROOT, env=environment, stdout=log, stderr=log)


def kill(sweep: subprocess.Popen[bytes], whom: str, chance: random.Random) -> None:
    """Kill the sweep's process, one of its workers, or all of them."""
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


def is_worker(process: psutil.Process) -> bool:
    """Tell whether a process is a worker that lives; one may end while it is looked at."""
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie counts as one
        return False


def soak(store: Path, chance: random.Random, seconds: float) -> int:
    """Kill one sweep up to three times; return how many kills it took."""
    kills = 0
    for _ in range(chance.randint(1, 3)):
        sweep = start(store)
        try:
            sweep.wait(chance.uniform(0.4, 1) * seconds)
            break  # it was faster than the kill
        except subprocess.TimeoutExpired:
            kill(sweep, chance.choice(["the sweep", "a worker", "all"]), chance)
            kills += 1
            sweep.wait()
    # Workers whose sweep was killed end their runs in order; they hold the locks until then.
    while sweep_again(store):
        time.sleep(1)
    return kills


def sweep_again(store: Path) -> bool:
    """Give the command once more; tell whether a run was still live elsewhere, so that it is due again."""
    code = start(store).wait()
    live = "live in another process" in (store / "screen.log").read_text().rpartition("jobs, 2 at a time")[2]
    if code and not live:
        sys.exit(f"the sweep failed: {store}/screen.log")
    return bool(code)


def main() -> None:
    """Soak, and print what was found."""
    count, seed = int(sys.argv[1]), int((sys.argv[2:] or ["0"])[0])
    chance = random.Random(seed)  # noqa: S311
    kills = resumes = points = differences = 0
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    undisturbed = folder / "undisturbed"
    undisturbed.mkdir()
    started = time.monotonic()
    if start(undisturbed).wait():
        sys.exit(f"the undisturbed sweep failed: {undisturbed}/screen.log")
    seconds = time.monotonic() - started
    expected = {run.data.tags["fingerprint"]: result(undisturbed, run) for run in runs(undisturbed)}
    for number in range(count):
        store = folder / str(number)
        store.mkdir()
        kills += soak(store, chance, seconds)
        found = runs(store)
        resumes += sum(int(run.data.tags.get("resumes", 0)) for run in found)
        results = {run.data.tags["fingerprint"]: result(store, run) for run in found}
        points += sum(len(series) for one in results.values() for series in one["points"].values())
        wrong = [key for key in expected if results.get(key) != expected[key]]
        differences += len(wrong) + abs(len(found) - len(expected))
        print(
            f"{number + 1}/{count}: {kills} kills, {resumes} resumes, {differences} differences", flush=True
        )
    total, minutes = count * len(expected), (time.monotonic() - started) / 60
    print(
        f"{count} sweeps, {total} runs, seed {seed}, {minutes:.0f} min: {kills} kills, {resumes} resumes; "
        f"{points} points and {total} digests of weights compared: {differences} differences"
    )
    sys.exit(differences > 0)


if __name__ == "__main__":
    main()
