"""Run a rule's script: log its output, report a user's mistake in one line, check its inputs, lock the study.

`logged` wraps every rule's script. It uses the parts below it:

- `damaged_input` detects results that a full disk, a power cut or a broken cable has damaged. Results are written
  atomically (`kn_thesis.files`), so a damaged one was complete once and can be made again with the same bytes.
- `reset_future_times` corrects files that a clock dated in the future; Snakemake refuses to use them.
- `begin_run`, `join_run` and `remove_stale_lock` allow one run at a time in a folder. Snakemake's own lock is a file,
  which a killed run leaves behind and which two runs that start together both miss. The kernel's locks (flock) beside
  it end with their process: the run holds one, and its jobs, which may outlive it, share another. They say nothing
  about other machines, so a run elsewhere or on a cluster is left to Snakemake and its user. Nothing is locked on file
  systems without such locks.
"""

from __future__ import annotations

import csv
import gc
import json
import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from kn_thesis.errors import UserError, disk_full

RESULTS = "results"  # folder of everything that the workflow can make again
FOLDER_TIMESTAMP = ".snakemake_timestamp"  # the file whose date Snakemake uses where a folder is a result
SNAKEMAKE = Path(".snakemake")  # in the study's folder, which is the working directory of its run and jobs
RUN, JOBS, FILES = "run.lock", "jobs.lock", "locks"  # in .snakemake; the last one is Snakemake's own folder
PATIENCE = 2  # seconds to wait for a lock: a process that only checks one holds it for a moment
TAIL = 64  # bytes read from the end of a file
# How complete files end. Trailing white space is ignored, but the last line of a table or text must be complete.
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


class _Tee:
    """Write to several text streams and ignore those that fail, such as a log on a full disk."""

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
    """Send the output of a rule's script to its log file and report foreseeable errors in one line.

    A `UserError`, a full disk and a damaged input each end the process with exit code 1 and one line in the log and on
    the terminal. Any other exception leaves its traceback in the log and propagates. Inputs are checked quickly before
    the block and read completely if the block fails. Inputs dated in the future are dated now. The process holds the
    lock of running jobs until it ends. Objects that the script has imported are frozen for the garbage collector,
    because they live until the end.

    Args:
        log: Log file; its folder is created if necessary.
        inputs: The job's input files.
    """
    gc.freeze()
    path, inputs = Path(log), list(inputs)
    join_run(SNAKEMAKE)
    reset_future_times(inputs)
    terminal, output = sys.stderr, sys.stdout
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        sys.exit(f"error: {path}: the log cannot be written ({error.strerror}); fix this and run again")
    sys.stderr = sys.stdout = file
    try:
        if damage := damaged_input(inputs):
            raise UserError(damage)
        yield
        file.flush()
    except Exception as error:
        line = damaged_input(inputs, thorough=True) or _one_line(error, path)
        if line is None:
            traceback.print_exc(file=file)
            raise
        print(f"error: {line}", file=_Tee(file, terminal), flush=True)  # type: ignore[arg-type]
        sys.exit(1)
    finally:
        sys.stderr, sys.stdout = terminal, output
        with suppress(OSError):  # the terminal has what did not fit on a full disk
            file.close()


def _one_line(error: Exception, log: Path) -> str | None:
    """Describe an error that the user can correct; None for a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if disk_full(error):
        place = getattr(error, "filename", None) or log.parent
        return f"{place}: the disk is full; free some space and run again"
    return None


def reset_future_times(files: Iterable[str | Path]) -> None:
    """Set the modification time of files dated in the future to now, where permitted.

    No result becomes outdated by this, because Snakemake compares contents where dates differ.
    """
    for path in (place for file in files for place in (Path(file), Path(file, FOLDER_TIMESTAMP))):
        with suppress(OSError):
            now = time.time_ns()
            if path.stat().st_mtime_ns > now:
                os.utime(path, ns=(now, now))


def damaged_input(files: Iterable[str | Path], thorough: bool = False) -> str | None:
    """Find the first damaged file below `results/`.

    A changed digit in an otherwise valid file goes unnoticed.

    Args:
        files: Paths to check. Missing files, folders and files outside `results/` are skipped.
        thorough: Read every file completely; otherwise only sizes, heads and ends are checked, which takes no time.

    Returns:
        One line with the file, the damage and the remedy; None if no file is damaged.
    """
    for path in map(Path, files):
        if path.parts[:1] == (RESULTS,) and path.is_file():
            reason = cut_off(path) or (unreadable(path) if thorough else "")
            if reason:
                return f"{path} is damaged ({reason}): delete it and run again; it will be made again"
    return None


def cut_off(path: Path) -> str:
    """Check the size, head and end of a file.

    Returns:
        Why the file is incomplete; "" if it looks complete or its format is unknown.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if path.suffix == ".safetensors":
            return _safetensors(file, size)
        if path.suffix == ".json":  # small, and any line may end like the last one
            return unreadable(path)
        if path.suffix not in ENDS or (size == 0 and path.suffix == ".jsonl"):  # which may have no rows
            return ""
        if size == 0:
            return "it is empty"
        file.seek(max(size - TAIL, 0))
        tail = file.read()
    ends = ENDS[path.suffix]
    return "" if (tail if b"\n" in ends else tail.rstrip()).endswith(ends) else "its end is missing"


def _safetensors(file: BinaryIO, size: int) -> str:
    """Compare a file's size with its header: 8 bytes with the header's length, the header in JSON, the tensors."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 + length:
        return "its header is cut off or invalid"
    try:
        header = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (ValueError, TypeError, KeyError, AttributeError):
        return "its header cannot be read"
    return "" if size == 8 + length + end else f"{size} bytes, {8 + length + end} expected"


def unreadable(path: Path) -> str:
    """Read a file to its end.

    Returns:
        Why the file cannot be read; "" if it can or its format is unknown.
    """
    reader = READERS.get(path.suffix)
    try:
        if reader:
            reader(path)
    except Exception as error:  # libraries raise anything on invalid bytes
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


class _NoLocks(Exception):
    """The operating system or the file system has no kernel locks."""


def begin_run(folder: Path, local: bool, patience: float = PATIENCE) -> None:
    """Hold the lock of a run until this process ends.

    Args:
        folder: The study's `.snakemake` folder.
        local: Whether the jobs run on this machine.
        patience: Seconds to wait for another process to release a lock.

    Raises:
        UserError: Another run, or a job of a killed run, is at work in the folder.
    """
    where = folder.resolve().parent
    try:
        run = _hold(folder / RUN, patience)
        if run is None:
            remedy = "wait until it ends, or give this one a folder of its own (--directory)"
            raise UserError(f"another run is at work in {where}: {remedy}")
        jobs = _hold(folder / JOBS, patience)
        if jobs is None:
            os.close(run)
            raise UserError(f"jobs of a run that was killed are still at work in {where}: wait until they end")
        os.close(jobs)
    except _NoLocks:
        return
    os.ftruncate(run, 0)
    os.write(run, json.dumps({"machine": _machine(), "local": local}).encode())


def join_run(folder: Path) -> None:
    """Share the lock of all jobs until this process ends.

    Args:
        folder: The study's `.snakemake` folder; nothing happens if it does not exist.
    """
    if folder.is_dir():
        with suppress(_NoLocks):
            _hold(folder / JOBS, PATIENCE, shared=True)


def remove_stale_lock(folder: Path) -> str:
    """Remove Snakemake's lock if the run that left it and all jobs of that run have ended.

    Args:
        folder: The study's `.snakemake` folder.

    Returns:
        One line for the user on what was found; "" if there is no lock or nothing can be decided here.
    """
    if not any((folder / FILES).glob("*.lock")) or not _ran_here(folder):
        return ""
    try:
        run = _hold(folder / RUN)
        if run is None:
            return "A run is at work in this folder: wait until it ends."
        jobs = _hold(folder / JOBS)
        if jobs is not None:
            shutil.rmtree(folder / FILES, ignore_errors=True)
            os.close(jobs)
        os.close(run)
    except _NoLocks:
        return ""
    if jobs is None:
        return "The last run was killed, and its jobs are still at work here: wait until they end, and run again."
    return "The last run was killed and none of its jobs is at work any more: its lock is removed."


def _ran_here(folder: Path) -> bool:
    """Tell whether the last run and all its jobs ran on this machine."""
    try:
        return json.loads((folder / RUN).read_text(encoding="utf-8")) == {"machine": _machine(), "local": True}
    except (OSError, ValueError):
        return False


def _machine() -> str:
    """Identify this machine or container among others that share the folder."""
    try:
        number = Path("/etc/machine-id").read_text(encoding="utf-8").strip()
    except OSError:
        number = ""
    return f"{platform.node()} {number}"


def _hold(path: Path, patience: float = 0, shared: bool = False) -> int | None:
    """Acquire a lock and return its open file; None if others hold it for longer than `patience` seconds."""
    try:
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except (ImportError, OSError) as error:
        raise _NoLocks from error
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(file)
                return None
            time.sleep(0.05)
        except OSError as error:
            os.close(file)
            raise _NoLocks from error
