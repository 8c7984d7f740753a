"""Write the comparison of two runs: an HTML page and, beside it, a folder of CSV tables.

`write_comparison` writes both, or nothing if something fails before. `page_body` is the page: what differs first, then
how it was tested, then table by table. `headline` and `summary_table` say in a few words and one table what differs.
"""

from __future__ import annotations

import html
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.files import scratch_folder, whole_file
from kn_thesis.report.comparison.compare import Comparison, TableComparison, label
from kn_thesis.report.comparison.figures import draw
from kn_thesis.report.comparison.registry import TABLES
from kn_thesis.report.comparison.tests import (
    CELLS,
    COLUMNS,
    DIFFERS,
    IDENTICAL,
    INSIDE,
    OUTSIDE,
    UNTESTED,
    VERDICTS,
    WITHIN,
)
from kn_thesis.report.pages import Chapter, page
from kn_thesis.report.show import figure_html, table_html

COUNTED = {
    "differ": DIFFERS,
    "outside interval": OUTSIDE,
    "within error": WITHIN,
    "inside interval": INSIDE,
    "no test": UNTESTED,
    "identical": IDENTICAL,
}
MAX_ROWS = 40  # rows of a table on the page; the CSV holds all
GRID = "display:grid;gap:0 1.25rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr))"
TITLES = {"models": "Accuracy of the models", "accuracy": "Accuracy before and after suppression"}


def write_comparison(comparison: Comparison, output: Path, template: Path) -> None:
    """Write the page and the folder of its tables, and replace those of an earlier comparison.

    Args:
        comparison: the comparison.
        output: path of the page.
        template: the template of the report's pages.

    Raises:
        UserError: the folder cannot be created, or as `check_output` does.
    """
    folder = check_output(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {output}: its folder cannot be created ({error.strerror}); name another") from error
    with scratch_folder(output) as scratch:
        pictures = {
            table.name: [
                (measure, path)
                for measure in table.rows["quantity"].unique()
                if (path := draw(table.rows, measure, scratch, f"{table.name}_{measure}"))
            ]
            for table in comparison.tables
            if not table.all_identical
        }
        content = _page(page_body(comparison, pictures, quote(folder.name)), comparison, output, template)
        fresh = scratch / "tables"
        fresh.mkdir()
        for name, table in written_tables(comparison).items():
            table.to_csv(fresh / f"{name}.csv", index=False, float_format="%.6g")
        with whole_file(output) as path:
            path.write_text(content, encoding="utf-8")
            if folder.is_dir():
                os.replace(folder, scratch / "earlier")
            os.replace(fresh, folder)


def check_output(output: Path) -> Path:
    """Check that a page and its tables can be written.

    Args:
        output: path of the page.

    Returns:
        The folder for the CSV files: the page's path without its suffix.

    Raises:
        UserError: `output` does not name an .html file, or the folder holds more than the tables of an earlier
            comparison.
    """
    if output.suffix != ".html" or output.is_dir():
        raise UserError(f"--output {output}: name an HTML file, such as results/comparison.html")
    folder = output.with_suffix("")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    earlier = "summary.csv" in names and "cells.csv" in names and all(name.endswith(".csv") for name in names)
    if folder.is_file() or (names and not earlier):
        raise UserError(
            f"--output {output}: its tables would go to {folder}, which holds something else; name another file"
        )
    return folder


def written_tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Collect the tables of a comparison: summary, cells (all columns of all tables), and one per table with measures.

    Args:
        comparison: the comparison.

    Returns:
        The tables by name.
    """
    cells = [table.cells.assign(table=table.name)[["table", *CELLS]] for table in comparison.tables]
    overall = {"summary": summary_table(comparison), "cells": pd.concat(cells, ignore_index=True)}
    return overall | {table.name: table.rows for table in comparison.tables if len(table.rows)}


def _page(body: str, comparison: Comparison, output: Path, template: Path) -> str:
    """The body inside the report's frame; links to the report's first page are adapted, or removed without a report."""
    chapter = Chapter(output.stem, "Two runs compared", "")
    text = page(template, [chapter], output.stem, f"{comparison.first.name} and {comparison.second.name}", body)
    report = _report_of(comparison, output)
    link = re.compile(r'<a ([^>]*)href="index\.html"([^>]*)>(.*?)</a>', re.DOTALL)
    if report:
        return link.sub(rf'<a \1href="{report}"\2>\3</a>', text)
    # Entries of the navigation go; other texts, such as the site's name, stay without their link.
    return link.sub(lambda match: "" if "Overview" in match[3] else match[3], text)


def _report_of(comparison: Comparison, output: Path) -> str:
    """Link from the page to the report of a run, if it lies below the page's own folder; else ""."""
    here = output.resolve().parent
    for run in (comparison.first, comparison.second):
        if run.folder is None:
            continue
        for index in (run.folder.parent / "report" / "index.html", run.folder.parent / "index.html"):
            if index.is_file() and index.resolve().is_relative_to(here):
                return quote(index.resolve().relative_to(here).as_posix())
    return ""


def summary_table(comparison: Comparison) -> pd.DataFrame:
    """Count what differs, table by table.

    Args:
        comparison: the comparison.

    Returns:
        A row per compared table: table; values (measured values in both runs) and their counts by verdict (COUNTED);
        "other sign", the sign changes among values that differ; "flags changed"; "cells that differ"; "rows in both",
        "only in A", "only in B"; "same bytes". Counts of values are empty for a table without measured values in both.
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
    """Say in one or two sentences what differs."""
    tables = comparison.tables
    same = len(comparison.same_bytes)
    if tables and same == len(tables):
        return f"The two runs agree in every byte of {_plural(same, 'table')}."
    values = sum(table.values for table in tables)
    if not values:
        return "The runs share no measured value; other differences are counted below."
    parts = []
    for name, phrase in (
        (IDENTICAL, "{} identical"),
        (WITHIN, "{} within error"),
        (DIFFERS, "{} after Holm's correction"),
        (INSIDE, "{} inside the other's interval"),
        (OUTSIDE, "{} outside it"),
        (UNTESTED, "{} without a test"),
    ):
        count = sum(table.count(name) for table in tables)
        if name == DIFFERS and (count or any(table.rows["test"].ne("").any() for table in tables)):
            parts.append(f"{count:,} {'differs' if count == 1 else 'differ'} after Holm's correction")
        elif count:
            parts.append(phrase.format(f"{count:,}"))
    differing = [table.name for table in tables if table.count(DIFFERS, OUTSIDE)]
    where = f" Tables with differences: {', '.join(differing)}." if differing else ""
    identical = (
        f" {_plural(same, 'table')} of {len(tables)} agree{'s' if same == 1 else ''} in every byte." if same else ""
    )
    return f"Of {_plural(values, 'measured value')} in both, {_listed(parts)}.{where}{identical}"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def page_body(comparison: Comparison, pictures: Mapping[str, Sequence[tuple[str, Path]]], tables: str) -> str:
    """Write the body of the page.

    Args:
        comparison: the comparison.
        pictures: measure and SVG file of each figure, by table.
        tables: folder of the CSV files, as the page's links write it.

    Returns:
        The body as HTML.
    """
    measured = [table for table in comparison.tables if len(table.shown_rows) and not table.same_bytes]
    others = [table for table in comparison.tables if not len(table.shown_rows) and not table.same_bytes]
    return "".join(
        [
            "<h1>Two runs compared</h1>",
            _sides(comparison),
            '<h2 id="summary">What differs</h2>',
            f"<p><strong>{html.escape(headline(comparison))}</strong></p>",
            _summary(comparison, tables),
            _tests(comparison),
            *(_measured(table, pictures.get(table.name, ()), tables) for table in measured),
            _others(others, tables),
            _left_out(comparison),
        ]
    )


def _sides(comparison: Comparison) -> str:
    """The two runs, the pairs of models, and the models without a counterpart."""
    pairing = comparison.pairing
    sentences = [
        ", ".join(
            f"{side} is <code>{html.escape(run.name)}</code>"
            for side, run in (("A", comparison.first), ("B", comparison.second))
        )
        + "."
    ]
    if pairing.pairs:
        names = ", ".join(label(pair) for pair in pairing.pairs)
        sentences.append(html.escape(f"{pairing.how} Models compared (A / B where names differ): {names}."))
    if comparison.first.folder == comparison.second.folder:
        rest = sorted(set(pairing.only_first) & set(pairing.only_second))
        if rest:
            sentences.append(f"Other models of this run were not compared: {html.escape(', '.join(rest))}.")
    else:
        sentences += [
            html.escape(f"Models of {side} without a counterpart were not compared: {', '.join(models)}.")
            for side, models in (("A", pairing.only_first), ("B", pairing.only_second))
            if models
        ]
    return "".join(f"<p>{text}</p>" for text in sentences)


def _summary(comparison: Comparison, tables: str) -> str:
    table = summary_table(comparison)
    empty = [name for name in table if name != "values" and set(table[name]) <= {0, "", "no"}]
    return "<p>Measured values in both runs by verdict, other cells that differ, and numbers of rows:</p>" + _table(
        table.drop(columns=empty), "summary", "What differs, per table.", tables
    )


def _tests(comparison: Comparison) -> str:
    """What the verdicts in this comparison mean, and how they were tested."""
    verdicts = {verdict for table in comparison.tables for verdict in table.rows["verdict"].unique()}
    tests = {test for table in comparison.tables for test in table.rows["test"].unique()} - {""}
    sentences = []
    if "Fisher" in tests:
        sentences.append(
            "Counts, such as right answers out of all, are compared by Fisher's exact test of two proportions."
        )
    if "z" in tests:
        sentences.append(
            "Estimates with intervals are compared by a z-test, with the width of the 95 % interval / (2·1.96) as the "
            "standard error. That is an approximation, and it treats both runs as independent. An interval of width 0 "
            "says nothing about the error: shares over several questions per edit are then rounded to whole edits and "
            "compared by Fisher's test."
        )
    if tests:
        sentences.append(
            "“Differs” means p < 0.05 after Holm's correction over all tests of the same table; “within error” means "
            "that the test does not tell the two values apart. Intervals are over prompts, groups or edits of one "
            "model. A model trained again with another seed may differ by more, so one pair of runs does not show what "
            "caused a difference."
        )
    if verdicts & {INSIDE, OUTSIDE}:
        sentences.append(
            "If only one side has an interval with a width above 0, there is no test: the verdict says whether the "
            "other side's value lies inside that interval."
        )
    if comparison.with_published:
        sentences.append(
            "Published values are those in resources/published.yaml that name a model, a task and a place. They were "
            "measured on other models and prompts."
        )
    if UNTESTED in verdicts:
        sentences.append(
            "“No test” means that the values differ, but neither has an interval or a count that a test could use."
        )
    paragraphs = "".join(f"<p>{text}</p>" for text in sentences)
    return f'<h2 id="tests">How differences were tested</h2>{paragraphs}' if sentences else ""


def _measured(table: TableComparison, pictures: Sequence[tuple[str, Path]], tables: str) -> str:
    """One table with measures: a summary, its figures, the rows that matter most."""
    title = TITLES.get(table.name, table.name.replace("_", " ").capitalize())
    here = table.shown_rows
    sentences = [f"{table.both:,} {'row is' if table.both == 1 else 'rows are'} in both runs."]
    if len(here):
        identical = f"All {len(here):,} measured values are identical."
        sentences.append(identical if table.all_identical else f"Verdicts: {_verdict_counts(here)}.")
    if table.only_first or table.only_second:
        sentences.append(f"Rows only in A: {table.only_first:,}; only in B: {table.only_second:,}.")
    if table.missing:
        sentences.append(f"Not compared, because one table lacks their columns: {', '.join(table.missing)}.")
    sentences.append(_other_columns(table))
    figures = "".join(
        figure_html(
            path,
            f"{measure} of {table.name}: {len(part):,} rows, A across and B upright; {_verdict_counts(part)}.",
            f"{measure}: A against B. On the dashed line both are equal; thin lines are intervals.",
        )
        for measure, path in pictures
        for part in [here[here["quantity"] == measure]]
    )
    rows = _link(table.name, tables) if table.all_identical else _rows(table, here, tables)
    flips = _flips(table)
    return (
        f'<h2 id="{html.escape(table.name)}">{html.escape(title)}</h2><p>{html.escape(" ".join(sentences))}</p>'
        + (f"<p>{html.escape(flips)}</p>" if flips else "")
        + (f'<div style="{GRID}">{figures}</div>' if figures else "")
        + rows
    )


def _verdict_counts(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"{verdict} {count:,}" for verdict in VERDICTS if (count := int((rows["verdict"] == verdict).sum()))
    )


def _other_columns(table: TableComparison) -> str:
    """Which columns differ besides those that have verdicts."""
    judged = {column for measure in TABLES[table.name].measures for column in measure.all_columns} | set(table.flags)
    rows = table.cells[(table.cells["differ"] > 0) & ~table.cells["column"].isin(judged)]
    if not len(rows):
        return ""
    return f"{rows['differ'].sum():,} cells of other columns differ: {', '.join(rows['column'])}."


def _flips(table: TableComparison) -> str:
    """Which yes-or-no columns change, and in how many rows."""
    rows = table.cells[table.cells["column"].isin(table.flags) & (table.cells["differ"] > 0)]
    return " ".join(
        f"The column {row.column} changes in {row.differ:,} of {row.cells:,} rows."
        for row in rows.itertuples(index=False)
    )


def _rows(table: TableComparison, here: pd.DataFrame, tables: str) -> str:
    """The rows that matter most; what is the same in all of them stands above, once."""
    texts = display_rows(here)
    alike = [name for name in texts.columns[1:-4] if texts[name].nunique() == 1 and len(texts) > 1]
    sentences = ["Differences come first. Values are followed by [interval] or (count of all)."]
    if len(here) > MAX_ROWS:
        sentences.append(f"These are the first {MAX_ROWS} of {len(here):,} rows; the CSV file has all of them.")
    if alike:
        sentences.append(f"The same in all these rows: {', '.join(f'{name} {texts[name].iloc[0]}' for name in alike)}.")
    rows = _table(texts.drop(columns=alike), table.name, f"{table.name}: A and B.", tables)
    return f"<p>{html.escape(' '.join(sentences))}</p>{rows}"


def display_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Select the rows that matter most, and write them as text.

    Args:
        rows: from `judge_measures`.

    Returns:
        At most MAX_ROWS rows: verdict with its note, key, quantity, A, B, B − A, p (Holm).
    """
    rank = rows["verdict"].map({verdict: place for place, verdict in enumerate(VERDICTS)})
    noted = rows["note"].eq("")
    size = -rows["difference"].abs().fillna(0)
    order = pd.DataFrame({"rank": rank, "noted": noted, "p": rows["p"].fillna(2), "size": size})
    rows = rows.loc[order.sort_values(["rank", "p", "noted", "size"], kind="stable").index[:MAX_ROWS]]
    key = [column for column in rows.columns if column not in COLUMNS]
    texts = rows[[*key, "quantity"]].astype(object)
    texts.insert(0, "verdict", rows["verdict"].where(rows["note"].eq(""), rows["verdict"] + "; " + rows["note"]))
    for side in "AB":
        texts[side] = [_value(row, side) for row in rows.to_dict("records")]
    texts["B − A"] = [_number(value, sign=True) for value in rows["difference"]]
    texts["p (Holm)"] = [_p(value) for value in rows["p_holm"]]
    return texts


def _value(row: Mapping[str, float], side: str) -> str:
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


def _p(p: float) -> str:
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
        "<p>These tables have no measured values in both runs. Their rows are matched by their key, or by all columns "
        "without decimals if the table is unknown. The CSV file has the counts of all columns of all tables.</p>"
        + _table(pd.DataFrame(cells), "cells", "Cells that differ, with the largest difference of two numbers.", tables)
    )


def _left_out(comparison: Comparison) -> str:
    """Tables that only one run has, or that were not compared."""
    sentences = []
    published = comparison.with_published
    for side, names in (("A", comparison.only_first), ("B", comparison.only_second)):
        if names:
            why = "without published values" if published else f"only in {side}"
            sentences.append(f"Tables {why}: {', '.join(names)}.")
    if comparison.alike:
        sentences.append(
            f"Not compared, because they are not per model and both runs are one folder: {', '.join(comparison.alike)}."
        )
    if comparison.same_bytes:
        sentences.append(f"Identical files: {', '.join(comparison.same_bytes)}.")
    paragraphs = "".join(f"<p>{html.escape(text)}</p>" for text in sentences)
    return f'<h2 id="left-out">Other tables</h2>{paragraphs}' if sentences else ""


def _table(data: pd.DataFrame, name: str, caption: str, tables: str) -> str:
    """A table, with a link to its CSV file below."""
    return table_html(data, name, caption, download=False) + _link(name, tables)


def _link(name: str, tables: str) -> str:
    return f'<p><a href="{html.escape(tables)}/{html.escape(name)}.csv" download>{html.escape(name)}.csv</a></p>'
