"""What the repo says of itself holds."""

import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, re.MULTILINE))
README = (ROOT / "README.md").read_text()
CODE = "\n".join(re.findall(r"^```.*?^```|^ {4}.+$|`[^`\n]+`", README, re.DOTALL | re.MULTILINE))
ROOMS = sorted(path.parent for path in (ROOT / "src" / "handwriting").glob("*/__init__.py"))


def test_every_make_target_that_the_readme_names_exists() -> None:
    named = re.findall(r"\bmake(?: +[A-Z]+=\S+)* +([a-z][a-z-]*)", CODE)
    assert set(named) <= TARGETS


def test_every_module_that_the_readme_runs_exists() -> None:
    for module in re.findall(r"python3? -m (handwriting[\w.]*)", CODE):
        assert importlib.util.find_spec(module), module


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(r"\b(?:conf|src|tests|notebooks|bench|docs)/[\w./-]*\w\.\w+", CODE)
    assert [path for path in named if not (ROOT / path).exists() and "NAME" not in path] == []


def test_every_make_target_has_a_help_text_and_is_phony() -> None:
    helped = re.findall(r"^([a-z][a-z-]*):(?!=).*## \S", MAKEFILE, re.MULTILINE)
    assert set(helped) == TARGETS
    phony = re.search(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == TARGETS
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[1] for line in shown.splitlines()} == TARGETS


def test_a_checkout_that_was_moved_or_copied_gets_a_venv_of_its_own(tmp_path: Path) -> None:
    """A .venv has its own path in its scripts, and the checkout's as that of the package."""
    checkout = tmp_path / 'my "clone"\'s'
    (checkout / ".venv").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, checkout)
    (checkout / ".venv" / "ready").write_text(f"{checkout}\n")

    def would_do() -> str:
        command = ["make", "--dry-run", "setup"]
        return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout

    assert "pip" not in would_do()
    checkout = checkout.rename(tmp_path / "moved")
    assert "rm -rf .venv\n" in would_do()
    assert "pip install" in would_do()
    (checkout / ".venv" / "ready").write_text(f"{checkout}\n")
    assert "pip" not in would_do()


# As from a shell, also where make runs the tests: a make within a make says which folder it is in.
SHELL = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}

# What a user's Python does here: it makes a .venv whose pip and uv say a lot, and fails where it is told to.
PYTHON = """#!/bin/sh
[ "$1 $2" != "-m venv" ] && exit
mkdir -p .venv/bin
printf '#!/bin/sh\\necho "pip says a lot: $*"\\n' > .venv/bin/python
printf '#!/bin/sh\\necho "uv says a lot: $*"\\ntest ! -e broken\\n' > .venv/bin/uv
chmod +x .venv/bin/python .venv/bin/uv
"""


def test_setting_up_is_one_line_and_all_that_was_said_where_it_fails(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def set_up() -> subprocess.CompletedProcess[str]:
        command = ["make", "setup", f"PYTHON={python}"]
        return subprocess.run(command, cwd=tmp_path, env=SHELL, capture_output=True, text=True, check=False)

    (tmp_path / "broken").touch()
    failed = set_up()
    assert failed.returncode != 0
    assert "uv says a lot: pip sync" in failed.stderr
    assert "pip says" not in failed.stdout + failed.stderr, "what worked"
    (tmp_path / "broken").unlink()
    done = set_up()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"setting up \.venv .*\n", done.stdout)


@pytest.mark.parametrize(
    "words",
    ["sweep SEEDS=abc", "sweep SEEDS=0", "notebook-protocol SEEDS=0-2", "quick JOBS=x", "soak N=-1",
     "simulate N=few", "soak MINUTES=1.5", "ui PORT=http"],
)  # fmt: skip
def test_a_number_that_is_none_is_refused_in_one_line_before_anything_is_built(
    words: str, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    command = ["make", *words.split()]
    done = subprocess.run(command, cwd=tmp_path, env=SHELL, capture_output=True, text=True, check=False)
    name, value = words.split()[1].split("=")
    assert done.returncode != 0
    assert done.stdout == ""
    right = ("until_clear or " if name == "SEEDS" else "") + "a whole number, 1 or more"
    said = rf"Makefile:\d+: \*\*\* {name} must be {right}\. Received: {value}\.  Stop\.\n"
    assert re.fullmatch(said, done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_a_number_that_a_goal_does_not_take_is_let_alone() -> None:
    """Such as the PORT of a machine's environment."""
    command = ["make", "help", "PORT=tcp://1.2.3.4:80", "N=x"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("file", "least"),
    [
        ("requirements.lock", 50),
        ("requirements-server.lock", 8),
        ("requirements-ray.lock", 8),
        ("requirements-submitit.lock", 1),
        ("requirements-gpu.lock", 8),
        ("tests/requirements.lock", 8),
    ],
)
def test_a_lock_file_has_hashes_and_no_address(file: str, least: int) -> None:
    lines = [line for line in (ROOT / file).read_text().splitlines() if "#" not in line]
    assert not [line for line in lines if re.search(r"https?:|index-url|find-links|@", line)]
    pinned = [number for number, line in enumerate(lines) if not line.startswith(" ") and line]
    assert len(pinned) > least
    for number in pinned:
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ .*\\$", lines[number]), lines[number]
        assert lines[number + 1].startswith("    --hash=sha256:"), lines[number]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_it_is_for_and_has_its_tests(room: Path) -> None:
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    assert list((ROOT / "tests" / room.name).glob("test_*.py"))
    for module in room.glob("*.py"):
        assert ast.get_docstring(ast.parse(module.read_text())), module
        assert module.stem not in ("utils", "helpers", "common", "misc"), "a name says what is in it"


@pytest.mark.parametrize(
    ("extra", "its"),
    [
        ("server", {"psycopg", "psycopg-binary", "boto3", "flask-wtf"}),
        ("ray", {"ray"}),
        ("submitit", {"submitit"}),
        ("gpu", {"nvidia-cudnn-cu12"}),
    ],
)
def test_what_only_some_take_is_in_a_lock_of_its_own_with_the_versions_of_all(
    extra: str, its: set[str]
) -> None:
    def pinned(file: str) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / file).read_text(), re.MULTILINE))

    everybody, own = pinned("requirements.lock"), pinned(f"requirements-{extra}.lock")
    assert its <= own.keys() - everybody.keys()
    assert {name: version for name, version in own.items() if everybody.get(name, version) != version} == {}


def test_git_keeps_the_stores_folder_and_ignores_what_is_in_it() -> None:
    command = shlex.split("git check-ignore mlruns/mlflow.db mlruns/.gitkeep mlruns/artifacts/x .venv/x")
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert ignored == ["mlruns/mlflow.db", "mlruns/artifacts/x", ".venv/x"]
