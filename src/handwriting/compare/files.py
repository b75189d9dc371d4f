"""The files of a report: the page, figures, and tidy tables of raw numbers, all put in place at once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from handwriting.compare.comparison import Comparison
from handwriting.compare.facts import ui_of
from handwriting.compare.figures import draw_figures
from handwriting.compare.load import LoadedRuns
from handwriting.compare.mistakes import mistakes_of
from handwriting.compare.page import page_of
from handwriting.compare.wording import markdown
from handwriting.drawing import save
from handwriting.tracking import Store, names

PAGE = "report.html"


def write_files(store: Store, loaded: LoadedRuns, comparison: Comparison, name: str, folder: Path) -> Path:
    """Write page, figures and tables into a folder, in place of what was there; return the page's path.

    What was there stays whole until all is written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".new-", dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        now = f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        fill(made, store, loaded, comparison, name, now, ui_of(store))
        with store.creating():  # of two reports at once, one after the other
            if folder.is_dir() and not folder.is_symlink():
                folder.rename(Path(scratch) / "before")
            else:  # of a link, what it points to is somebody else's
                folder.unlink(missing_ok=True)
            made.rename(folder)
    return folder / PAGE


def fill(
    folder: Path, store: Store, loaded: LoadedRuns, comparison: Comparison, name: str, made: str, ui: str = ""
) -> None:
    """Write page, figures and tables into a folder.

    Args:
        folder: that is there; the page leads to other tables in it too.
        store: where the runs are.
        loaded: the runs.
        comparison: what they say.
        name: the report's.
        made: when, in words.
        ui: the address of MLflow's UI on the store, for links to the runs; "" for a page without any.
    """
    drawn = draw_figures(comparison, loaded.epochs)
    figures = {key: save(figure, folder / key) for key, figure in drawn.items()}
    for title, table in tidy_tables(loaded, comparison).items():
        table.to_csv(folder / f"{title}.csv", index=False)
    text = page_of(comparison, name, figures, mistakes_of(store, comparison), folder, made, ui)
    (folder / PAGE).write_text(text, encoding="utf-8")
    (folder / "verdict.md").write_text(markdown(comparison, limit=100_000) + "\n", encoding="utf-8")


def tidy_tables(loaded: LoadedRuns, comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Return the report's numbers as they are stored, one observation a row, by the name of their file.

    Settings and metrics have the names that they have in the store; a setting that is called as another
    column is begins with "setting.".
    """
    columns = ["run_id", "name", "arm", "seed", "status"]
    runs = comparison.runs[[*columns, "start_time"]]
    metrics = _under("metrics.", comparison.runs)
    settings = _under("params.", comparison.runs).drop(columns="seed", errors="ignore")
    settings = settings[[key for key in settings if not key.startswith("tracking.")]]
    settings = _told_from(settings, [*runs, *metrics])
    tags = _under("tags.", comparison.runs)
    made_with = tags[[key for key in (names.DATA, *names.COMPUTING, names.DIRTY, names.HOST) if key in tags]]
    made_with = made_with[[key for key in made_with if key not in settings]]
    swept = comparison.values.drop(columns="group")
    arms = pd.concat([_told_from(swept, ["arm", *comparison.arms]), comparison.arms], axis=1)
    in_arm = comparison.runs[["run_id", "arm", "seed"]]
    tables = {
        "runs": pd.concat([runs, metrics, settings, made_with], axis=1),
        "epochs": in_arm.merge(loaded.epochs, on="run_id"),
        "arms": arms.reset_index(names="arm"),
        "pairs": comparison.pairs,
        "left_out": comparison.left_out[[*columns, "reason"]],
    }
    if comparison.tuned is not None:
        tables["tuning"] = comparison.tuned.runs.join(
            comparison.tuned.settings[["chosen", *comparison.tuned.keys]], on=["arm", "number"]
        )
    return tables | ({"times_to_target": comparison.times} if len(comparison.times) else {})


def _under(prefix: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the columns with a prefix, less the prefix, and those without any value."""
    found = runs[[column for column in runs if column.startswith(prefix)]].dropna(axis="columns", how="all")
    return found.rename(columns=lambda column: column.removeprefix(prefix))


def _told_from(settings: pd.DataFrame, others: Sequence[str]) -> pd.DataFrame:
    return settings.rename(columns={key: f"setting.{key}" for key in settings if key in others})
