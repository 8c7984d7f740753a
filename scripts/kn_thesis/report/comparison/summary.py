"""The comparison in a few words and one table: what differs, and how much of it."""

from __future__ import annotations

import pandas as pd

from kn_thesis.report.comparison.compare import Comparison, TableComparison
from kn_thesis.report.comparison.judging import DIFFERS, IDENTICAL, INSIDE, OUTSIDE, UNTESTED, WITHIN

COUNTED = {
    "differ": DIFFERS,
    "outside interval": OUTSIDE,
    "within error": WITHIN,
    "inside interval": INSIDE,
    "no test": UNTESTED,
    "identical": IDENTICAL,
}


def summary_table(comparison: Comparison) -> pd.DataFrame:
    """One row per compared table.

    Columns: table; values (measures of rows in both), and of these, by verdict, COUNTED's; sign changes among those
    that differ; flags that change; cells that differ; rows in both, only in A, only in B; same bytes. Counts of
    values are empty for a table without measured values in both.
    """
    return pd.DataFrame([_row(table) for table in comparison.tables])


def _row(table: TableComparison) -> dict[str, object]:
    row: dict[str, object] = {"table": table.name, "values": table.values}
    row |= {name: table.count(verdict) for name, verdict in COUNTED.items()}
    notes = table.rows["note"].fillna("").astype(str)
    differ = table.rows["verdict"].isin([DIFFERS, OUTSIDE])
    row["other sign"] = int((notes.str.contains("sign changes") & differ).sum())
    if not table.values:
        row |= dict.fromkeys(list(row)[1:], "")
    flags = table.cells["column"].isin(table.flags)
    row["flags changed"] = int(table.cells.loc[flags, "differ"].sum())
    row["cells that differ"] = table.cells_that_differ
    row |= {"rows in both": table.both, "only in A": table.only_first, "only in B": table.only_second}
    row["same bytes"] = "yes" if table.same_bytes else "no"
    return row


def headline(comparison: Comparison) -> str:
    """What differs, in one sentence or two."""
    tables = comparison.tables
    same = len(comparison.same_bytes)
    if tables and same == len(tables):
        return f"The two runs agree in every byte of {_plural(same, 'table')}."
    values = sum(table.values for table in tables)
    if not values:
        return "No measured value stands in both runs; what else differs is counted below."
    parts = []
    for name, said in (
        (IDENTICAL, "{} identical"),
        (WITHIN, "{} within error"),
        (DIFFERS, "{} after Holm's correction"),
        (INSIDE, "{} inside the other's interval"),
        (OUTSIDE, "{} outside of it"),
        (UNTESTED, "{} without a test"),
    ):
        count = sum(table.count(name) for table in tables)
        text = said.format(f"{count:,}")
        if name == DIFFERS and (count or any(table.rows["test"].ne("").any() for table in tables)):
            parts.append(f"{count:,} {'differs' if count == 1 else 'differ'} after Holm's correction")
        elif count:
            parts.append(text)
    differing = [table.name for table in tables if table.count(DIFFERS, OUTSIDE)]
    where = f" Differences stand in: {', '.join(differing)}." if differing else ""
    bytes_ = (
        f" {_plural(same, 'table')} of {len(tables)} agree{'s' if same == 1 else ''} in every byte." if same else ""
    )
    return f"Of {_plural(values, 'measured value')} in both, {_listed(parts)}.{where}{bytes_}"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
