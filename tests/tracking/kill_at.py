"""Run `handwriting.train` again and again, each time killed with SIGKILL at another moment, then to its end.

    python tests/tracking/kill_at.py KEY=VALUE ...

A moment is reached for real: the code before it has run, the code after it never does. Each attempt is a
process of its own, forked when all is imported and nothing is started, as importing takes ten seconds.
Prints a line an attempt: how its process ended (the exit code, or minus the signal's number), and the moment.
"""

import gc
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

import mlflow
import mlflow.store.tracking.sqlalchemy_store

from handwriting import train, training  # noqa: F401  # quietly
from handwriting.tracking.run import Run
from handwriting.training import callbacks
from handwriting.training import run as training_run

# The moment, and the epoch, counted from 1, in which it comes.
MOMENTS = {
    "before the first epoch": 1,
    "in an epoch": 2,
    "while the checkpoint is written": 2,
    "between checkpoint and metrics": 4,
    "in the epoch after that": 5,
    "when the disk is full": 5,
    "while the model is logged": 8,
    "between model and test": 8,
}


def kill_before(owner: Any, name: str, when: Callable[..., bool] = lambda *_: True) -> None:
    """Let the process die when `owner.name` is called with arguments for which `when` holds."""
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if when(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(owner, name, wrapped)


def set_trap(moment: str) -> None:
    """Let this process die at a moment."""
    epoch = MOMENTS[moment]
    if moment == "before the first epoch":
        kill_before(training_run, "fit")
    elif moment in ("in an epoch", "in the epoch after that"):
        # At the second execution of steps: part of the epoch is done.
        second = callbacks.StopAtNan, "on_train_batch_end"
        kill_before(*second, lambda self, *_: self.epoch == epoch and self.first_step > 1)
    elif moment == "while the checkpoint is written":
        # All of it is on the disk, and it has no name yet.
        kill_before(os, "replace", lambda _, path: str(path).endswith(f"epoch-{epoch:04}.npz"))
    elif moment == "between checkpoint and metrics":
        kill_before(Run, "log_epoch", lambda run, metrics, number: number == epoch - 1)
    elif moment == "while the model is logged":
        kill_before(mlflow.models.Model, "save")
    elif moment == "when the disk is full":
        # Not killed: it ends with an error. A limit on a file's size stands for the disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    else:
        set_tags = Run.set_tags  # the model is logged, and its tag is set after this

        def die_after(run: Run, tags: dict[str, str]) -> None:
            set_tags(run, tags)
            if "weights.final" in tags:
                os.kill(os.getpid(), signal.SIGKILL)

        Run.set_tags = die_after  # type: ignore[method-assign, assignment]


def attempt(moment: str, overrides: list[str]) -> None:
    """Run the command in a process of its own and print how that ended."""
    pid = os.fork()
    if pid == 0:
        os.dup2(2, 1)  # what a run says at its end is none of the lines that are printed here
        if moment in MOMENTS:
            set_trap(moment)
        sys.argv[1:] = overrides
        code = 0
        try:
            train.main()
        except SystemExit as error:
            code = 1
            print(error, file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), moment, flush=True)


if __name__ == "__main__":
    importlib.import_module("mlflow.keras")  # not before `training`, which sets TensorFlow up
    gc.freeze()  # a collection in a forked process would copy all that is imported
    for moment in MOMENTS:
        attempt(moment, sys.argv[1:])
    attempt("to the end", sys.argv[1:])
    attempt("again", sys.argv[1:])
    attempt("forced", [*sys.argv[1:], "force=true"])
