"""The import graph of the package: what a job computes does not depend on how its results are shown."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PACKAGE = {
    ".".join(path.relative_to(SCRIPTS).with_suffix("").parts): path
    for path in (SCRIPTS / "kn_thesis").rglob("*.py")
    if path.name != "__init__.py"
}
ROOMS = {"api", "task", "tables", "statistics", "summary", "labels", "prose", "figures"}  # of every chapter
SHOWING = {"summary", "labels", "prose", "figures"}
MODEL_JOBS = (
    *("train_model", "evaluate_model", "attribute_neurons", "suppress_neurons", "trace_prompts"),
    *("collect_covariance", "edit_tasks", "sweep_layers", "edit_examples"),
)
MOST = 130  # modules


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, late imports included and those for types left out."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
            found |= names & PACKAGE.keys()
        waiting.extend(ast.iter_child_nodes(node))
    return found


@cache
def graph() -> dict[str, set[str]]:
    return {name: imports(path) - {name} for name, path in PACKAGE.items()}


def reached(script: str) -> set[str]:
    """All modules that a rule's script imports, itself or through others."""
    found: set[str] = set()
    waiting = list(imports(SCRIPTS / f"{script}.py"))
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(graph()[module])
    return found


def test_the_graph_is_read() -> None:
    assert len(PACKAGE) > 100 and sum(map(len, graph().values())) > 300
    assert "kn_thesis.models.load" in reached("attribute_neurons")


@pytest.mark.parametrize("script", MODEL_JOBS)
def test_a_label_or_a_sentence_or_a_colour_runs_no_model_again(script: str) -> None:
    shown = {module for module in reached(script) if module.rsplit(".", 1)[1] in SHOWING or ".report." in module}
    assert not shown, f"{script} depends on how results are shown"


def test_every_job_with_a_model_is_held() -> None:
    with_torch = {path.stem for path in SCRIPTS.glob("*.py") if "kn_thesis.models.load" in reached(path.stem)}
    assert with_torch | {"train_model"} == set(MODEL_JOBS)


def test_no_module_imports_itself_through_others() -> None:
    done: set[str] = set()

    def follow(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in sorted(graph()[module]):
                follow(other, (*path, module))
            done.add(module)

    for module in sorted(PACKAGE):
        follow(module, ())


def test_modules_are_few_and_no_two_share_a_name() -> None:
    assert len(PACKAGE) <= MOST
    twice = {name for name, count in Counter(module.rsplit(".", 1)[1] for module in PACKAGE).items() if count > 1}
    assert twice <= ROOMS


def test_methods_share_the_models_and_not_each_other_s_inside() -> None:
    """Of localization, suppression and editing use its results and its selection; the forward runs lie in models."""
    public = {
        "kn_thesis.localization." + name for name in ("attribution", "memory_budget", "selection", "tables", "figures")
    }
    for module, others in graph().items():
        chapter = module.split(".")[1]
        if chapter in ("suppression", "tracing", "editing"):
            assert {other for other in others if other.startswith("kn_thesis.localization.")} <= public, module
        if chapter in ("corpora", "models", "localization"):
            later = ("kn_thesis.suppression.", "kn_thesis.tracing.", "kn_thesis.editing.")
            assert not {other for other in others if other.startswith(later)}, module
