"""Kernel locks: one run in a folder, no lock left by a dead run, and no decision about other machines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kn_thesis.errors import UserError
from kn_thesis.joblog import JOBS, RUN, begin_run, remove_stale_lock
from tests.helpers.study import ROOT

PROGRAM = """
import sys
sys.path.insert(0, {scripts!r})
from pathlib import Path
from kn_thesis.joblog import begin_run, join_run
{call}
print("at work", flush=True)
sys.stdin.read()
"""
RUNS, RUNS_ELSEWHERE = "begin_run(Path(sys.argv[1]), True)", "begin_run(Path(sys.argv[1]), False)"
JOINS = "join_run(Path(sys.argv[1]))"


@contextmanager
def process(folder: Path, call: str) -> Iterator[subprocess.Popen[str]]:
    """Start another process that holds the lock of `call` until it is killed at the end."""
    command = [sys.executable, "-c", PROGRAM.format(scripts=str(ROOT / "scripts"), call=call), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stdout.readline() == "at work\n"
        yield running
        running.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder `.snakemake` with one of Snakemake's own locks."""
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.output.lock").write_text("results/report.zip\n")
    return tmp_path / ".snakemake"


def test_a_dead_run_s_lock_is_removed_and_a_living_one_s_is_not(folder: Path) -> None:
    with process(folder, RUNS):
        assert remove_stale_lock(folder) == "A run is at work in this folder: wait until it ends."
        with pytest.raises(UserError, match=r"another run is at work in .*--directory"):
            begin_run(folder, True, patience=0)
        assert (folder / "locks").exists()
    assert remove_stale_lock(folder).endswith("its lock is removed.")
    assert not (folder / "locks").exists()
    assert remove_stale_lock(folder) == ""


def test_jobs_of_a_dead_run_are_still_at_work(folder: Path) -> None:
    with process(folder, RUNS):
        pass
    with process(folder, JOINS), process(folder, JOINS):  # as many as there are cores
        assert "its jobs are still at work here" in remove_stale_lock(folder)
        with pytest.raises(UserError, match="jobs of a run that was killed"):
            begin_run(folder, True, patience=0)
        assert (folder / "locks").exists()
    assert remove_stale_lock(folder).endswith("its lock is removed.")


@pytest.mark.parametrize("record", ["cluster", "elsewhere", "unknown", "none"])
def test_what_ran_elsewhere_is_left_to_snakemake(folder: Path, record: str) -> None:
    with process(folder, RUNS_ELSEWHERE if record == "cluster" else RUNS):
        pass
    content = json.loads((folder / RUN).read_text())
    text = {"elsewhere": json.dumps(content | {"machine": "other 1"}), "unknown": "{", "none": ""}.get(record)
    if text is not None:
        (folder / RUN).write_text(text)
    assert remove_stale_lock(folder) == "" and (folder / "locks").exists()


def test_a_folder_without_such_locks_hinders_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError("No locks available")

    with process(folder, RUNS):
        pass
    monkeypatch.setattr(fcntl, "flock", refuse)
    begin_run(folder, True, patience=0)
    assert remove_stale_lock(folder) == "" and (folder / "locks").exists()
    assert (folder / JOBS).exists()
