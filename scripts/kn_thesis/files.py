"""Files that are whole or absent: write beside the target, then rename."""

from __future__ import annotations

import csv
import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kn_thesis.errors import UserError, no_room

ROOM = 1 << 18  # bytes; what Snakemake's own notes of a run take, and more
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def whole_file(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; it takes `target`'s name when the block ends well.

    After an exception the temporary file is removed and `target` is as it was. What a process left that was killed
    while it wrote `target` is removed, too. Raises UserError when the disk is full or may not be written to.
    """
    path = Path(target)
    # The suffix is kept: writers such as matplotlib choose their format by it.
    with _beside(path, path.stem, path.suffix) as temporary:
        yield temporary
        os.replace(temporary, path)


def write_csv(target: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """A CSV file of rows, whole or not at all; what a row lacks is empty."""
    with whole_file(target) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def scratch_folder(target: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `target`, a file or a folder, for a while; the rest as for `whole_file`."""
    path = Path(target)
    with _beside(path, path.name, "") as temporary:
        temporary.mkdir()
        yield temporary


def check_room(folder: str | Path) -> None:
    """Raises UserError unless a few files can be written to `folder`, which is made if it is not there."""
    path = Path(folder) / f".room.{os.getpid()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(ROOM))
    except OSError as error:
        where = path.parent.absolute()
        raise UserError(f"{where}: nothing can be written there ({error.strerror}); mend that and run again") from None
    finally:
        _remove(path)


@contextmanager
def _beside(target: Path, stem: str, suffix: str) -> Iterator[Path]:
    """A hidden path of this process's own in the target's folder; nothing is left of it afterwards."""
    temporary = target.with_name(f".{stem}.{os.getpid()}{suffix}")
    leftover = re.compile(rf"\.{re.escape(stem)}\.\d+{re.escape(suffix)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in target.parent.iterdir():
            if leftover.fullmatch(path.name):
                _remove(path)
        yield temporary
    except Exception as error:
        if no_room(error):
            raise UserError(f"{target}: there is no room on the disk for it; free some and run again") from error
        if isinstance(error, OSError) and error.errno in READ_ONLY and target.parent in _places(error, temporary):
            raise UserError(f"{target}: cannot be written ({error.strerror}); allow it and run again") from error
        raise
    finally:
        _remove(temporary)


def _places(error: OSError, temporary: Path) -> list[Path]:
    """The path that the system refused, and all above it; `temporary` where the error does not tell."""
    path = Path(error.filename or temporary)
    return [path, *path.parents]


def _remove(path: Path) -> None:
    """Remove a file or folder, as far as the system allows: what has failed before is what matters."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
