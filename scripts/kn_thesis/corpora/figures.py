"""Figures of the chapter on corpora."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kn_thesis.report.style import panels

GREYS = ["#9a9a9a", "#E69F00", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#009E73"]


def plot_kept(counts: pd.DataFrame) -> Figure:
    """Stacked bars, a panel per model and a bar per task: items kept, and the others by the reason why not.

    `counts` has the columns model, task, reason ("kept" or why not) and count.
    """
    models = list(dict.fromkeys(counts["model"]))
    tasks = list(dict.fromkeys(counts.sort_values(["kind", "task"], kind="stable")["task"]))
    reasons = ["kept", *sorted(set(counts["reason"]) - {"kept"})]
    colours = dict(zip(reasons, ["#0072B2", *GREYS * 3], strict=False))
    figure, axes = panels(len(models), 3, 1.6 + 0.27 * len(tasks), 4)
    for axis, model in zip(axes, models, strict=True):
        wide = (
            counts[counts["model"] == model]
            .pivot_table(index="task", columns="reason", values="count", aggfunc="sum", fill_value=0)
            .reindex(index=tasks, columns=reasons, fill_value=0)
        )
        left = pd.Series(0.0, index=tasks)
        for reason in reasons:
            if wide[reason].sum():
                axis.barh(tasks, wide[reason], left=left, color=colours[reason], label=reason, height=0.75)
                left += wide[reason]
        for row, task in enumerate(tasks):
            if not wide.loc[task].sum():
                axis.text(0, row, " not asked", va="center", fontsize=8, color="#777777")
        axis.set_title(model)
        axis.set_xlabel("items")
        axis.xaxis.set_major_locator(MaxNLocator(4, prune="upper"))
        axis.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    handles = {label: h for axis in axes for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)), frameon=False
    )
    return figure
