"""Rows of the chapter's tables that figures and sentences are about."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from kn_thesis.editing.words import EDITOR_WORDS

POOLED = "all"  # the name under which the tasks of one kind are taken together


def chosen(table: pd.DataFrame, **values: str) -> pd.DataFrame:
    """The rows that have these values; a table without any row may be without columns, too."""
    for column, value in values.items() if len(table) else ():
        table = table[table[column] == value]
    return table


def of(table: pd.DataFrame, column: str) -> list[str]:
    """What stands in a column, each once, in the order in which it comes."""
    return list(dict.fromkeys(table[column])) if len(table) else []


def editors_of(table: pd.DataFrame) -> list[str]:
    """The editors that a table has rows of: those that are known in their own order, then others."""
    there = of(table, "editor")
    return [*(name for name in EDITOR_WORDS if name in there), *(name for name in there if name not in EDITOR_WORDS)]


def models_of(table: pd.DataFrame, shown: Iterable[str] | None = None) -> list[str]:
    """The models that a table has rows of; of those in `shown`, in its order."""
    there = of(table, "model")
    return there if shown is None else [model for model in shown if model in there]


def true(column: pd.Series) -> pd.Series:
    """Where a column of truth values says so, in one that also has empty cells."""
    return column.astype(str) == "True"


def peak(rows: pd.DataFrame, column: str) -> int | None:
    """The layer in which a column is largest, the first of several; None where it has no value."""
    known = rows[rows[column].notna()] if len(rows) else rows
    return int(known.loc[known[column].idxmax(), "layer"]) if len(known) else None
