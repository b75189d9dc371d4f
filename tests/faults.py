"""A sweep beside a server that breaks: what training loses by it, and whether the server has all in the end.

    python tests/faults.py [--repeats R] [--epochs E] [--fault NAME ...]
    python tests/faults.py --windows [--epochs E]
    python tests/faults.py --kills N [--seed S]

Not part of the tests: a sweep takes one to two minutes. Without options: a sweep for each way in which a
server can fail, and undisturbed ones in turn, as CSV on standard output; "none" is what live copying itself
costs. With --windows: what it costs an epoch, within one sweep, as two sweeps differ by more than that. With
--kills: sweeps whose processes and whose server are killed at random, seeded moments, N times in all; then
`sync --check`, and each run against the undisturbed ones. Exit code 1 where a point, a run or a status is
lost, twice or false.
"""

import argparse
import csv
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import psutil
from mlflow import MlflowClient
from mlflow.entities import Run

from handwriting.config import ROOT
from handwriting.tracking import names

sys.path.insert(0, str(ROOT / "tests" / "tracking"))
from test_resume import result

from servers import Gate, Machine, Server, wait_for

WORDS = (
    "-m", "optimizer=rmsprop,adam", "model=cnn", "data.limit_train=2000", "data.limit_test=200",
    "data.validation_size=200", "hydra.launcher.jobs=2",
)  # fmt: skip
OFFSET = 3.0  # s from the first epoch in the server to the fault
WHOM = (
    "the server", "the server", "make sync", "make sync", "make sync", "what copies", "the sweep", "a worker",
    "all of it",
)  # fmt: skip
WINDOW, SETTLES = 15.0, 0.5  # s, of some epochs, and until one that has begun counts
TEMPORARY = "kill for 1 s", "kill for 30 s", "kill for 300 s"
BROKEN = "refuse", "500", "429", "hang"
FAULTS = "none", *TEMPORARY, "kill for good", *BROKEN, "disk full"


def by_name(machine: Machine) -> dict[str, dict[str, Any]]:
    """Return what must not depend on a fault, of each of a machine's training runs."""
    runs = [run for run in machine.runs() if names.REPORT not in run.data.tags]
    return {run.info.run_name: result(machine.folder / "mlruns", run) for run in runs}


def copies(server: Server) -> list[Run]:
    return [run for run in server.runs() if names.ORIGIN in run.data.tags]


class Disk:
    """A file system of some megabytes, in memory, for a server's store."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(folder)], check=True)

    def fill(self) -> None:
        with (self.folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def empty(self) -> None:
        (self.folder / "filler").unlink()


def trained(machine: Machine, words: tuple[str, ...], fault: Callable[[], None]) -> float:
    """Train a sweep while a fault comes, when its first epoch is stored; return its seconds."""
    started = time.monotonic()
    with machine.training(*words) as process:
        wait_for(lambda: any(names.LOSS in run.data.metrics for run in machine.runs()))
        time.sleep(OFFSET)
        happening = threading.Thread(target=fault)
        happening.start()
        _, said = process.communicate()
        seconds = time.monotonic() - started
        happening.join()
    if process.returncode:
        sys.exit(f"the sweep failed:\n{said}")
    return seconds


def table(folder: Path, epochs: int, repeats: int, faults: Sequence[str]) -> bool:
    """Write a line for each fault; return whether all is as it should be.

    Without and with a server in turn: `training` is the sum of a sweep's training_seconds.
    """
    words = (*WORDS, f"epochs={epochs}")
    out = csv.writer(sys.stdout)
    columns = "fault seconds undisturbed lost_percent training undisturbed_training weights_equal differences"
    out.writerow(columns.split())
    right = True
    for repeat in range(repeats):
        for fault in faults:
            place = folder / f"{repeat} {fault}"
            for name in ("alone", "machine"):
                (place / name).mkdir(parents=True)
            disk = Disk(place / "server") if fault == "disk full" else None
            if disk is None:
                (place / "server").mkdir()
            server = Server(place / "server")
            gate = Gate(server)
            alone, machine = Machine(place / "alone", ""), Machine(place / "machine", gate.address)
            alone.address = alone.uri
            fate = {alone: lambda: None, machine: happens(fault, server, gate, disk)}
            # In turn, so that neither is always the one after the other.
            turns = list(fate)[:: -1 if repeat % 2 else 1]
            took = {each: trained(each, words, fate[each]) for each in turns}
            seconds, usual = took[machine], took[alone]
            gate.mode = "pass"
            if fault == "kill for good":
                server.start()
            if disk:
                disk.empty()
            said = machine.sync("--check").splitlines()[-1]
            equal = by_name(machine) == by_name(alone)
            right = right and equal and said.endswith("differences: 0")
            lost = 100 * (seconds / usual - 1)
            training = [f"{training_seconds(each):.1f}" for each in (machine, alone)]
            out.writerow([fault, f"{seconds:.1f}", f"{usual:.1f}", f"{lost:.1f}", *training, equal, said])
            sys.stdout.flush()
            server.tell(signal.SIGKILL)
            gate.close()
            if disk:
                subprocess.run(["umount", "--lazy", str(disk.folder)], check=True)
    return right


def training_seconds(machine: Machine) -> float:
    return sum(run.data.metrics.get(names.TRAINING_SECONDS, 0) for run in machine.runs())


def windows(folder: Path, epochs: int) -> None:
    """Write a line for each WINDOW of a sweep: in turn, the server and what copies go on, and are stopped.

    Columns: whether they go on, the epochs that lie within, their mean, and the processor's seconds of both.
    """
    for name in ("server", "machine"):
        (folder / name).mkdir()
    server = Server(folder / "server")
    machine = Machine(folder / "machine", server.address)
    spans: list[tuple[bool, float, float, float]] = []
    with machine.training(*WORDS, f"epochs={epochs}") as process:
        hearing = threading.Thread(target=process.communicate)
        hearing.start()
        wait_for(lambda: any(names.LOSS in run.data.metrics for run in machine.runs()))
        children = psutil.Process(process.pid).children()
        both = [child for child in children if "handwriting.sharing.follower" in child.cmdline()]
        both += [
            each for each in psutil.Process(server.process.pid).children() if "uvicorn" in each.cmdline()
        ]
        assert len(both) == 2
        goes_on = True
        while sum(len(points_of(machine, run)) for run in machine.runs()) < 1.8 * epochs:
            started, used = time.time(), sum(sum(each.cpu_times()[:2]) for each in both)
            time.sleep(WINDOW)
            used = sum(sum(each.cpu_times()[:2]) for each in both) - used
            spans.append((goes_on, started, time.time(), used))
            goes_on = not goes_on
            for each in both:
                each.send_signal(signal.SIGCONT if goes_on else signal.SIGSTOP)
        for each in both:
            each.send_signal(signal.SIGCONT)
        hearing.join()
    server.tell(signal.SIGKILL)
    every = [point for run in machine.runs() for point in points_of(machine, run)]
    out = csv.writer(sys.stdout)
    out.writerow(["copying", "epochs", "epoch_seconds", "cpu_seconds"])
    for goes_on, started, ended, used in spans:
        seconds = [value for end, value in every if started + SETTLES <= end - value and end <= ended]
        out.writerow([goes_on, len(seconds), f"{statistics.mean(seconds):.3f}", f"{used:.2f}"])


def points_of(machine: Machine, run: Run) -> list[tuple[float, float]]:
    """Return when each epoch of a run ended, in s since 1970, and its seconds."""
    points = MlflowClient(machine.uri).get_metric_history(run.info.run_id, names.EPOCH_SECONDS)
    return [(point.timestamp / 1000, point.value) for point in points]


def happens(fault: str, server: Server, gate: Gate, disk: Disk | None) -> Callable[[], None]:
    """Return a function that lets a fault happen, and returns when it is over."""

    def now() -> None:
        if fault.startswith("kill"):
            server.tell(signal.SIGKILL)
            if fault in TEMPORARY:
                time.sleep(float(fault.split()[2]))
                server.start()
        elif disk:
            disk.fill()
        elif fault in BROKEN:
            gate.mode = fault

    return now


def victims(
    sweep: "subprocess.Popen[bytes]", syncing: "subprocess.Popen[bytes]"
) -> Mapping[str, list[psutil.Process]]:
    """Return the processes that may be killed, by what they are."""
    found: dict[str, list[psutil.Process]] = {}
    with suppress(psutil.NoSuchProcess):
        found["make sync"] = [psutil.Process(syncing.pid)]
        own = psutil.Process(sweep.pid)
        children = sorted(own.children(recursive=True), key=lambda child: child.create_time())
        found |= {"the sweep": [own], "all of it": [own, *children]}
        for child in children:
            with suppress(psutil.NoSuchProcess):
                line = " ".join(child.cmdline())
                if "spawn_main" in line:
                    found["a worker"] = [child]
                elif "handwriting.sharing.follower" in line:
                    found["what copies"] = [child]
    return found


def is_at_work(process: psutil.Process) -> bool:
    """Tell whether a process lives; a zombie does not, and is left to whoever started it."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def kill(processes: list[psutil.Process]) -> None:
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)
    for each in processes:
        while is_at_work(each):
            time.sleep(0.01)


def false_states(machine: Machine, server: Server) -> list[str]:
    """Return the copies that are FINISHED while their runs are not, or lack a point or the model."""
    own = {run.info.run_id: run for run in machine.runs()}
    if not own:  # and perhaps no store
        return []
    client, local = MlflowClient(f"sqlite:///{server.folder}/mlflow.db"), MlflowClient(machine.uri)
    found = []
    for copy in copies(server):
        run = own.get(copy.data.tags[names.ORIGIN].partition("/")[2])
        if run is None or copy.info.status != "FINISHED" or names.REPORT in copy.data.tags:
            continue
        steps = len(client.get_metric_history(copy.info.run_id, names.LOSS))
        models = client.search_logged_models(
            [copy.info.experiment_id], f"source_run_id = '{copy.info.run_id}'"
        )
        whole = steps == len(local.get_metric_history(run.info.run_id, names.LOSS)) and len(models) == 1
        if run.info.status != "FINISHED" or not whole:
            found.append(copy.info.run_id)
    return found


def soak(folder: Path, kills: int, seed: int) -> bool:
    """Kill, go on, and compare; return whether nothing was lost, made twice or said wrongly."""
    chance = random.Random(seed)  # noqa: S311
    words = (*WORDS, "epochs=24", "data.limit_train=660")
    for name in ("server", "alone"):
        (folder / name).mkdir()
    server, alone = Server(folder / "server"), Machine(folder / "alone", "")
    alone.address = alone.uri
    trained(alone, words, lambda: None)
    expected = by_name(alone)
    done: Counter[str] = Counter()
    started = time.monotonic()
    while done["kills"] < kills:
        place = folder / str(done["sweeps"])
        place.mkdir()
        machine = Machine(place, server.address)
        # Of its own: what one of these sweeps has finished is not trained again by the next.
        own = (*words, f"tracking.experiment_name=soak-{done['sweeps']}")
        left = min(chance.randint(10, 16), kills - done["kills"])
        with (place / "screen.log").open("w") as log:
            while True:
                sweep = started_in(machine, log, "handwriting.train", *own)
                syncing = started_in(machine, log, "handwriting.sync", "--watch")
                while left and sweep.poll() is None:
                    with suppress(subprocess.TimeoutExpired):
                        sweep.wait(chance.uniform(0.3, 4))
                    whom = chance.choice(WHOM)
                    killed = victims(sweep, syncing).get(whom)
                    if not killed and whom != "the server":
                        continue
                    if whom == "the server":
                        server.tell(signal.SIGKILL)
                    kill(killed or [])
                    done["false states"] += len(false_states(machine, server))
                    if whom == "the server":
                        time.sleep(chance.uniform(0, 2))
                        server.start()
                    if syncing.poll() is not None:
                        syncing = started_in(machine, log, "handwriting.sync", "--watch")
                    done[whom] += 1
                    done["kills"] += 1
                    left -= 1
                sweep.wait()
                kill([psutil.Process(syncing.pid)])
                syncing.wait()
                if sweep.returncode == 0:
                    break
        said = machine.sync("--check").splitlines()[-1]
        found = by_name(machine)
        done["sweeps"] += 1
        done["runs"] += len(found)
        done["points"] += sum(len(series) for one in found.values() for series in one["points"].values())
        done["differences"] += sum(found.get(name) != expected[name] for name in expected)
        done["differences of copies"] += int(said.rpartition(" ")[2])
        origins = [copy.data.tags[names.ORIGIN].partition("/")[2] for copy in copies(server)]
        mine = [run.info.run_id for run in machine.runs()]
        done["twins"] += sum(origins.count(run_id) > 1 for run_id in mine)
        done["not copied"] += sum(run_id not in origins for run_id in mine)
        text = ", ".join(f"{number} {what}" for what, number in done.items())
        print(f"seed {seed}, {(time.monotonic() - started) / 60:.0f} min: {text}", flush=True)
    server.tell(signal.SIGKILL)
    wrong = ("differences", "differences of copies", "twins", "not copied", "false states")
    return not any(done[what] for what in wrong)


def started_in(machine: Machine, log: TextIO, module: str, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=machine.folder, env=machine.environment, stdout=log, stderr=log,
    )  # fmt: skip


def main() -> None:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, help="kill so many times, instead of the table of faults")
    parser.add_argument("--windows", action="store_true", help="one sweep, with and without copying in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1, help="of the table")
    parser.add_argument("--epochs", type=int, default=20, help="of its sweeps, or of the one")
    parser.add_argument("--fault", choices=FAULTS, nargs="+", default=FAULTS, help="these only")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    if arguments.windows:
        windows(folder, arguments.epochs)
        return
    if arguments.kills:
        right = soak(folder, arguments.kills, arguments.seed)
    else:
        right = table(folder, arguments.epochs, arguments.repeats, arguments.fault)
    sys.exit(not right)


if __name__ == "__main__":
    main()
