"""Plan a study before it runs: `make plan` calls this script with its ARGS, which are Snakemake's.

    python scripts/tools/plan_study.py [--configfile resources/studies/paper.yaml] [--directory ELSEWHERE] [--measure]

It needs neither weights nor corpora. A dry run of the workflow counts its jobs, and kn_thesis/plan estimates each of
them. The table is printed and written to results/plan.csv. --measure first measures the speed of this machine.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snakemake.utils import update_config

import _path  # noqa: F401
from kn_thesis.configuration.overlays import read_layer
from kn_thesis.configuration.study import read_study
from kn_thesis.errors import UserError
from kn_thesis.files import write_csv
from kn_thesis.plan.study_plan import StudyPlan
from kn_thesis.plan.table import COLUMNS, HEAD, job_counts, plan_rows, render_plan, total

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = ROOT / "workflow/Snakefile"


def main(command_line: Sequence[str] | None = None) -> int:
    """Plan a study, print the table and write it.

    Args:
        command_line: arguments to use in place of the command line's.

    Returns:
        The exit status: 1 after a user's mistake, else 0.
    """
    parser = argparse.ArgumentParser(description="What a study takes.", allow_abbrev=False)
    parser.add_argument("--directory", type=Path, default=Path("."), help="the folder that the study runs in")
    parser.add_argument("--measure", action="store_true", help="measure the speed of this machine first")
    arguments, options = parser.parse_known_args(command_line)
    try:
        counts = count_jobs(arguments.directory, options)
        plan = read_plan(options)
        if arguments.measure:
            print(measured(plan), end="\n\n")
        rows = plan_rows(plan.rows(), counts)
        target = arguments.directory / "results/plan.csv"
        write_csv(target, COLUMNS, rows)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{HEAD}\n\n{render_plan(rows)}\n\n{summary(plan, rows)}\nThe plan: {target.resolve()}")
    return 0


def read_plan(options: Sequence[str]) -> StudyPlan:
    """Return the plan of the study that Snakemake's `options` name.

    Raises:
        UserError: the configuration has mistakes.
    """
    from snakemake.cli import parse_args, parse_config

    _, arguments = parse_args(["--snakefile", str(SNAKEFILE), *options])
    files = arguments.configfile or [ROOT / "config.yaml"]
    config: dict[str, Any] = {}
    for file in files:
        update_config(config, read_layer(file))
    return StudyPlan(read_study(ROOT, config, files, parse_config(arguments.config) or {}))


def count_jobs(directory: Path, options: Sequence[str]) -> dict[str, int]:
    """Count the jobs of each rule by a dry run.

    Args:
        directory: the folder that the study runs in.
        options: Snakemake's options.

    Raises:
        UserError: Snakemake refuses to run the study.
    """
    notes = directory / ".snakemake"
    had_notes = notes.exists()
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--cores", "1", "--dry-run"]
    command += ["--forceall", "--quiet", "reason", "--directory", str(directory), *options]
    result = subprocess.run(  # noqa: S603 - Snakemake, with the options that its user gives
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if not had_notes:
        shutil.rmtree(notes, ignore_errors=True)
    if result.returncode:
        lines = [line for line in result.stdout.splitlines() if not line.startswith("Using workflow specific profile")]
        raise UserError("the study cannot be planned\n" + "\n".join(lines)[-3000:])
    return job_counts(result.stdout)


def summary(plan: StudyPlan, rows: Sequence[dict[str, Any]]) -> str:
    """Return the sums of the study in four lines, with the speed that its hours assume."""
    whole, speed = total(rows), plan.speed
    kinds = {bool(plan.gpus(model)) for model in plan.models}
    devices = [
        f"{value:.3g} floating-point operations a second on {device} (plan.{name}_speed)"
        for name, value, device, gpu in (
            ("gpu", speed.gpu, "a GPU", True),
            ("cpu", speed.cpu, "a core", False),
        )
        if gpu in kinds
    ]
    hours = [f"{whole[name] / 3600:,.1f}" for name in ("seconds", "plain_seconds")]
    return (
        f"{plan.study.study}: {whole['jobs']} jobs, {whole['stored'] / 1e9:.2g} GB\n"
        f"here   {passes(whole)}, {hours[0]} hours on one device\n"
        f"plain  {passes(whole, 'plain_')}, {hours[1]} hours\n"
        f"at {', '.join(devices)}"
    )


def passes(row: dict[str, Any], of: str = "") -> str:
    """Return passes and operations of a row in words; with `of="plain_"` those of the plain algorithm."""
    forward, backward, flops = (row[of + name] for name in ("forward", "backward", "flops"))
    return f"{forward:.1e} forward and {backward:.1e} backward passes, {flops:.1e} operations"


def measured(plan: StudyPlan) -> str:
    """Return a line per shape of model, with the speed of this machine."""
    from measure_speed import measure_speed

    models = {}
    for name, model in plan.models.items():
        models.setdefault(model.shape, (name, model.dtype, bool(plan.gpus(name))))
    lines = []
    for shape, (name, dtype, gpu) in models.items():
        speed, device = measure_speed(shape, dtype, gpu)
        entry = "gpu_speed" if device == "cuda" else "cpu_speed"
        lines.append(f"{name}: {speed:.2g} floating-point operations a second here: plan: {{{entry}: {speed:.1e}}}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
