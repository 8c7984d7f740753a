"""A part of a study on a SLURM of this machine's own, through the study's profile; one job is cancelled on the way."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import slurm_cluster
from tests.helpers.faults import faulty, wait_for

PATIENCE = 3600.0  # seconds, beside other work
OPTIONS = [
    *("--workflow-profile", "workflow/profiles/slurm", "--cores", "1"),
    *("--slurm-partition-config", "workflow/profiles/slurm/partitions.yaml"),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2", "--verbose"),
]
# The first job that comes here says which one it is, and is at work until it is cancelled.
IS_CANCELLED = """
        said = met.with_suffix(".said")
        said.write_text(os.environ["SLURM_JOB_ID"])
        os.replace(said, met)
        time.sleep(3600)
"""


@dataclass(frozen=True)
class SlurmRun:
    """said: stdout and stderr of Snakemake. cancelled: SLURM's number of the job that was cancelled."""

    said: str
    cancelled: str


def why_not() -> str | None:
    """Why nothing can run on SLURM here, and what to do about it; None when it can."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "Snakemake's plugin for SLURM is not installed: pip install --no-deps -r envs/slurm.txt"
    return slurm_cluster.why_not()


def run_on_slurm(study: Path, folder: Path, script: str, *arguments: str) -> SlurmRun:
    """Run Snakemake in a copy of the repository, on a cluster that keeps its files in `folder`, which is empty.

    The first job of `script` (its file's name) is cancelled while it is at work. Fails with Snakemake's own words.
    """
    fault, log = faulty(folder / "fault", script, IS_CANCELLED), folder / "said.txt"
    command = [sys.executable, "-m", "snakemake", *OPTIONS, *arguments]
    with slurm_cluster.cluster(folder / "cluster") as environment, log.open("w") as out:
        process = subprocess.Popen(command, cwd=study, env=environment | fault, stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_for(folder / "fault/met", PATIENCE, unless=lambda: process.poll() is not None)
            cancelled = (folder / "fault/met").read_text() if (folder / "fault/met").exists() else ""
            if cancelled:
                subprocess.run(["scancel", cancelled], env=environment, check=True)
            code = process.wait(PATIENCE)
        finally:
            process.terminate()
            process.wait()
    said = log.read_text(encoding="utf-8")
    assert code == 0, said[-6000:]
    return SlurmRun(said, cancelled)
