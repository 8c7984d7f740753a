"""What the workflow says of the smoke study's jobs, for tests that hold it against what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kn_thesis.plan.table import rule_of
from tests.study import ROOT, snakemake

NUMBERS = ("forward", "backward", "flops", "stored", "seconds")


def read_plan(study: Path, folder: Path) -> dict[str, Any]:
    """As resources.smk writes it, for a finished study."""
    path = folder / "plan.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KN_PLAN", str(path))
        done = snakemake(ROOT, "--cores", "1", "--dry-run", "--quiet", "all", "--directory", str(study))
    assert done.returncode == 0, done.stdout
    return json.loads(path.read_text())


def planned(plan: dict[str, Any], rule: str, model: str | None = None) -> dict[str, float]:
    """A rule's jobs, with one model or all, added up."""
    jobs = [job for job in plan["jobs"] if rule_of(job["name"], job["model"]) == rule]
    jobs = [job for job in jobs if model in (None, job["model"])]
    assert jobs, rule
    return {name: sum(job[name] for job in jobs) for name in NUMBERS}
