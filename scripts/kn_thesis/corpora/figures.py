"""Show one prompt of every task, and draw how many items of each task were kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kn_thesis.files import read_task_tables
from kn_thesis.report.style import panels

EXAMPLE_COLUMNS = ["task", "kind", "text", "target", "foil", "tokens"]
GREYS = ["#9a9a9a", "#E69F00", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#009E73"]


def example_prompts(tables: Sequence[Path]) -> pd.DataFrame:
    """Take the first prompt, by name, of each model and task.

    Args:
        tables: Files results/prompts/{model}/{batch}.parquet.

    Returns:
        A row per model and task that has a prompt, with the columns model, task, kind, text (with the blank as ___),
        target, foil (the ungrammatical word; empty for facts) and tokens (number of input tokens).
    """
    rows = []
    for path in tables:
        for _, prompts in read_task_tables(path):
            if len(prompts):
                first = prompts.sort_values("prompt", kind="stable").iloc[0]
                rows.append({"model": path.parent.name, **first, "tokens": len(first["input_ids"])})
    return pd.DataFrame(rows, columns=["model", *EXAMPLE_COLUMNS])


def plot_kept(counts: pd.DataFrame) -> Figure:
    """Draw how many items were kept, and why the others were not: a panel per model, a stacked bar per task.

    Args:
        counts: Table with the columns model, task, kind, reason ("kept" or why not) and count.
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
