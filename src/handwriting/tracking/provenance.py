"""Where a run came from: code, command, versions and machine."""

import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from handwriting.config import ROOT, cores
from handwriting.errors import redact
from handwriting.tracking import names


def computing_tags() -> dict[str, str]:
    """Return what, besides config and code, decides a result's last bits: the processor and the versions."""
    return {name: version(name) for name in names.LIBRARIES} | {names.CPU: cpu_model()}


def machine_tags() -> dict[str, str]:
    """Return the machine and the versions that a run was made with."""
    return computing_tags() | {
        "python": platform.python_version(),
        "mlflow": version("mlflow"),
        "hydra-core": version("hydra-core"),
        "cores": str(cores()),
        names.HOST: platform.node(),
        "host_os": platform.platform(),
    }


def command_line() -> str:
    """Return the command that started this process, ready to be pasted."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    start = ["python", "-m", spec.name] if spec else [Path(sys.argv[0]).name]
    return redact(shlex.join([*start, *sys.argv[1:]]))


def cpu_model() -> str:
    """Return the processor's name, as the kernel gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


@dataclass(frozen=True)
class GitState:
    """The checkout that this process runs.

    Args:
        commit: "unknown" where there is none.
        dirty: "true", "false" or "unknown"; files that git does not track make it dirty too.
        diff: of what git tracks, without passwords.
        untracked: the other files that it does not ignore, below ROOT.
    """

    commit: str = "unknown"
    dirty: str = "unknown"
    diff: str = ""
    untracked: tuple[Path, ...] = ()


def git_state() -> GitState:
    """Return the state of the checkout."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return GitState()
    untracked = (_git("ls-files", "--others", "--exclude-standard", "-z") or "").split("\0")
    diff = redact(_git("diff", "HEAD") or "")
    return GitState(
        commit,
        str(bool(diff or any(untracked))).lower(),
        diff,
        tuple(ROOT / name for name in untracked if name),
    )


def _git(*arguments: str) -> str | None:
    # A hook's GIT_DIR would name another repository.
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], cwd=ROOT, env=env, capture_output=True, check=False)
    # Files and their names may be in any encoding: a byte that is not UTF-8 stays the byte that it is.
    return os.fsdecode(done.stdout).strip("\n") if done.returncode == 0 else None
