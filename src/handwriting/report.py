"""`make report`: what the runs of a sweep say, on the screen, as files, and in the store beside them."""

import argparse
import base64
import re
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from handwriting.errors import UserError
from handwriting.store import REPORTS, check_store, default_uri, sqlite_path, store_folder

if TYPE_CHECKING:
    from handwriting.analysis.compare import Comparison
    from handwriting.analysis.stored import Stored

BASELINE = "rmsprop"  # where there is such an arm, differences are counted from it
ROWS_SHOWN = 30
MISTAKES_SHOWN = 6
HEADINGS = {
    "curves": "Curves: each seed thin, the mean bold, ± 1 standard deviation",
    "differences": "Paired differences",
    "time_to_target": "Time to target: the share of runs that had reached it",
}


def main() -> None:
    """Report on what the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m handwriting.report", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--sweep", help="a sweep's name; default: the latest")
    what.add_argument("--experiment", help="all runs of an experiment")
    parser.add_argument("--by", nargs="+", metavar="KEY", help="what was swept; default: all that differs")
    parser.add_argument("--metric", default="test_accuracy", help="what is compared; default: test_accuracy")
    parser.add_argument("--uri", default=default_uri())
    arguments = parser.parse_args()
    try:
        check_there(arguments.uri)
        report(arguments.uri, arguments.sweep, arguments.experiment, arguments.by, arguments.metric)
    except UserError as error:
        sys.exit(f"error: {error}")


def check_there(uri: str) -> None:
    """Refuse a store that is not there yet, rather than make an empty one.

    Raises:
        UserError: there is none, or it cannot be written.
    """
    database = sqlite_path(uri)
    if database and not database.exists():
        raise UserError(f"there is no store {database} yet. Train some runs: make sweep, or make quick")
    check_store(uri)


def report(
    uri: str,
    sweep: str | None = None,
    experiment: str | None = None,
    by: list[str] | None = None,
    metric: str = "test_accuracy",
) -> Path:
    """Compare, print, write a page and figures, and store them; return the page's path.

    Args:
        uri: the store.
        sweep: a sweep's name, by default the latest one's.
        experiment: an experiment's name instead, for all of its runs.
        by: what was swept, by default all settings that differ.
        metric: what is compared.

    Raises:
        UserError: there is nothing to compare, or no such thing.
    """
    from handwriting.analysis.compare import compare
    from handwriting.analysis.figures import figures, save
    from handwriting.analysis.read import read
    from handwriting.analysis.verdict import markdown, sentence, tables

    stored = read(uri, sweep, experiment)
    comparison = compare(stored.runs, stored.epochs, by, metric, BASELINE)
    print_comparison(comparison)
    name = stored.sweep or stored.experiment
    # An experiment may have any name; the folder is one in reports/, and no other.
    folder = store_folder(uri) / "reports" / re.sub(r"^\.", "%2E", quote(name, safe=" "))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    drawn = figures(comparison, stored.epochs)
    pictures = {HEADINGS[key]: save(figure, folder / key) for key, figure in drawn.items()}
    pictures |= mistakes_of(uri, comparison)
    page = folder / "report.html"
    page.write_text(page_of(name, comparison, pictures))
    columns = ["run_id", "name", "arm", "seed", "status"]
    metrics = [column for column in comparison.runs if column.startswith("metrics.")]
    comparison.runs[[*columns, *metrics]].to_csv(folder / "runs.csv", index=False)
    comparison.left_out[[*columns, "reason"]].to_csv(folder / "left_out.csv", index=False)
    for number, table in enumerate(tables(comparison).values(), start=1):
        table.to_csv(folder / f"table{number}.csv", index=False)
    (folder / "verdict.md").write_text(markdown(comparison, most=100_000) + "\n")

    from handwriting.tracking import store_errors  # MLflow, 3 s: the verdict is on the screen by now

    with store_errors(uri):
        store_report(uri, stored, name, sentence(comparison), markdown(comparison), folder)
    print(f"\npage and figures: {page}")
    return page


def print_comparison(comparison: "Comparison") -> None:
    """Print the tables, what must be said about the runs, and the verdict."""
    from handwriting.analysis.verdict import sentence, tables

    for title, table in tables(comparison).items():
        print(f"\n{title}\n")
        print(table.head(ROWS_SHOWN).to_string(index=False))
        if len(table) > ROWS_SHOWN:
            print(f"and {len(table) - ROWS_SHOWN} more rows, in the page")
    print()
    for remark in comparison.remarks:
        print(f"- {remark}")
    print(f"\n{sentence(comparison)}")


def page_of(name: str, comparison: "Comparison", pictures: Mapping[str, bytes]) -> str:
    """Return the page: HTML that names no address outside itself, with every name of a run escaped."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    from handwriting.analysis.verdict import method, sentence, tables

    environment = Environment(
        loader=PackageLoader("handwriting", "analysis"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=f"{name}: {', '.join(comparison.keys) or 'runs'} compared",
        sentence=sentence(comparison),
        remarks=comparison.remarks,
        tables=tables(comparison),
        most=200,
        pictures={heading: base64.b64encode(png).decode() for heading, png in pictures.items()},
        left_out=len(comparison.left_out),
        method=method(comparison),
        made=f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC from {len(comparison.runs)} runs compared "
        f"and {len(comparison.left_out)} left out.",
    )


def mistakes_of(uri: str, comparison: "Comparison") -> dict[str, bytes]:
    """Return the pictures of wrong digits of the first seed's run of each arm, PNG, by heading.

    Runs that have none, such as those of an older version, are passed over.
    """
    from handwriting.analysis.figures import MISTAKES

    first = comparison.runs.sort_values("seed").drop_duplicates("arm").set_index("arm")
    found = {}
    for arm in [arm for arm in comparison.arms.index if arm in first.index][:MISTAKES_SHOWN]:
        run = first.loc[arm]
        picture = artifact(uri, f"{run['artifact_uri']}/{MISTAKES}")
        if picture is not None:
            found[f"Wrong digits of {arm}, seed {run['seed']}"] = picture
    return found


def artifact(uri: str, address: str) -> bytes | None:
    """Return an artifact of a run, or None where there is none."""
    if address.startswith("file:"):  # MLflow takes a second to come to the same
        path = Path(url2pathname(urlsplit(address).path))
        return path.read_bytes() if path.exists() else None
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        mlflow.set_tracking_uri(uri)
        return Path(mlflow.artifacts.download_artifacts(address)).read_bytes()
    except (MlflowException, OSError):
        return None


def store_report(
    uri: str, stored: "Stored", name: str, sentence: str, description: str, folder: Path
) -> None:
    """Put the report where MLflow's UI shows it.

    As the artifacts of one run for each sweep, in an experiment `<experiment>-reports`, so that it stands in
    no chart of training runs; and in words as the description above the training runs.
    """
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from handwriting.config import TrackingConfig
    from handwriting.tracking import open_store

    client = mlflow.MlflowClient(uri)
    experiment_id = open_store(TrackingConfig(uri=uri, experiment_name=stored.experiment + REPORTS))
    # Not with a filter: a name may have quotes in it.
    runs = client.search_runs([experiment_id])
    run_id = next((run.info.run_id for run in runs if run.data.tags.get("report") == name), None)
    if run_id is None:
        tags = {"report": name, "sweep": stored.sweep}
        run_id = client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
    # What an earlier report drew and this one does not must not stand beside it.
    get_artifact_repository(client.get_run(run_id).info.artifact_uri).delete_artifacts()  # type: ignore[no-untyped-call]
    client.log_artifacts(run_id, str(folder))
    client.set_tag(run_id, "mlflow.note.content", description)
    client.set_tag(run_id, "verdict", sentence[:5000])
    client.set_terminated(run_id)
    training = client.get_experiment_by_name(stored.experiment)
    assert training is not None
    client.set_experiment_tag(training.experiment_id, "mlflow.note.content", description)


if __name__ == "__main__":
    main()
