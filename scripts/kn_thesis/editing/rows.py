"""Rows of the chapter's tables that figures and sentences are about."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from kn_thesis.editing.words import METHOD_WORDS, method_of

POOLED = "all"  # the name under which the tasks of one kind are taken together


def chosen(table: pd.DataFrame, **values: str) -> pd.DataFrame:
    """The rows that have these values; a table without any row may be without columns, too."""
    for column, value in values.items() if len(table) else ():
        table = table[table[column] == value]
    return table


def of(table: pd.DataFrame, column: str) -> list[str]:
    """What stands in a column, each once, in the order in which it comes."""
    return list(dict.fromkeys(table[column])) if len(table) else []


def editors_of(table: pd.DataFrame, method: str | None = None) -> list[str]:
    """The editors that a table has rows of, or those of one method: known methods in their own order, then others.

    A method's own name comes before its variants.
    """
    there = of(table, "editor")
    methods = list(dict.fromkeys([*METHOD_WORDS, *(method_of(name) for name in there)]))
    there.sort(key=lambda name: (methods.index(method_of(name)), name != method_of(name)))
    return [name for name in there if method in (None, method_of(name))]


def models_of(table: pd.DataFrame, shown: Iterable[str] | None = None) -> list[str]:
    """The models that a table has rows of; of those in `shown`, in its order."""
    there = of(table, "model")
    return there if shown is None else [model for model in shown if model in there]


def without_one_way(table: pd.DataFrame, directions: pd.DataFrame) -> pd.DataFrame:
    """The rows of models that are not the side of editing_directions.csv that read one direction only.

    These have a section of their own: what they cannot answer says nothing of an edit.
    """
    one_way = of(directions, "one_way")
    return table[~table["model"].isin(one_way)] if len(table) else table


def true(column: pd.Series) -> pd.Series:
    """Where a column of truth values says so, in one that also has empty cells."""
    return column.astype(str) == "True"


def peak(rows: pd.DataFrame, column: str) -> int | None:
    """The layer in which a column is largest, the lowest of equals; None where it has no value."""
    known = rows[rows[column].notna()].sort_values("layer") if len(rows) else rows
    # To nine digits, as in editing_localization.csv: sums round.
    return int(known["layer"].iloc[int(known[column].round(9).argmax())]) if len(known) else None
