"""What the scripts of rules import before they do anything: seconds, at each job, for what it does not use."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
ASK_MODELS = {
    *("evaluate_model", "attribute_neurons", "suppress_neurons", "trace_prompts", "collect_covariance"),
    *("edit_tasks", "sweep_layers", "edit_examples"),
}
STATISTICS = {"scipy", "statsmodels"}
FIGURES = {"matplotlib", "seaborn"}
MODELS = {"torch", "transformers", "safetensors"}


def imported(scripts: set[str]) -> set[str]:
    """The packages that are there after the import statements at the head of some scripts."""
    lines = []
    for script in sorted(scripts):
        tree = ast.parse((SCRIPTS / f"{script}.py").read_text(encoding="utf-8"))
        lines += [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    lines += ["import json, sys", "print(json.dumps(list(sys.modules)))"]
    code = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, text=True, capture_output=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("scripts", "never"),
    [
        (ASK_MODELS, FIGURES | STATISTICS | {"transformers"}),
        ({"make_world", "make_prompts", "render_chapter", "pack_report"}, FIGURES | STATISTICS | MODELS | {"pandas"}),
        ({"select_neurons", "build_report"}, FIGURES | STATISTICS | MODELS),
        ({"run_suppression_tests"}, FIGURES | MODELS),
        (
            {path.stem for path in SCRIPTS.glob("summarise_*.py")} | {"judge_claims", "build_provenance"},
            MODELS,
        ),
    ],
    ids=["models", "texts and pages", "tables", "tests", "figures"],
)
def test_a_job_imports_nothing_that_it_does_not_use(scripts: set[str], never: set[str]) -> None:
    assert not imported(scripts) & never
