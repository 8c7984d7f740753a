"""What tests of faults share: a copy of the finished study, scripts that meet a fault in it, disks that fill up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.helpers.study import SMOKE

# Python runs this before anything else, in every process below the one that is given it; `act` is for one script.
FAULT = """
import sys
if any(word.endswith({script!r}) for word in sys.orig_argv):
    import os, signal, time
    from pathlib import Path
    met = Path({met!r})
    if not met.exists():
{act}
"""
# The system stops a write in its middle, as a full disk would, and the process and all its kin die of it.
DIES_IN_MID_WRITE = """
        met.touch()
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes!r}, {bytes!r}))
        signal.signal(signal.SIGXFSZ, lambda *_: os.killpg(0, signal.SIGKILL))
"""
# A file that is written has no name yet when its process waits, until the file `go` is there.
WAITS = """
        rename = os.replace
        def replace(*paths):
            met.touch()
            until = time.monotonic() + 1800
            while not Path({go!r}).exists() and time.monotonic() < until:
                time.sleep(0.05)
            rename(*paths)
        os.replace = replace
"""


def changing(study: Path, folder: Path) -> Path:
    """A copy of a finished study that a test may change; times are kept."""
    return Path(shutil.copytree(study, folder, symlinks=True))


def faulty(folder: Path, script: str, act: str) -> dict[str, str]:
    """An environment in which `script` (its file's name) meets a fault the first time it runs; `met` is there then."""
    folder.mkdir()
    text = FAULT.format(script=f".{script}", met=str(folder / "met"), act=act)
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


@contextmanager
def started(study: Path, *targets: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Snakemake on one core, in a process group of its own, of which nothing is left in the end."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *targets, "--configfile", SMOKE]
    process = subprocess.Popen(
        command,
        cwd=study,
        env=os.environ | (environment or {}),
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def run(study: Path, *targets: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Snakemake's exit code and words."""
    with started(study, *targets, environment=environment) as process:
        words, _ = process.communicate(timeout=1800)
    return process.returncode, words


def wait_for(path: Path, seconds: float = 600, unless: Callable[[], bool] = lambda: False) -> None:
    """Wait until a file is there, or `unless()` is true."""
    until = time.monotonic() + seconds
    while not path.exists() and not unless():
        assert time.monotonic() < until, f"{path} has not come"
        time.sleep(0.02)


@contextmanager
def mounted(folder: Path, *how: str) -> Iterator[Path]:
    """A mount on `folder`; skips the test where mounting is not allowed."""
    done = subprocess.run(["mount", *how, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here, which takes root: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def awkward_place(study: Path, size: str) -> Iterator[Path]:
    """Put a study's results on another file system, behind a link, and its resources on one that is read-only.

    Where mounting is not allowed, the link leads to another folder and the resources' files lose the right to be
    written, which stops everyone but root.
    """
    disk, resources = study.parent / "another disk", study / "resources"
    disk.mkdir()
    with ExitStack() as mounts:
        try:
            mounts.enter_context(small_disk(disk, size))
            mounts.enter_context(mounted(resources, "--bind", str(resources)))
            subprocess.run(["mount", "-o", "remount,ro,bind", str(resources)], check=True)
        except pytest.skip.Exception:
            for path in [resources, *resources.rglob("*")]:
                path.chmod(path.stat().st_mode & ~0o222)
        (disk / "results").mkdir()
        if (study / "results").exists():
            shutil.copytree(study / "results", disk / "results", dirs_exist_ok=True)
            shutil.rmtree(study / "results")
        (study / "results").symlink_to(disk / "results")
        yield study
    for path in [resources, *resources.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


def small_disk(folder: Path, size: str) -> contextmanager[Path]:
    """A file system of its own on an empty folder."""
    return mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left on the folder's file system."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return filler
    raise AssertionError("the disk has no end")
