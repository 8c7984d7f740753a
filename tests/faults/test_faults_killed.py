"""Killed processes and simultaneous runs: no partial result is left, and the next run produces the same bytes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.helpers.faults import DIES_IN_MID_WRITE, WAITS, changing, faulty, run, started, wait_for
from tests.helpers.study import planned_jobs

NEURONS, STATISTICS = (f"results/localization/gpt2/tasks-1.{name}.parquet" for name in ("neurons", "statistics"))
TABLE = "results/tables/corpora.csv"


def test_a_run_killed_in_mid_write_goes_on_as_if_it_had_not_been(finished_study: Path, tmp_path: Path) -> None:
    study = changing(finished_study, tmp_path / "study")
    for file in (NEURONS, STATISTICS):
        (study / file).unlink()
    first, second = ((finished_study / file).stat().st_size for file in (NEURONS, STATISTICS))
    limit = (first + second) // 2
    assert first < limit < second
    fault = DIES_IN_MID_WRITE.format(bytes=limit)
    code, _ = run(study, NEURONS, environment=faulty(tmp_path / "fault", "select_neurons.py", fault))
    assert code == -signal.SIGKILL
    left = [path for path in (study / NEURONS).parent.iterdir() if path.name.startswith(".")]
    assert [path.stat().st_size for path in left] == [limit], "it was to die in mid-write"
    # One of the job's two files is there, and counts for nothing.
    assert same(study, finished_study, NEURONS) and not (study / STATISTICS).exists()
    assert list((study / ".snakemake/locks").iterdir()) and list((study / ".snakemake/incomplete").iterdir())

    code, words = run(study, NEURONS)
    assert code == 0, words
    assert "The last run was killed and none of its jobs is at work any more: its lock is removed." in words
    assert all(same(study, finished_study, file) for file in (NEURONS, STATISTICS)) and not left[0].exists()
    assert not planned_jobs(study)  # what follows is as it was


def test_of_two_runs_at_once_the_second_is_refused(finished_study: Path, tmp_path: Path) -> None:
    study, go, environment = with_a_job_that_waits(finished_study, tmp_path)
    with started(study, TABLE, environment=environment) as first:
        wait_for(tmp_path / "fault/met")
        code, words = run(study, TABLE)
        assert code == 1 and "A run is at work in this folder: wait until it ends." in words
        assert "Directory cannot be locked" in words and "Traceback" not in words
        # Not even a user who takes Snakemake's lock away can start another.
        assert run(study, "--unlock")[0] == 0
        code, words = run(study, TABLE)
        assert code == 1 and f"error: another run is at work in {study}: wait until it ends" in words
        assert "Traceback" not in words
        go.touch()
        words, _ = first.communicate(timeout=600)
        assert first.returncode == 0, words
    assert same(study, finished_study, TABLE)


def test_jobs_that_outlive_their_run_are_waited_for(finished_study: Path, tmp_path: Path) -> None:
    study, go, environment = with_a_job_that_waits(finished_study, tmp_path)
    with started(study, TABLE, environment=environment) as first:
        wait_for(tmp_path / "fault/met")
        os.kill(first.pid, signal.SIGKILL)  # and none of its children
        first.wait()
        code, words = run(study, TABLE)
        assert code == 1 and "The last run was killed, and its jobs are still at work here" in words
        assert not (study / TABLE).exists()
        go.touch()
        first.communicate(timeout=600)  # its jobs have its output's pipe
    code, words = run(study, TABLE)
    assert code == 0 and "its lock is removed" in words, words
    assert same(study, finished_study, TABLE)


def with_a_job_that_waits(finished_study: Path, folder: Path) -> tuple[Path, Path, dict[str, str]]:
    """A study without one table, a file whose appearance lets the job continue, and an environment for the run."""
    study, go = changing(finished_study, folder / "study"), folder / "go"
    (study / TABLE).unlink()
    return study, go, faulty(folder / "fault", "summarise_corpora.py", WAITS.format(go=str(go)))


def same(study: Path, other: Path, file: str) -> bool:
    return (study / file).read_bytes() == (other / file).read_bytes()
