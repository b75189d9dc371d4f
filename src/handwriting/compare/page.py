"""The report: what the runs of a sweep say, on the screen, as files, and in the store beside them."""

import base64
import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from jinja2 import Environment, PackageLoader, select_autoescape

from handwriting.compare.comparison import Comparison, compare
from handwriting.compare.figures import draw_figures
from handwriting.compare.load import LoadedRuns, load_runs
from handwriting.compare.wording import markdown, method, sentence, tables
from handwriting.drawing import save
from handwriting.tracking import Store, names

ROWS_PRINTED, ROWS_SHOWN = 30, 200  # of a table: on the screen, in the page
MISTAKES_SHOWN = 6
HEADINGS = {
    "curves": "Curves: each seed thin, the mean bold, ± 1 standard deviation",
    "differences": "Paired differences",
    "time_to_target": "Time to target: the share of runs that had reached it",
}


def report(
    store: Store,
    sweep: str | None = None,
    experiment: str | None = None,
    by: Sequence[str] | None = None,
    metric: str = names.TEST_ACCURACY,
    where: Sequence[str] = (),
) -> Path:
    """Compare, print, write a page and figures, and store them; return the page's path.

    Arguments as for `load.load_runs` and `comparison.compare`.

    Raises:
        UserError: there is nothing to compare, or no such thing, or what differs is more than was asked; or
            the files cannot be written.
    """
    loaded = load_runs(store, sweep, experiment)
    comparison = compare(loaded.runs, loaded.epochs, by, metric, where)
    print_comparison(comparison)
    name = loaded.sweep or loaded.experiment
    # An experiment may have any name; the folder is one in reports/, and no other.
    folder = store.folder / "reports" / re.sub(r"^\.", "%2E", quote(name, safe=" "))
    with store.errors():  # imports MLflow, 3 s: the verdict is on the screen by now
        page = write_files(store, loaded, comparison, name, folder)
        store_report(store, loaded, name, sentence(comparison), markdown(comparison), folder)
    print(f"\npage and figures: {page}")
    return page


def write_files(store: Store, loaded: LoadedRuns, comparison: Comparison, name: str, folder: Path) -> Path:
    """Write page, figures and tables into a folder, in place of what was there; return the page's path."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:  # of a link, what it points to is somebody else's
        folder.unlink(missing_ok=True)
    folder.mkdir(parents=True)
    drawn = draw_figures(comparison, loaded.epochs)
    pictures = {HEADINGS[key]: save(figure, folder / key) for key, figure in drawn.items()}
    pictures |= mistakes_of(store, comparison)
    page = folder / "report.html"
    page.write_text(page_of(name, comparison, pictures), encoding="utf-8")
    columns = ["run_id", "name", "arm", "seed", "status"]
    metrics = [column for column in comparison.runs if column.startswith("metrics.")]
    comparison.runs[[*columns, *metrics]].to_csv(folder / "runs.csv", index=False)
    comparison.left_out[[*columns, "reason"]].to_csv(folder / "left_out.csv", index=False)
    for number, table in enumerate(tables(comparison).values(), start=1):
        table.to_csv(folder / f"table{number}.csv", index=False)
    (folder / "verdict.md").write_text(markdown(comparison, limit=100_000) + "\n", encoding="utf-8")
    return page


def print_comparison(comparison: Comparison) -> None:
    """Print the tables, what must be said about the runs, and the verdict."""
    for title, table in tables(comparison).items():
        print(f"\n{title}\n")
        print(table.head(ROWS_PRINTED).to_string(index=False))
        if len(table) > ROWS_PRINTED:
            print(f"and {len(table) - ROWS_PRINTED} more rows, in the page")
    print()
    for caveat in comparison.caveats:
        print(f"- {caveat}")
    print(f"\n{sentence(comparison)}")


def page_of(name: str, comparison: Comparison, pictures: Mapping[str, bytes]) -> str:
    """Return the page: HTML that names no address outside itself, with every name of a run escaped."""
    environment = Environment(
        loader=PackageLoader("handwriting", "compare"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=f"{name}: {', '.join(comparison.keys) or 'runs'} compared",
        sentence=sentence(comparison),
        caveats=comparison.caveats,
        tables=tables(comparison),
        limit=ROWS_SHOWN,
        pictures={heading: base64.b64encode(png).decode() for heading, png in pictures.items()},
        left_out=len(comparison.left_out),
        method=method(comparison),
        made=f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC from {len(comparison.runs)} runs compared "
        f"and {len(comparison.left_out)} left out.",
    )


def mistakes_of(store: Store, comparison: Comparison) -> dict[str, bytes]:
    """Return the pictures of what the first seed's run of each arm got wrong, PNG, by heading.

    Runs that have none, such as those of an older version, are passed over.
    """
    first = comparison.runs.sort_values("seed").drop_duplicates("arm").set_index("arm")
    found = {}
    for arm in [arm for arm in comparison.arms.index if arm in first.index][:MISTAKES_SHOWN]:
        run = first.loc[arm]
        picture = _artifact(store, f"{run['artifact_uri']}/{names.MISTAKES}")
        if picture is not None:
            found[f"What {arm} got wrong, seed {run['seed']}"] = picture
    return found


def _artifact(store: Store, address: str) -> bytes | None:
    """Return an artifact of a run, or None where there is none."""
    if address.startswith("file:"):  # MLflow takes a second to come to the same
        path = Path(url2pathname(urlsplit(address).path))
        return path.read_bytes() if path.exists() else None
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(address, tracking_uri=store.uri)).read_bytes()
    except (MlflowException, OSError):
        return None


def store_report(
    store: Store, loaded: LoadedRuns, name: str, verdict: str, description: str, folder: Path
) -> None:
    """Put the report where MLflow's UI shows it.

    As the artifacts of one run for each sweep, in an experiment `<experiment>-reports`, so that it stands in
    no chart of training runs; and in words as the description above the training runs.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    experiment_id = store.open_experiment(loaded.experiment + names.REPORTS)
    client = store.client
    # Not with a filter: a name may have quotes in it.
    runs = client.search_runs([experiment_id])
    run_id = next((run.info.run_id for run in runs if run.data.tags.get(names.REPORT) == name), None)
    if run_id is None:
        tags = {names.REPORT: name, names.SWEEP: loaded.sweep}
        run_id = client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
    # What an earlier report drew and this one does not must not stand beside it.
    get_artifact_repository(client.get_run(run_id).info.artifact_uri).delete_artifacts()  # type: ignore[no-untyped-call]
    client.log_artifacts(run_id, str(folder))
    client.set_tag(run_id, names.DESCRIPTION, description)
    client.set_tag(run_id, names.VERDICT, verdict[:5000])
    client.set_terminated(run_id)
    training = client.get_experiment_by_name(loaded.experiment)
    assert training is not None
    client.set_experiment_tag(training.experiment_id, names.DESCRIPTION, description)
