"""Benchmark of plans: planned times against measured ones, and dry runs against a yardstick.

    python scripts/tools/bench_plan.py [--quick] [--models bert gpt2] [--output FILE]

The exit code is 0, since it depends on no ratio of times (bench_models.py). Attribution of models as small as the
miniature's is planned at the speed that this machine reaches at the same time. Dry runs of the paper's study, alone and
grouped for SLURM, are compared with the time in which Python parses Snakemake's own source. Where the default study has
run in this folder, the processor time of its jobs is compared with their plan, and the wall-clock time with their
request to a cluster. `--quick` leaves the dry runs out.
"""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch
import yaml

import _path  # noqa: F401
from bench_models import ROOT, concluded, measured, parse_arguments, random_model, stated
from kn_thesis.errors import UserError
from kn_thesis.localization.attribution import attribute
from kn_thesis.models.cloze import Encoded
from kn_thesis.plan import jobs, work
from kn_thesis.plan.sizes import Shape
from measure_speed import measure_speed
from plan_study import read_plan

FACTOR = {"least": 0.5, "most": 2.0}  # bounds on measured over planned times
DRY_RUN = 12.0  # maximum, in yardsticks
PROMPTS = {"bert": 16, "gpt2": 100, "llama": 100}  # of NODES nodes and TOKENS tokens
NODES, TOKENS, BATCH = 32, 9, 8192
ROUNDS = 10  # other work on the machine slows some of them, so the fastest counts
PAPER = ("--configfile", "resources/studies/paper.yaml")
COLUMNS = ("model", "part", "measure", "planned", "measured")


def main() -> int:
    """Run all benchmarks, print a table and write the CSV."""
    arguments = parse_arguments("Planned times against measured ones.", "plan")
    torch.set_num_threads(1)  # as in a job of the study
    rows = [computation(family) for family in arguments.models]
    if not arguments.quick:
        rows += dry_runs()
    if (ROOT / "results/benchmarks").exists():
        try:
            rows += of_study(read_plan([]).rows(), ROOT)
        except UserError as error:
            print(f"the study in this folder is left out: {error}")
    return concluded(rows, COLUMNS, [], arguments.output)


def computation(family: str) -> dict[str, Any]:
    """Compare the time of attribution in a small model with the time planned for the speed measured beside it."""
    model = random_model(family, quick=True)
    sizes = (model.adapter.layers, model.adapter.word_embeddings().shape[1], model.adapter.width)
    shape = Shape(*sizes, heads=4, vocabulary=model.adapter.vocabulary, gated=family == "llama")
    masked = model.adapter.objective == "masked"
    prompts = [Encoded(tuple(range(1, TOKENS + 1)), TOKENS - 1, (5,))] * PROMPTS[family]
    attribute(model, prompts[:1], nodes=NODES)  # warms up
    speeds, times = [], []
    for _ in range(ROUNDS):
        speeds.append(measure_speed(shape, seconds=0.2)[0])
        times.append(measured(lambda: attribute(model, prompts, nodes=NODES, batch_tokens=BATCH))[0])
    cost = work.attribution(shape, masked, work.Task(len(prompts), TOKENS), NODES, BATCH)
    planned = jobs.seconds(cost, shape, "float32", max(speeds), start=0)
    return row("attribution", min(times), planned, model=family)


def row(part: str, took: float, planned: float, model: str = "", **bounds: float) -> dict[str, Any]:
    """Return a row of the CSV: measured over planned time, within a factor of two unless `bounds` says otherwise."""
    about = {"model": model, "part": part, "measure": "measured/planned"}
    return about | {"planned": f"{planned:.4g}", "measured": f"{took:.4g}"} | stated(took / planned, **bounds or FACTOR)


def dry_runs() -> list[dict[str, Any]]:
    """Compare the processor time of dry runs of the paper's study with the yardstick before and after each."""
    groups = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())["group-components"]
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", *PAPER, "--group-components", *groups]
    plan = [sys.executable, str(ROOT / "scripts/tools/plan_study.py"), *PAPER]
    rows = []
    for name, command in (("make plan", plan), ("dry run for SLURM", snakemake)):
        before = yardstick()
        with TemporaryDirectory() as folder:
            took = children_took([*command, "--directory", folder])
        about = {"part": name, "measure": "times the yardstick", "measured": f"{took:.4g}"}
        rows.append(about | stated(2 * took / (before + yardstick()), most=DRY_RUN))
    return rows


def yardstick() -> float:
    """Return the seconds of processor time that work like a dry run's takes on this machine now."""
    spec = find_spec("snakemake")
    source = Path(str(spec and spec.origin)).with_name("workflow.py").read_text(encoding="utf-8")
    began = time.process_time()
    for _ in range(40):
        ast.dump(ast.parse(source))
    return time.process_time() - began


def children_took(command: Sequence[str]) -> float:
    """Return the seconds of processor time of a command and its children."""
    before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - a command of this file
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before


def of_study(planned_jobs: Sequence[Mapping[str, Any]], study: Path) -> list[dict[str, Any]]:
    """Compare the jobs of a study that ran in the folder `study` with their plan, by chapter and in all.

    A last row has the job that took the largest share of its time limit. A short job spends most of its time on
    imports, so these are timed first and the plan is scaled on a machine that is slower at them.
    """
    imports = "from kn_thesis.models.load import load_model; from transformers import GPT2LMHeadModel"
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); {imports}"
    pace = max(1.0, children_took([sys.executable, "-c", code]) / jobs.START)
    ran = [(job, took) for job in planned_jobs if (took := benchmark(job, study))]
    rows = []
    for chapter in (*dict.fromkeys(job["chapter"] for job, _ in ran), "all jobs"):
        part = [(job["seconds"], took.processor) for job, took in ran if chapter in (job["chapter"], "all jobs")]
        planned, took = (sum(numbers) for numbers in zip(*part, strict=True))
        rows.append(row(f"study: {chapter}", took, pace * planned))
    if ran:
        shares = [(took.wall / 60 / jobs.minutes(job["seconds"]), took.wall, job["seconds"]) for job, took in ran]
        share, wall, planned = max(shares)
        about = {"part": "study", "measure": "largest share of a limit", "planned": planned, "measured": wall}
        rows.append(about | stated(share, most=1.0))
    return rows


def benchmark(job: Mapping[str, Any], study: Path) -> SimpleNamespace | None:
    """Return the seconds of a model's job, `processor` and `wall`; None for other jobs and jobs that have not run."""
    if not job["model"]:
        return None
    file = study / f"results/benchmarks/{job['rule']}/{job['place']}.tsv"
    if not file.exists():
        return None
    header, *_, last = file.read_text(encoding="utf-8").splitlines()
    numbers = dict(zip(header.split("\t"), last.split("\t"), strict=True))
    wall = float(numbers["s"])
    return SimpleNamespace(processor=float(numbers["cpu_time"]) or wall, wall=wall)  # 0 for the shortest jobs


if __name__ == "__main__":
    sys.exit(main())
