"""The comparison in pictures, for a page and a paper: told apart by the colour-blind and in grey.

Which figure for which question: two arms, their differences; several, the ranking; a number, the metric over
it; two numbers, a heat map. Curves by epoch and the time to each target for all of them; of tuned arms, the
settings that were tried and what more of them would bring.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from handwriting.compare.comparison import Comparison
from handwriting.compare.figures.by_arm import differences, drawn_pairs, ranking
from handwriting.compare.figures.by_epoch import curves, time_to_target
from handwriting.compare.figures.by_number import heat_map, over
from handwriting.compare.figures.by_tuning import expected_best, settings_tried
from handwriting.tracking import names

__all__ = ["curves", "differences", "draw_figures", "heat_map", "over", "ranking", "time_to_target"]

FOREST_BESIDE_NUMBERS = 12  # arms, up to which a swept number has a figure of differences too


def draw_figures(comparison: Comparison, epochs: pd.DataFrame) -> dict[str, Figure]:
    """Return the figures that the comparison has something to show in, by name; the first is the answer.

    Args:
        comparison: what the runs say.
        epochs: one row per run and epoch: run_id, epoch (from 0), val_accuracy, val_loss, others.
    """
    question, ready = comparison.question, int((comparison.arms["n"] > 0).sum())
    found = {}
    if comparison.choice.best and question == "number":
        found["over"] = over(comparison)
    if comparison.choice.best and question == "two numbers":
        found["heat_map"] = heat_map(comparison)
    if ready > 1 and question == "several":
        found["ranking"] = ranking(comparison)
    forest = question in ("two", "several") or (question == "number" and ready <= FOREST_BESIDE_NUMBERS)
    if forest and len(drawn_pairs(comparison)):
        found["differences"] = differences(comparison)
    if comparison.tuned is not None:
        found["settings_tried"] = settings_tried(comparison)
        found["expected_best"] = expected_best(comparison)
    own = epochs[epochs["run_id"].isin(comparison.runs["run_id"])]
    if own.reindex(columns=[names.VAL_ACCURACY, names.VAL_LOSS]).notna().any(axis=None):
        found["curves"] = curves(comparison, epochs)
    if np.isfinite(comparison.times["epochs"]).any():
        found["time_to_target"] = time_to_target(comparison)
    return found
