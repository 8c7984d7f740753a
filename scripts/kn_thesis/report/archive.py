"""The report as one file that can be sent to somebody."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from kn_thesis.files import whole_file

FOLDER = "report"
TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold: its bytes follow from the contents alone


def pack(paths: Iterable[str | Path], archive: str | Path) -> None:
    """Write files and folders below a folder `report` to a zip file that has that one folder at its top.

    Entries are sorted and dated alike, hidden files stay out. The archive is written whole or not at all. Raises
    ValueError for a path that is not below such a folder, and FileNotFoundError for one that does not exist.
    """
    entries = {}
    for path in map(Path, paths):
        if FOLDER not in path.parts[:-1] or ".." in path.parts:
            raise ValueError(f"{path} is not in a folder named {FOLDER}, or leads out of it")
        top = Path(*path.parts[: path.parts.index(FOLDER)])
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        names = {file.relative_to(top): file for file in files if not file.is_dir()}
        entries |= {name.as_posix(): file for name, file in names.items() if not _hidden(name)}
    with whole_file(archive) as temporary, zipfile.ZipFile(temporary, "w") as packed:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # the same on every system
            packed.writestr(entry, entries[name].read_bytes())


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)
