"""Rows of a JSON-lines file, through `datasets`, with mistakes named by file and line."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError


def read_rows(path: str | Path, required: Mapping[str, type]) -> list[dict[str, Any]]:
    """All rows of a JSON-lines file; `required` names the keys that each must have, and their types.

    The cache of `datasets` is a temporary folder, and the network is never asked.
    Raises UserError naming file and line for a file that is missing, empty, not JSON lines, or lacks a key.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file: let the workflow make it")
    if not path.read_bytes().strip():
        raise UserError(f"{path}: is empty: delete it, and the workflow makes it again")
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(variable, "1")
    import datasets

    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix="kn-datasets-") as cache:
        try:
            rows = datasets.load_dataset(  # nosec B615 # a file of this machine
                "json", data_files=str(path), split="train", cache_dir=cache
            ).to_list()
        except Exception as error:  # the reader has several exceptions, and none says the line
            raise UserError(_broken_line(path) or f"{path}: cannot be read: {_first_line(error)}") from None
    for number, row in enumerate(rows, 1):
        for key, kind in required.items():
            if not isinstance(row.get(key), kind):
                raise UserError(_lacking_line(path, required) or f"{path}, row {number}: {_needed(key, kind)}")
    return rows


def _needed(key: str, kind: type) -> str:
    return f"needs the key {key!r} with a value of type {kind.__name__}: correct it, or fetch the file again"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _lines(path: Path) -> Sequence[tuple[int, bytes]]:
    return [(number, line) for number, line in enumerate(path.read_bytes().splitlines(), 1) if line.strip()]


def _broken_line(path: Path) -> str:
    """What is wrong with the first line that is no JSON object, or nothing."""
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            return f"{path}, line {number}: not JSON ({error}): correct it, or fetch the file again"
        if not isinstance(row, dict):
            return f"{path}, line {number}: not a JSON object: correct it, or fetch the file again"
    return ""


def _lacking_line(path: Path, required: Mapping[str, type]) -> str:
    for number, line in _lines(path):
        row = json.loads(line)
        for key, kind in required.items():
            if not isinstance(row.get(key), kind):
                return f"{path}, line {number}: {_needed(key, kind)}"
    return ""
