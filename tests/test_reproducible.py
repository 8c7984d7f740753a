"""`make reproduce`: two cold runs, with other cores and another order of jobs, give the same bytes in any place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults import awkward_place
from tests.readme import with_environment
from tests.study import copy_repository


def reproduce(folder: Path, **copies: Path) -> subprocess.CompletedProcess[str]:
    """What the command says, with some of its runs in copies that are there already."""
    options = " ".join(f"--{name}='{copy}'" for name, copy in copies.items())
    command = ["make", "reproduce", f"ARGS={options}"]
    return subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with its environment, in which `make` runs."""
    return with_environment(copy_repository(tmp_path_factory.mktemp("repository") / "study"))


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spaces and other scripts' letters in the folder's name."""
    return copy_repository(tmp_path_factory.mktemp("second") / "Ünïcode folder 知識")


@pytest.fixture(scope="module")
def said(repository: Path, finished_study: Path, second: Path) -> str:
    """The second run is cold: on one core, last chapters first, resources read-only, results on another disk."""
    with awkward_place(second, "200m"):
        done = reproduce(repository, first=finished_study, second=second)
        assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def test_cores_order_and_place_change_no_byte(said: str) -> None:
    assert "The two runs are the same, byte for byte." in said
    counts = dict((name, int(count)) for count, name in re.findall(r"(\d+) files are the same in results/(\w*)", said))
    least = {"tables": 25, "figures": 40, "models": 20, "localization": 20, "tracing": 14, "editing": 15, "report": 30}
    assert all(counts[name] >= number for name, number in least.items()), counts


def test_the_second_run_had_its_jobs_in_another_order(said: str, finished_study: Path) -> None:
    assert "second run: snakemake results/tables/editing.csv results/tables/tracing.csv --cores 1" in said
    assert "first run: snakemake all --cores 2" in said


def test_a_byte_that_differs_is_told(repository: Path, finished_study: Path, tmp_path: Path) -> None:
    """Both runs are there already; one figure of the second is another, with its old time: nobody makes it anew."""
    other = Path(shutil.copytree(finished_study, tmp_path / "other", symlinks=True))
    figure = other / "results/figures/models.svg"
    times = figure.stat()
    figure.write_text(f"{figure.read_text()} ")
    os.utime(figure, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = reproduce(repository, first=finished_study, second=other)
    assert done.returncode != 0
    assert "1 files differ: figures/models.svg" in done.stdout and "not the same" in done.stdout
