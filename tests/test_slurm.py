"""A real SLURM on this machine runs the smoke study through its profile, loses a job on the way, and gives the same."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm_cluster import cluster, why_not
from tests.study import SMOKE, copy_repository, edit

PATIENCE = 900.0  # seconds, for the whole study
# All groups share submissions: starting Snakemake twice for each is what takes time here.
SHARED = ("corpora", "training", "covariance", "prompts", "answers", "attribution")
SHARED += ("selection", "suppression", "tracing", "editing", "tests")
COMMAND = [
    *(sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/slurm", "--configfile", SMOKE),
    *("--cores", "2", "--slurm-partition-config", "workflow/profiles/slurm/partitions.yaml"),
    *("--group-components", *(f"{name}=50" for name in SHARED)),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2", "--verbose"),
]


@pytest.fixture(scope="module")
def on_slurm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The folder of a study that ran on SLURM, what was said, and the number of the job that was cancelled."""
    if reason := why_not():
        pytest.skip(reason)
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("Snakemake's plugin for SLURM is not installed: pip install -r envs/slurm.txt")
    folder = copy_repository(tmp_path_factory.mktemp("slurm") / "study")
    edit(
        folder / SMOKE,
        "  llama:\n    family: llama\n    device: cpu\n",
        "  llama:\n    family: llama\n    device: auto\n",
    )
    said = folder / "said.txt"
    with cluster(folder.parent / "cluster") as environment, said.open("w") as out:
        study = subprocess.Popen(COMMAND, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            cancelled = _cancel_one("attribution", study, environment)
            code = study.wait(PATIENCE)
        finally:
            study.terminate()
            study.wait()
    assert code == 0, said.read_text()[-6000:]
    return folder, said.read_text(), cancelled


def _cancel_one(group: str, study: subprocess.Popen[bytes], environment: dict[str, str]) -> str:
    """Cancel the first job of a group that runs; its number. Returns "" when the study ends before there is one."""
    end = time.monotonic() + PATIENCE
    while study.poll() is None and time.monotonic() < end:
        ask = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"]
        jobs = subprocess.run(ask, env=environment, text=True, capture_output=True).stdout
        if found := re.search(rf"^(\d+) rule_{group}", jobs, re.MULTILINE):
            time.sleep(3)  # it has begun
            subprocess.run(["scancel", found[1]], env=environment, check=True)
            return found[1]
        time.sleep(0.5)
    return ""


def test_a_cancelled_job_is_sent_again(on_slurm: tuple[Path, str, str]) -> None:
    _, said, cancelled = on_slurm
    assert cancelled and re.search(rf"SLURM-job '{cancelled}' failed, SLURM status is: 'CANCELLED'", said)
    calls = re.findall(r"^sbatch call: .*group_attribution.*--mem (\d+)", said, re.MULTILINE)
    assert len(calls) >= 2 and int(calls[-1]) > int(calls[0])  # and asks for more


def test_slurm_gives_the_tables_that_this_machine_gives(on_slurm: tuple[Path, str, str], finished_study: Path) -> None:
    folder = on_slurm[0]
    for pattern in ("tables/*.csv", "figures/*", "models/*/*.safetensors", "localization/*/*", "editing/**/*.parquet"):
        files = [path.relative_to(finished_study) for path in finished_study.glob(f"results/{pattern}")]
        assert len(files) >= 4, pattern
        different = [
            str(file) for file in files if (folder / file).read_bytes() != (finished_study / file).read_bytes()
        ]
        assert not different


def test_short_jobs_share_submissions(on_slurm: tuple[Path, str, str]) -> None:
    _, said, _ = on_slurm
    sent = len(re.findall(r"has been submitted with SLURM jobid", said))
    jobs = int(re.search(r"^total +(\d+)$", said, re.MULTILINE)[1])
    assert jobs > 80 and sent <= 20


def test_jobs_with_a_gpu_ask_for_one_and_go_where_there_are_some(on_slurm: tuple[Path, str, str]) -> None:
    calls = re.findall(r"^sbatch call: (.*)$", on_slurm[1], re.MULTILINE)
    with_gpu = [call for call in calls if "--gpus=1" in call]
    assert with_gpu and all("-p gpu" in call for call in with_gpu)
    without = [call for call in calls if "--gpus" not in call]
    assert without and all("-p cpu" in call for call in without)
    assert not [call for call in calls if re.search(r"--gpus=[^1]", call)]
