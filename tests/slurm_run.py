"""The smoke study on a SLURM of this machine's own, through the study's profile; one job is cancelled on the way."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests import slurm_cluster
from tests.study import SMOKE, edit

PATIENCE = 1800.0  # seconds, for the whole study beside other work
# All groups share submissions: starting Snakemake twice for each is what takes time here.
SHARED = ("corpora", "training", "covariance", "prompts", "answers", "attribution")
SHARED += ("selection", "suppression", "tracing", "editing", "tests")
COMMAND = [
    *(sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/slurm", "--configfile", SMOKE),
    *("--cores", "1", "--slurm-partition-config", "workflow/profiles/slurm/partitions.yaml"),
    *("--group-components", *(f"{name}=50" for name in SHARED)),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2", "--verbose"),
]


@dataclass(frozen=True)
class SlurmRun:
    """said: stdout and stderr of Snakemake. cancelled: SLURM's number of the job that was cancelled, "" for none."""

    said: str
    cancelled: str


def why_not() -> str | None:
    """Why nothing can run on SLURM here, and what to do about it; None when it can."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "Snakemake's plugin for SLURM is not installed: pip install --no-deps -r envs/slurm.txt"
    return slurm_cluster.why_not()


def run_on_slurm(study: Path, cluster: Path) -> SlurmRun:
    """Run the smoke study in a copy of the repository, on a cluster that keeps its files in the folder `cluster`.

    One model may use a GPU, so that the cluster's are asked for. Fails with Snakemake's own words.
    """
    edit(study / SMOKE, "    family: llama\n    device: cpu\n", "    family: llama\n    device: auto\n")
    log = cluster.parent / "said.txt"
    with slurm_cluster.cluster(cluster) as environment, log.open("w") as out:
        process = subprocess.Popen(COMMAND, cwd=study, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            cancelled = _cancel_one("attribution", process, environment)
            code = process.wait(PATIENCE)
        finally:
            process.terminate()
            process.wait()
    said = log.read_text(encoding="utf-8")
    assert code == 0, said[-6000:]
    return SlurmRun(said, cancelled)


def _cancel_one(group: str, process: subprocess.Popen[bytes], environment: dict[str, str]) -> str:
    """Cancel the first job of a group that runs; its number. Returns "" when the study ends before there is one."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        ask = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"]
        jobs = subprocess.run(ask, env=environment, text=True, capture_output=True).stdout
        if found := re.search(rf"^(\d+) rule_{group}", jobs, re.MULTILINE):
            time.sleep(8)  # it is at work
            subprocess.run(["scancel", found[1]], env=environment, check=True)
            return found[1]
        time.sleep(0.5)
    return ""
