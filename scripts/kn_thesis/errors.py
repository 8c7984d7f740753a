"""The one exception for a user's mistake, and how a rule's script reports it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class UserError(Exception):
    """A mistake the user can mend; the message is one line: what is wrong, where, and what to do."""


class _Tee:
    """Writes to several text streams at once, so that a log is kept and still seen."""

    def __init__(self, *streams: TextIO) -> None:
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()


@contextmanager
def logged(log: str | Path) -> Iterator[None]:
    """Send stderr and stdout of a rule's script to its log file; end a `UserError` as one line, exit 1.

    A `UserError` is written to the log and to the terminal. Any other exception leaves its traceback
    in the log and goes on to the caller.
    """
    import traceback

    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal, output = sys.stderr, sys.stdout
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        sys.stderr = sys.stdout = file
        try:
            yield
        except UserError as error:
            sys.stderr = _Tee(file, terminal)  # type: ignore[assignment]
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(1)
        except Exception:
            traceback.print_exc(file=file)
            raise
        finally:
            sys.stderr, sys.stdout = terminal, output
