"""The rules of a study as its timings are counted: those that are made for each batch of tasks share one name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

BENCHMARKS = Path("results/benchmarks")
WILDCARD = re.compile(r"\{(\w+)[^}]*\}")


def timed_rules(
    rules: Iterable[Any], values: Mapping[str, Sequence[str]], without: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The rules that keep timings, by the name that they share, sorted.

    Args:
        rules: Snakemake's own; name of the file with the rule, and the pattern of its benchmark file, are read.
        values: what a wildcard stands for, by name; a wildcard that is not here stands for anything.
        without: names that are left out.

    Returns:
        A dictionary per name: "name"; "chapter", the stem of the file with the rule; "benchmarks", the files as
        patterns that `Path.glob` takes, sorted.
    """
    found: dict[str, dict[str, Any]] = {}
    for rule in rules:
        pattern = str(rule.benchmark or "")
        name = common_name(pattern)
        if name and name not in without:
            entry = found.setdefault(name, {"name": name, "chapter": Path(rule.snakefile).stem, "benchmarks": []})
            entry["benchmarks"] += _filled(pattern, values)
    for entry in found.values():
        entry["benchmarks"].sort()
    return [found[name] for name in sorted(found)]


def common_name(benchmark: str) -> str | None:
    """First folder of a benchmark file below results/benchmarks, or that file's stem; None for no file."""
    return Path(benchmark).relative_to(BENCHMARKS).parts[0].removesuffix(".tsv") if benchmark else None


def _filled(pattern: str, values: Mapping[str, Sequence[str]]) -> list[str]:
    """The pattern once for each combination of what its wildcards stand for."""
    found = WILDCARD.search(pattern)
    if found is None:
        return [pattern]
    filled = [pattern.replace(found[0], value) for value in values.get(found[1], ["*"])]
    return [file for one in filled for file in _filled(one, values)]
