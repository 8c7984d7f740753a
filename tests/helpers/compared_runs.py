"""Small runs to compare: folders of tables with known contents, and the script called as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
TASKS = [f"task_{number}" for number in range(10)]


def models_table(correct: list[int], model: str = "bert", family: str = "bert") -> pd.DataFrame:
    """Right answers of 100 per task."""
    rows = [
        (model, family, task, "held_out", 100, right, right / 100) for task, right in zip(TASKS, correct, strict=False)
    ]
    return pd.DataFrame(rows, columns=["model", "family", "task", "split", "n", "correct", "accuracy"])


def cooccurrence_table(slopes: list[float], half: float = 0.196, model: str = "bert") -> pd.DataFrame:
    """Slopes with intervals of ± half; 0.196 is a standard error of 0.1."""
    rows = [
        (model, task, "erase", "singular", "all", slope, slope - half, slope + half)
        for task, slope in zip(TASKS, slopes, strict=False)
    ]
    return pd.DataFrame(rows, columns=["model", "task", "operation", "set", "words", "slope", "low", "high"])


def write_run(folder: Path, **tables: pd.DataFrame) -> Path:
    """A results folder that holds these tables."""
    (folder / "tables").mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False)
    return folder


def call(first: Path | str, second: Path | str, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, in the folder of its output."""
    command = [
        sys.executable,
        str(ROOT / "scripts/tools/compare_runs.py"),
        "--first",
        str(first),
        "--second",
        str(second),
    ]
    command += ["--output", str(output), *arguments]
    return subprocess.run(
        command, cwd=output.parent, env=os.environ | {"PYTHONPATH": ""}, text=True, capture_output=True
    )
