"""What notebooks show: figures and tables as HTML that needs no other file.

The HTML is whole without scripts and styles; the page's own make tables sort and figures open large.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kn_thesis.report.cells import cell_texts, holds_numbers

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML

TAG = re.compile(r"<(?=[a-zA-Z/!?])")
MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
WORD, SENTENCE = 20, 36  # characters: a cell with more of them may be broken inside its names, between its words
MOST_ROWS = 1000  # a page with more of them is slow to open; they are in the file beside it


def figure(path: str | Path, alt: str, caption: str) -> HTML:
    """A figure inside the page, with its text for those who cannot see it and its caption below.

    Raises FileNotFoundError when the file is not there and KeyError for a type that pages do not show.
    """
    from IPython.display import HTML

    return HTML(figure_html(path, alt, caption))


def figure_html(path: str | Path, alt: str, caption: str) -> str:
    """The same as a string."""
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
    most: int = MOST_ROWS,
    markup: Collection[str] = (),
) -> HTML:
    """A data frame as a table with a caption; `formats` holds a format specification per column, such as '.2f'.

    Empty cells stand for missing values. `name` is the table's anchor, and with `download` the CSV file beside the
    page that it can be fetched from. Of a table that has this file, the first `most` rows are shown, and that is said.
    Texts in the columns named in `markup` are HTML already, such as a verdict's sign; all others are escaped.
    """
    from IPython.display import HTML

    return HTML(table_html(data, name, caption, formats, download, most, markup))


def table_html(
    data: pd.DataFrame,
    name: str,
    caption: str,
    formats: Mapping[str, str] | None = None,
    download: bool = True,
    most: int = MOST_ROWS,
    markup: Collection[str] = (),
) -> str:
    """The same as a string."""
    shown = data.iloc[:most] if download else data
    columns = cell_texts(shown, formats or {})
    plain = [name not in markup for name in data.columns]
    classes = [_kind(shown.iloc[:, place], texts) if plain[place] else "" for place, texts in enumerate(columns)]
    heads = [_breakable(str(column), 10) for column in data.columns]
    head = "".join(f'<th scope="col"{kind}>{text}</th>' for text, kind in zip(heads, classes, strict=True))
    rows = "\n".join(_row(cells, classes, plain) for cells in zip(*columns, strict=True))
    anchor = f"table-{html.escape(name)}"
    file = f"tables/{html.escape(name)}.csv"
    count = f"{len(data):,} row{'s' * (len(data) != 1)}"
    if len(shown) < len(data):
        count = f"first {len(shown):,} of {count}, the file has all"
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


def _natural_width(file: Path) -> int:
    """Width in CSS pixels at which an SVG's text has the size it was drawn for; 0 where that is not known."""
    head = file.read_text(encoding="utf-8", errors="ignore")[:2000] if file.suffix == ".svg" else ""
    found = re.search(r'<svg\b[^>]*\bwidth="([\d.]+)pt"', head)
    return round(float(found[1]) * 4 / 3) if found else 0


def _tools(inner: str, anchor: str, kind: str) -> str:
    return (
        f'<span class="tools">{inner} <a class="anchor" href="#{anchor}" aria-label="Link to this {kind}">#</a></span>'
    )


def _kind(column: pd.Series, texts: list[str]) -> str:
    """The class of a column's cells: n for numbers, t for sentences, w for names too long to be kept whole."""
    if holds_numbers(column, texts):
        return ' class="n"'
    longest = max(map(len, texts), default=0)
    return ' class="t"' if longest > SENTENCE else ' class="w"' if longest > WORD else ""


def _row(cells: tuple[str, ...], classes: list[str], plain: list[bool]) -> str:
    first, *others = (_breakable(cell, WORD) if safe else cell for cell, safe in zip(cells, plain, strict=True))
    inner = "".join(f"<td{kind}>{text}</td>" for text, kind in zip(others, classes[1:], strict=True))
    return f'<tr><th scope="row"{classes[0]}>{first}</th>{inner}</tr>'


def _breakable(text: str, longest: int) -> str:
    """Text as HTML; one with more characters may be broken after each underscore, and each dot between letters."""
    text = html.escape(text, quote=False)
    return re.sub(r"(_|\.(?=[a-z]))", r"\1<wbr>", text) if len(text) > longest else text


def markdown(text: str) -> object:
    """A paragraph computed from the tables, shown as Markdown; words in it that look like tags stay words."""
    from IPython.display import Markdown

    return Markdown(TAG.sub("&lt;", text))
