"""Run a study twice and hold every file against its twin: `make reproduce` calls this script.

    python scripts/reproduce_study.py [--configfile tests/studies/smoke.yaml] [--folder results/reproduce]

Each run has a copy of the repository to itself, in a folder of its own; `--first` and `--second` name copies that are
there already, in which what is finished is not run again. The second has one core where the first has
two, and makes the last chapters' tables before all else, so that its jobs come in another order.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kn_thesis.report.identity import compare_runs

ROOT = Path(__file__).resolve().parents[1]
LEFT_BEHIND = shutil.ignore_patterns("results", ".git", ".venv", ".snakemake", "__pycache__", ".*_cache")
LAST_FIRST = ["results/tables/editing.csv", "results/tables/tracing.csv"]
RUNS = {"first": (["--cores", "2"], []), "second": (["--cores", "1"], LAST_FIRST)}


def main(given: Sequence[str] | None = None) -> int:
    """Run, compare, say what was found; 1 when a run fails or anything differs."""
    parser = argparse.ArgumentParser(description="Run a study twice and compare every file.")
    parser.add_argument(
        "--configfile", default="tests/studies/smoke.yaml", help="the study, from the repository's root"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "results/reproduce", help="where both runs are kept")
    for name in RUNS:
        parser.add_argument(f"--{name}", type=Path, help=f"a copy of the repository for the {name} run")
    arguments = parser.parse_args(given)
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
            done = subprocess.run([*command, "--quiet", "all"], cwd=copy)  # noqa: S603 - Snakemake, on files of ours
            if done.returncode:
                print(f"error: the {name} run failed; its logs lie in {copy / 'results/logs'}", file=sys.stderr)
                return 1
    found = compare_runs(*(copy / "results" for copy in copies.values()))
    for folder, count in found.alike.items():
        print(f"{count:6d} files are the same in results/{folder.strip('.')}")
    for kind, names in (("differ", found.different), ("are in one run only", found.missing)):
        if names:
            print(f"error: {len(names)} files {kind}: {', '.join(names[:10])}", file=sys.stderr)
    print("The two runs are the same, byte for byte." if found.whole else "The two runs are not the same.")
    return 0 if found.whole else 1


if __name__ == "__main__":
    sys.exit(main())
