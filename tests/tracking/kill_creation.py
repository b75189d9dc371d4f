"""Kill processes at seeded moments while they make a store, one after the other, and let another use it.

    python tests/tracking/kill_creation.py FOLDER PLACES KILLS [alone]

SIGKILL meets a statement of MLflow's, or the new file's getting its name. With `alone`, a process that is
killed is one of MLflow's own, which makes the store in place. Each attempt is forked when all is imported.
Prints a line for each of PLACES stores: how each of KILLS processes ended, and the one after them.
"""

import gc
import logging
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import mlflow
import mlflow.store.tracking.sqlalchemy_store
from sqlalchemy import Engine, event

from handwriting.tracking import Store
from handwriting.tracking.run import tracked_run

logging.basicConfig(format="%(message)s", stream=sys.stdout)


def attempt(folder: Path, moment: int, alone: bool) -> int:
    """Use a store in a process of its own, which dies at a moment, if that comes; return its exit status."""
    pid = os.fork()
    if pid == 0:
        passed = 0

        def die(*_: Any) -> None:
            nonlocal passed
            passed += 1
            if passed == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "before_cursor_execute", die)
        replace = os.replace
        os.replace = lambda *names: (die(), replace(*names))  # type: ignore[assignment,func-returns-value]
        try:
            if alone:
                mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
            else:
                store = Store(f"sqlite:///{folder}/mlflow.db")
                with tracked_run(store, store.open_experiment("first"), "run", {}) as run:
                    run.log_epoch({"loss": 1.0}, 0)
            print(passed, flush=True)
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    gc.freeze()  # a collection in a forked process would copy all that is imported
    root, places, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    killed_alone = sys.argv[4:] == ["alone"]
    chance = random.Random(0)  # noqa: S311
    # MLflow makes its tables in 1,683 statements; the new file gets its name, and is opened, after them.
    # In one place the moments ascend: behind one that comes when the store is made, none would come.
    moments = sorted(chance.sample(range(1, 1700), places * kills))
    for number in range(places):
        place = root / str(number)
        place.mkdir(parents=True)
        ends = [attempt(place, moment, killed_alone) for moment in moments[number::places]]
        print(*ends, attempt(place, 0, alone=False), flush=True)
