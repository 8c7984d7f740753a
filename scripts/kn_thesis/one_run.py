"""One run at a time in a folder, and no wait for a run that is dead.

Snakemake's own lock is files, which a killed run leaves behind, and which two runs that start together both miss.
Beside them stand locks of the kernel's (flock), which end with their process however it ends: one is a run's, and its
jobs, which may outlive it, share another. They say nothing of other machines: what ran elsewhere, or gave its jobs to
a cluster, is left to Snakemake and its user. Where the file system has no such locks, nothing is done.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from contextlib import suppress
from pathlib import Path

from kn_thesis.errors import UserError

SNAKEMAKE = Path(".snakemake")  # in the folder of the study, where its run and all its jobs are at work
RUN, JOBS, FILES = "run.lock", "jobs.lock", "locks"  # in there; the last is Snakemake's own
PATIENCE = 2  # seconds; somebody who only looks holds a lock for a moment


class _NoLocks(Exception):
    """The file system has no locks of the kernel's, or this system has none."""


def begin_run(folder: Path, local: bool, patience: float = PATIENCE) -> None:
    """Hold the run's lock until this process ends; `folder` is `.snakemake`, `local` is whether jobs run here.

    Raises UserError when another run is at work in the folder, or a job of one that was killed.
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
    """Share the lock of all jobs until this process ends; a job's script does, as soon as it can."""
    if folder.is_dir():  # or nobody runs a study here
        with suppress(_NoLocks):
            _hold(folder / JOBS, PATIENCE, shared=True)


def remove_left_lock(folder: Path) -> str:
    """Remove Snakemake's lock when all who could have left it are dead; one line on what was found, or ""."""
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
        return "The last run was killed, and jobs of it are still at work here: wait until they end, and run again."
    return "The last run was killed. Nothing of it is at work any more: its lock is removed."


def _ran_here(folder: Path) -> bool:
    """Whether the last run was one of this machine's, with all its jobs."""
    try:
        return json.loads((folder / RUN).read_text(encoding="utf-8")) == {"machine": _machine(), "local": True}
    except (OSError, ValueError):
        return False


def _machine() -> str:
    """What tells this machine, and this container, from others that share the folder."""
    try:
        number = Path("/etc/machine-id").read_text(encoding="utf-8").strip()
    except OSError:
        number = ""
    return f"{platform.node()} {number}"


def _hold(path: Path, patience: float = 0, shared: bool = False) -> int | None:
    """The open file of a lock that is now held; None when others hold it for longer than `patience` seconds."""
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
