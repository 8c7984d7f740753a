"""Rows of two tables that belong together, and which of their cells differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Matched:
    """Two tables of the same rows in the same order; cells of a row that only the other has are empty.

    `where`: "both", "first" or "second" per row. `key`: the columns that rows were matched by.
    """

    first: pd.DataFrame
    second: pd.DataFrame
    where: np.ndarray
    key: tuple[str, ...]

    def keys(self) -> pd.DataFrame:
        """The key's columns, from whichever side has the row."""
        here = pd.Series(self.where != "second", index=self.first.index)
        return pd.DataFrame({name: self.first[name].where(here, self.second[name]) for name in self.key})

    def count(self, where: str) -> int:
        """Number of rows that are in both, or in one only."""
        return int((self.where == where).sum())


def matched(first: pd.DataFrame, second: pd.DataFrame, key: Sequence[str]) -> Matched:
    """Rows with the same key, in the first table's order, then those of the second alone.

    Rows that share their key are matched in their order: the n-th with the n-th. An empty cell equals an empty one.
    """
    sides = []
    for name, table in (("first", first), ("second", second)):
        keys = pd.DataFrame({column: _as_text(table[column]) for column in key}, index=table.index)
        again = keys.groupby(list(key)).cumcount() if key else np.arange(len(table))
        sides.append(keys.assign(_again=again, **{f"_{name}": np.arange(len(table))}))
    found = sides[0].merge(sides[1], on=[*key, "_again"], how="outer").sort_values(["_first", "_second"])
    positions = [found[f"_{name}"].fillna(-1).astype(int).to_numpy() for name in ("first", "second")]
    rows = [
        table.reset_index(drop=True).reindex(position).reset_index(drop=True)
        for table, position in zip((first, second), positions, strict=True)
    ]
    where = np.where(positions[0] < 0, "second", np.where(positions[1] < 0, "first", "both"))
    return Matched(rows[0], rows[1], where, tuple(key))


def _as_text(column: pd.Series) -> pd.Series:
    """One spelling for a key: whole numbers without decimals, whatever the column's type; "" for an empty cell."""
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return column.astype(object).where(column.notna(), "").astype(str)
    return pd.Series(["" if value != value else f"{value:.15g}" for value in column], index=column.index, dtype=str)


def text_key(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """The key of a table that nothing is known of: the columns of both that hold no decimals.

    Without `family` beside `model`, as models of two families may be a pair.
    """
    key = [
        column
        for column in first.columns
        if column in second.columns
        and not any(
            pd.api.types.is_float_dtype(table[column]) and table[column].notna().any() for table in (first, second)
        )
    ]
    return [column for column in key if not (column == "family" and "model" in key)]


CELLS = ["column", "cells", "differ", "largest_difference"]


def differing_cells(pair: Matched) -> pd.DataFrame:
    """Per column of both tables that is no key: cells compared (rows in both), cells that differ, and for numbers the
    largest absolute difference (nan for others): columns CELLS."""
    both = pair.where == "both"
    rows = []
    for column in pair.first.columns:
        if column in pair.key or column not in pair.second.columns or (column == "family" and "model" in pair.key):
            continue
        one, other = pair.first.loc[both, column], pair.second.loc[both, column]
        differ = unequal(one, other)
        largest = np.nan
        if all(pd.api.types.is_numeric_dtype(side.infer_objects()) for side in (one, other)) and len(one):
            largest = (one.astype(float) - other.astype(float)).abs().max()
        rows.append((column, int(both.sum()), int(differ.sum()), largest))
    return pd.DataFrame(rows, columns=CELLS)


def unequal(one: pd.Series, other: pd.Series) -> np.ndarray:
    """Which cells differ, bool (rows,); two empty cells are equal."""
    empty = np.stack([one.isna(), other.isna()])
    same = (one.astype(object).to_numpy() == other.astype(object).to_numpy()) & ~empty.any(axis=0)
    return ~(same | empty.all(axis=0))
