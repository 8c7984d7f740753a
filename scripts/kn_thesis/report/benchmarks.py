"""What each rule took: wall time and memory from the benchmark files that Snakemake keeps of its jobs."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

COLUMNS = ["rule", "chapter", "jobs", "total_s", "longest_s", "memory_MiB"]
SHOWN = 12  # bars; the rules below share one more


def read_benchmark(file: str | Path) -> tuple[float, float] | None:
    """Wall time (s) and largest resident memory (MiB) of a job; None when the file is missing or holds no time.

    A job that was measured more than once has a line for each: times add up. Memory is nan where Snakemake could not
    measure it, which it writes as `-`, `NA` or, for a job that was over before it looked, as 0.
    """
    try:
        with Path(file).open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    times = [_number(row.get("s")) for row in rows]
    memory = [size for size in (_number(row.get("max_rss")) for row in rows) if size > 0]
    if not times or not all(time >= 0 for time in times):
        return None
    return math.fsum(times), max(memory, default=math.nan)


def summarise_benchmarks(rules: Iterable[Mapping[str, Any]], folder: Path) -> pd.DataFrame:
    """A row per rule of `rules` (see `report.timed.timed_rules`) that has a timing, the one that took longest first.

    Columns: rule, chapter, jobs (those with a timing), total_s and longest_s (wall time), memory_MiB (the largest; nan:
    unknown). The patterns of files are taken from `folder` on.
    """
    rows = []
    for rule in rules:
        files = {file for pattern in rule["benchmarks"] for file in folder.glob(pattern)}
        found = [one for file in sorted(files) if (one := read_benchmark(file))]
        if found:
            times = [time for time, _ in found]
            memory = [size for _, size in found if not math.isnan(size)]
            row = (len(found), round(math.fsum(times), 2), max(times), max(memory, default=math.nan))
            rows.append((rule["name"], rule["chapter"], *row))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(["total_s", "rule"], ascending=[False, True], kind="stable", ignore_index=True)


def say_benchmarks(table: pd.DataFrame) -> str:
    """How many jobs have a timing, and what they add up to."""
    jobs = int(table["jobs"].sum())
    return f"{jobs:,} {'job has' if jobs == 1 else 'jobs have'} a timing; together: {duration(table['total_s'].sum())}."


def duration(seconds: float) -> str:
    """Seconds in words: `2 h 5 min`, `3 min 20 s`, `41 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def plot_benchmarks(table: pd.DataFrame, colours: Mapping[str, str]) -> Figure:
    """Bars of total wall time of the rules that took most, in the colours of their chapters; the others share one."""
    bars = [(row.rule.replace("_", " "), row.total_s, row.chapter) for row in table.head(SHOWN).itertuples()]
    if len(table) > SHOWN:
        bars.append((f"{len(table) - SHOWN} other rules", table["total_s"].iloc[SHOWN:].sum(), None))
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.29 * len(bars)))
    places = range(len(bars))
    axis.barh(places, [bar[1] for bar in bars], color=[colours.get(bar[2], "#B8BEC8") for bar in bars], height=0.72)
    for place, (_, seconds, _) in enumerate(bars):
        axis.annotate(duration(seconds), (seconds, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axis.set_yticks(list(places), [bar[0] for bar in bars], fontsize=10)
    axis.set_xlabel("total wall time (s)", fontsize=10)
    axis.tick_params(axis="x", labelsize=9)
    axis.margins(x=0.12)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    shown = [chapter for chapter in colours if chapter in {bar[2] for bar in bars}]
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[chapter]) for chapter in shown]
    figure.legend(handles, shown, loc="outside lower center", ncols=max(1, len(shown)), frameon=False, fontsize=9)
    return figure


def _number(text: Any) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan
