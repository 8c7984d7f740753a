"""The page and its CSV files on disk: all of them, or none when something fails before."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.files import scratch_folder, whole_file
from kn_thesis.report.comparison.body import page_body
from kn_thesis.report.comparison.compare import Comparison
from kn_thesis.report.comparison.figures import draw
from kn_thesis.report.comparison.matching import CELLS
from kn_thesis.report.comparison.summary import summary_table
from kn_thesis.report.pages import Chapter, page


def written_tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """What is written as CSV, by name: summary, cells (all columns of all tables), and one per table with measures."""
    cells = [table.cells.assign(table=table.name)[["table", *CELLS]] for table in comparison.tables]
    found = {"summary": summary_table(comparison), "cells": pd.concat(cells, ignore_index=True)}
    return found | {table.name: table.rows for table in comparison.tables if len(table.rows)}


def check_output(output: Path) -> Path:
    """The folder for the CSV files beside the page, which bears its name without the suffix.

    Raises UserError when `output` is no .html file's path, and when that folder holds something else than the tables
    of an earlier comparison.
    """
    if output.suffix != ".html" or output.is_dir():
        raise UserError(f"--output {output}: name an HTML file, such as results/comparison.html")
    folder = output.with_suffix("")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    earlier = "summary.csv" in there and "cells.csv" in there and all(name.endswith(".csv") for name in there)
    if folder.is_file() or (there and not earlier):
        raise UserError(
            f"--output {output}: its tables would go to {folder}, which holds something else; name another file"
        )
    return folder


def write_comparison(comparison: Comparison, output: Path, template: Path) -> None:
    """Write the page and, beside it, the folder of its tables; those of an earlier comparison there are replaced.

    `template`: the report's page. Raises UserError as `check_output` does.
    """
    folder = check_output(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {output}: its folder cannot be made ({error.strerror}); name another") from error
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
        html = _page(page_body(comparison, pictures, quote(folder.name)), comparison, output, template)
        fresh = scratch / "tables"
        fresh.mkdir()
        for name, table in written_tables(comparison).items():
            table.to_csv(fresh / f"{name}.csv", index=False, float_format="%.6g")
        with whole_file(output) as path:
            path.write_text(html, encoding="utf-8")
            if folder.is_dir():
                os.replace(folder, scratch / "earlier")
            os.replace(fresh, folder)


def _page(body: str, comparison: Comparison, output: Path, template: Path) -> str:
    """The body inside the report's frame, whose way to the report's first page leads there or is taken out."""
    chapter = Chapter(output.stem, "Two runs compared", "")
    text = page(template, [chapter], output.stem, f"{comparison.first.name} and {comparison.second.name}", body)
    report = _report_of(comparison, output)
    link = re.compile(r'<a ([^>]*)href="index\.html"([^>]*)>(.*?)</a>', re.DOTALL)
    if report:
        return link.sub(rf'<a \1href="{report}"\2>\3</a>', text)
    # What only leads to the overview goes; other words, such as the site's name, stay without their link.
    return link.sub(lambda found: "" if "Overview" in found[3] else found[3], text)


def _report_of(comparison: Comparison, output: Path) -> str:
    """Link from the page to the report of a run that lies below the page's own folder, or ""."""
    here = output.resolve().parent
    for run in (comparison.first, comparison.second):
        if run.folder is None:
            continue
        for index in (run.folder.parent / "report" / "index.html", run.folder.parent / "index.html"):
            if index.is_file() and index.resolve().is_relative_to(here):
                return quote(index.resolve().relative_to(here).as_posix())
    return ""
