"""Rows of the chapter's tables that figures and sentences are about."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from kn_thesis.tracing.names import TASK_WORDS, measures_of


def of_models(table: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """The rows of some models; a table without any row may be without columns, too."""
    return table[table["model"].isin(models)] if len(table) else table


def averages(roles: pd.DataFrame, model: str, kind: str) -> tuple[pd.DataFrame, str]:
    """A model's averages over the tasks of one kind, in the measure that is reported, and what they are averages over.

    Of a single task, its own. Both empty when nothing of the kind was traced.
    """
    chosen = (roles["model"] == model) & (roles["kind"] == kind) & (roles["measure"] == measures_of(kind)[0])
    rows = roles[chosen]
    tasks = [task for task in dict.fromkeys(rows["task"]) if task != "all"]
    if len(tasks) == 1:
        return rows[rows["task"] == tasks[0]], str(tasks[0])
    return rows[rows["task"] == "all"], f"{len(tasks)} {TASK_WORDS[kind][1]}" if tasks else ""
