"""The one exception for a user's mistake, and how a rule's script reports it."""

from __future__ import annotations

import errno
import gc
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from kn_thesis.clock import forget_future
from kn_thesis.damage import damaged_input


class UserError(Exception):
    """A mistake the user can mend; the message is one line: what is wrong, where, and what to do."""


def no_room(error: BaseException) -> bool:
    """Whether a write has failed because the disk, or one's share of it, is full.

    Libraries that write by themselves (safetensors, tokenizers) have exceptions of their own, with the system's words.
    """
    full = (errno.ENOSPC, errno.EDQUOT)
    words = ("No space left on device", "Disk quota exceeded", *(f"os error {number})" for number in full))
    return (isinstance(error, OSError) and error.errno in full) or any(part in str(error) for part in words)


class _Tee:
    """Writes to several text streams at once, so that a log is kept and still seen; a log on a full disk is not."""

    def __init__(self, *streams: TextIO) -> None:
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            with suppress(OSError):
                stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            with suppress(OSError):
                stream.flush()


@contextmanager
def logged(log: str | Path, inputs: Iterable[str | Path] = ()) -> Iterator[None]:
    """Send stderr and stdout of a rule's script to its log file; end a `UserError` as one line, exit 1.

    Such a line is written to the log and to the terminal. So is one on `inputs`, the job's input files, when one of
    them is a result that is damaged: they are looked at before the block, and thoroughly when it fails. And one on a
    full disk. Any other exception leaves its traceback in the log and goes on to the caller. Inputs lose a date in the
    future (`clock`), and from here to its end the process is known as a job at work (`one_run`). What the script has
    imported stays to the end, so the garbage collector passes it over.
    """
    from kn_thesis.one_run import SNAKEMAKE, join_run

    gc.freeze()
    path, inputs = Path(log), list(inputs)
    join_run(SNAKEMAKE)
    forget_future(inputs)
    terminal, output = sys.stderr, sys.stdout
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        sys.exit(f"error: {path}: the log cannot be written ({error.strerror}); mend that and run again")
    sys.stderr = sys.stdout = file
    try:
        if damage := damaged_input(inputs):
            raise UserError(damage)
        yield
        file.flush()
    except Exception as error:
        line = damaged_input(inputs, thorough=True) or _line(error, path)
        if line is None:
            traceback.print_exc(file=file)
            raise
        print(f"error: {line}", file=_Tee(file, terminal), flush=True)  # type: ignore[arg-type]
        sys.exit(1)
    finally:
        sys.stderr, sys.stdout = terminal, output
        with suppress(OSError):  # what a full disk has no room for is on the terminal
            file.close()


def _line(error: Exception, log: Path) -> str | None:
    """What to say of an exception to somebody who can mend it; None when it is a fault of the program's."""
    if isinstance(error, UserError):
        return str(error)
    if no_room(error):
        place = getattr(error, "filename", None) or log.parent
        return f"{place}: there is no room on the disk; free some and run again"
    return None
