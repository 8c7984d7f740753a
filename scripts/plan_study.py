"""What a study takes, before it is run: `make plan` calls this script with its ARGS, which are Snakemake's.

    python scripts/plan_study.py [--configfile resources/studies/paper.yaml] [--directory ELSEWHERE] [--measure]

Neither weights nor corpora are needed. A dry run of the workflow counts its jobs and says what each takes; the table is
printed and written to results/plan.csv. --measure says first which speed this machine reaches with such models.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.files import write_csv
from kn_thesis.plan.table import COLUMNS, HEAD, job_counts, plan_rows, shown, total

ROOT = Path(__file__).resolve().parents[1]


def main(given: Sequence[str] | None = None) -> int:
    """Plan, print, write, say where; 1 after a user's mistake. `given`: arguments in place of the command line's."""
    parser = argparse.ArgumentParser(description="What a study takes.", allow_abbrev=False)
    parser.add_argument("--directory", type=Path, default=Path("."), help="the folder that the study runs in")
    parser.add_argument("--measure", action="store_true", help="measure the speed of this machine first")
    arguments, options = parser.parse_known_args(given)
    try:
        content, counts = read_plan(arguments.directory, options)
        if arguments.measure:
            print(measured(content["models"]), end="\n\n")
        rows = plan_rows(content["jobs"], counts)
        target = arguments.directory / "results/plan.csv"
        write_csv(target, COLUMNS, rows)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{HEAD}\n\n{shown(rows)}\n\n{summary(content, rows)}\nThe plan: {target.resolve()}")
    return 0


def read_plan(directory: Path, options: Sequence[str]) -> tuple[dict[str, Any], dict[str, int]]:
    """What resources.smk says of each job, and the jobs by rule. Raises UserError for what Snakemake refuses."""
    notes = directory / ".snakemake"
    there = notes.exists(), directory.exists()
    with TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.json"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), "--cores", "1"]
        command += ["--dry-run", "--forceall", "--quiet", "reason", "--directory", str(directory), *options]
        environment = os.environ | {"KN_PLAN": str(plan)}
        done = subprocess.run(  # noqa: S603 - Snakemake, with the options that its user gives
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if not there[0]:
            shutil.rmtree(notes, ignore_errors=True)
        if done.returncode or not plan.exists():
            said = [line for line in done.stdout.splitlines() if not line.startswith("Using workflow specific profile")]
            raise UserError("the study cannot be planned\n" + "\n".join(said)[-3000:])
        return json.loads(plan.read_text(encoding="utf-8")), job_counts(done.stdout)


def summary(content: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """The study in four lines, with the speed that its hours are for."""
    whole = total(rows)
    speed = content["speed"]
    kinds = {bool(model["gpu"]) for model in content["models"].values()}
    devices = [
        f"{value:.3g} floating-point operations a second on {device} (plan.{name}_speed)"
        for name, value, device, gpu in (
            ("gpu", speed["gpu"], "a GPU", True),
            ("cpu", speed["cpu"], "a core", False),
        )
        if gpu in kinds
    ]
    hours = [f"{whole[name] / 3600:,.1f}" for name in ("seconds", "plain_seconds")]
    return (
        f"{content['study']}: {whole['jobs']} jobs, {whole['stored'] / 1e9:.2g} GB\n"
        f"here   {passes(whole)}, {hours[0]} hours on one device\n"
        f"plain  {passes(whole, 'plain_')}, {hours[1]} hours\n"
        f"at {', '.join(devices)}"
    )


def passes(row: dict[str, Any], of: str = "") -> str:
    """Passes and operations of a row in words."""
    forward, backward, flops = (row[of + name] for name in ("forward", "backward", "flops"))
    return f"{forward:.1e} forward and {backward:.1e} backward passes, {flops:.1e} operations"


def measured(models: dict[str, dict[str, Any]]) -> str:
    """A line per shape of model: what this machine reaches."""
    from kn_thesis.plan.measure import reached
    from kn_thesis.plan.shape import Shape

    lines = {}
    for name, model in models.items():
        shape = Shape(**model["shape"])
        lines.setdefault(shape, (name, model["dtype"], bool(model["gpu"])))
    found = []
    for shape, (name, dtype, gpu) in lines.items():
        speed, device = reached(shape, dtype, gpu)
        entry = "gpu_speed" if device == "cuda" else "cpu_speed"
        found.append(f"{name}: {speed:.2g} floating-point operations a second here: plan: {{{entry}: {speed:.1e}}}")
    return "\n".join(found)


if __name__ == "__main__":
    sys.exit(main())
