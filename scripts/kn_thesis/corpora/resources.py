"""Reading of the tables and YAML files that people write, with one clear line for each kind of mistake."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.given import given_text
from kn_thesis.given_yaml import given_yaml


def read_table(path: Path, columns: Sequence[str], key: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows of a CSV file as dictionaries of strings, in the file's order.

    `columns` are the file's columns, all of them; `key` names columns that no two rows may share.
    Raises `UserError` naming file, line and remedy.
    """
    text = given_text(path, f"put it back (columns {', '.join(columns)})")
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: not CSV ({error}): correct it") from None
    if not lines or lines[0] != list(columns):
        found = ", ".join(lines[0]) if lines else "nothing"
        raise UserError(f"{path}: columns must be {', '.join(columns)}; found {found}")
    rows: list[dict[str, str]] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(columns):
            raise UserError(f"{path}, line {number}: {len(line)} cells, {len(columns)} expected: {','.join(line)!r}")
        if line == lines[0]:
            raise UserError(f"{path}, line {number}: the heading again; remove it")
        row = dict(zip(columns, (cell.strip() for cell in line), strict=True))
        identity = tuple(row[name] for name in key)
        if key and identity in seen:
            raise UserError(
                f"{path}, line {number}: {' '.join(identity)!r} stands in line {seen[identity]} already; remove one"
            )
        seen[identity] = number
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: no rows below the heading; add some")
    return rows


def read_yaml(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    """Content of a YAML file whose top level has exactly `keys`; raises `UserError`."""
    content = given_yaml(path, "put it back")
    check_keys(content, keys, f"{path}")
    return content


def check_keys(entry: Any, required: Iterable[str], where: str, optional: Iterable[str] = ()) -> None:
    """Raise `UserError` unless `entry` is a mapping with all `required` keys and no others but `optional` ones."""
    required, optional = list(required), list(optional)
    if not isinstance(entry, Mapping):
        raise UserError(f"{where}: must be a mapping with the keys {', '.join(required)}")
    missing = [key for key in required if key not in entry]
    if missing:
        raise UserError(f"{where}: {missing[0]!r} is missing; needed: {', '.join(required)}")
    unknown = [key for key in entry if key not in required and key not in optional]
    if unknown:
        raise UserError(f"{where}: unknown key {_few(unknown[0])}; allowed: {', '.join([*required, *optional])}")


def text_of(value: Any, where: str) -> str:
    """`value`, if it is text that says something; else raise `UserError`."""
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: {_few(value)} is not allowed; it must be text")
    return value


def texts_of(value: Any, where: str) -> list[str]:
    """`value`, if it is a list of texts; else raise `UserError`."""
    if not isinstance(value, list):
        raise UserError(f"{where}: {_few(value)} is not allowed; it must be a list")
    return [text_of(item, where) for item in value]


def entries_of(value: Any, where: str) -> Mapping[str, Any]:
    """`value`, if it maps names to something; else raise `UserError`."""
    if not isinstance(value, Mapping) or not value:
        raise UserError(f"{where}: {_few(value)} is not allowed; it must have `name: …` entries")
    for name in value:
        text_of(name, f"{where}, a name")
    return value


def _few(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def one_of(value: str, allowed: Iterable[str], where: str) -> str:
    """`value`, if it is among `allowed`; else raise `UserError` naming what is."""
    allowed = list(allowed)
    if value not in allowed:
        names = ", ".join(name or "(empty)" for name in allowed)
        shown = names if len(names) <= 300 else names[:297] + "..."
        raise UserError(f"{where}: {_few(value)} is not allowed; allowed: {shown}")
    return value


def number_between(value: Any, low: float, high: float, where: str) -> float:
    """`value` as a float within [low, high]; else raise `UserError`."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: {_few(value)} is not a number; allowed: {low:g} to {high:g}") from None
    if isinstance(value, bool) or not low <= number <= high:
        raise UserError(f"{where}: {_few(value)} is out of range; allowed: {low:g} to {high:g}")
    return number
