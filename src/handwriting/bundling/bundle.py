"""One sweep from the store to its folder or zip."""

from datetime import UTC, datetime
from pathlib import Path

from handwriting.bundling.cleaning import Cleaner, cleaned, cleaner_of
from handwriting.bundling.placing import ABOUT, ZIP, check_place, disk_errors, put, scratch_in
from handwriting.compare import Answer, Asked, answer_of, fill, folder_of, load_runs
from handwriting.config import ROOT
from handwriting.errors import UserError
from handwriting.tracking import Store

LOCK = "requirements.lock"
MADE = "made"


def bundle(store: Store, sweep: str | None = None, place: Path | None = None) -> Path:
    """Write a sweep's result, by default into exports/ beside the store; return where it is.

    Made of the store as it is now, and nothing is written there: the same runs give the same bytes.

    Args:
        store: where the runs are.
        sweep: its name; by default the latest.
        place: a zip where the name ends in .zip, else a folder.

    Raises:
        UserError: there is no such sweep, or nothing to compare; or the place cannot be used, and what was
            there stays.
    """
    folder = place.parent if place else store.folder / "exports"
    if not place:
        folder.mkdir(exist_ok=True)
    with scratch_in(folder) as scratch:
        loaded = load_runs(store, sweep)
        if not loaded.sweep:
            raise UserError("no run is of a sweep, which is started with -m: make sweep, or make quick")
        name = folder_of(loaded.sweep)
        place = place or folder / f"{name}{ZIP}"
        check_place(place)
        cleaner = cleaner_of(store, loaded)
        answer = answer_of(store, cleaned(loaded, cleaner), Asked())
        with store.errors(), disk_errors(folder):  # imports MLflow, 2 s: mistakes are said by now
            at = _write(scratch, store, answer, cleaner)
            put(scratch / MADE, place, scratch, name, at)
    return place


def _write(scratch: Path, store: Store, answer: Answer, cleaner: Cleaner) -> datetime:
    """Write all files but the checksums into the folder MADE; return when the last run ended."""
    from handwriting.bundling import records
    from handwriting.bundling.about import about

    made, fetched = scratch / MADE, scratch / "fetched"
    made.mkdir()
    fetched.mkdir()
    comparison = answer.comparison
    runs = records.runs_of(store, comparison)
    table = records.write_records(made, fetched, store, runs, comparison, cleaner)
    end = max(run.info.end_time or run.info.start_time for run in runs) / 1000
    at = datetime.fromtimestamp(end, UTC)
    fill(made, store, answer.loaded, comparison, answer.title, f"Its runs ended by {at:%Y-%m-%d %H:%M} UTC")
    lock = ROOT / LOCK
    pins = lock.read_text(encoding="utf-8") if lock.exists() else ""
    others = records.not_pinned(records.environment_of(table), pins)
    if not others:
        (made / LOCK).write_text(pins, encoding="utf-8")
    (made / ABOUT).write_text(about(answer, table, made, others), encoding="utf-8")
    return at
