"""Files that people hand in, read whole or refused in one line: what is wrong, where, and what to do."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError

AGAIN = "correct it, or fetch the file again"


def given_text(path: str | Path, missing: str = "correct the path") -> str:
    """The text of a file in UTF-8, with or without a byte-order mark; `missing` says what to do when there is none.

    Pipes and devices are refused: some never end. Raises UserError.
    """
    content = given_bytes(path, missing)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None


def given_bytes(path: str | Path, missing: str = "correct the path") -> bytes:
    """The bytes of a file; as `given_text` otherwise."""
    try:
        # Without O_NONBLOCK a pipe is waited for that nobody writes to.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{path}: is a pipe or a device: give a regular file")
            return file.read()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file: {missing}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder: give a file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{str(path)[:200]!r}: cannot be read ({reason}): {missing}") from None


def strict_json(text: str) -> Any:
    """What a JSON text says. Raises ValueError, with a reason in one line, for what JSON does not have or leaves open.

    That is NaN and Infinity, a key that comes twice in an object, half a character pair, and objects nested beyond
    what Python can follow.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if "\\u" in text:
        _whole_characters(content)
    return content


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} comes twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _whole_characters(content: Any) -> None:
    try:
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("half a character pair, such as \\ud800") from None
