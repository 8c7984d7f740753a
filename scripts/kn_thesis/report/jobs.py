"""The jobs of a study as Snakemake itself plans them: how many of each rule, what waits for what, where times go.

The plan is what `snakemake --dag` prints in an empty folder. There nothing is finished, so every job of the study
is in it, and no lock of the run that asks stands in the way.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kn_thesis.errors import logged
from kn_thesis.files import whole_file

BENCHMARKS = Path("results/benchmarks")
NODE = re.compile(r'^\s*(\d+)\[label = ("(?:[^"\\]|\\.)*")', re.MULTILINE)
EDGE = re.compile(r"^\s*(\d+) -> (\d+)\s*$", re.MULTILINE)
WILDCARD = re.compile(r"\{(\w+)[^}]*\}")


@dataclass(frozen=True)
class Rule:
    """A rule of the workflow: its chapter, and its benchmark file with wildcards as `{name}` (None: it has none)."""

    chapter: str
    benchmark: str | None


@dataclass(frozen=True)
class Job:
    """A job of the plan: its rule, the wildcards that the plan shows, the numbers of the jobs that it waits for."""

    rule: str
    wildcards: dict[str, str]
    waits_for: tuple[int, ...]


def planned_dot(snakefile: str | Path, configuration: Mapping[str, Any]) -> str:
    """Snakemake's plan of all jobs in the dot language, made in an empty folder by another Snakemake.

    `configuration` is the whole of it, `--config` included. Raises RuntimeError with Snakemake's words if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "configuration.json")
        settings.write_text(json.dumps(configuration, default=str), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(Path(snakefile).resolve())]
        command += ["--directory", folder, "--configfile", str(settings), "--profile", "none"]
        command += ["--workflow-profile", "none", "--dag", "dot"]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - Snakemake, on files of the run
    if done.returncode:
        raise RuntimeError(f"Snakemake cannot plan the study: {done.stderr[-2000:]}")
    return done.stdout


def write_plan(
    snakefile: str | Path,
    configuration: Mapping[str, Any],
    rules: Iterable[Any],
    file: str | Path,
    log: str | Path,
    inputs: Iterable[str | Path] = (),
) -> None:
    """Write `job_table` of a whole study as JSON; `rules` are Snakemake's own (name, snakefile, benchmark are read)."""
    with logged(log, inputs):
        known = {rule.name: Rule(Path(rule.snakefile).stem, str(rule.benchmark or "") or None) for rule in rules}
        table = job_table(jobs_of_dot(planned_dot(snakefile, configuration)), known)
        with whole_file(file) as path:
            path.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def jobs_of_dot(dot: str) -> dict[int, Job]:
    """The jobs of a plan in the dot language, by number."""
    waits: dict[int, list[int]] = {}
    for before, after in EDGE.findall(dot):
        waits.setdefault(int(after), []).append(int(before))
    jobs = {}
    for number, label in NODE.findall(dot):
        rule, *wildcards = json.loads(label).split("\n")
        named = dict(wildcard.split(": ", 1) for wildcard in wildcards)
        jobs[int(number)] = Job(rule, named, tuple(sorted(waits.get(int(number), ()))))
    return jobs


def job_table(jobs: Mapping[int, Job], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The plan by common name of rules: chapter, number of jobs, benchmark files; and which rule waits for which.

    A rule's common name is the first folder of its benchmark file below results/benchmarks, or that file's stem:
    rules made for each batch of tasks share it. Rules without a benchmark file (the target `all`) are left out.
    Returns {"rules": [{"name", "chapter", "jobs", "benchmarks"}, ...], "edges": [[before, after], ...]}, sorted.
    """
    found: dict[str, dict[str, Any]] = {}
    edges = set()
    known: dict[int, dict[str, str]] = {}
    names = {number: common_name(rules[job.rule].benchmark) for number, job in jobs.items()}
    for number, job in jobs.items():
        name, rule = names[number], rules[job.rule]
        if name is None or rule.benchmark is None:
            continue
        entry = found.setdefault(name, {"name": name, "chapter": rule.chapter, "jobs": 0, "benchmarks": []})
        entry["jobs"] += 1
        wildcards = _wildcards(number, jobs, rules, known)
        entry["benchmarks"].append(WILDCARD.sub(lambda match, found=wildcards: found[match[1]], rule.benchmark))
        edges |= {(names[before], name) for before in job.waits_for if names[before] not in (None, name)}
    for entry in found.values():
        entry["benchmarks"].sort()
    return {"rules": [found[name] for name in sorted(found)], "edges": [list(edge) for edge in sorted(edges)]}


def common_name(benchmark: str | None) -> str | None:
    """The name that a rule's timings are counted under; None for a rule that keeps none."""
    if benchmark is None:
        return None
    return Path(benchmark).relative_to(BENCHMARKS).parts[0].removesuffix(".tsv")


def _wildcards(
    number: int, jobs: Mapping[int, Job], rules: Mapping[str, Rule], known: dict[int, dict[str, str]]
) -> dict[str, str]:
    """All wildcards of a job: the plan leaves out those that a job it waits for has with the same value."""
    if number not in known:
        job = jobs[number]
        known[number] = dict(job.wildcards)
        for name in WILDCARD.findall(rules[job.rule].benchmark or ""):
            if name not in job.wildcards:
                values = [_wildcards(before, jobs, rules, known).get(name) for before in job.waits_for]
                known[number][name] = _only(job.rule, name, [value for value in values if value is not None])
    return known[number]


def _only(rule: str, wildcard: str, values: Sequence[str]) -> str:
    if len(set(values)) != 1:
        raise ValueError(f"the plan does not tell the wildcard {wildcard} of a job of {rule}: {sorted(set(values))}")
    return values[0]
