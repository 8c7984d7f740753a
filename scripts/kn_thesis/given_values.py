"""Values that people hand to the library's functions: taken as they are meant, or refused in one line."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from kn_thesis.errors import UserError


def checked_text(name: str, value: Any) -> str:
    """A text, as `str`. Raises UserError for anything else, and for half a character pair, which no tokenizer takes."""
    if not isinstance(value, str):
        raise UserError(f"{name} is {in_one_line(value)}: give a text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        half = value[error.start]
        raise UserError(f"{name} has half a character pair, {half!r}, at {error.start}: take it out") from None
    return str(value)


def checked_list(name: str, values: Any, least: int = 0, of: str = "") -> list[Any]:
    """The entries of a list, a tuple, an array, a column of a table or the like, in order.

    Raises UserError for a text or another single value, for a dictionary, a set or a whole table, whose entries have no
    order of that kind, and for fewer entries than `least` (0 or 1). of: what its entries are, for the message.
    """
    wanted = "a list with at least one entry" if least else f"a list{of}"
    if isinstance(values, str | bytes):
        raise UserError(f"{name} is {wanted}: put a single one in brackets")
    dimensions = getattr(values, "ndim", 1)
    if not isinstance(values, Iterable) or isinstance(values, Mapping | set | frozenset) or dimensions != 1:
        raise UserError(f"{name} is {in_one_line(values)}: give {wanted}")
    listed = list(values)
    if len(listed) < least:
        raise UserError(f"{name} is {wanted}: it is empty")
    return listed


def checked_texts(name: str, values: Any, least: int = 0) -> list[str]:
    """A list of texts; raises UserError as `checked_list` and `checked_text` do, and names the entry."""
    listed = checked_list(name, values, least, of=" of texts")
    return [checked_text(f"{name}: entry {number}", value) for number, value in enumerate(listed)]


def checked_whole(name: str, value: Any, least: int | None = None) -> int:
    """A whole number, Python's or numpy's, of any size or `least` at least. Raises UserError."""
    if not is_whole(value, least):
        raise UserError(
            f"{name} is {in_one_line(value)}: give a whole number{'' if least is None else f', {least} or more'}"
        )
    return int(value)


def is_whole(value: Any, least: int | None = None) -> bool:
    """Whether a value is a whole number, Python's or numpy's and no truth value, of any size or `least` at least."""
    return isinstance(value, Integral) and not isinstance(value, bool) and (least is None or value >= least)


def checked_share(name: str, value: Any) -> float:
    """A number from 0 on and below 1. Raises UserError."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise UserError(f"{name} is {in_one_line(value)}: give a number")
    if not 0 <= value < 1:
        raise UserError(f"{name} must be at least 0 and below 1, got {value}")
    return float(value)


def in_one_line(value: Any) -> str:
    """A value in few words and one line."""
    text = " ".join(reprlib.repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
