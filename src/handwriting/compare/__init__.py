"""From runs in the store to an answer.

The way through the room: load → select → comparison (with pairs, statistics, question, levels, outliers,
tuned, caveats) → wording, tables, figures → page.
Importing it takes pandas and Matplotlib, a second, so a command does so once it has to; MLflow is imported by
what writes to the store or asks a server.
"""

from handwriting.compare.asked import Asked, folder_of
from handwriting.compare.comparison import Comparison, against, compare
from handwriting.compare.figures import curves, differences, draw_figures, time_to_target
from handwriting.compare.files import fill
from handwriting.compare.load import LoadedRuns, load_runs
from handwriting.compare.mistakes import mistakes_of
from handwriting.compare.reporting import Answer, answer_of, answered, keep, report
from handwriting.compare.tables import tables
from handwriting.compare.tuned import load_tuned
from handwriting.compare.wording import method, sentence

__all__ = [
    "Answer",
    "Asked",
    "Comparison",
    "LoadedRuns",
    "against",
    "answer_of",
    "answered",
    "compare",
    "curves",
    "differences",
    "draw_figures",
    "fill",
    "folder_of",
    "keep",
    "load_runs",
    "load_tuned",
    "method",
    "mistakes_of",
    "report",
    "sentence",
    "tables",
    "time_to_target",
]
