"""Run a study twice and compare every file of the two runs: `make reproduce` calls this script.

    python scripts/tools/reproduce_study.py [--configfile tests/studies/smoke.yaml] [--folder results/reproduce]

Each run has its own copy of the repository. `--first` and `--second` name existing copies, in which finished jobs are
not run again. The first run has two cores. The second has one and makes the last chapters' tables first, so that its
jobs run in another order.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import _path  # noqa: F401
from kn_thesis.report.comparison.runs import compare_runs

ROOT = Path(__file__).resolve().parents[2]
LEFT_BEHIND = shutil.ignore_patterns("results", ".git", ".venv", ".snakemake", "__pycache__", ".*_cache")
LAST_FIRST = ["results/tables/editing.csv", "results/tables/tracing.csv"]
RUNS = {"first": (["--cores", "2"], []), "second": (["--cores", "1"], LAST_FIRST)}


def main(command_line: Sequence[str] | None = None) -> int:
    """Run a study twice, compare the runs and print the result.

    Args:
        command_line: arguments to use in place of the command line's.

    Returns:
        The exit status: 1 when a run fails or a file differs, else 0.
    """
    parser = argparse.ArgumentParser(description="Run a study twice and compare every file.")
    parser.add_argument(
        "--configfile", default="tests/studies/smoke.yaml", help="the study, from the repository's root"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "results/reproduce", help="folder of both runs")
    for name in RUNS:
        parser.add_argument(f"--{name}", type=Path, help=f"a copy of the repository for the {name} run")
    arguments = parser.parse_args(command_line)
    if not (ROOT / arguments.configfile).is_file():
        print(f"error: there is no study {arguments.configfile}; name one from the repository's root", file=sys.stderr)
        return 1
    copies = {name: getattr(arguments, name) or arguments.folder / name for name in RUNS}
    for name, (options, early) in RUNS.items():
        copy = copies[name]
        if not getattr(arguments, name):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND)
        for targets in filter(None, [early, ["all"]]):
            command = [sys.executable, "-m", "snakemake", *targets, *options, "--configfile", arguments.configfile]
            print(f"{name} run: snakemake {' '.join([*targets, *options])}", flush=True)
            result = subprocess.run([*command, "--quiet", "all"], cwd=copy)  # noqa: S603 - Snakemake, on files of ours
            if result.returncode:
                print(f"error: the {name} run failed; its logs lie in {copy / 'results/logs'}", file=sys.stderr)
                return 1
    comparison = compare_runs(*(copy / "results" for copy in copies.values()))
    for folder, count in comparison.alike.items():
        print(f"{count:6d} files are the same in results/{folder.strip('.')}")
    for kind, names in (("differ", comparison.different), ("are in one run only", comparison.missing)):
        if names:
            print(f"error: {len(names)} files {kind}: {', '.join(names[:10])}", file=sys.stderr)
    print("The two runs are the same, byte for byte." if comparison.whole else "The two runs are not the same.")
    return 0 if comparison.whole else 1


if __name__ == "__main__":
    sys.exit(main())
