"""The table of docs/reruns.md: each row is made true on a finished study, and a dry run lists exactly what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.hub_server import Hub
from tests.helpers.study import ROOT, SMOKE, edit, planned_jobs, snakemake
from tests.workflow.test_incremental import REPORT, add_code

# Names of the table for rules that go together.
PARTS = {
    "the report": REPORT,
    "the last pages": {"build_report", "build_provenance", "pack_report"},
}
PARTS["all that follows a training"] = PARTS["the report"] | {
    *("make_prompts", "evaluate_model", "attribute_neurons", "select_neurons", "suppress_neurons"),
    *("test_suppression", "trace_prompts", "collect_covariance", "edit_tasks", "sweep_layers"),
    *("edit_examples", "summarise_corpora", "summarise_models", "summarise_localization", "summarise_suppression"),
    *("summarise_tracing", "summarise_editing"),
}
LOCK = "envs/requirements.txt"

CHANGES: dict[str, Callable[[Path], object]] = {
    "a threshold of selection": lambda study: edit(study / SMOKE, "selection:\n", "selection:\n  coarse: 0.3\n"),
    "a setting of one editor": lambda study: edit(study / SMOKE, "      nodes: 3\n", "      nodes: 4\n"),
    "a model's training": lambda study: edit(
        study / SMOKE,
        "  gpt2:\n    family: gpt2\n    device: cpu\n    train: *train\n",
        "  gpt2:\n    family: gpt2\n    device: cpu\n    train: {<<: *train, seed: 2}\n",
    ),
    "one more paradigm": lambda study: edit(
        study / SMOKE, "  relations:\n", "    - anaphor_number_agreement\n  relations:\n"
    ),
    "how fast the cluster is": lambda study: append(study / SMOKE, "\nplan: {cpu_speed: 1.0e+9}\n"),
    "how patiently files are fetched": lambda study: edit(study / SMOKE, "corpora:\n", "corpora:\n  retries: 9\n"),
    "a rule's parameters": lambda study: edit(
        study / "workflow/rules/models.smk",
        'code=code("summarise_models"),',
        'code=code("summarise_models"),\n        more=1,',
    ),
    "a rule's threads, memory, group or priority": lambda study: edit(
        study / "workflow/rules/models.smk", "    priority: 100\n    group:", "    priority: 90\n    group:"
    ),
    "a script": lambda study: append(study / "scripts/summarise_models.py", "\nCHANGED = True\n"),
    "a module that a script imports": lambda study: add_code(study, "suppression/summary.py"),
    "a module that such a module imports": lambda study: add_code(study, "localization/memory_budget.py"),
    "a notebook": lambda study: edit(
        study / "workflow/notebooks/models.ipynb", "Intervals are Wilson's.", "The intervals are Wilson's."
    ),
    "an authored resource: the world's adjectives": lambda study: drop_line(study / "resources/world/adjectives.csv"),
    "an authored resource: a claim's bound": lambda study: edit(
        study / "resources/claims.yaml", "level: 0.05 #", "level: 0.01 #"
    ),
    "an authored resource: an example edit": lambda study: edit(study / "tests/edits.yaml", "new: Rome", "new: Oslo"),
    "a published value": lambda study: append(study / "resources/published.yaml", "\n"),
    "the pages' frame": lambda study: append(study / "workflow/report/page.css", "\n"),
    "the version of torch in the lock": lambda study: edit(study / LOCK, "\ntorch==2.", "\ntorch==3."),
    "the version of a package that no code imports": lambda study: edit(
        study / LOCK, "\nfastjsonschema==", "\nfastjsonschema==9"
    ),
    "a remark, a docstring or the layout of a module": lambda study: append(
        study / "scripts/kn_thesis/localization/selection.py", "\n\n# A remark.\n"
    ),
    "all times, as in a fresh clone": lambda study: [path.touch() for path in authored(study)],
    "the README, documents and tests": lambda study: [
        append(study / name, "\nMore.\n") for name in ("README.md", "docs/reruns.md", "tests/corpora/test_world.py")
    ],
}


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def drop_line(file: Path) -> None:
    """Without its last line."""
    file.write_text("".join(file.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")


def authored(study: Path) -> list[Path]:
    """Every file that is not a result."""
    return [
        path
        for path in study.rglob("*")
        if path.is_file() and path.relative_to(study).parts[0] not in ("results", ".snakemake", ".venv")
    ]


def rows() -> dict[str, set[str]]:
    """What the table says runs again, by what has changed; parts of the table's own names are spelt out."""
    text = (ROOT / "docs/reruns.md").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for change, runs in re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE):
        if change != "what changes" and not set(change) <= {"-"}:
            assert change not in found
            words = [word.strip(" `") for word in runs.split(",")] if runs != "nothing" else []
            found[change] = set().union(*(PARTS.get(word, {word}) for word in words)) if words else set()
    return found


@pytest.fixture
def study(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study that a test may change; times are kept."""
    return Path(shutil.copytree(finished_study, tmp_path / "study", symlinks=True))


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_table_says_runs_again(study: Path, change: str) -> None:
    CHANGES[change](study)
    assert set(planned_jobs(study)) == rows()[change]


def test_the_table_has_these_rows_and_one_more() -> None:
    assert set(rows()) == set(CHANGES) | {"a model's revision"}
    assert sum(not runs for runs in rows().values()) >= 4  # what must not run anything


def test_another_revision_of_a_model_is_fetched_and_its_prompts_are_made_anew(
    study: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("NO_PROXY", "*")
    found = "  found:\n    family: bert\n    device: cpu\n    hub: {id: owner/bert}\n"
    edit(study / SMOKE, "  bert-swapped:\n", f"{found}  bert-swapped:\n")
    target = (
        "--keep-going",
        "results/prompts/found/paradigms-1.parquet",
    )  # an option in between: --quiet takes all words
    assert planned_jobs(study, *target) == {"get_model": 1, "make_prompts": 1}
    done = snakemake(study, "--cores", "1", *target)
    assert done.returncode == 0, done.stdout[-3000:]
    assert not planned_jobs(study, *target)
    edit(study / SMOKE, "{id: owner/bert}", "{id: owner/bert, revision: main}")
    assert set(planned_jobs(study, *target)) == {"get_model", "make_prompts"} <= rows()["a model's revision"]


def test_a_rule_s_script_is_run_alone_to_debug_it(study: Path) -> None:
    """docs/extending.md: Snakemake keeps the job's script, which then runs without it, under a debugger, say."""
    table = study / "results/tables/models.csv"
    before = table.read_bytes()
    done = snakemake(study, "--cores", "1", "--force", "results/tables/models.csv", "--skip-script-cleanup")
    assert done.returncode == 0, done.stdout
    [script] = (study / ".snakemake/scripts").glob("*.summarise_models.py")
    table.unlink()
    subprocess.run([sys.executable, str(script)], cwd=study, check=True)
    assert table.read_bytes() == before
