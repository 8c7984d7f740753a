"""Match the rows of one table in two runs, and test whether measures differ: Fisher's test, z-test, Holm's correction.

Counts are compared by Fisher's exact test, estimates with intervals by a z-test. Holm's correction covers all tests of
one table. Both tests treat the runs as independent, which is an approximation where runs share their prompts, or rows
of one run do. Intervals are taken to be symmetric 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact, norm

from kn_thesis.report.comparison.registry import Measure
from kn_thesis.stats import holm

LEVEL = 0.05
HALF_WIDTH = 1.96  # standard errors from an estimate to an end of its 95 % interval
IDENTICAL, WITHIN, DIFFERS, UNTESTED = "identical", "within error", "differs", "no test"
INSIDE, OUTSIDE = "inside the interval", "outside the interval"
ONLY_FIRST, ONLY_SECOND, NO_VALUE = "only in A", "only in B", "no value"
VERDICTS = (DIFFERS, NO_VALUE, OUTSIDE, WITHIN, INSIDE, UNTESTED, IDENTICAL, ONLY_FIRST, ONLY_SECOND)
SIDE = ("", "_low", "_high", "_count", "_of")  # after A and B: value, ends of its interval, counts
VALUES = [f"{side}{what}" for side in ("A", "B") for what in SIDE]
COLUMNS = ["quantity", *VALUES, "difference", "test", "p", "p_holm", "verdict", "note"]
CELLS = ["column", "cells", "differ", "largest_difference"]


@dataclass(frozen=True)
class MatchedRows:
    """Two tables with the same rows in the same order.

    Attributes:
        first: rows of the first table; the cells of a row that only the second has are empty.
        second: the same of the second table.
        where: "both", "first" or "second" for each row.
        key: the columns that identify a row.
    """

    first: pd.DataFrame
    second: pd.DataFrame
    where: np.ndarray
    key: tuple[str, ...]

    def keys(self) -> pd.DataFrame:
        """Return the key's columns, from whichever side has the row."""
        here = pd.Series(self.where != "second", index=self.first.index)
        return pd.DataFrame({name: self.first[name].where(here, self.second[name]) for name in self.key})

    def count(self, where: str) -> int:
        """Count the rows that are in "both", or only in the "first" or "second" table."""
        return int((self.where == where).sum())


def match_rows(first: pd.DataFrame, second: pd.DataFrame, key: Sequence[str]) -> MatchedRows:
    """Match the rows of two tables by their key.

    Rows of one table that share their key are matched in order, the n-th with the n-th. Two empty cells are equal.

    Args:
        first: one table.
        second: the other table.
        key: columns that identify a row.

    Returns:
        The rows in the first table's order, then the rows that only the second has.
    """
    sides = []
    for name, table in (("first", first), ("second", second)):
        keys = pd.DataFrame({column: _as_text(table[column]) for column in key}, index=table.index)
        again = keys.groupby(list(key)).cumcount() if key else np.arange(len(table))
        sides.append(keys.assign(_again=again, **{f"_{name}": np.arange(len(table))}))
    merged = sides[0].merge(sides[1], on=[*key, "_again"], how="outer").sort_values(["_first", "_second"])
    positions = [merged[f"_{name}"].fillna(-1).astype(int).to_numpy() for name in ("first", "second")]
    rows = [
        table.reset_index(drop=True).reindex(position).reset_index(drop=True)
        for table, position in zip((first, second), positions, strict=True)
    ]
    where = np.where(positions[0] < 0, "second", np.where(positions[1] < 0, "first", "both"))
    return MatchedRows(rows[0], rows[1], where, tuple(key))


def _as_text(column: pd.Series) -> pd.Series:
    """One spelling per value of a key: whole numbers without decimals whatever their type, "" for an empty cell."""
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return column.astype(object).where(column.notna(), "").astype(str)
    return pd.Series(["" if value != value else f"{value:.15g}" for value in column], index=column.index, dtype=str)


def text_key(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """Choose the key of a table that is not in the registry.

    Args:
        first: the table of one run.
        second: the table of the other run.

    Returns:
        The columns of both tables without decimals. `family` is left out beside `model`: a pair may mix families.
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


def differing_cells(pair: MatchedRows) -> pd.DataFrame:
    """Count the cells that differ, column by column.

    Args:
        pair: the matched rows.

    Returns:
        Columns CELLS, with a row for each column outside the key: its name, cells compared (rows in both), cells that
        differ, and the largest absolute difference (nan for columns without numbers).
    """
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
    """Find the cells that differ, as bool (rows,); two empty cells are equal."""
    empty = np.stack([one.isna(), other.isna()])
    same = (one.astype(object).to_numpy() == other.astype(object).to_numpy()) & ~empty.any(axis=0)
    return ~(same | empty.all(axis=0))


def judge_measures(pair: MatchedRows, measures: Sequence[Measure], flags: Sequence[str]) -> pd.DataFrame:
    """Compare the measures of two tables.

    Measures that one table lacks are left out, and so are rows in which neither side has a value and no flag changes.

    Args:
        pair: the matched rows.
        measures: the measures to compare.
        flags: columns that hold yes or no, or a verdict.

    Returns:
        A row per matched row and measure, with the key's columns and COLUMNS: quantity (the measure's name), VALUES,
        difference (B − A), test ("Fisher" for two proportions, "z" from intervals, or ""), p, p_holm (corrected over
        the whole table), verdict (one of VERDICTS) and note (signs that differ, flags that change).
    """
    keys = pair.keys()
    flips = _flips(pair, flags)
    parts = []
    for measure in measures:
        sides = [_side(table, measure) for table in (pair.first, pair.second)]
        if any(side is None for side in sides):
            continue
        rows = pd.concat([side.add_prefix(name) for side, name in zip(sides, "AB", strict=True)], axis=1)
        rows = pd.concat([keys, rows.assign(quantity=measure.name, note=_notes(rows, measure, flips))], axis=1)
        parts.append(rows[rows["A"].notna() | rows["B"].notna() | flips.ne("")])
    if not parts:
        return pd.DataFrame(columns=[*(name for name in pair.key if name not in COLUMNS), *COLUMNS])
    table = pd.concat(parts, ignore_index=True)
    table["difference"] = table["B"] - table["A"]
    table["test"], table["p"] = tests(table)
    table["p_holm"] = holm(table["p"].to_numpy())
    table["verdict"] = verdicts(table)
    return table[[*pair.key, *COLUMNS]]


def _side(table: pd.DataFrame, measure: Measure) -> pd.DataFrame | None:
    """Columns SIDE and _units of one run (nan for unknown), or None when its table lacks the measure.

    _units is the number of trials of a share that is a mean over several questions per trial.
    """
    if any(column not in table.columns for column in measure.columns):
        return None

    def column(name: str) -> pd.Series:
        return table[name].astype(float) if name in table.columns else pd.Series(np.nan, index=table.index)

    side = {"_low": column(measure.low), "_high": column(measure.high)}
    side |= {"_count": column(measure.count), "_of": column(measure.of)}
    if measure.within:
        groups = [table[name] for name in measure.within]
        side["_of"] = side["_count"].groupby(groups, dropna=False).transform("sum").where(side["_count"].notna())
    value = column(measure.value) if measure.value else side["_count"] / side["_of"].where(side["_of"] > 0)
    side["_units"] = column(measure.whole)
    if measure.whole:
        side["_count"], side["_of"] = _whole(value, side["_units"], column(measure.questions or measure.whole))
    return pd.DataFrame({"": value} | side)


def _whole(share: pd.Series, of: pd.Series, questions: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Counts from shares with one question per trial, where the count is a whole number; nan elsewhere."""
    count = (share * of).round()
    counted = (questions == of) & ((share * of - count).abs() < 1e-3)
    return count.where(counted), of.where(counted)


def tests(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Choose a test for each row, and compute its p-value.

    Counts take precedence over intervals. The z-test needs both intervals with a width above 0: a bootstrap gives an
    interval of width 0 when all observations are equal, and that says nothing about the error. Shares of several
    questions per trial are then tested as counts of whole trials, which is conservative.

    Args:
        table: columns VALUES, A_units and B_units.

    Returns:
        Names of the tests ("Fisher", "z", "") and p-values (nan without a test), (rows,) each.
    """
    counts = table[["A_count", "A_of", "B_count", "B_of"]].to_numpy(float)
    counted = np.isfinite(counts).all(axis=1) & (counts[:, [1, 3]] > 0).all(axis=1)
    errors = [(table[f"{side}_high"] - table[f"{side}_low"]).to_numpy(float) / (2 * HALF_WIDTH) for side in "AB"]
    difference = (table["B"] - table["A"]).to_numpy(float)
    measured = ~counted & np.isfinite(difference) & (errors[0] > 0) & (errors[1] > 0)
    p = np.full(len(table), np.nan)
    p[measured] = 2 * norm.sf(np.abs(difference[measured] / np.hypot(*errors)[measured]))
    units = table[["A_units", "B_units"]].to_numpy(float)
    rounded = ~counted & ~measured & np.isfinite(difference) & (units > 0).all(axis=1)
    shares = table.loc[rounded, ["A", "B"]].to_numpy(float)
    counts[np.ix_(rounded, [0, 2])] = np.round(shares * units[rounded])
    counts[np.ix_(rounded, [1, 3])] = units[rounded]
    counted |= rounded
    cache: dict[tuple[float, ...], float] = {}
    for row in np.flatnonzero(counted):
        four = tuple(counts[row])
        if four not in cache:
            cache[four] = two_proportions(*map(int, four))
        p[row] = cache[four]
    return np.where(counted, "Fisher", np.where(measured, "z", "")), p


def two_proportions(count: int, of: int, other: int, of_other: int) -> float:
    """Compute the two-sided p-value of Fisher's exact test for `count` of `of` against `other` of `of_other`."""
    return float(fisher_exact([[count, of - count], [other, of_other - other]]).pvalue)


def verdicts(table: pd.DataFrame) -> np.ndarray:
    """Give each row its verdict.

    Rows are identical if value, interval and counts are. Without a test, the verdict says whether the value without an
    interval (or with one of width 0) lies inside the other side's interval, ends included.

    Args:
        table: columns VALUES and p_holm.

    Returns:
        One of VERDICTS per row, (rows,).
    """
    here = {side: table[side].notna().to_numpy() for side in "AB"}
    same = ~np.any([unequal(table[f"A{what}"], table[f"B{what}"]) for what in SIDE], axis=0)
    with_interval = {side: (table[f"{side}_high"] > table[f"{side}_low"]).to_numpy() & here[side] for side in "AB"}
    one_interval = with_interval["A"] ^ with_interval["B"]
    inside = np.where(
        with_interval["A"],
        table["B"].between(table["A_low"], table["A_high"]),
        table["A"].between(table["B_low"], table["B_high"]),
    )
    p = table["p_holm"].to_numpy(float)
    choices = [
        (~here["A"] & ~here["B"], NO_VALUE),
        (~here["B"], ONLY_FIRST),
        (~here["A"], ONLY_SECOND),
        (same, IDENTICAL),
        (p < LEVEL, DIFFERS),
        (np.isfinite(p), WITHIN),
        (one_interval & inside, INSIDE),
        (one_interval, OUTSIDE),
    ]
    return np.select([condition for condition, _ in choices], [name for _, name in choices], UNTESTED).astype(object)


def _flips(pair: MatchedRows, flags: Sequence[str]) -> pd.Series:
    """For each row in both runs, the flags that change, such as "significant: yes → no", joined by "; "."""
    notes = pd.Series("", index=pair.first.index, dtype=object)
    for flag in flags:
        if flag not in pair.first.columns or flag not in pair.second.columns:
            continue
        one, other = pair.first[flag], pair.second[flag]
        for row in np.flatnonzero(unequal(one, other) & (pair.where == "both")):
            change = f"{flag}: {_flag_text(one[row])} → {_flag_text(other[row])}"
            notes[row] = "; ".join(filter(None, [notes[row], change]))
    return notes


def _flag_text(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return "empty" if value != value or value is None else str(value)


def _notes(rows: pd.DataFrame, measure: Measure, flips: pd.Series) -> pd.Series:
    """Notes on signs that differ and flags that change."""
    turned = (rows["A"] * rows["B"] < 0) if measure.signed else pd.Series(False, index=rows.index)
    up = rows["B"] > 0
    signs = pd.Series(np.where(turned, np.where(up, "sign changes: − → +", "sign changes: + → −"), ""), rows.index)
    return (signs + np.where((signs != "") & (flips != ""), "; ", "") + flips).astype(object)
