"""Make the plan of a study a table: a row per rule and model, with the cost of the plain algorithm beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kn_thesis.plan.jobs import OTHERS, without_model

SUMMED = (
    *("jobs", "forward", "backward", "flops", "stored", "seconds"),
    *("plain_forward", "plain_backward", "plain_flops", "plain_seconds"),
)
COLUMNS = ("chapter", "rule", "model", *SUMMED[:5], "peak_mb", *SUMMED[5:])
CHAPTERS = ("corpora", "models", "localization", "suppression", "tracing", "editing", "report")
HEAD = """\
A pass is one token through one layer, forward or backward; a prompt of 10 tokens through 48 layers is 480. Memory is
the largest job's, hours are all jobs one after the other on one device. plain: one prompt, layer, set or state at a
time through the whole model, as public code runs it; times: how many times as long that takes."""
CORPORA = ("make_world", "fetch_corpus_file", "fetch_patterns", "fetch_facts", "make_corpus_text", "count_cooccurrence")


def job_counts(output: str) -> dict[str, int]:
    """Return how many jobs each rule has, from the table that a dry run prints."""
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.MULTILINE | re.DOTALL)
    counts = dict(line.split() for line in table[1].splitlines()) if table else {}
    return {rule: int(count) for rule, count in counts.items()}


def plan_rows(planned: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Add up the planned jobs by rule and model, then the workflow's other jobs by rule.

    Args:
        planned: jobs as `StudyPlan.rows` returns them.
        counts: how many jobs of the workflow each rule has.

    Returns:
        Rows with COLUMNS.

    Raises:
        ValueError: the two disagree, because a rule has changed and its plan has not.
    """
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    named: dict[str, int] = {}
    for job in planned:
        named[job["rule"]] = named.get(job["rule"], 0) + 1
        _add(rows, job["chapter"], job["rule"], job["model"], {"jobs": 1, **job})
    wrong = [name for name, count in named.items() if counts.get(name) != count]
    if wrong:
        raise ValueError(f"{wrong[0]}: {named[wrong[0]]} jobs planned, {counts.get(wrong[0], 0)} in the workflow")
    for name, count in counts.items():
        if name not in named:
            job = vars(without_model(OTHERS.get(name, 0.0)))
            summed = {key: value * count for key, value in job.items() if key in SUMMED}
            _add(rows, "corpora" if name in CORPORA else "report", name, "", {**job, **summed, "jobs": count})
    return sorted(rows.values(), key=lambda row: CHAPTERS.index(row["chapter"]))


def total(rows: Iterable[Mapping[str, Any]], **names: str) -> dict[str, Any]:
    """Add up several rows; `names` gives the sum's chapter, rule and model."""
    sums: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        _add(sums, names.get("chapter", ""), names.get("rule", ""), names.get("model", ""), row)
    return next(iter(sums.values()))


def render_plan(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as text: the report's rules in one line, a sum below each chapter's rules, and a total."""
    lines = []
    for chapter in CHAPTERS:
        part = [row for row in rows if row["chapter"] == chapter]
        if not part:
            continue
        if chapter == "report":
            lines.append(total(part, rule="tables, figures, pages"))
        else:
            lines += [*part, total(part, rule=chapter)] if len(part) > 1 else part
    lines.append(total(rows, rule="total"))
    head = ["", "", "", "", "", "", "", "", "", "plain", "", "", ""]
    names = ["", "model", "jobs", "forward", "backward", "FLOPs", "GB", "memory", "hours"]
    cells = [head, [*names, "forward", "backward", "hours", "times"], *map(_cells, lines)]
    return "\n".join(
        text + "\n" * (line[0] in CHAPTERS) for line, text in zip(cells, align_columns(cells, 2), strict=True)
    )


def align_columns(cells: Sequence[Sequence[str]], words: int) -> list[str]:
    """Return a line of text for each row, with the first `words` columns aligned left and all others right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    hours, plain = row["seconds"] / 3600, row["plain_seconds"] / 3600
    return [
        row["rule"],
        row["model"],
        f"{row['jobs']:.0f}",
        *(_scaled(row[name]) for name in ("forward", "backward", "flops")),
        f"{row['stored'] / 1e9:.2f}",
        f"{row['peak_mb'] / 1e3:.1f} GB",
        f"{hours:.2f}",
        *(_scaled(row[name]) for name in ("plain_forward", "plain_backward")),
        f"{plain:.1f}" if row["plain_forward"] else "",
        f"{plain / hours:.1f}" if row["plain_forward"] else "",
    ]


def _scaled(value: float) -> str:
    """Format a number with an SI prefix: "3.2 G"."""
    place = 0
    while value >= 1000 and place < 6:
        value, place = value / 1000, place + 1
    return f"{value:.3g} {' kMGTPE'[place]}".strip() if value else ""


def _add(
    rows: dict[tuple[str, str, str], dict[str, Any]], chapter: str, rule: str, model: str, job: Mapping[str, Any]
) -> None:
    new = {"chapter": chapter, "rule": rule, "model": model, **dict.fromkeys(SUMMED, 0), "peak_mb": 0.0}
    row = rows.setdefault((chapter, rule, model), new)
    for name in SUMMED:
        row[name] += job[name]
    row["peak_mb"] = max(row["peak_mb"], job["peak_mb"])
