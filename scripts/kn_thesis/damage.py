"""Results that a full disk, a power cut or a broken cable has damaged: told by their bytes, before they are used.

Files are written whole or not at all (`kn_thesis.files`), so that a damaged one was whole once: deleted, it is made
again with the same bytes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

MADE = "results"  # the folder of all that can be made again
# What a whole file ends with; white space after it does not count, but a table's or text's last line is a whole one.
ENDS = {
    ".csv": (b"\n",),
    ".txt": (b"\n",),
    ".jsonl": (b"}",),
    ".ipynb": (b"}",),
    ".parquet": (b"PAR1",),
    ".svg": (b"</svg>",),
    ".png": (b"IEND\xaeB`\x82",),
    ".html": (b"</html>",),
}
TAIL = 64  # bytes


def damaged_input(files: Iterable[str | Path], thorough: bool = False) -> str | None:
    """One line on the first damaged file below `results/`, with the remedy; None when there is none.

    Sizes, heads and ends are looked at, which takes no time; with `thorough`, everything is read. A number that has
    become another number is not noticed. Files that are not there, folders, and files of any other place are not
    looked at.
    """
    for path in map(Path, files):
        if path.parts[:1] == (MADE,) and path.is_file():
            reason = cut_off(path) or (unreadable(path) if thorough else "")
            if reason:
                return f"{path} is damaged ({reason}): delete it and run again; it is made anew"
    return None


def cut_off(path: Path) -> str:
    """Why a file's size, head or end is no whole file's; "" when they look well, or nothing is known of its kind."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if path.suffix == ".safetensors":
            return _safetensors(file, size)
        if path.suffix == ".json":  # small, and any line of it may end like the last
            return unreadable(path)
        if path.suffix not in ENDS or (size == 0 and path.suffix == ".jsonl"):  # which may hold no rows
            return ""
        if size == 0:
            return "it is empty"
        file.seek(max(size - TAIL, 0))
        tail = file.read()
    ends = ENDS[path.suffix]
    return "" if (tail if b"\n" in ends else tail.rstrip()).endswith(ends) else "its end is missing"


def _safetensors(file: BinaryIO, size: int) -> str:
    """The format: 8 bytes with the header's length, the header (JSON, with each tensor's place), all tensors."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 + length:
        return "its head is cut off or no head at all"
    try:
        header = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (ValueError, TypeError, KeyError, AttributeError):
        return "its head cannot be read"
    return "" if size == 8 + length + end else f"{size} bytes, {8 + length + end} expected"


def unreadable(path: Path) -> str:
    """Why a file cannot be read to its end; "" when it can, or when its kind is not known."""
    reader = READERS.get(path.suffix)
    try:
        if reader:
            reader(path)
    except Exception as error:  # whatever a library says of bytes it does not like
        return (" ".join(str(error).split()) or type(error).__name__)[:120]
    return ""


def _read_parquet(path: Path) -> None:
    from pyarrow import parquet

    parquet.ParquetFile(path).read()


def _read_csv(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        width = len(next(rows, []))
        for row in rows:
            if row and len(row) != width:
                raise ValueError(f"line {rows.line_num} has {len(row)} cells, the heading {width}")


def _read_jsonl(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        for line in file:
            json.loads(line)


def _read_json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _read_text(path: Path) -> None:
    path.read_text(encoding="utf-8")


READERS: dict[str, Callable[[Path], None]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".ipynb": _read_json,
    **dict.fromkeys((".txt", ".svg", ".html"), _read_text),
}
