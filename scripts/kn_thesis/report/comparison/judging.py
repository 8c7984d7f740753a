"""Is a measure different in two runs? Fisher's test for counts, a z-test from intervals, Holm's correction per table.

Both tests take the runs as independent. Where runs share their prompts, or one its prompts between rows, that is an
approximation. Intervals are taken as 95 % ones and as symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact, norm

from kn_thesis.clusters import holm
from kn_thesis.report.comparison.matching import Matched, unequal
from kn_thesis.report.comparison.registry import Measure

LEVEL = 0.05
HALF_WIDTH = 1.96  # standard errors from an estimate to an end of its 95 % interval

IDENTICAL, WITHIN, DIFFERS, UNTESTED = "identical", "within error", "differs", "no test"
INSIDE, OUTSIDE = "inside the interval", "outside the interval"
ONLY_FIRST, ONLY_SECOND, NO_VALUE = "only in A", "only in B", "no value"
VERDICTS = (DIFFERS, NO_VALUE, OUTSIDE, WITHIN, INSIDE, UNTESTED, IDENTICAL, ONLY_FIRST, ONLY_SECOND)

SIDE = ("", "_low", "_high", "_count", "_of")  # after A and B: value, ends of its interval, counts
VALUES = [f"{side}{what}" for side in ("A", "B") for what in SIDE]
COLUMNS = ["quantity", *VALUES, "difference", "test", "p", "p_holm", "verdict", "note"]


def judged(pair: Matched, measures: Sequence[Measure], flags: Sequence[str]) -> pd.DataFrame:
    """One row per matched row and measure: the key's columns, then COLUMNS, of which `quantity` is the measure's name.

    `difference` is B − A. `test`: "Fisher" (two proportions), "z" (from intervals) or "". `p_holm`: corrected over the
    whole table. `note` says when signs differ and which flags change. Measures that one table lacks, and rows
    where neither side has a value and no flag changes, are left out.
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
    """Columns SIDE and _units of one run (nan where there is nothing), or None when its table lacks the measure.

    _units: trials of a share that is a mean over several questions a trial.
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
        side["_count"], side["_of"] = _whole(value, side["_units"], column(measure.asked or measure.whole))
    return pd.DataFrame({"": value} | side)


def _whole(share: pd.Series, of: pd.Series, asked: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Counts from shares: of as many trials as questions asked, where that is a whole number; elsewhere nan."""
    count = (share * of).round()
    counted = (asked == of) & ((share * of - count).abs() < 1e-3)
    return count.where(counted), of.where(counted)


def tests(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Names of the tests ("Fisher", "z", "") and p-values (nan without a test), (rows,) each, of columns VALUES.

    Counts go before intervals. The z-test needs both intervals, neither of width 0: that is a bootstrap's whose
    observations were all alike, and says nothing of the error. Shares of several questions a trial are then tested as
    counts of whole trials, which asks for a larger difference than their own spread would.
    """
    counts = table[["A_count", "A_of", "B_count", "B_of"]].to_numpy(float)
    counted = np.isfinite(counts).all(axis=1) & (counts[:, [1, 3]] > 0).all(axis=1)
    errors = [(table[f"{side}_high"] - table[f"{side}_low"]).to_numpy(float) / (2 * HALF_WIDTH) for side in "AB"]
    gap = (table["B"] - table["A"]).to_numpy(float)
    measured = ~counted & np.isfinite(gap) & (errors[0] > 0) & (errors[1] > 0)
    p = np.full(len(table), np.nan)
    p[measured] = 2 * norm.sf(np.abs(gap[measured] / np.hypot(*errors)[measured]))
    units = table[["A_units", "B_units"]].to_numpy(float)
    rounded = ~counted & ~measured & np.isfinite(gap) & (units > 0).all(axis=1)
    shares = table.loc[rounded, ["A", "B"]].to_numpy(float)
    counts[np.ix_(rounded, [0, 2])] = np.round(shares * units[rounded])
    counts[np.ix_(rounded, [1, 3])] = units[rounded]
    counted |= rounded
    known: dict[tuple[float, ...], float] = {}
    for row in np.flatnonzero(counted):
        four = tuple(counts[row])
        if four not in known:
            known[four] = two_proportions(*map(int, four))
        p[row] = known[four]
    return np.where(counted, "Fisher", np.where(measured, "z", "")), p


def two_proportions(count: int, of: int, other: int, of_other: int) -> float:
    """Two-sided p of Fisher's exact test that `count` of `of` and `other` of `of_other` have one share."""
    return float(fisher_exact([[count, of - count], [other, of_other - other]]).pvalue)


def verdicts(table: pd.DataFrame) -> np.ndarray:
    """One of VERDICTS per row, from VALUES and p_holm.

    Identical: value, interval and counts. Without a test: whether the value that has no interval, or one of width 0,
    lies inside the other's (its ends included).
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


def _flips(pair: Matched, flags: Sequence[str]) -> pd.Series:
    """Per row in both runs: "significant: yes → no" for each flag that changes, joined by "; "."""
    notes = pd.Series("", index=pair.first.index, dtype=object)
    for flag in flags:
        if flag not in pair.first.columns or flag not in pair.second.columns:
            continue
        one, other = pair.first[flag], pair.second[flag]
        for row in np.flatnonzero(unequal(one, other) & (pair.where == "both")):
            said = f"{flag}: {_say(one[row])} → {_say(other[row])}"
            notes[row] = "; ".join(filter(None, [notes[row], said]))
    return notes


def _say(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return "empty" if value != value or value is None else str(value)


def _notes(rows: pd.DataFrame, measure: Measure, flips: pd.Series) -> pd.Series:
    """Signs that differ, and flags that change."""
    turned = (rows["A"] * rows["B"] < 0) if measure.signed else pd.Series(False, index=rows.index)
    up = rows["B"] > 0
    signs = pd.Series(np.where(turned, np.where(up, "sign changes: − → +", "sign changes: + → −"), ""), rows.index)
    return (signs + np.where((signs != "") & (flips != ""), "; ", "") + flips).astype(object)
