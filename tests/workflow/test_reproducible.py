"""Two cold runs give the same bytes: the second on one core, in another order, in an awkward place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reproduce_study import LAST_FIRST
from tests.helpers.faults import awkward_place
from tests.helpers.readme import with_environment
from tests.helpers.study import copy_repository, run_study


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A whole run of the smoke study on one core, the last chapters' tables first.

    Spaces and other scripts' letters in the folder's name, resources read-only, results on another disk.
    """
    folder = copy_repository(tmp_path_factory.mktemp("second") / "Ünïcode folder 知識")
    with awkward_place(folder, "200m"):
        run_study(folder, 1, *LAST_FIRST)
        yield run_study(folder, 1)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with its environment, in which `make` runs."""
    return with_environment(copy_repository(tmp_path_factory.mktemp("repository") / "study"))


def reproduce(folder: Path, **copies: Path) -> subprocess.CompletedProcess[str]:
    """What the command says, with its runs in copies in which they have ended already."""
    options = " ".join(f"--{name}='{copy}'" for name, copy in copies.items())
    command = ["make", "reproduce", f"ARGS={options}"]
    return subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_neither_cores_nor_order_nor_place_changes_a_byte(repository: Path, finished_study: Path, second: Path) -> None:
    done = reproduce(repository, first=finished_study, second=second)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "The two runs are the same, byte for byte." in done.stdout
    lines = re.findall(r"(\d+) files are the same in results/(\w*)", done.stdout)
    counts = {name: int(count) for count, name in lines}
    least = {"tables": 25, "figures": 40, "models": 20, "localization": 15, "tracing": 10, "editing": 15, "report": 30}
    assert all(counts[name] >= number for name, number in least.items()), counts
    # What the command would have run: other cores, another order.
    assert "first run: snakemake all --cores 2" in done.stdout
    assert "second run: snakemake results/tables/editing.csv results/tables/tracing.csv --cores 1" in done.stdout


def test_a_byte_that_differs_is_told(repository: Path, finished_study: Path, tmp_path: Path) -> None:
    """One figure of the second run is another, with its old time: nobody makes it anew."""
    other = Path(shutil.copytree(finished_study, tmp_path / "other", symlinks=True))
    figure = other / "results/figures/models.svg"
    times = figure.stat()
    figure.write_text(f"{figure.read_text()} ")
    os.utime(figure, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = reproduce(repository, first=finished_study, second=other)
    assert done.returncode != 0
    assert "1 files differ: figures/models.svg" in done.stdout and "not the same" in done.stdout
