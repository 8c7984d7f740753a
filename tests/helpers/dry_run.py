"""What the workflow says of the smoke study's jobs, for tests that hold it against what there is."""

from __future__ import annotations

from typing import Any

from plan_study import read_plan
from tests.helpers.study import ROOT, SMOKE

NUMBERS = ("forward", "backward", "flops", "stored", "seconds")


def read_jobs() -> list[dict[str, Any]]:
    """The jobs of the smoke study as its plan has them."""
    return read_plan(["--configfile", str(ROOT / SMOKE)]).rows()


def planned(plan: list[dict[str, Any]], rule: str, model: str | None = None) -> dict[str, float]:
    """A rule's jobs, with one model or all, added up."""
    jobs = [job for job in plan if job["rule"] == rule]
    jobs = [job for job in jobs if model in (None, job["model"])]
    assert jobs, rule
    return {name: sum(job[name] for job in jobs) for name in NUMBERS}
