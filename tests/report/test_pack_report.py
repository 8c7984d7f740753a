"""The report in one archive: complete, reproducible byte for byte, and written whole or not at all."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import pytest

from kn_thesis.report.pages import pack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("index.html", "tables/b.csv", "tables/a.csv", "tables/.hidden.csv", "notebooks/x.ipynb"):
        file = tmp_path / "results/report" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path / "results/report"


def test_one_folder_sorted_and_without_hidden_files(folder: Path, tmp_path: Path) -> None:
    pack([folder / "tables", folder / "notebooks/x.ipynb", folder / "index.html"], tmp_path / "one.zip")
    with zipfile.ZipFile(tmp_path / "one.zip") as packed:
        assert packed.namelist() == [
            "report/index.html",
            "report/notebooks/x.ipynb",
            "report/tables/a.csv",
            "report/tables/b.csv",
        ]
        assert packed.read("report/tables/a.csv") == b"tables/a.csv" and packed.testzip() is None


def test_times_and_order_change_no_byte(folder: Path, tmp_path: Path) -> None:
    pack([folder / "index.html", folder / "tables"], tmp_path / "one.zip")
    os.utime(folder / "tables/a.csv", (1, 1))
    (folder / "index.html").chmod(0o600)
    pack([folder / "tables", folder / "index.html"], tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_what_cannot_be_packed_leaves_the_old_archive(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "one.zip"
    archive.write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        pack([folder / "index.html", folder / "nowhere.html"], archive)
    with pytest.raises(ValueError, match="not in a folder named report"):
        pack([tmp_path / "elsewhere.html"], archive)
    assert archive.read_bytes() == b"old" and [path.name for path in tmp_path.glob("*.zip")] == ["one.zip"]


def test_the_study_s_archive_holds_its_report(finished_study: Path) -> None:
    report = finished_study / "results/report"
    with zipfile.ZipFile(finished_study / "results/report.zip") as packed:
        names = packed.namelist()
        assert packed.testzip() is None and names == sorted(names)
        files = {path for path in report.rglob("*") if path.is_file()}
        files = {path for path in files if not any(part.startswith(".") for part in path.relative_to(report).parts)}
        assert set(names) == {f"report/{path.relative_to(report).as_posix()}" for path in files}
        assert all(packed.read(f"report/{path.relative_to(report).as_posix()}") == path.read_bytes() for path in files)


def test_pages_in_the_archive_link_to_nothing_outside(finished_study: Path) -> None:
    with zipfile.ZipFile(finished_study / "results/report.zip") as packed:
        names = set(packed.namelist())
        pages = [name for name in names if name.endswith(".html")]
        assert "report/index.html" in pages and "report/provenance.html" in pages
        for page in pages:
            for link in re.findall(r'<a [^>]*href="([^"#]+)', packed.read(page).decode()):
                assert link.startswith(("http", "mailto")) or f"report/{link}" in names, (page, link)
