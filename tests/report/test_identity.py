"""Two runs are identical if all their files are; files about time and machine do not count."""

from __future__ import annotations

from pathlib import Path

import pytest

from kn_thesis.report.comparison.runs import OF_THE_RUN, compare_runs

FILES = ("tables/a.csv", "tables/b.csv", "figures/a.svg", "models/x/model.safetensors", "jobs.json")


def results(folder: Path) -> Path:
    for name in (*FILES, *OF_THE_RUN):
        path = folder / name / "x" if name in ("logs", "benchmarks") else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return results(tmp_path / "one"), results(tmp_path / "two")


def test_equal_runs_are_counted_by_folder(runs: tuple[Path, Path]) -> None:
    found = compare_runs(*runs)
    assert found.whole
    assert found.alike == {".": 1, "figures": 1, "models": 1, "tables": 2}


@pytest.mark.parametrize("name", FILES)
def test_one_byte_is_seen(runs: tuple[Path, Path], name: str) -> None:
    (runs[1] / name).write_text(f"{name} ")
    found = compare_runs(*runs)
    assert not found.whole and found.different == [name] and not found.missing


@pytest.mark.parametrize("side", [0, 1])
def test_a_file_of_one_run_only_is_seen(runs: tuple[Path, Path], side: int) -> None:
    (runs[side] / "tables/c.csv").write_text("")
    found = compare_runs(*runs)
    assert not found.whole and found.missing == ["tables/c.csv"] and not found.different


def test_times_logs_and_hidden_files_do_not_count(runs: tuple[Path, Path]) -> None:
    for name in ("logs/x", "benchmarks/x", "provenance.json", "report/provenance.html", "report.zip", ".hidden"):
        (runs[1] / name).write_text("later")
    assert compare_runs(*runs).whole


def test_two_empty_folders_are_not_the_same_run(tmp_path: Path) -> None:
    assert not compare_runs(tmp_path / "none", tmp_path / "none either").whole
