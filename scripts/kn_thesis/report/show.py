"""What notebooks show: figures and tables as HTML that needs no other file."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML

MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


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
    return (
        f'<figure id="figure-{html.escape(file.stem)}"><img alt="{html.escape(alt)}" '
        f'src="data:{MEDIA_TYPES[file.suffix]};base64,{data}"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


def table(
    data: pd.DataFrame, name: str, caption: str, formats: Mapping[str, str] | None = None, download: bool = True
) -> HTML:
    """A data frame as a table with a caption; `formats` holds a format specification per column, such as '.2f'.

    Empty cells stand for missing values. `name` is the table's anchor, and with `download` the CSV file beside the
    page that it can be fetched from.
    """
    from IPython.display import HTML

    return HTML(table_html(data, name, caption, formats, download))


def table_html(
    data: pd.DataFrame, name: str, caption: str, formats: Mapping[str, str] | None = None, download: bool = True
) -> str:
    """The same as a string."""
    formatters = {
        column: (lambda value, form=form: "" if value != value or value is None else format(value, form))
        for column, form in (formats or {}).items()
        if column in data.columns
    }
    body = data.to_html(index=False, border=0, na_rep="", formatters=formatters, escape=True, justify="left")
    link = f' <a href="tables/{html.escape(name)}.csv" download>CSV</a>' if download else ""
    text = f"<caption>{html.escape(caption)}{link}</caption>"
    body = body.replace('<table class="dataframe">', f'<table id="table-{html.escape(name)}">{text}', 1)
    return f'<div class="scroll">{body}</div>'


def markdown(text: str) -> object:
    """A paragraph computed from the tables, shown as Markdown."""
    from IPython.display import Markdown

    return Markdown(text)
