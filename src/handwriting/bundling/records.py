"""What each run was made of: its config, command, commit, changes, code and versions, out of the store.

Of two runs with the same code or the same changes, one file. Importing this imports MLflow.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from mlflow.entities import Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from handwriting.bundling.cleaning import Cleaner
from handwriting.compare import Comparison
from handwriting.tracking import Store, names
from handwriting.tracking.provenance import machine_tags

CONFIG = "config.yaml"  # artifact: the composed config
PACKAGES = ("python", *names.LIBRARIES, "mlflow", "hydra-core")
TAGS = (
    names.COMMAND, names.COMMIT, names.DIRTY, names.CODE, names.DATA, *PACKAGES, names.CPU, "cores",
    names.THREADS, names.PRECISION, names.ONEDNN, "host_os",
)  # fmt: skip
DIFF = "uncommitted.diff"  # of a process of a run
SOURCES = (".py", ".yaml", ".yml")  # of what git does not track, all that is sent around; the rest is named


def runs_of(store: Store, comparison: Comparison) -> list[Run]:
    """Return the runs of a comparison as MLflow has them, with all their tags; those left out come last."""
    wanted = pd.concat([comparison.runs, comparison.left_out])[["run_id", "experiment_id"]]
    found = {run.info.run_id: run for run in store.search(list(wanted["experiment_id"].unique()))}
    return [found[run_id] for run_id in wanted["run_id"] if run_id in found]


def write_records(
    folder: Path,
    scratch: Path,
    store: Store,
    runs: Sequence[Run],
    comparison: Comparison,
    cleaner: Cleaner,
) -> pd.DataFrame:
    """Write configs/, code/, provenance.csv and environment.csv; return what is in provenance.csv.

    Args:
        folder: where to.
        scratch: a folder for what is fetched from the store.
        store: where the runs are.
        runs: as `runs_of` returns them.
        comparison: knows each run's arm and seed.
        cleaner: of all texts.
    """
    for name in ("configs", "code"):
        (folder / name).mkdir()
    rows = []
    for run in runs:
        files = _Files(store, run, scratch)
        row = {"run_id": run.info.run_id, "status": run.info.status}
        row |= {"started": _time(run.info.start_time), "ended": _time(run.info.end_time)}
        row |= {tag: cleaner.settings(run.data.tags.get(tag, "")) for tag in TAGS}
        if CONFIG in files.top:
            row["config"] = f"configs/{run.info.run_id}.yaml"
            _write(folder / row["config"], cleaner.settings(files.read(CONFIG)))
        code = run.data.tags.get(names.CODE)
        if code and names.CODE_FILE in files.top:
            row["code"] = f"code/{quote(code, safe='')}.json"
            if not (folder / row["code"]).exists():  # names and digests only
                _write(folder / row["code"], files.read(names.CODE_FILE))
        row["changes"] = " ".join(dict.fromkeys(_write_changes(folder, files, cleaner)))
        rows.append(row)
    columns = ["run_id", "arm", "seed", "status", "started", "ended", "config", "code", "changes", *TAGS]
    arms = pd.concat([comparison.runs, comparison.left_out])[["run_id", "arm", "seed"]]
    arms = arms.assign(seed=arms["seed"].astype("Int64"))  # none may be stored with a run
    table = pd.DataFrame(rows).merge(arms, on="run_id").reindex(columns=columns)
    table.to_csv(folder / "provenance.csv", index=False)
    environment_of(table).to_csv(folder / "environment.csv", index=False)
    return table


def environment_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per package and version of the runs: package, version, runs (how many), here."""
    here = machine_tags()
    rows = [
        (package, version, number, here[package])
        for package in PACKAGES
        for version, number in table[package].value_counts().sort_index().items()
    ]
    return pd.DataFrame(rows, columns=["package", "version", "runs", "here"])


def not_pinned(environment: pd.DataFrame, pins: str) -> list[str]:
    """Return what tells a lock file from what the runs had: "keras: the runs 3.15.0, the lock file 3.15.1".

    Args:
        environment: as of `environment_of`.
        pins: the lock file; "" where there is none.
    """
    found = []
    for package in PACKAGES[1:]:
        theirs = set(environment.loc[environment["package"] == package, "version"])
        pinned = set(re.findall(rf"^{re.escape(package)}==([^\s;]+)", pins, re.MULTILINE))
        if theirs != pinned or len(theirs) != 1:
            runs, lock = (", ".join(sorted(versions - {""})) or "unknown" for versions in (theirs, pinned))
            found.append(f"{package}: the runs {runs}, the lock file {lock}")
    return found


class _Files:
    """The artifacts of a run.

    Attributes:
        top: the names of the files and folders that are in no folder.
    """

    def __init__(self, store: Store, run: Run, scratch: Path):
        self._repository = get_artifact_repository(
            run.info.artifact_uri, store.uri
        )  # the client's takes a request more
        self._scratch = str(scratch)
        self.top = {file.path for file in self._repository.list_artifacts()}

    def read(self, path: str) -> str:
        """Return a text; bytes that are no UTF-8 stay what they are when it is written again."""
        fetched = self._repository.download_artifacts(path, self._scratch)  # type: ignore[no-untyped-call]
        return os.fsdecode(Path(fetched).read_bytes())

    def below(self, path: str) -> Iterator[str]:
        """Return the files in a folder and in those within it, in order."""
        found: list[Any] = self._repository.list_artifacts(path)
        for file in sorted(found, key=lambda file: file.path):
            if file.is_dir:
                yield from self.below(file.path)
            else:
                yield file.path


def _write_changes(folder: Path, files: _Files, cleaner: Cleaner) -> Iterator[str]:
    """Write what each process of a run had that no commit has; return the folders, each named by its content.

    The diff of what git tracks, and untracked sources. Other untracked files may be anything: only their
    names.
    """
    for process in sorted(name for name in files.top if name.startswith("process-")):
        texts, others = {}, []
        for path in files.below(process):
            name = path.removeprefix(f"{process}/")
            if name == "untracked.txt":
                others.append(files.read(path))
            elif name == DIFF or name.endswith(SOURCES):
                texts[quote(os.fsencode(name))] = cleaner.code(
                    files.read(path)
                )  # a name that any system takes
            elif name != "commit.txt":
                others.append(f"{name.removeprefix('untracked/')}\n")
        if not texts:
            continue
        if others:
            texts["not_here.txt"] = cleaner.code("".join(others))
        content = "".join(f"{name}\0{text}\0" for name, text in texts.items())
        changes = f"code/changes-{hashlib.sha256(os.fsencode(content)).hexdigest()[:8]}"
        for name, text in texts.items():
            _write(folder / changes / name, text)
        yield changes


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(os.fsencode(text))


def _time(milliseconds: int | None) -> str:
    return f"{pd.Timestamp(milliseconds, unit='ms', tz='UTC')}" if milliseconds else ""
