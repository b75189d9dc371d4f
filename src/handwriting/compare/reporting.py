"""A report from the question to its page: on the screen, as files, and in the store beside the runs."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from handwriting.compare.asked import Asked, folder_of
from handwriting.compare.caveats import count
from handwriting.compare.comparison import Comparison, compare
from handwriting.compare.files import write_files
from handwriting.compare.load import LoadedRuns, earlier_looks, load_runs
from handwriting.compare.published import figures_of, publish
from handwriting.compare.statistics import PAIRS_NEEDED
from handwriting.compare.tables import tables
from handwriting.compare.tuned import load_tuned
from handwriting.compare.wording import sentence
from handwriting.tracking import Store, names

ROWS_PRINTED = (45, 12)  # on the screen, of the first table and of each other
COLUMNS_PRINTED = 100  # letters, on a screen that has no more
LETTERS_PRINTED = 40  # of one cell


@dataclass(frozen=True)
class Answer:
    """A question and what the runs say.

    Args:
        asked: the question.
        loaded: the runs.
        comparison: what they say.
        title: the report's name.
    """

    asked: Asked
    loaded: LoadedRuns
    comparison: Comparison
    title: str


def report(
    store: Store,
    sweep: str | None = None,
    experiment: str | None = None,
    by: Sequence[str] | None = None,
    metric: str = names.TEST_ACCURACY,
    where: Sequence[str] = (),
    targets: Sequence[float] = (),
    more_is_better: bool | None = None,
    margin: float | None = None,
    caveats: Sequence[str] = (),
) -> Path:
    """Compare, print, write a page and figures, and store them; return the page's path.

    Each question has a page of its own; the same question again takes its page's place. Arguments as for
    `load.load_runs` and `comparison.compare`; `caveats` are sentences about what the store does not know.

    Raises:
        UserError: there is nothing to compare, or no such thing, or what differs is more than was asked; or
            the files cannot be written, and those of the report before stay.
    """
    answer = answered(store, sweep, experiment, Asked(by, metric, where, targets, more_is_better, margin))
    answer = replace(
        answer, comparison=replace(answer.comparison, caveats=(*caveats, *answer.comparison.caveats))
    )
    print_comparison(answer.comparison)
    with store.errors():  # imports MLflow, 3 s: the verdict is on the screen by now
        page, _ = keep(store, answer)
    print(f"\npage: {page}\nruns side by side, with their curves: make ui")
    return page


def answered(store: Store, sweep: str | None, experiment: str | None, asked: Asked) -> Answer:
    """Return what runs say to a question; arguments and errors as those of `report`."""
    return answer_of(store, load_runs(store, sweep, experiment), asked)


def answer_of(store: Store, loaded: LoadedRuns, asked: Asked) -> Answer:
    """Return what runs that are loaded say to a question; errors as those of `report`."""
    tuned = load_tuned(store, loaded)
    comparison = compare(
        loaded.runs, loaded.epochs, asked.by, asked.metric, asked.where, asked.targets, asked.more_is_better,
        asked.margin, loaded.plan, tuned,
    )  # fmt: skip
    title = asked.title(loaded.sweep or loaded.experiment)
    planned = _about_plan(loaded, comparison, earlier_looks(store, loaded.experiment, title))
    if loaded.tuning is not None and tuned is None:
        planned.append(
            f"The runs that chose these settings, of {loaded.tuning.sweep}, are gone from the store"
        )
    comparison = replace(comparison, caveats=(*planned, *comparison.caveats))
    return Answer(asked, loaded, comparison, title)


def keep(store: Store, answer: Answer) -> tuple[Path, str]:
    """Write an answer's page and figures, and store them; return the page's path and the id of its run."""
    folder = store.folder / "reports" / folder_of(answer.title)
    page = write_files(store, answer.loaded, answer.comparison, answer.title, folder)
    return page, publish(store, answer.loaded, answer.comparison, answer.asked, folder)


def _about_plan(loaded: LoadedRuns, comparison: Comparison, earlier: Sequence[int]) -> list[str]:
    """Return a sentence where more than one look was taken, and no plan had them.

    Args:
        loaded: with the plans of the sweep.
        comparison: what the runs say now.
        earlier: the paired seeds of earlier reports on the same question.
    """
    if comparison.sequential:
        if loaded.plans[0].looks:
            return []
        return [
            "A fixed number of seeds was planned before the looks were: whoever saw its result had one look "
            "more than the plan counts"
        ]
    if not loaded.sweep and any(plan.looks for plan in loaded.plans):
        return [
            "Some of these runs were added until a sweep was clear, and p is that of one look: name the "
            "sweep, --sweep NAME, for the verdict of its plan"
        ]
    pairs = int(figures_of(comparison).get(names.PAIRS, 0))
    looks = [n for n in dict.fromkeys([*earlier, pairs]) if n >= PAIRS_NEEDED]
    if len(looks) < 2:
        return []
    instead = ". seed=until_clear plans its looks" if len(comparison.arms) == 2 else ""
    return [
        f"p holds for one look, and this is number {len(looks)}, with {' and '.join(map(str, looks))} paired "
        f"seeds: adding seeds until it says “better” will say so by chance{instead}"
    ]


def print_comparison(comparison: Comparison) -> None:
    """Print the tables, what must be said about the runs, and the verdict."""
    width = max(COLUMNS_PRINTED, shutil.get_terminal_size().columns)
    for place, (title, table) in enumerate(tables(comparison).items()):
        shown = _fitted(table.head(ROWS_PRINTED[place > 0]), width)
        print(f"\n{title}\n\n{shown.to_string(index=False)}")
        rows, columns = (there - here for there, here in zip(table.shape, shown.shape, strict=True))
        more = [count(number, noun) for number, noun in ((rows, "row"), (columns, "column")) if number]
        if more:
            print(f"more in the page: {' and '.join(more)}")
    print()
    for caveat in comparison.caveats:
        print(f"- {caveat}")
    print(f"\n{sentence(comparison)}")


def _fitted(table: pd.DataFrame, width: int) -> pd.DataFrame:
    """Return a table without the columns that find no room in a line of so many letters.

    The last columns go first, and the first verdict last of all.
    """
    most = LETTERS_PRINTED
    shown = table.astype(str).map(lambda text: text if len(text) <= most else f"{text[: most - 3]}...")
    verdicts = [name for name in shown if name.startswith("verdict")]
    for name in sorted(shown.columns[:0:-1], key=lambda name: name in verdicts[:1]):
        if _width(shown) <= width:
            break
        shown = shown.drop(columns=name)
    return shown


def _width(table: pd.DataFrame) -> int:
    """Return the letters of a line of a table that is printed."""
    return sum(max(len(name), *table[name].str.len()) + 1 for name in table) - 1
