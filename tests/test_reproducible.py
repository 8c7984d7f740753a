"""Two cold runs give the same bytes: one on this machine, one job by job on SLURM, on one core, in an awkward place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import awkward_place
from tests.readme import with_environment
from tests.slurm_run import SlurmRun, run_on_slurm, why_not
from tests.study import copy_repository, run_study


@dataclass(frozen=True)
class Second:
    """A whole run of the smoke study in `folder`; slurm: what happened there, or why there was none."""

    folder: Path
    slurm: SlurmRun | str


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
    """Spaces and other scripts' letters in the folder's name, resources read-only, results on another disk.

    Where there is no SLURM, Snakemake itself runs it, on one core.
    """
    base = tmp_path_factory.mktemp("second")
    folder = copy_repository(base / "Ünïcode folder 知識")
    reason = why_not()
    with awkward_place(folder, "200m"):
        slurm = reason or run_on_slurm(folder, base / "cluster")
        if reason:
            run_study(folder, 1)
        yield Second(folder, slurm)


@pytest.fixture
def slurm(second: Second) -> SlurmRun:
    if isinstance(second.slurm, str):
        pytest.skip(second.slurm)
    return second.slurm


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with its environment, in which `make` runs."""
    return with_environment(copy_repository(tmp_path_factory.mktemp("repository") / "study"))


def reproduce(folder: Path, **copies: Path) -> subprocess.CompletedProcess[str]:
    """What the command says, with its runs in copies in which they have ended already."""
    options = " ".join(f"--{name}='{copy}'" for name, copy in copies.items())
    command = ["make", "reproduce", f"ARGS={options}"]
    return subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_neither_slurm_nor_cores_nor_order_nor_place_changes_a_byte(
    repository: Path, finished_study: Path, second: Second
) -> None:
    done = reproduce(repository, first=finished_study, second=second.folder)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "The two runs are the same, byte for byte." in done.stdout
    lines = re.findall(r"(\d+) files are the same in results/(\w*)", done.stdout)
    counts = {name: int(count) for count, name in lines}
    least = {"tables": 25, "figures": 40, "models": 20, "localization": 20, "tracing": 14, "editing": 15, "report": 30}
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


def test_a_job_that_slurm_cancels_is_sent_again(slurm: SlurmRun) -> None:
    assert slurm.cancelled and re.search(rf"\*\*\* JOB {slurm.cancelled} ON \S+ CANCELLED", slurm.said)
    calls = re.findall(r"^sbatch call: .*group_attribution.*--mem (\d+)", slurm.said, re.MULTILINE)
    assert len(calls) >= 2 and int(calls[-1]) > int(calls[0])  # and asks for more


def test_short_jobs_share_submissions(slurm: SlurmRun) -> None:
    sent = len(re.findall(r"has been submitted with SLURM jobid", slurm.said))
    jobs = int(re.search(r"^total +(\d+)$", slurm.said, re.MULTILINE)[1])
    assert jobs > 80 and sent <= 20


def test_jobs_with_a_gpu_ask_for_one_and_go_where_there_are_some(slurm: SlurmRun) -> None:
    calls = re.findall(r"^sbatch call: (.*)$", slurm.said, re.MULTILINE)
    with_gpu = [call for call in calls if "--gpus=1" in call]
    assert with_gpu and all("-p gpu" in call for call in with_gpu)
    without = [call for call in calls if "--gpus" not in call]
    assert without and all("-p cpu" in call for call in without)
    assert not [call for call in calls if re.search(r"--gpus=[^1]", call)]
