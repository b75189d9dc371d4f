"""The table of a sweep's jobs."""

from conftest import Opened
from handwriting.config import TrackingConfig
from handwriting.sweeps.table import runs_of_sweep, table_of_jobs
from handwriting.tracking import names
from handwriting.tracking.run import tracked_run


def test_a_run_of_two_sweeps_is_found_in_both(tracking: TrackingConfig, opened: Opened) -> None:
    with tracked_run(*opened, "run", {"sweep": names.joined("sweep-0a", "sweep-0b")}) as run:
        pass
    for sweep in ("sweep-0a", "sweep-0b"):
        assert [found.info.run_id for found in runs_of_sweep(opened[1], sweep)] == [run.id]
    assert names.joined("sweep-0a", "sweep-0a") == "sweep-0a"
    assert names.joined(None, "") == ""


def test_the_table_shows_jobs_that_never_reached_the_store() -> None:
    table = table_of_jobs({"f0": ["seed=0", "epochs=1"], "f1": ["seed=1", "epochs=1"]}, [], set())
    assert list(table.columns) == ["seed", "status"]
    assert table.to_dict("list") == {"seed": ["0", "1"], "status": ["NOT RUN", "NOT RUN"]}
