"""Show figures and tables in notebooks and pages as HTML that needs no other file.

`figure`, `table` and `markdown` are for notebooks; `figure_html` and `table_html` return the same as strings. The HTML
is complete without scripts and styles. The page adds sorting, filtering and enlarged figures.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

if TYPE_CHECKING:
    from IPython.display import HTML


# A number as tables write it: "-0.31", "1,204", "68 %", "< 0.001", "1e-07", and with its interval, "0.68 [0.50, 0.82]".
NUMBER = re.compile(r"[<>≤≥≈~±]?\s*[-+−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?\s*%?(\s*[\[(±–].*)?", re.IGNORECASE)
TAG = re.compile(r"<(?=[a-zA-Z/!?])")
MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
WORD, SENTENCE = 20, 36  # characters: longer cells may be broken inside their names, or between their words
MAX_ROWS = 1000  # pages with more rows open slowly; the file beside the page has all of them


def figure(path: str | Path, alt: str, caption: str) -> HTML:
    """Show a figure inside the page.

    Args:
        path: an SVG or PNG file; its stem becomes the anchor.
        alt: text for readers who cannot see the figure.
        caption: text below the figure.

    Returns:
        The figure for a notebook.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: pages do not show files of this type.
    """
    from IPython.display import HTML

    return HTML(figure_html(path, alt, caption))


def figure_html(path: str | Path, alt: str, caption: str) -> str:
    """The HTML of `figure` as a string."""
    file = Path(path)
    data = base64.b64encode(file.read_bytes()).decode()
    anchor = f"figure-{html.escape(file.stem)}"
    width = _natural_width(file)
    natural = f' style="--natural: {width}px"' if width else ""
    return (
        f'<figure class="picture" id="{anchor}"><div class="pane"{natural}><img alt="{html.escape(alt)}" '
        f'src="data:{MEDIA_TYPES[file.suffix]};base64,{data}"></div>'
        f'<figcaption><span class="caption">{html.escape(caption)}</span>{_tools("", anchor, "figure")}</figcaption>'
        "</figure>"
    )


def table(
    data: pd.DataFrame,
    name: str,
    caption: str,
    formats: Mapping[str, str] | None = None,
    download: bool = True,
    most: int = MAX_ROWS,
    markup: Collection[str] = (),
) -> HTML:
    """Show a data frame as a table with a caption; missing values are empty cells.

    Args:
        data: the table.
        name: anchor of the table, and stem of the CSV file beside the page.
        caption: text above the table.
        formats: a format specification such as '.2f' by column.
        download: whether there is such a CSV file.
        most: maximum number of rows shown of a table that has a CSV file; the page says when rows are left out.
        markup: columns whose texts are HTML already, such as verdicts; all other texts are escaped.

    Returns:
        The table for a notebook.
    """
    from IPython.display import HTML

    return HTML(table_html(data, name, caption, formats, download, most, markup))


def table_html(
    data: pd.DataFrame,
    name: str,
    caption: str,
    formats: Mapping[str, str] | None = None,
    download: bool = True,
    most: int = MAX_ROWS,
    markup: Collection[str] = (),
) -> str:
    """The HTML of `table` as a string."""
    visible = data.iloc[:most] if download else data
    columns = cell_texts(visible, formats or {})
    plain = [name not in markup for name in data.columns]
    classes = [_kind(visible.iloc[:, place], texts) if plain[place] else "" for place, texts in enumerate(columns)]
    heads = [_breakable(str(column), 10) for column in data.columns]
    head = "".join(f'<th scope="col"{kind}>{text}</th>' for text, kind in zip(heads, classes, strict=True))
    rows = "\n".join(_row(cells, classes, plain) for cells in zip(*columns, strict=True))
    anchor = f"table-{html.escape(name)}"
    file = f"tables/{html.escape(name)}.csv"
    count = f"{len(data):,} row{'s' * (len(data) != 1)}"
    if len(visible) < len(data):
        count = f"first {len(visible):,} of {count}; the file has all of them"
    tools = f'<span class="count">{count}</span>'
    if download:
        tools += f' <a class="csv" href="{file}" download>CSV</a>'
    return (
        f'<figure class="table" id="{anchor}"><figcaption id="{anchor}-caption">'
        f'<span class="caption">{html.escape(caption)}</span>{_tools(tools, anchor, "table")}</figcaption>'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{anchor}-caption">'
        f'<table aria-labelledby="{anchor}-caption"><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>'
        "</figure>"
    )


def markdown(text: str) -> object:
    """Show text computed from the tables as Markdown; words that look like tags stay words."""
    from IPython.display import Markdown

    return Markdown(TAG.sub("&lt;", text))


def bullets(lines: Iterable[str], otherwise: str = "") -> object:
    """Show sentences computed from the tables as a Markdown list; without any, show the text `otherwise`."""
    return markdown("\n".join(f"- {line}" for line in lines) or otherwise)


def cell_texts(data: pd.DataFrame, formats: Mapping[str, str]) -> list[list[str]]:
    """Format the cells of a table.

    Args:
        data: the table.
        formats: a format specification by column. Without one, a column of floats that are all whole numbers (counts,
            some of them missing) has no decimals, and other floats have four significant digits.

    Returns:
        For each column in order, one text per row; "" stands for a missing value.
    """
    return [_texts(data.iloc[:, place], formats.get(name)) for place, name in enumerate(data.columns)]


def holds_numbers(column: pd.Series, texts: Sequence[str]) -> bool:
    """Whether a column is aligned like numbers: by its type, or because every text in it is a number."""
    if is_bool_dtype(column):
        return False
    there = [text for text in texts if text]
    return is_numeric_dtype(column) or (bool(there) and all(NUMBER.fullmatch(text) for text in there))


def _texts(column: pd.Series, form: str | None) -> list[str]:
    if form is None and column.dtype.kind == "f":
        there = column.dropna()
        form = ".0f" if (there == there.round()).all() and (there.abs() < 1e15).all() else ".4g"
    return ["" if _missing(value) else format(value, form) if form else str(value) for value in column]


def _missing(value: object) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _natural_width(file: Path) -> int:
    """Width in CSS pixels at which an SVG's text has the size it was drawn in; 0 if unknown."""
    head = file.read_text(encoding="utf-8", errors="ignore")[:2000] if file.suffix == ".svg" else ""
    match = re.search(r'<svg\b[^>]*\bwidth="([\d.]+)pt"', head)
    return round(float(match[1]) * 4 / 3) if match else 0


def _tools(inner: str, anchor: str, kind: str) -> str:
    return (
        f'<span class="tools">{inner} <a class="anchor" href="#{anchor}" aria-label="Link to this {kind}">#</a></span>'
    )


def _kind(column: pd.Series, texts: list[str]) -> str:
    """The class of a column's cells: n for numbers, t for sentences, w for names that are too long for one line."""
    if holds_numbers(column, texts):
        return ' class="n"'
    longest = max(map(len, texts), default=0)
    return ' class="t"' if longest > SENTENCE else ' class="w"' if longest > WORD else ""


def _row(cells: tuple[str, ...], classes: list[str], plain: list[bool]) -> str:
    first, *others = (_breakable(cell, WORD) if safe else cell for cell, safe in zip(cells, plain, strict=True))
    inner = "".join(f"<td{kind}>{text}</td>" for text, kind in zip(others, classes[1:], strict=True))
    return f'<tr><th scope="row"{classes[0]}>{first}</th>{inner}</tr>'


def _breakable(text: str, longest: int) -> str:
    """Text as HTML; a text longer than `longest` may be broken after underscores and after dots between letters."""
    text = html.escape(text, quote=False)
    return re.sub(r"(_|\.(?=[a-z]))", r"\1<wbr>", text) if len(text) > longest else text
