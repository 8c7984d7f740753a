"""A task split over jobs on SLURM gives the bytes of the whole task on this machine; and a lost shard costs one shard.

Where there is no SLURM, Snakemake itself runs the shards, and what SLURM did with the jobs is not looked at.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.helpers.faults import awkward_place
from tests.helpers.slurm_run import SlurmRun, run_on_slurm, why_not
from tests.helpers.study import SMOKE, planned_jobs, snakemake

TASK = "distractor_agreement_relational_noun"
TARGETS = [f"results/suppression/gpt2/{TASK}.{name}.parquet" for name in ("effects", "controls", "sets", "words")]
# More prompts than a shard has. The model may use a GPU, so that the cluster's are asked for.
WHOLE = {"tasks": {"evaluated": 100, "attributed": 100}, "models": {"gpt2": {"device": "auto"}}}
SPLIT = {"attribution": 64, "suppression": 64}
JOBS = {"attribute_neurons": 2, "suppress_neurons": 2, "gather_suppression": 1}
# Shards of attribution are sent one by one, as the profile has it; both of suppression share a submission.
GROUPS = ("--group-components", "attribution=1", "suppression=2")
SUBMISSIONS = 4


@dataclass(frozen=True)
class Split:
    """expected, found: the targets' bytes, whole and in shards. slurm: what happened there, or why there was none."""

    folder: Path
    layers: list[str]
    jobs: dict[str, int]
    expected: dict[str, bytes]
    found: dict[str, bytes]
    slurm: SlurmRun | str


@pytest.fixture(scope="module")
def split(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    """The task whole on this machine, then in shards on SLURM, in a folder and on a disk that scripts may trip over."""
    base = tmp_path_factory.mktemp("split")
    folder = Path(shutil.copytree(finished_study, base / "Ünïcode folder 知識", symlinks=True))
    with awkward_place(folder, "200m"):
        (folder / "whole.yaml").write_text(yaml.safe_dump(WHOLE))
        sharded = WHOLE | {"tasks": WHOLE["tasks"] | {"shards": SPLIT}}
        (folder / "sharded.yaml").write_text(yaml.safe_dump(sharded))
        layers = ["--configfile", SMOKE, "sharded.yaml"]
        ended(snakemake(folder, "--cores", "2", *TARGETS, "--configfile", SMOKE, "whole.yaml", configfile=""))
        expected = contents(folder)
        remove(folder)
        jobs = planned_jobs(folder, *layers, "--", *TARGETS, configfile="")
        slurm = why_not() or run_on_slurm(folder, base, "attribute_neurons.py", *TARGETS, *GROUPS, *layers)
        if isinstance(slurm, str):
            ended(snakemake(folder, "--cores", "1", *TARGETS, *layers, configfile=""))
        yield Split(folder, layers, jobs, expected, contents(folder), slurm)


def ended(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout[-4000:]


def contents(folder: Path) -> dict[str, bytes]:
    return {target: (folder / target).read_bytes() for target in TARGETS}


def remove(folder: Path) -> None:
    for target in TARGETS:
        (folder / target).unlink()


@pytest.fixture
def slurm(split: Split) -> SlurmRun:
    if isinstance(split.slurm, str):
        pytest.skip(split.slurm)
    return split.slurm


def test_neither_shards_nor_slurm_change_a_byte(split: Split) -> None:
    assert split.jobs == JOBS
    assert split.found == split.expected


def test_a_lost_shard_costs_one_shard(split: Split) -> None:
    (split.folder / f"results/suppression/gpt2/{TASK}-2-of-2.safetensors").unlink()
    remove(split.folder)
    jobs = planned_jobs(split.folder, *split.layers, "--", *TARGETS, configfile="")
    assert jobs == {"suppress_neurons": 1, "gather_suppression": 1}


def test_a_job_that_slurm_cancels_is_sent_again(slurm: SlurmRun) -> None:
    assert slurm.cancelled and re.search(rf"\*\*\* JOB {slurm.cancelled} ON \S+ CANCELLED", slurm.said)
    calls = re.findall(r"^sbatch call: .*group_attribution.*--mem (\d+)", slurm.said, re.MULTILINE)
    assert len(calls) == JOBS["attribute_neurons"] + 1 and int(calls[-1]) > int(calls[0])  # and asks for more


def test_jobs_share_submissions(slurm: SlurmRun) -> None:
    sent = len(re.findall(r"has been submitted with SLURM jobid", slurm.said))
    jobs = int(re.search(r"^total +(\d+)$", slurm.said, re.MULTILINE)[1])
    assert jobs == sum(JOBS.values()) and sent == SUBMISSIONS + 1  # one is sent again


def test_jobs_with_a_gpu_ask_for_one_and_go_where_there_are_some(slurm: SlurmRun) -> None:
    calls = re.findall(r"^sbatch call: (.*)$", slurm.said, re.MULTILINE)
    with_gpu = [call for call in calls if "--gpus=1" in call]
    assert with_gpu and all("-p gpu" in call for call in with_gpu)
    without = [call for call in calls if "--gpus" not in call]
    assert without and all("-p cpu" in call for call in without)
    assert not [call for call in calls if re.search(r"--gpus=[^1]", call)]
