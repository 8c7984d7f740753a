"""Figure of the chapter on models: accuracies with intervals, per model and task."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kn_thesis.report.style import FAMILY_COLOURS, panels

BLANK = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
OFFSETS = {"trained": -0.17, "held_out": 0.17}  # both splits of a relation share a line, trained paraphrases above


def plot_accuracy(summary: pd.DataFrame) -> Figure:
    """Draw accuracies with their intervals, a panel per model and a line per task.

    Filled dots are pairs and paraphrases held out of training, hollow dots paraphrases seen in training. A grey tick is
    the demanded accuracy. The line of a task that a model is not asked says so.

    Args:
        summary: The table models.csv.
    """
    models = list(dict.fromkeys(summary["model"]))
    tasks = list(dict.fromkeys(summary.sort_values("kind", kind="stable")["task"]))
    rows = {task: number for number, task in enumerate(tasks)}
    lowest = min(float(summary["low"].min()), 0.45)
    figure, axes = panels(len(models), 2.8, 1.7 + 0.3 * len(tasks), 4)
    for axis, model in zip(axes, models, strict=True):
        table = summary[summary["model"] == model]
        for _, row in table.iterrows():
            both = (table["task"] == row["task"]).sum() > 1
            _dot(axis, row, rows[row["task"]] + (OFFSETS.get(row["split"], 0.0) if both else 0.0))
        for task in [task for task in tasks if task not in set(table["task"])]:
            axis.text(lowest, rows[task], "not asked", va="center", fontsize=8, color="#777777", bbox=BLANK)
        axis.set_title(f"{model} ({table['family'].iloc[0]})" if model != table["family"].iloc[0] else model)
        axis.set_xlabel("accuracy")
        axis.set_xlim(lowest - 0.03, 1.03)
        axis.axhline((summary.drop_duplicates("task")["kind"] == "paradigm").sum() - 0.5, color="#bbbbbb", linewidth=1)
    axes[0].set_yticks(range(len(tasks)), tasks)
    for axis in axes:
        axis.tick_params(axis="y", labelsize=9)
    axes[0].set_ylim(len(tasks) - 0.4, -0.6)
    figure.legend(handles=_legend(summary), loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    return figure


def _dot(axis: plt.Axes, row: pd.Series, y: float) -> None:
    colour = FAMILY_COLOURS.get(row["family"], "#555555")
    axis.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt")
    face = "white" if row["split"] == "trained" else colour
    axis.plot(row["accuracy"], y, "o", markersize=5, color=colour, markerfacecolor=face, markeredgewidth=1.4)
    if not np.isnan(row["demanded"]):
        axis.plot([row["demanded"]] * 2, [y - 0.24, y + 0.24], color="#777777", linewidth=1.6)


def _legend(summary: pd.DataFrame) -> list[Line2D]:
    def dot(face: str, label: str) -> Line2D:
        return Line2D([], [], marker="o", color="#555555", markerfacecolor=face, linewidth=1.4, label=label)

    handles = []
    if (summary["split"] == "trained").any():
        handles.append(dot("white", "seen in training"))
    if (summary["split"] != "trained").any():
        handles.append(dot("#555555", "kept out of training"))
    if summary["demanded"].notna().any():
        tick = Line2D([], [], marker="|", color="#777777", linestyle="", markersize=11, markeredgewidth=1.6)
        tick.set_label("demanded")
        handles.append(tick)
    return handles
