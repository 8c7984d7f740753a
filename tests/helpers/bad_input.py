"""What must hold of every wrong input: one clear line, soon, and nothing written; and how many were tried."""

from __future__ import annotations

import os
import reprlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

from kn_thesis.errors import UserError

SECONDS = 600  # a test that hangs ends
LONGEST = 600  # characters of a line, the names of files not counted

TRIED: dict[str, set[str]] = {}  # what was tried, by kind


def many(examples: int) -> Any:
    """Hypothesis's settings for so many wrong inputs, the same ones each time."""
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return settings(derandomize=True, deadline=None, max_examples=examples, suppress_health_check=checks, database=None)


class TookTooLong(BaseException):
    """No `Exception`: what is tested may catch those."""


class _Shown(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        return f"{value:x}"[:20]


def shown(value: Any) -> str:
    """A value in a few words, however large or deep it is, to tell what was tried from what was not."""
    short = _Shown()
    short.maxlist = short.maxdict = short.maxset = 200
    short.maxlevel, short.maxstring = 2, 100
    return short.repr(value)


def refused(
    kind: str,
    way: str,
    use: Callable[[], Any],
    *,
    folder: Path,
    says: str = "",
    lines: int = 1,
    spare: Path | None = None,
) -> str:
    """Use a wrong input, and return the words in which it was refused.

    kind, way: what is wrong, for the count. folder: must be as before, but for `spare` in it. says: words, or the
    name of a file, that must be in each line. lines: most that there may be.
    """
    TRIED.setdefault(kind, set()).add(way)
    error = _error_of(use, folder, spare)
    assert error is not None, f"{way}: passes silently"
    text = str(error)
    found = text.split("\n")
    assert 1 <= len(found) <= lines, f"{way}: {len(found)} lines: {text}"
    for line in found:
        assert line.isprintable() and len(line.replace(str(folder), "")) <= LONGEST, f"{way}: {line!r}"
        assert says in line and len(line) > len(says) + 10, f"{way}: {says!r} is not in {line!r}"
    return text


def harmless(
    kind: str, way: str, use: Callable[[], Any], right: Any, *, folder: Path, spare: Path | None = None
) -> None:
    """Use an input that is odd but means the same: the result must be the right one's."""
    TRIED.setdefault(kind, set()).add(way)
    results: list[Any] = []
    error = _error_of(lambda: results.append(use()), folder, spare)
    assert error is None, f"{way}: {error}"
    assert results == [right], f"{way}: means something else"


def _error_of(use: Callable[[], Any], folder: Path, spare: Path | None) -> UserError | None:
    before = _seen(folder, spare)
    try:
        with _within(SECONDS):
            use()
    except UserError as error:
        found: UserError | None = error
    else:
        found = None
    assert _seen(folder, spare) == before, "something was written"
    return found


def _seen(folder: Path, spare: Path | None) -> dict[str, tuple[int, ...]]:
    """Every file below a folder, with its kind, size and times."""
    found = {}
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(root, name) != spare]
        for name in (*folders, *files):
            state = os.lstat(os.path.join(root, name))
            found[os.path.join(root, name)] = (state.st_mode, state.st_size, state.st_mtime_ns)
    return found


@contextmanager
def _within(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
