"""The page's body: what differs first, then how it was tested, then table by table."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from kn_thesis.report.comparison.compare import Comparison, TableComparison
from kn_thesis.report.comparison.judging import COLUMNS, VERDICTS
from kn_thesis.report.comparison.pairing import label
from kn_thesis.report.comparison.registry import TABLES
from kn_thesis.report.comparison.summary import headline, summary_table
from kn_thesis.report.show import figure_html, table_html

SHOWN = 40  # rows of a table on the page; the CSV holds all
GRID = "display:grid;gap:0 1.25rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr))"
TITLES = {"models": "Accuracy of the models", "accuracy": "Accuracy before and after suppression"}


def page_body(comparison: Comparison, pictures: Mapping[str, Sequence[tuple[str, Path]]], tables: str) -> str:
    """HTML of the whole comparison.

    `pictures`: measure and SVG file by table; `tables`: where the CSV files lie, as the page's links write it.
    """
    measured = [table for table in comparison.tables if len(table.shown_rows) and not table.same_bytes]
    others = [table for table in comparison.tables if not len(table.shown_rows) and not table.same_bytes]
    return "".join(
        [
            "<h1>Two runs compared</h1>",
            _who(comparison),
            '<h2 id="summary">What differs</h2>',
            f"<p><strong>{html.escape(headline(comparison))}</strong></p>",
            _summary(comparison, tables),
            _how(comparison),
            *(_measured(table, pictures.get(table.name, ()), tables) for table in measured),
            _others(others, tables),
            _left_out(comparison),
        ]
    )


def _who(comparison: Comparison) -> str:
    """The runs, the pairs, and models without one."""
    pairing = comparison.pairing
    said = [
        ", ".join(
            f"{side} is <code>{html.escape(run.name)}</code>"
            for side, run in (("A", comparison.first), ("B", comparison.second))
        )
        + "."
    ]
    if pairing.pairs:
        names = ", ".join(label(pair) for pair in pairing.pairs)
        said.append(html.escape(f"{pairing.how} Models compared (A / B where names differ): {names}."))
    if comparison.first.folder == comparison.second.folder:
        rest = sorted(set(pairing.only_first) & set(pairing.only_second))
        said += [f"Other models of this run were not compared: {html.escape(', '.join(rest))}."] if rest else []
    else:
        said += [
            html.escape(f"Not compared, as they have no counterpart, are these models of {side}: {', '.join(models)}.")
            for side, models in (("A", pairing.only_first), ("B", pairing.only_second))
            if models
        ]
    return "".join(f"<p>{text}</p>" for text in said)


def _summary(comparison: Comparison, tables: str) -> str:
    table = summary_table(comparison)
    empty = [name for name in table if name != "values" and set(table[name]) <= {0, "", "no"}]
    return "<p>Measured values of rows in both runs by verdict, other cells that differ, and rows:</p>" + _table(
        table.drop(columns=empty), "summary", "What differs, per table.", tables
    )


def _how(comparison: Comparison) -> str:
    """What the verdicts mean, as far as this comparison has them."""
    found = {verdict for table in comparison.tables for verdict in table.rows["verdict"].unique()}
    tests = {test for table in comparison.tables for test in table.rows["test"].unique()} - {""}
    said = []
    if "Fisher" in tests:
        said.append("Counts, such as right answers of all, are compared by Fisher's exact test of two proportions.")
    if "z" in tests:
        said.append(
            "Estimates with intervals are compared by a z-test: the standard error is taken as the width of the 95 % "
            "interval / (2·1.96). That is approximate, and it treats both runs as independent. An interval of no width "
            "says nothing of the error: shares over several questions an edit are then counted in whole edits, for "
            "Fisher's test."
        )
    if tests:
        said.append(
            "“Differs” means p < 0.05 after Holm's correction over all tests of the same table; “within error” that "
            "the test does not tell the two apart. Intervals are over prompts, groups or edits of one model: a model "
            "trained again with another seed may differ by more, so one pair of runs does not show what made the "
            "difference."
        )
    if found & {"inside the interval", "outside the interval"}:
        said.append(
            "Where only one side has an interval of some width, no test is made: the verdict says whether the other's "
            "value lies inside it."
        )
    if comparison.with_published:
        said.append(
            "Published values are those of resources/published.yaml that name a model, a task and a place; they were "
            "measured on other models and prompts."
        )
    if "no test" in found:
        said.append("“No test”: the values differ, but neither has an interval or a count that a test could use.")
    return '<h2 id="tests">How it was tested</h2>' + "".join(f"<p>{text}</p>" for text in said) if said else ""


def _measured(table: TableComparison, pictures: Sequence[tuple[str, Path]], tables: str) -> str:
    """One table with measures: a sentence, its pictures, the rows that matter most."""
    title = TITLES.get(table.name, table.name.replace("_", " ").capitalize())
    here = table.shown_rows
    said = [f"{table.both:,} {'row is' if table.both == 1 else 'rows are'} in both runs."]
    if len(here):
        alike = f"All {len(here):,} measured values are identical."
        said.append(alike if table.all_identical else f"Verdicts: {_say_verdicts(here)}.")
    if table.only_first or table.only_second:
        said.append(f"Rows only in A: {table.only_first:,}; only in B: {table.only_second:,}.")
    if table.missing:
        said.append(f"Not compared, as one table lacks their columns: {', '.join(table.missing)}.")
    said.append(_other_columns(table))
    shown = "".join(
        figure_html(
            path,
            f"{measure} of {table.name}: {len(part):,} rows, A across and B upright; {_say_verdicts(part)}.",
            f"{measure}: A against B; on the dashed line they are equal, thin lines are intervals.",
        )
        for measure, path in pictures
        for part in [here[here["quantity"] == measure]]
    )
    rows = _link(table.name, tables) if table.all_identical else _rows(table, here, tables)
    flips = _flips(table)
    return (
        f'<h2 id="{html.escape(table.name)}">{html.escape(title)}</h2><p>{html.escape(" ".join(said))}</p>'
        + (f"<p>{html.escape(flips)}</p>" if flips else "")
        + (f'<div style="{GRID}">{shown}</div>' if shown else "")
        + rows
    )


def _say_verdicts(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"{verdict} {count:,}" for verdict in VERDICTS if (count := int((rows["verdict"] == verdict).sum()))
    )


def _other_columns(table: TableComparison) -> str:
    """Which columns differ besides those that the verdicts are about."""
    judged = {column for measure in TABLES[table.name].measures for column in measure.all_columns} | set(table.flags)
    rows = table.cells[(table.cells["differ"] > 0) & ~table.cells["column"].isin(judged)]
    if not len(rows):
        return ""
    return f"{rows['differ'].sum():,} cells of other columns differ: {', '.join(rows['column'])}."


def _flips(table: TableComparison) -> str:
    """Which yes-or-no columns change, in how many rows."""
    rows = table.cells[table.cells["column"].isin(table.flags) & (table.cells["differ"] > 0)]
    return " ".join(
        f"The column {row.column} changes in {row.differ:,} of {row.cells:,} rows."
        for row in rows.itertuples(index=False)
    )


def _rows(table: TableComparison, here: pd.DataFrame, tables: str) -> str:
    """The rows that matter most; what is the same in all of them stands above, once."""
    shown = display_rows(here)
    alike = [name for name in shown.columns[1:-4] if shown[name].nunique() == 1 and len(shown) > 1]
    said = ["What differs stands first; values with [interval] or (count of all)."]
    if len(here) > SHOWN:
        said.append(f"These are the first {SHOWN} of {len(here):,}: all are in the CSV file.")
    if alike:
        said.append(f"The same in all these rows: {', '.join(f'{name} {shown[name].iloc[0]}' for name in alike)}.")
    rows = _table(shown.drop(columns=alike), table.name, f"{table.name}: A and B.", tables)
    return f"<p>{html.escape(' '.join(said))}</p>{rows}"


def display_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that matter most, as text: verdict with its note, key, quantity, A, B, B − A, p (Holm)."""
    rank = rows["verdict"].map({verdict: place for place, verdict in enumerate(VERDICTS)})
    noted = rows["note"].eq("")
    size = -rows["difference"].abs().fillna(0)
    order = pd.DataFrame({"rank": rank, "noted": noted, "p": rows["p"].fillna(2), "size": size})
    rows = rows.loc[order.sort_values(["rank", "p", "noted", "size"], kind="stable").index[:SHOWN]]
    key = [column for column in rows.columns if column not in COLUMNS]
    shown = rows[[*key, "quantity"]].astype(object)
    shown.insert(0, "verdict", rows["verdict"].where(rows["note"].eq(""), rows["verdict"] + "; " + rows["note"]))
    for side in "AB":
        shown[side] = [_say_value(row, side) for row in rows.to_dict("records")]
    shown["B − A"] = [_number(value, sign=True) for value in rows["difference"]]
    shown["p (Holm)"] = [_say_p(value) for value in rows["p_holm"]]
    return shown


def _say_value(row: Mapping[str, float], side: str) -> str:
    value, low, high, count, of = (row[f"{side}{what}"] for what in ("", "_low", "_high", "_count", "_of"))
    if math.isnan(value):
        return ""
    counted = "" if math.isnan(count) or math.isnan(of) else f" ({count:,.0f} of {of:,.0f})"
    around = "" if counted or math.isnan(low) or math.isnan(high) else f" [{_number(low)}, {_number(high)}]"
    return f"{_number(value)}{counted}{around}"


def _number(value: float, sign: bool = False) -> str:
    if math.isnan(value):
        return ""
    return f"{value:{'+' if sign and value else ''}.3g}".replace("-", "−")


def _say_p(p: float) -> str:
    return "" if math.isnan(p) else "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def _others(others: Sequence[TableComparison], tables: str) -> str:
    """Tables without measures, cell by cell."""
    cells = [
        {"table": table.name, "rows in both": table.both, "only in A": table.only_first, "only in B": table.only_second}
        | {
            "cells that differ": table.cells_that_differ,
            "in columns": ", ".join(table.cells.loc[table.cells["differ"] > 0, "column"]),
            "largest difference": _number(float(table.cells["largest_difference"].max())),
        }
        for table in others
    ]
    if not cells:
        return ""
    return (
        '<h2 id="others">Tables compared cell by cell</h2>'
        "<p>These have no measured values in both runs. Rows are matched by their key, those of unknown tables by all "
        "columns without decimals. The CSV file counts column by column, for all tables.</p>"
        + _table(pd.DataFrame(cells), "cells", "Cells that differ, and the largest difference of a number.", tables)
    )


def _left_out(comparison: Comparison) -> str:
    """Tables that only one run has, or that were not compared."""
    said = []
    published = comparison.with_published
    for side, names in (("A", comparison.only_first), ("B", comparison.only_second)):
        if names:
            why = "without published values" if published else f"only in {side}"
            said.append(f"Tables {why}: {', '.join(names)}.")
    if comparison.alike:
        said.append(
            f"Not compared, as they are not per model and both runs are one folder: {', '.join(comparison.alike)}."
        )
    if comparison.same_bytes:
        said.append(f"The same in every byte: {', '.join(comparison.same_bytes)}.")
    return (
        '<h2 id="left-out">Other tables</h2>' + "".join(f"<p>{html.escape(text)}</p>" for text in said) if said else ""
    )


def _table(data: pd.DataFrame, name: str, caption: str, tables: str) -> str:
    """A table, and below it the link to its CSV file."""
    return table_html(data, name, caption, download=False) + _link(name, tables)


def _link(name: str, tables: str) -> str:
    return f'<p><a href="{html.escape(tables)}/{html.escape(name)}.csv" download>{html.escape(name)}.csv</a></p>'
