"""Where a run came from: code, command, versions and machine."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from handwriting.config import cores
from handwriting.errors import redact
from handwriting.store import ROOT


def computing_tags() -> dict[str, str]:
    """Return what, besides the config, decides a result's last bits: the processor and the versions."""
    packages = ("tensorflow", "keras", "numpy")
    return {name: version(name) for name in packages} | {"cpu": cpu_model()}


def machine_tags() -> dict[str, str]:
    """Return the machine and the versions that a run was made with."""
    return computing_tags() | {
        "python": platform.python_version(),
        "mlflow": version("mlflow"),
        "hydra-core": version("hydra-core"),
        "cores": str(cores()),
        "host": platform.node(),
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
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_state() -> tuple[dict[str, str], str]:
    """Return tags with the commit and whether the tree was dirty, and the diff where it was.

    Files that git does not track make the tree dirty too; the diff names them.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"git.commit": "unknown", "git.dirty": "unknown"}, ""
    status = _git("status", "--porcelain") or ""
    diff = ""
    if status:
        untracked = [line[3:] for line in status.splitlines() if line.startswith("??")]
        diff = (_git("diff", "HEAD") or "") + "".join(f"\nuntracked: {name}" for name in untracked)
    return {"git.commit": commit, "git.dirty": str(bool(status)).lower()}, redact(diff)


def _git(*arguments: str) -> str | None:
    # A hook's GIT_DIR would name another repository.
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return done.stdout.strip("\n") if done.returncode == 0 else None
