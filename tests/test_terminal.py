"""Commands whose output is closed, full, broken or of few characters; and a Ctrl-C that Python loses."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from pathlib import Path

import pytest

from conftest import SMALL, runs_in
from handwriting import terminal
from handwriting.bench.synthetic import fill
from handwriting.config import compose, cores
from handwriting.tracking import Store

# What a shell, cron or CI does to a command's output. The reader of the pipe ends before the first word.
OUTPUTS = {
    "out closed": "{command} >&-",
    "err closed": "{command} 2>&-",
    "all closed": "{command} <&- >&- 2>&-",
    "out full": "{command} >/dev/full",
    "err full": "{command} 2>/dev/full",
    "out and err full": "{command} >/dev/full 2>&1",
    "out broken": "{command} | true; exit ${{PIPESTATUS[0]}}",
    "out and err broken": "{command} 2>&1 | true; exit ${{PIPESTATUS[0]}}",
}
TINY = (*SMALL, "model=mlp", "model.units=16", "epochs=1", "threads=1", "tracking.experiment_name=terminal")
TRAINED = ("all closed", "out and err full")


def shell(
    output: str, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python with one of OUTPUTS in a shell of its own."""
    command = shlex.join([sys.executable, *words])
    return subprocess.run(
        ["bash", "-c", OUTPUTS[output].format(command=command)],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


# Prints more than a pipe holds, as Python and as C do it, here and in a process that is started.
PRINTS = """
import os, subprocess, sys
from handwriting import terminal

terminal.survive()
with open(sys.argv[1], "wb") as file:
    assert file.fileno() > 2, "what C++ writes to standard error would be in it"
    for _ in range(3):
        print("x" * 50_000)
        print("x" * 50_000, file=sys.stderr, flush=True)
    sys.stdout.flush()
    for number in (1, 2):
        os.fstat(number)
    subprocess.run([sys.executable, "-c", "import sys; print(1, flush=True); print(1, file=sys.stderr)"])
    file.write(b"done")
"""


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_process_prints_to_nothing_and_goes_on(output: str, tmp_path: Path) -> None:
    done = shell(output, "-c", PRINTS, str(tmp_path / "file"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_bytes() == b"done"
    assert "Traceback" not in done.stderr


def test_a_pipe_that_does_not_block_gets_all_of_it() -> None:
    code = "import os; os.set_blocking(1, False); from handwriting import terminal; terminal.survive(); "
    code += "print('x' * 300_000); print('end')"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"x" * 300_000 + b"\nend\n"
    assert process.returncode == 0


# Prints as Python does, as C does and as a process does that it starts.
SPEAKS = """
import os, subprocess, sys
from multiprocessing.connection import Connection
from handwriting import terminal

terminal.survive()
terminal.print_into(Connection(int(sys.argv[1]), readable=False), everything=False)
print("é from Python", flush=True)
print("from Python's errors", file=sys.stderr)
os.write(2, b"from C\\n 10 %\\r 20 %\\r\\n")
subprocess.run(["echo", "from a process"])
os.write(1, b"not a whole ")
sys.stdin.read(1)
os.write(1, b"line")
"""


def test_what_a_process_prints_on_a_terminal_comes_line_by_line_through_a_pipe() -> None:
    reader, writer = Pipe(duplex=False)
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", SPEAKS, str(writer.fileno())]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE, stdout=theirs, stderr=theirs, pass_fds=[writer.fileno()],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
    ) as process:  # fmt: skip
        writer.close()
        printed = terminal.Printed(reader)
        lines: list[str] = []
        deadline = time.monotonic() + 50
        while "from a process" not in lines and time.monotonic() < deadline:
            lines += printed.lines()
            time.sleep(0.01)
        assert lines == ["é from Python", "from Python's errors", "from C", " 20 %", "from a process"]
        assert printed.lines() == [], "no line that is not whole"
        assert printed.open
        process.communicate(b"x")
    assert printed.lines() == ["not a whole line"]
    assert (printed.open, printed.lines()) == (False, [])
    os.set_blocking(ours, False)
    with pytest.raises(BlockingIOError):  # nothing on the terminal
        os.read(ours, 1)
    os.close(ours)
    os.close(theirs)


def test_what_goes_to_a_file_still_goes_there(tmp_path: Path) -> None:
    reader, writer = Pipe(duplex=False)
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", SPEAKS, str(writer.fileno())]
    with (tmp_path / "file").open("wb") as file:
        subprocess.run(
            command, input=b"x", stdout=file, stderr=theirs, pass_fds=[writer.fileno()], check=True
        )
    writer.close()
    assert (tmp_path / "file").read_text() == "é from Python\nfrom a process\nnot a whole line"
    assert terminal.Printed(reader).lines() == ["from Python's errors", "from C", " 20 %"]
    os.close(ours)
    os.close(theirs)


@pytest.fixture(scope="module")
def trained() -> dict[str, subprocess.CompletedProcess[str]]:
    """Train two runs that can print nothing; their seeds are their places in TRAINED."""

    def train(seed: int) -> subprocess.CompletedProcess[str]:
        return shell(TRAINED[seed], "-m", "handwriting.train", f"seed={seed}", *TINY)

    with ThreadPoolExecutor(cores()) as pool:
        return dict(zip(TRAINED, pool.map(train, range(len(TRAINED))), strict=True))


@pytest.mark.parametrize("output", TRAINED)
def test_a_run_that_can_print_nothing_is_trained_and_stored(
    trained: dict[str, subprocess.CompletedProcess[str]], output: str
) -> None:
    assert (trained[output].returncode, trained[output].stderr) == (0, "")
    runs = {run.data.params["seed"]: run for run in runs_in(compose(*TINY).tracking)}
    run = runs[str(TRAINED.index(output))]
    assert (run.info.status, "test_accuracy" in run.data.metrics) == ("FINISHED", True)


def test_a_run_ends_with_its_accuracy_where_it_is_and_how_to_compare_it(
    trained: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    """It is finished, and skipped: that ends in the same words."""
    done = subprocess.run(
        [sys.executable, "-m", "handwriting.train", "seed=1", *TINY],
        capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    (run,) = [run for run in runs_in(compose(*TINY).tracking) if run.data.params["seed"] == "1"]
    test, validation = (100 * run.data.metrics[name] for name in ("test_accuracy", "val_accuracy"))
    command = f"python -m handwriting.train -m {' '.join(TINY)} KEY=A,B 'seed=range(6)'"
    assert done.stdout.splitlines() == [
        "",
        f"test accuracy {test:.2f} %, validation {validation:.2f} %  (rmsprop mlp seed 1)",
        f"run {run.info.run_id} in experiment terminal: make ui",
        f"to compare two values of any key, with six seeds each: {command}",
    ]


def test_a_sweep_that_can_print_nothing_makes_its_report(
    trained: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    """Its runs are finished: what is left is all that a sweep prints, in its own process and in a worker."""
    tracking = compose(*TINY).tracking
    reports = Store(tracking.uri).folder / "reports"
    before = {path: path.stat().st_mtime_ns for path in reports.glob("sweep-*/report.html")}
    done = shell(
        "out and err broken", "-m", "handwriting.train", "-m", "seed=0,1", "hydra.launcher.jobs=1", *TINY
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    after = {path: path.stat().st_mtime_ns for path in reports.glob("sweep-*/report.html")}
    assert len(set(after.items()) - set(before.items())) == 1, "a page was made"


def test_a_report_that_can_print_nothing_is_made(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    fill(store, 4)
    done = shell("out full", "-m", "handwriting.report", "--uri", store.uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.glob("reports/*/report.html"))) == 1


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "+/- - x - u ?"), ("latin-1", "± - × - µ é"), ("utf-8", "± − × – µ é")]
)
def test_what_a_terminal_cannot_show_is_written_in_plain_characters(encoding: str, shown: str) -> None:
    code = "import logging, sys; from handwriting import terminal; terminal.survive(); logging.basicConfig("
    code += "format='%(message)s'); print('± − × – µ é'); logging.warning('± − × – µ é')"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert (done.stdout.decode(encoding), done.stderr.decode(encoding)) == (f"{shown}\n", f"{shown}\n")


# Ctrl-C meets a callback of the garbage collector.
LOSES = """
import signal, time, weakref
from handwriting import terminal

class Thing:
    pass

terminal.survive()
thing = Thing()
callback = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
try:
    del thing
    time.sleep(60)
except KeyboardInterrupt:
    print("heard")
"""


def test_ctrl_c_in_a_callback_of_the_garbage_collector_is_heard() -> None:
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a child would inherit that it is ignored
    done = subprocess.run(
        [sys.executable, "-c", LOSES], capture_output=True, text=True, check=False, timeout=50
    )
    signal.signal(signal.SIGINT, before)
    assert (done.stdout, done.stderr) == ("heard\n", "")
