"""The command: `python -m handwriting.train KEY=VALUE ...` is one tracked run, with `-m` a sweep.

The grammar is Hydra's; the keys are in conf/ and in `--help`.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from handwriting import sweep
from handwriting.config import before, check_config, compose, fingerprint, flatten, identity, register
from handwriting.data import Digits, load_digits
from handwriting.errors import explain
from handwriting.store import ROOT, check_store

log = logging.getLogger(__name__)

GROUPS = ("optimizer", "schedule", "model", "data", "augmentation", "start")  # that decide a result

WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


def run(cfg: DictConfig) -> None:
    """Check everything that can be checked in a second, then train what is not trained yet."""
    check_config(cfg)
    check_store(cfg.tracking.uri)
    digits = load_digits(cfg.data, cfg.seed)

    # Here, not at the top: MLflow takes 2 s to import and TensorFlow 5 to 12, and a mistake is answered at
    # once.
    from handwriting.tracking import store_errors

    chosen = HydraConfig.get().runtime.choices
    choices = {name: chosen[name] for name in GROUPS}
    first = before(cfg)
    with store_errors(cfg.tracking.uri):
        start = ""
        if first is not None:
            own = {"optimizer": chosen["optimizer@start.optimizer"], "start": "fresh"}
            start = run_once(first, digits, {**choices, **own}, wait=True)
        run_once(cfg, digits, choices, start)


def run_once(
    cfg: DictConfig, digits: Digits, choices: dict[str, str], start: str = "", wait: bool = False
) -> str:
    """Train what is not trained yet; return the id of its run.

    Args:
        cfg: a checked config.
        digits: the data that it names.
        choices: the chosen member of each config group.
        start: the id of the run whose weights it starts from; empty for random ones.
        wait: wait for another process that works on it, instead of leaving it to that.
    """
    from handwriting.claim import claim

    with claim(cfg, fingerprint(identity(cfg, digits.sha256)), wait) as claimed:
        if claimed.run and claimed.finished:
            claimed.keep(sweep.current())
            return claimed.run.info.run_id
        with stderr_muted():
            from handwriting.fit import fit_and_track

        return fit_and_track(cfg, digits, choices, claimed, sweep.current(), start)


@contextmanager
def stderr_muted() -> Iterator[None]:
    """Drop what is written to standard error, by C++ too.

    TensorFlow greets with notes about CUDA that its log level does not reach (its issue 100442).
    An import that fails still raises, so nothing is lost.
    """
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def job(cfg: DictConfig) -> str | None:
    """Run one job of Hydra's. In a sweep, say why it failed and return that; else end the process.

    Of a job that raises, Hydra stores no traceback, and of several it reports the first.
    """
    try:
        run(cfg)
    except Exception as error:
        line = explain(error)
        if not sweep.current():
            if line is None or WANTS_TRACEBACK:
                raise
            sys.exit(f"error: {line}")  # an exception would have Hydra add a line of its own
        whose = " ".join(HydraConfig.get().overrides.task)
        log.error("error: %s: %s", whose, line or error, exc_info=line is None)
        return line or repr(error)
    return None


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit code 1."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors, instead of printing its own pages
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    register()
    try:
        # Not as a decorator: worker processes look for the plain function under its name.
        hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")(job)()
    except sweep.JobsFailed:
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
    return [*flatten(compose(*chosen)), *groups]


if __name__ == "__main__":
    main()
