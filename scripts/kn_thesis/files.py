"""Files that are whole or absent: write beside the target, then rename."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; it takes `target`'s name when the block ends well.

    After an exception the temporary file is removed and `target` is as it was.
    """
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept: writers such as matplotlib choose their format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
