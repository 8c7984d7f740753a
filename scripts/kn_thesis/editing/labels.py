"""Names of editors and criteria for readers, and rows of the chapter's tables, for figures and sentences.

An editor that is not listed here goes by its own name. So a new editor needs no entry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

METHOD_WORDS = {"rome": "ROME", "knowledge_neuron": "knowledge neurons", "fine_tuning": "fine-tuning"}
CRITERION_WORDS = {
    "reliability": "reliability",
    "generality": "generality",
    "locality": "locality",
    "symmetry_new": "symmetry (new side)",
    "symmetry_old": "symmetry (old side)",
    "synonymy": "synonymy",
    "other_verb": "another verb",
    "other_distractor": "another distractor",
    "other_subject": "another subject",
    "other_both": "another of both",
}
CRITERION_MEANINGS = {  # "an edit of a fact meets it when …"
    "reliability": "the edited prompt gives the new answer",
    "generality": "other wordings give the new answer",
    "locality": "other subjects keep their answer",
    "symmetry_new": "the new object's side returns the subject",
    "symmetry_old": "the old object's side no longer does",
    "synonymy": "the synonymous question gives the new answer",
}
POOLED = "all"  # the task that stands for all tasks of a kind


def method_of(editor: str) -> str:
    """The method of an editor: its name up to the first hyphen."""
    return editor.partition("-")[0]


def editor_words(editor: str) -> str:
    """An editor's name for readers, such as "ROME" or "ROME (gap)"; an unknown method keeps its own name."""
    method, _, variant = editor.partition("-")
    words = METHOD_WORDS.get(method, method)
    return f"{words} ({variant})" if variant else words


def criterion_words(criterion: str) -> str:
    """A criterion's name for readers; an unknown one keeps its own name."""
    return CRITERION_WORDS.get(criterion, criterion)


def with_interval(value: float, low: float, high: float, form: str = ".0%") -> str:
    """Format a value with its interval, such as "97% [93%, 100%]"; without one where an end is nan."""
    ends = "" if math.isnan(low) or math.isnan(high) else f" [{low:{form}}, {high:{form}}]"
    return f"{value:{form}}{ends}"


def list_words(parts: list[str]) -> str:
    """Join the parts of a list: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def value_span(values: Iterable[float], form: str) -> str:
    """Format the range of several values, such as "0.60 to 0.71"; a single one where both ends read the same."""
    known = sorted(values)
    return " to ".join(dict.fromkeys(format(end, form) for end in (known[0], known[-1])))


def select_rows(table: pd.DataFrame, **values: str) -> pd.DataFrame:
    """Select the rows that have these values; an empty table may lack the columns."""
    for column, value in values.items() if len(table) else ():
        table = table[table[column] == value]
    return table


def unique_values(table: pd.DataFrame, column: str) -> list[str]:
    """The distinct values of a column, in order of first appearance."""
    return list(dict.fromkeys(table[column])) if len(table) else []


def editors_of(table: pd.DataFrame, method: str | None = None) -> list[str]:
    """List the editors of a table, or those of one method.

    Known methods come first, in the order of METHOD_WORDS, and a method comes before its variants.
    """
    there = unique_values(table, "editor")
    methods = list(dict.fromkeys([*METHOD_WORDS, *(method_of(name) for name in there)]))
    there.sort(key=lambda name: (methods.index(method_of(name)), name != method_of(name)))
    return [name for name in there if method in (None, method_of(name))]


def models_of(table: pd.DataFrame, shown: Iterable[str] | None = None) -> list[str]:
    """List the models of a table; with `shown`, those of them that it names, in its order."""
    there = unique_values(table, "model")
    return there if shown is None else [model for model in shown if model in there]


def without_one_way(table: pd.DataFrame, directions: pd.DataFrame) -> pd.DataFrame:
    """Leave out the models that were trained on one direction of relations only.

    The chapter has a section about them: what they cannot answer says nothing about an edit.

    Args:
        table: any table of the chapter.
        directions: editing_directions.csv, whose column one_way names these models.
    """
    one_way = unique_values(directions, "one_way")
    return table[~table["model"].isin(one_way)] if len(table) else table


def is_true(column: pd.Series) -> pd.Series:
    """Which cells of a column are true; it may have empty cells."""
    return column.astype(str) == "True"


def peak(rows: pd.DataFrame, column: str) -> int | None:
    """The layer in which a column is largest, the lowest of equal ones; None without any value."""
    known = rows[rows[column].notna()].sort_values("layer") if len(rows) else rows
    # Rounded as in editing_localization.csv, because sums round.
    return int(known["layer"].iloc[int(known[column].round(9).argmax())]) if len(known) else None
