"""The command: `python -m handwriting.train KEY=VALUE ...` is one tracked run, with `-m` a sweep.

The grammar is Hydra's; the keys are in conf/ and in `--help`.
"""

import argparse
import logging
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from handwriting import terminal
from handwriting.config import GROUPS, OPEN_GROUPS, ROOT, check_config, compose, flatten, start_config
from handwriting.data import Dataset, load_dataset
from handwriting.errors import UserError, explain, redact
from handwriting.keys import meant
from handwriting.kinds import check_kinds
from handwriting.launching import called
from handwriting.precision import check_precision
from handwriting.sharing import Wanted
from handwriting.sharing.following import following
from handwriting.sweeps import JobsFailed
from handwriting.sweeps.seeds import is_until_clear
from handwriting.tracking import Store, names, stores_of
from handwriting.tracking.elsewhere import check_place
from handwriting.tracking.identity import identify

log = logging.getLogger(__name__)

WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


def run(cfg: DictConfig) -> float:
    """Check everything that can be checked in a second, then train what is not trained yet.

    Returns its validation accuracy after the last epoch, from 0 to 1.
    """
    runtime = HydraConfig.get().runtime
    if is_until_clear(cfg.seed):
        raise UserError("seed=until_clear: a sweep adds seeds until it is clear. Add -m")
    check_config(cfg)
    check_kinds(cfg, runtime)
    if cfg.arms is not None and cfg.tracking.arm is None:
        raise UserError("arms: a sweep compares them. Add -m")
    if cfg.tuning is not None and cfg.tracking.arm is None:
        raise UserError("tuning: python -m handwriting.tune tries its settings, with the same words after it")
    if HydraConfig.get().mode == RunMode.RUN and (warning := check_precision(cfg.precision)):
        log.warning(warning)  # a sweep says it once
    store, shared = stores_of(cfg.tracking)
    store.check()
    if HydraConfig.get().mode == RunMode.RUN:  # a sweep has done it
        check_place(cfg.tracking)
    dataset = load_dataset(cfg.data, cfg.seed)
    chosen = runtime.choices
    choices = {group: chosen[group] for group in GROUPS}
    first = start_config(cfg)
    start = ""
    alone = HydraConfig.get().mode == RunMode.RUN
    with following(store, shared if alone else None) as follow, store.errors():  # a sweep's follow its jobs
        both = [identify(each, dataset.sha256).fingerprint for each in (first, cfg) if each is not None]
        follow(Wanted(cfg.tracking.experiment_name, "", tuple(both)))
        if first is not None:
            own = {"optimizer": chosen["optimizer@start.optimizer"], "start": "fresh"}
            start, _ = run_once(first, dataset, store, {**choices, **own}, wait=True)
        # Of a job that is begun again the process that was lost may still be ending.
        again = cfg.tracking.retries > 0
        run_id, val_accuracy = run_once(cfg, dataset, store, choices, start, wait=again)
        if alone:
            print_result(store, run_id, cfg.tracking.experiment_name)
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
            found.keep(cfg.tracking)
            return found.run.info.run_id, found.run.data.metrics[names.VAL_ACCURACY]

        from handwriting.training import train_run

        return train_run(cfg, dataset, choices, found, start)


def print_result(store: Store, run_id: str, experiment: str) -> None:
    """Print what a run came to, where it is, and how it is compared with another."""
    stored = store.client.get_run(run_id)
    test, validation = (100 * stored.data.metrics[name] for name in (names.TEST_ACCURACY, names.VAL_ACCURACY))
    asked = [word for word in sys.argv[1:] if not word.startswith("seed=")]
    print(
        f"\ntest accuracy {test:.2f} %, validation {validation:.2f} %  ({stored.info.run_name})\n"
        f"run {run_id} in experiment {experiment}: make ui\n"
        "to compare two values of any key, with six seeds each: "
        f"python -m handwriting.train -m {redact(shlex.join([*asked, 'KEY=A,B', 'seed=range(6)']))}"
    )


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
        # Not resolved: a value may hold an interpolation, and be what failed.
        words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
        whose = called(words)
        log.error("error: %s: %s", whose, line or error, exc_info=line is None)
        raise UserError(line or repr(error)) from error


def main(config: str = "config") -> None:
    """Run the command line; a user's mistake ends in one line and exit code 1.

    Args:
        config: the name of the file in conf/ that the command begins with.
    """
    terminal.survive()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors, instead of printing its own pages
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())  # as `python -m` does, for the modules that a `_target_` names
    try:
        check_options(sys.argv[1:])
        # Not as a decorator: worker processes look for the plain function under its name.
        hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name=config)(job)()
    except JobsFailed:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except Exception as error:
        line = explain(error, known_keys)
        if line is None or WANTS_TRACEBACK:
            raise
        where = getattr(error, "__notes__", ())  # such as the arm that it is in
        sys.exit(": ".join(["error", *where, line]))


def check_options(words: Sequence[str]) -> None:
    """Refuse what Hydra's own options do not have; argparse would answer with a page.

    Raises:
        UserError: says how a setting is given.
    """
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        _, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}. Settings have no dashes: KEY=VALUE. Options: --hydra-help") from error
    for word in unknown:
        if not word.startswith("-"):
            raise UserError(f"{word}: options such as -m stand before all settings: -m ... {word}")
        name, _, value = word.lstrip("-").partition("=")
        after = words[words.index(word) + 1 :] if word in words else []
        value = value or (after[0] if after and "=" not in after[0] else "VALUE")
        known = known_keys()
        key = name if name in known else meant(name, known)
        right = f" Settings have no dashes: {key}={value}." if key else ""
        raise UserError(f"{word}: there is no such option.{right} All keys: --help")


def known_keys() -> dict[str, str]:
    """Return what the command line could have named: the groups, and the keys of their members.

    With each key that the config of this command line does not have, the GROUP=MEMBER that has it.
    """
    asked, _ = get_args_parser().parse_known_args()
    folders = [ROOT / "conf", *([Path(asked.config_dir).absolute()] if asked.config_dir else [])]
    files = [file for folder in folders for file in sorted(folder.glob("*/*.yaml"))]
    groups = {file.parent.name for file in files}
    chosen = [word for word in asked.overrides if word.partition("=")[0] in groups and "," not in word]
    try:
        here = compose(f"hydra.searchpath=[{','.join(f'file://{path}' for path in folders[1:])}]", *chosen)
    except HydraException:  # the mistake is among them
        here = compose()
    known = dict.fromkeys([*flatten(here), *here, *groups, "hydra.launcher.jobs"], "")
    for file in files:
        if file.parent.name in OPEN_GROUPS:
            own = OmegaConf.load(file)
            known |= {
                key: f"{file.parent.name}={file.stem}"
                for key in (f"{file.parent.name}.{name!s}" for name in own)
                if key not in known
            }
    return known


if __name__ == "__main__":
    main()
