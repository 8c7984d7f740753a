"""Rows of a JSON-lines file, with mistakes named by file and line."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from kn_thesis.damage import MADE
from kn_thesis.errors import UserError
from kn_thesis.given import AGAIN, given_text, strict_json


def read_rows(
    path: str | Path, required: Mapping[str, type], optional: Mapping[str, type | UnionType] | None = None
) -> list[dict[str, Any]]:
    """All rows of a JSON-lines file, in its order; empty lines are passed over.

    `required` names the keys that each row must have, and their types; required text is not blank. `optional` ones
    may be absent or null. Other keys are let through, unless one looks like an optional key misspelt.
    Raises UserError naming file and line for a file that is missing, empty, not JSON lines, or breaks these rules.
    """
    optional = optional or {}
    rows: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    for number, line in enumerate(
        given_text(path, "let the workflow make it" if _made(path) else "correct the path").split("\n"), 1
    ):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = strict_json(line)
        except ValueError as error:
            raise UserError(f"{where}: not JSON ({error}): {AGAIN}") from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: not a JSON object: {AGAIN}")
        wrong = _wrong(row, required, optional)
        if not wrong and tuple(row) not in seen:
            seen.add(tuple(row))
            wrong = _misspelt(row, optional)
        if wrong:
            raise UserError(f"{where}: {wrong}: {AGAIN}")
        rows.append(row)
    if not rows:
        again = "delete it, and the workflow makes it again" if _made(path) else "give it a row, or take the task away"
        raise UserError(f"{path}: is empty: {again}")
    return rows


def _made(path: str | Path) -> bool:
    """Whether the workflow makes the file."""
    return Path(path).parts[:1] == (MADE,)


def _wrong(row: Mapping[str, Any], required: Mapping[str, type], optional: Mapping[str, type | UnionType]) -> str:
    """What is wrong with a row's values, or nothing."""
    for key, kind in required.items():
        if not isinstance(row.get(key), kind):
            return f"needs the key {key!r} with a value of type {kind.__name__}{_instead(row, key)}"
        if kind is str and not row[key].strip():
            return f"{key!r} is blank"
    for key, kinds in optional.items():
        value = row.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            return f"{key!r} is no text"
    for key in (*required, *optional):
        if isinstance(row.get(key), str) and any(map(_is_control, row[key])):
            return f"{key!r} holds a control character"
    return ""


def _misspelt(row: Mapping[str, Any], optional: Iterable[str]) -> str:
    return next((f"unknown key{hint}" for key in optional if (hint := _instead(row, key))), "")


def _instead(row: Mapping[str, Any], key: str) -> str:
    """The key that may have been meant to be `key`, in words; nothing when there is none, or `key` is there."""
    close = [] if key in row else difflib.get_close_matches(key, row, n=1, cutoff=0.8)
    return f" ({close[0][:60]!r} is there: did you mean {key!r}?)" if close else ""


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" and not character.isspace()
