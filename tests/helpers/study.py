"""Run the real workflow in a copy of the repository, and read off which jobs a dry run would start."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMOKE = "tests/studies/smoke.yaml"
LEFT_BEHIND = shutil.ignore_patterns("results", ".git", ".venv", ".snakemake", "__pycache__", ".*_cache")


def copy_repository(target: Path) -> Path:
    """A fresh copy without results; modification times as a clone has them: new."""
    shutil.copytree(ROOT, target, ignore=LEFT_BEHIND, copy_function=shutil.copyfile)
    return target


def snakemake(folder: Path, *arguments: str, configfile: str = SMOKE) -> subprocess.CompletedProcess[str]:
    """Run snakemake on a copy as a user does; stdout and stderr together."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    if configfile:
        command += ["--configfile", configfile]
    return subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run_study(folder: Path, cores: int, *arguments: str) -> Path:
    """Run the smoke study to its report; the folder. Fails with snakemake's own words."""
    done = snakemake(folder, "--cores", str(cores), *arguments)
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


def planned_jobs(folder: Path, *arguments: str, configfile: str = SMOKE) -> Counter[str]:
    """Rule and number of the jobs that a dry run lists, without the target rule `all`."""
    done = snakemake(folder, "--cores", "1", "--dry-run", "--quiet", "reason", *arguments, configfile=configfile)
    assert done.returncode == 0, done.stdout[-6000:]
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", done.stdout, re.MULTILINE | re.DOTALL)
    jobs: Counter[str] = Counter()
    for line in table[1].splitlines() if table else []:
        rule, count = line.split()
        jobs[rule] += int(count)
    del jobs["all"]
    return jobs


def edit(file: Path, old: str, new: str) -> None:
    """Replace text that must be there exactly once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file}: {old!r} stands there {text.count(old)} times"
    file.write_text(text.replace(old, new), encoding="utf-8")
