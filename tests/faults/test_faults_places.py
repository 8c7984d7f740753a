"""A study that was moved with its links needs no rerun; a clock that jumped changes no plan and stops no run."""

from __future__ import annotations

import os
from pathlib import Path

from tests.helpers.faults import awkward_place, changing, run
from tests.helpers.study import SMOKE, edit, planned_jobs

DAY = 86_400
TABLE, CLAIMS, PUBLISHED = "results/tables/editing.csv", "results/tables/claims.csv", "resources/published.yaml"


def test_a_study_that_is_moved_to_an_awkward_place_is_done(finished_study: Path, tmp_path: Path) -> None:
    study = changing(finished_study, tmp_path / "Ünïcode folder 知識")
    with awkward_place(study, "200m"):
        assert (study / "results").is_symlink() and not planned_jobs(study)


def test_a_clock_that_jumps_makes_nothing_out_of_date_and_hides_nothing(finished_study: Path, tmp_path: Path) -> None:
    study = changing(finished_study, tmp_path / "study")
    # Every other job's results are of tomorrow, or of yesterday: many inputs are newer than what was made of them.
    for number, path in enumerate(sorted(path for path in (study / "results").rglob("*") if path.is_file())):
        shift(path, (-DAY, 0, DAY)[number % 3])
    assert not planned_jobs(study)
    edit(study / SMOKE, "tracing:\n", "tracing:\n  level: 0.01\n")
    assert planned_jobs(study)["summarise_tracing"] == 1


def test_a_clock_that_was_ahead_stops_no_later_job(finished_study: Path, tmp_path: Path) -> None:
    study = changing(finished_study, tmp_path / "study")
    (study / CLAIMS).unlink()
    for path in (TABLE, PUBLISHED):
        shift(study / path, DAY)
    code, words = run(study, CLAIMS)
    assert code == 0, words  # else Snakemake ends with a word on clock skew
    assert (study / CLAIMS).read_bytes() == (finished_study / CLAIMS).read_bytes()


def shift(path: Path, seconds: float) -> None:
    """Date a file as a clock that is wrong by `seconds` would have dated it."""
    times = path.stat()
    os.utime(path, (times.st_atime, times.st_mtime + seconds))
