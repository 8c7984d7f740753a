"""Files that a clock dated in the future, while it was ahead: Snakemake refuses to make anything of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

FOLDER_S_DATE = ".snakemake_timestamp"  # Snakemake goes by this file's date where a folder is a result


def forget_future(files: Iterable[str | Path]) -> None:
    """Date those files that are dated later than now with now, as far as they may be: what is made of them is newer.

    Nothing is out of date by it: contents are compared where dates differ.
    """
    for path in (place for file in files for place in (Path(file), Path(file, FOLDER_S_DATE))):
        with suppress(OSError):
            now = time.time_ns()
            if path.stat().st_mtime_ns > now:
                os.utime(path, ns=(now, now))
