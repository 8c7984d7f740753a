"""A table's cells as text, and which of its columns hold numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

# A number as tables write it: "-0.31", "1,204", "68 %", "< 0.001", "1e-07", and with its interval, "0.68 [0.50, 0.82]".
NUMBER = re.compile(r"[<>≤≥≈~±]?\s*[-+−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?\s*%?(\s*[\[(±–].*)?", re.IGNORECASE)


def cell_texts(data: pd.DataFrame, formats: Mapping[str, str]) -> list[list[str]]:
    """Every column of `data` as one text per row, columns in order; the empty text stands for a missing value.

    `formats` holds a format specification per column. Without one, a column of floats that are all whole numbers
    (counts, some of them missing) has no decimals, and other floats have four significant digits.
    """
    return [_texts(data.iloc[:, place], formats.get(name)) for place, name in enumerate(data.columns)]


def _texts(column: pd.Series, form: str | None) -> list[str]:
    if form is None and column.dtype.kind == "f":
        there = column.dropna()
        form = ".0f" if (there == there.round()).all() and (there.abs() < 1e15).all() else ".4g"
    return ["" if _missing(value) else format(value, form) if form else str(value) for value in column]


def _missing(value: object) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def holds_numbers(column: pd.Series, texts: Sequence[str]) -> bool:
    """Whether a column is set like numbers: by its type, or because every text in it starts as one and is no more."""
    if is_bool_dtype(column):
        return False
    there = [text for text in texts if text]
    return is_numeric_dtype(column) or (bool(there) and all(NUMBER.fullmatch(text) for text in there))
