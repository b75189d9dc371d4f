"""The command: `python -m handwriting.train KEY=VALUE ...` is one tracked run, with `-m` a sweep.

The grammar is Hydra's; the keys are in conf/ and in `--help`.
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from handwriting import terminal
from handwriting.config import GROUPS, ROOT, check_config, compose, flatten, start_config
from handwriting.data import Dataset, load_dataset
from handwriting.errors import UserError, explain
from handwriting.kinds import check_kinds
from handwriting.sweeps import JobsFailed
from handwriting.tracking import Store, names
from handwriting.tracking.identity import identify

log = logging.getLogger(__name__)

WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


def run(cfg: DictConfig) -> float:
    """Check everything that can be checked in a second, then train what is not trained yet.

    Returns its validation accuracy after the last epoch, from 0 to 1.
    """
    runtime = HydraConfig.get().runtime
    check_config(cfg)
    check_kinds(cfg, runtime)
    store = Store(cfg.tracking.uri)
    store.check()
    dataset = load_dataset(cfg.data, cfg.seed)
    chosen = runtime.choices
    choices = {group: chosen[group] for group in GROUPS}
    first = start_config(cfg)
    start = ""
    with store.errors():
        if first is not None:
            own = {"optimizer": chosen["optimizer@start.optimizer"], "start": "fresh"}
            start, _ = run_once(first, dataset, store, {**choices, **own}, wait=True)
        _, val_accuracy = run_once(cfg, dataset, store, choices, start)
    return val_accuracy


def run_once(
    cfg: DictConfig,
    dataset: Dataset,
    store: Store,
    choices: Mapping[str, str],
    start: str = "",
    wait: bool = False,
) -> tuple[str, float]:
    """Train what is not trained yet; return the run's id and its validation accuracy.

    Args:
        cfg: a checked config.
        dataset: what it names.
        store: where the run is kept.
        choices: the chosen member of each config group.
        start: the id of the run whose weights it starts from; empty for random ones.
        wait: wait for another process that works on it, instead of leaving it to that.
    """
    # Here, not at the top: MLflow takes 2 s to import and TensorFlow 5 to 12, and a mistake is answered at
    # once.
    from handwriting.tracking.resume import find_run

    identity = identify(cfg, dataset.sha256)
    with find_run(store, cfg.tracking.experiment_name, identity, cfg.force, wait) as found:
        if found.run and found.finished:
            found.keep(cfg.tracking.sweep)
            return found.run.info.run_id, found.run.data.metrics[names.VAL_ACCURACY]

        from handwriting.training import train_run

        return train_run(cfg, dataset, choices, found, start)


def job(cfg: DictConfig) -> float:
    """Run one job of Hydra's, and return what a sweeper may optimise over.

    Raises:
        UserError: in a multirun, whatever went wrong; it is said when it happens, as Hydra reports only the
            first of several. A run alone ends the process.
    """
    try:
        return run(cfg)
    except Exception as error:
        line = explain(error)
        if HydraConfig.get().mode == RunMode.RUN:
            if line is None or WANTS_TRACEBACK:
                raise
            sys.exit(f"error: {line}")  # an exception would have Hydra add a line of its own
        whose = [word for word in HydraConfig.get().overrides.task if not word.startswith("tracking.")]
        log.error("error: %s: %s", " ".join(whose), line or error, exc_info=line is None)
        raise UserError(line or repr(error)) from error


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit code 1."""
    terminal.survive()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors, instead of printing its own pages
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())  # as `python -m` does, for the modules that a `_target_` names
    try:
        # Not as a decorator: worker processes look for the plain function under its name.
        hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")(job)()
    except JobsFailed:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except Exception as error:
        line = explain(error, known_keys)
        if line is None or WANTS_TRACEBACK:
            raise
        sys.exit(f"error: {line}")


def known_keys() -> list[str]:
    """Return the keys that the command line could have named: the groups, and those of the chosen members."""
    groups = [path.name for path in (ROOT / "conf").iterdir() if path.is_dir()]
    chosen = [word for word in sys.argv[1:] if word.partition("=")[0] in groups and "," not in word]
    try:
        return [*flatten(compose(*chosen)), *groups]
    except HydraException:  # a member from elsewhere, with --config-dir
        return [*flatten(compose()), *groups]


if __name__ == "__main__":
    main()
