"""The table of a sweep's jobs."""

import contextlib

import pandas as pd

from conftest import Opened
from handwriting.config import TrackingConfig
from handwriting.sweeps.table import MOST, runs_of_sweep, shown, table_of_jobs
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
    table = table_of_jobs({"f0": ("adam", 0), "f1": ("adam", 1)}, [], set())
    assert table.to_dict("list") == {"arm": ["adam"] * 2, "seed": [0, 1], "status": ["NOT RUN"] * 2}


def test_a_job_that_was_begun_here_and_finished_elsewhere_is_finished(
    tracking: TrackingConfig, opened: Opened
) -> None:
    tags = {names.SWEEP: "sweep-0c", names.FINGERPRINT: "f0"}
    with tracked_run(*opened, "elsewhere", tags | {names.ORIGIN: "store/run"}):
        pass
    with contextlib.suppress(SystemExit), tracked_run(*opened, "here", tags) as here:
        raise SystemExit
    runs = runs_of_sweep(opened[1], "sweep-0c")
    for live, status in (set[str](), "FINISHED"), ({here.id}, "KILLED"):
        assert table_of_jobs({"f0": ("adam", 0)}, runs, live)["status"].tolist() == [status]
    opened[0].client.update_run(runs[-1].info.run_id, "RUNNING")  # a copy that is not whole
    table = table_of_jobs({"f0": ("adam", 0)}, runs_of_sweep(opened[1], "sweep-0c"), set())
    assert table["status"].tolist() == ["KILLED"]


def made(statuses: list[str]) -> pd.DataFrame:
    """Return the table of jobs with these statuses, of which those that failed say why."""
    reasons = ["loss is no number" if status == "FAILED" else None for status in statuses]
    columns = {"arm": "adam", "seed": range(len(statuses)), "status": statuses, "failure": reasons}
    return pd.DataFrame(columns).dropna(axis="columns", how="all")


def test_a_short_table_has_every_job_in_its_place() -> None:
    text = shown(made(["FINISHED", "FAILED", "FINISHED", "FAILED"]))
    assert [line.split() for line in text.splitlines()[1:5]] == [
        ["adam", "0", "FINISHED"], ["adam", "1", "FAILED"],
        ["adam", "2", "FINISHED"], ["adam", "3", "FAILED"],
    ]  # fmt: skip
    assert text.endswith("\n\nadam seed 1 and 1 more: loss is no number"), "each reason once, below"
    assert "more" not in shown(made(["FINISHED"] * MOST))


def test_of_many_jobs_those_that_are_not_finished_come_first_and_the_rest_is_counted() -> None:
    lines = shown(made(["FINISHED"] * 200 + ["FAILED"] + ["FINISHED"] * 38 + ["KILLED"])).splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["adam", "200", "FAILED"], ["adam", "239", "KILLED"], ["adam", "0", "FINISHED"],
    ]  # fmt: skip
    assert lines[1 + MOST :] == ["and 210 more: 210 FINISHED", "", "adam seed 200: loss is no number"]
    many = shown(made(["FAILED"] * 40 + ["FINISHED"] * 5 + ["KILLED"] * 3)).splitlines()
    assert many[1 + MOST] == "and 18 more: 10 FAILED, 5 FINISHED, 3 KILLED"
