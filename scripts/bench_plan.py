"""Benchmark of plans: planned times against measured ones, and dry runs against a yardstick, each in one run.

    python scripts/bench_plan.py [--quick] [--models bert gpt2] [--output FILE]

Every ratio is a statement (bench_models.py), and the exit code is 0. Attribution of models as small as the miniature's
is planned at the speed that this machine reaches beside it. Dry runs of the paper's study, alone and grouped for SLURM,
are held against the time in which Python parses Snakemake's own source. Where the default study has run in this folder,
processor time of its jobs is held against their plan, and wall-clock time against what they ask a cluster for.
`--quick` leaves the dry runs out.
"""

from __future__ import annotations

import ast
import re
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

from bench_models import ROOT, asked, concluded, measured, random_model, stated
from kn_thesis.corpora.gaps import Encoded
from kn_thesis.errors import UserError
from kn_thesis.localization.attribution import attribute
from kn_thesis.plan import request, work
from kn_thesis.plan.measure import reached
from kn_thesis.plan.shape import Shape
from kn_thesis.plan.table import rule_of
from plan_study import read_plan

FACTOR = {"least": 0.5, "most": 2.0}  # of measured over planned times
DRY_RUN = 12.0  # times the yardstick, at most
PROMPTS = {"bert": 16, "gpt2": 100, "llama": 100}  # of NODES nodes and TOKENS tokens
NODES, TOKENS, BATCH = 32, 9, 8192
ROUNDS = 10  # other work on the machine slows some of them, so the best counts
PAPER = ("--configfile", "resources/studies/paper.yaml")
COLUMNS = ("model", "part", "measure", "planned", "measured")


def main() -> int:
    """Run everything, print a table, write the CSV."""
    arguments = asked("Planned times against measured ones.", "plan")
    torch.set_num_threads(1)  # of a job of the study
    rows = [computation(family) for family in arguments.models]
    if not arguments.quick:
        rows += dry_runs()
    if (ROOT / "results/benchmarks").exists():
        try:
            plan, _ = read_plan(ROOT, [])
            rows += of_study(plan["jobs"], ROOT)
        except UserError as error:
            print(f"the study in this folder is left out: {error}")
    return concluded(rows, COLUMNS, [], arguments.output)


def computation(family: str) -> dict[str, Any]:
    """Attribution in a small model: seconds, against those planned at the speed that is reached beside it."""
    model = random_model(family, quick=True)
    sizes = (model.adapter.layers, model.adapter.word_embeddings().shape[1], model.adapter.width)
    shape = Shape(*sizes, heads=4, vocabulary=model.adapter.vocabulary, gated=family == "llama")
    masked = model.adapter.objective == "masked"
    prompts = [Encoded(tuple(range(1, TOKENS + 1)), TOKENS - 1, (5,))] * PROMPTS[family]
    attribute(model, prompts[:1], nodes=NODES)  # warms up
    speeds, times = [], []
    for _ in range(ROUNDS):
        speeds.append(reached(shape, seconds=0.2)[0])
        times.append(measured(lambda: attribute(model, prompts, nodes=NODES, batch_tokens=BATCH))[0])
    done = work.attribution(shape, masked, work.Task(len(prompts), TOKENS), NODES, BATCH)
    planned = request.seconds(done, shape, "float32", max(speeds), start=0)
    return row("attribution", min(times), planned, model=family)


def row(part: str, took: float, planned: float, model: str = "", **bounds: float) -> dict[str, Any]:
    """A row of the CSV: measured over planned, within a factor of two if nothing else is stated."""
    about = {"model": model, "part": part, "measure": "measured/planned"}
    return about | {"planned": f"{planned:.4g}", "measured": f"{took:.4g}"} | stated(took / planned, **bounds or FACTOR)


def dry_runs() -> list[dict[str, Any]]:
    """Processor time of dry runs of the paper's study, against the yardstick before and after each."""
    groups = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())["group-components"]
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", *PAPER, "--group-components", *groups]
    plan = [sys.executable, str(ROOT / "scripts/plan_study.py"), *PAPER]
    found = []
    for name, command in (("make plan", plan), ("dry run for SLURM", snakemake)):
        before = yardstick()
        with TemporaryDirectory() as folder:
            took = children_took([*command, "--directory", folder])
        about = {"part": name, "measure": "times the yardstick", "measured": f"{took:.4g}"}
        found.append(about | stated(2 * took / (before + yardstick()), most=DRY_RUN))
    return found


def yardstick() -> float:
    """Seconds of processor time for work of a dry run's kind, on this machine and now."""
    spec = find_spec("snakemake")
    source = Path(str(spec and spec.origin)).with_name("workflow.py").read_text(encoding="utf-8")
    began = time.process_time()
    for _ in range(40):
        ast.dump(ast.parse(source))
    return time.process_time() - began


def children_took(command: Sequence[str]) -> float:
    """Seconds of processor time of a command and all that it starts."""
    before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - a command of this file
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before


def of_study(jobs: Sequence[Mapping[str, Any]], study: Path) -> list[dict[str, Any]]:
    """Jobs of a study that ran in the folder `study`: by chapter and in all; and the job that took most of its limit.

    Most of a short job's time is spent on imports. They are timed here, since some machines are slower at them.
    """
    imports = "from kn_thesis.models.load import load_model; from transformers import GPT2LMHeadModel"
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); {imports}"
    pace = max(1.0, children_took([sys.executable, "-c", code]) / request.START)
    ran = [(job, took) for job in jobs if (took := benchmark(job, study))]
    found = []
    for chapter in (*dict.fromkeys(job["chapter"] for job, _ in ran), "all jobs"):
        part = [(job["seconds"], took.processor) for job, took in ran if chapter in (job["chapter"], "all jobs")]
        planned, took = (sum(numbers) for numbers in zip(*part, strict=True))
        found.append(row(f"study: {chapter}", took, pace * planned))
    if ran:
        shares = [(took.wall / 60 / request.minutes(job["seconds"]), took.wall, job["seconds"]) for job, took in ran]
        share, wall, planned = max(shares)
        about = {"part": "study", "measure": "largest share of a limit", "planned": planned, "measured": wall}
        found.append(about | stated(share, most=1.0))
    return found


def benchmark(job: Mapping[str, Any], study: Path) -> SimpleNamespace | None:
    """Seconds of a model's job, `processor` and `wall`; None for other jobs, and where it has not run."""
    if not job["model"]:
        return None
    rule = rule_of(job["name"], job["model"])
    # A batch's editor is a folder deeper.
    rest = re.sub(r"(_\d+)_(.+)$", r"\1/\2", job["name"].removeprefix(f"{rule}_"))
    places = [study / f"results/benchmarks/{rule}/{place}.tsv" for place in (rest, job["model"])]
    files = [place for place in places if place.exists()] + sorted((places[1].with_suffix("")).glob("*.tsv"))
    if not files:
        return None
    header, *_, last = files[0].read_text(encoding="utf-8").splitlines()
    numbers = dict(zip(header.split("\t"), last.split("\t"), strict=True))
    wall = float(numbers["s"])
    return SimpleNamespace(processor=float(numbers["cpu_time"]) or wall, wall=wall)  # 0 for the shortest jobs


if __name__ == "__main__":
    sys.exit(main())
