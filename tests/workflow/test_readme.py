"""What the README and docs/ show is run as it stands: their code, and every command by a test or by .ci/run."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from kn_thesis.configuration.schema import Model
from kn_thesis.configuration.study import STEPS
from tests.helpers.readme import PAGES, README, ROOT, blocks, commands, succeeds, with_environment
from tests.helpers.study import SMOKE, copy_repository

MY_MODEL = "test_examples.py::test_a_model_of_one_s_own_is_studied"
FAMILY = "test_examples.py::test_a_family_of_one_s_own_is_taken_apart_rightly"
PLANNED = "test_readme.py::test_with_conda_or_a_cluster_the_plan_is_made"
VIEWS = "test_readme.py::test_snakemake_s_own_views"
# Where each command is run: a test, or a file and words that must stand in it.
RUN_BY: dict[str, str | tuple[str, str]] = {
    "make study": (".ci/run", "\nmake study\n"),
    "make test": (".ci/run", "\nmake test\n"),
    "pip install --no-deps -r envs/requirements.txt": ("Makefile", "$(INSTALL) --requirement envs/requirements.txt"),
    "pip check || pip install --no-deps -r envs/cuda.txt": ("Makefile", "$(INSTALL) --requirement envs/cuda.txt"),
    "snakemake --cores all": ("Makefile", "snakemake --cores $(CORES) "),
    "snakemake --cores all --dry-run": VIEWS,
    "snakemake --cores 1 --force results/tables/models.csv --skip-script-cleanup": (
        "test_reruns.py::test_a_rule_s_script_is_run_alone_to_debug_it"
    ),
    "snakemake --cores all --sdm conda": PLANNED,
    'make study ARGS="--configfile resources/studies/corpus.yaml"': (
        ".ci/run",
        'make study ARGS="--directory=results/reduced --configfile resources/studies/corpus.yaml',
    ),
    'KN_MIRROR=/path/to/mirror make study ARGS="--configfile resources/studies/corpus.yaml"': (
        ".ci/run",
        "KN_MIRROR=../shared/corpora make study",
    ),
    "snakemake --report results/snakemake-report.html": "test_readme.py::test_snakemake_s_own_report",
    "snakemake --dag > dag.dot": VIEWS,
    "snakemake --rulegraph mermaid-js > rules.mmd": VIEWS,
    "make compare A=results B=other/results": (".ci/run", "\n  make compare A=results B=results/reduced/results"),
    "make compare A=results B=published": (".ci/run", "\nmake compare A=results B=published"),
    "snakemake --cores all --configfile resources/examples/my-model.yaml": MY_MODEL,
    "cp resources/examples/editor/noise.py scripts/kn_thesis/editing/": "test_examples.py::larger",
    "git apply resources/examples/editor/register.patch": "test_examples.py::larger",
    "cp resources/examples/family/gpt_neox.py scripts/kn_thesis/models/": FAMILY,
    "git apply resources/examples/family/register.patch": FAMILY,
    "make schema": FAMILY,
    "make reproduce": "test_reproducible.py::reproduce",
    "make robustness": "test_robustness.py::test_the_table_is_made_and_put_into_the_page",
    'make plan ARGS="--configfile resources/studies/paper.yaml"': ("test_plan.py::test_the_paper_s_study_is_planned"),
    "pip install --no-deps -r envs/slurm.txt": (
        ".ci/run",
        "pip install --quiet --require-hashes --no-deps -r envs/slurm.txt",
    ),
    # The paper's study is planned; test_on_slurm.py runs a part of the smallest one through the same profile.
    "snakemake --workflow-profile workflow/profiles/slurm --configfile resources/studies/paper.yaml": PLANNED,
    "snakemake --cores all --configfile resources/studies/paper-literal.yaml": (
        "test_paper_literal.py::test_a_dry_run_accepts_it"
    ),
    # The test rehearses a tiny model: those of the paper take hours.
    "make rehearsal": "test_rehearse.py::test_a_tiny_model_is_rehearsed",
}


def functions(file: str) -> set[str]:
    [path] = (ROOT / "tests").rglob(file)
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_command_is_run_somewhere() -> None:
    shown = [command for block in blocks("sh") for command in commands(block)]
    assert set(shown) == set(RUN_BY), "each command of the pages stands in RUN_BY, and no other"
    for command, place in RUN_BY.items():
        if isinstance(place, tuple):
            assert place[1] in (ROOT / place[0]).read_text(), f"{place[0]} does not run {command!r}"
        else:
            file, name = place.split("::")
            assert name in functions(file), f"there is no {place}, which should run {command!r}"


def test_the_library_example_runs_on_a_miniature_model(finished_study: Path) -> None:
    (code,) = blocks("python")
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=finished_study / "scripts", env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(3, 2, 64) ")


def test_the_models_it_shows_are_valid_entries() -> None:
    (block,) = blocks("yaml", "Add your model")
    for model in yaml.safe_load(block)["models"].values():
        Model.model_validate(model)
    assert "`hub: {id: distilbert/distilgpt2}`" in README
    Model.model_validate({"family": "gpt2", "hub": {"id": "distilbert/distilgpt2"}})


@pytest.mark.parametrize("page", PAGES)
def test_the_files_and_targets_it_names_exist(page: str) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = ["".join(parts) for parts in re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", PAGES[page], re.DOTALL)]
    assert set(re.findall(r"^(?:\w+=\S+ )?make (\w+)", "\n".join(code), re.MULTILINE)) <= targets
    for path in re.findall(r"`((?:workflow|scripts|resources|envs|tests|docs)/[\w/.-]*|config\.yaml)`", PAGES[page]):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\(([\w/.-]+)\)", PAGES[page]):
        assert ((ROOT / page).parent / path).exists(), path


def test_the_readme_is_short_and_names_every_page() -> None:
    assert len(README.splitlines()) <= 200
    assert {page for page in PAGES if page != "README.md"} == set(
        re.findall(r"^\| \[docs/[\w.]+\]\((docs/[\w.]+)\) \|", README, re.MULTILINE)
    )


def modules(text: str) -> set[str]:
    """Modules of kn_thesis that a page names, by their path below it."""
    names = "configuration|corpora|models|localization|suppression|tracing|editing|plan|report"
    return {match.removesuffix(".py") for match in re.findall(rf"`((?:{names})/[\w/]+\.py)`", text)}


@pytest.mark.parametrize("page", PAGES)
def test_the_modules_it_names_exist(page: str) -> None:
    package = ROOT / "scripts/kn_thesis"
    assert all((package / f"{name}.py").is_file() for name in modules(PAGES[page])), page


def test_the_page_of_statistics_names_functions_that_exist() -> None:
    named = re.findall(r"`([a-z_/]+):([a-z_0-9]+)`", PAGES["docs/statistics.md"])
    assert len(named) > 30
    for module, name in named:
        tree = ast.parse((ROOT / f"scripts/kn_thesis/{module}.py").read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{module}:{name}"


def test_every_use_of_holm_s_correction_is_on_the_page_of_statistics() -> None:
    package = ROOT / "scripts/kn_thesis"
    calling = {
        path.relative_to(package).with_suffix("").as_posix()
        for path in package.rglob("*.py")
        if path.stem != "stats" and re.search(r"\bholm(_within)?\(", path.read_text())
    }
    named = {module for module, _ in re.findall(r"`([a-z_/]+):([a-z_0-9]+)`", PAGES["docs/statistics.md"])}
    assert calling and calling - {"editing/summary"} <= named  # that one corrects editing/statistics:criteria_tests


def test_the_citation_is_valid() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["authors"] and all("name" in author for author in citation["authors"])
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version and citation["version"] == version[1]


@pytest.fixture(scope="module")
def default(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished study whose default study is the smoke study, for commands that name none."""
    study = tmp_path_factory.mktemp("readme") / "study"
    shutil.copytree(finished_study, study, symlinks=True)
    shutil.copyfile(study / SMOKE, study / "config.yaml")
    return with_environment(study)


def is_graph(text: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Labels and edges of a graph in the dot language, one statement a line; fails for anything else."""
    assert text.startswith("digraph") and text.count("{") == text.count("}") == 1 and text.rstrip().endswith("}")
    body = text[text.index("{") + 1 : text.rindex("}")]
    labels, edges = {}, []
    for line in filter(None, (line.strip() for line in body.splitlines())):
        if node := re.match(r'(\d+)\[label = "([^"]+)"', line):
            labels[node[1]] = node[2]
        elif edge := re.match(r"(\d+) -> (\d+)$", line):
            edges.append((edge[1], edge[2]))
        else:
            assert re.match(r"(graph|node|edge)\[", line), f"no statement of a graph: {line!r}"
    assert edges and all(end in labels for edge in edges for end in edge)
    return list(labels.values()), [(labels[a], labels[b]) for a, b in edges]


def test_snakemake_s_own_views(default: Path) -> None:
    succeeds(default, "snakemake --cores all --dry-run > plan.txt\nsnakemake --dag > dag.dot")
    jobs, edges = is_graph((default / "dag.dot").read_text())
    assert max(len(part) for job in jobs for part in job.split("\\n")) <= 45
    assert {"train_model\\nmodel: bert", "make_world\\nvariant: swapped"} <= set(jobs)
    assert ("make_world\\nvariant: baseline", "train_model\\nmodel: gpt2") in edges
    # Snakemake names a wildcard where it first comes up: model and batch of these stand in the jobs that they follow.
    alike = {job.split("\\n")[0] for job, number in Counter(jobs).items() if number > 1}
    assert alike <= {"evaluate_model", "test_suppression", "collect_covariance", "edit_examples", *STEPS}
    succeeds(default, "snakemake --rulegraph mermaid-js > rules.mmd\nsnakemake --rulegraph > rules.dot")
    rules, _ = is_graph((default / "rules.dot").read_text())
    assert len(rules) == len(set(rules)) and {"train_model", "edit_tasks", "build_report"} <= set(rules)
    drawn = (default / "rules.mmd").read_text()
    assert "flowchart" in drawn.split("[")[0] and all(rule in drawn for rule in rules)


def embedded(page: str, name: str) -> dict[str, Any]:
    """The JSON object that a page assigns to a variable."""
    start = page.index(f"var {name} = {{") + len(f"var {name} = ")
    return json.JSONDecoder().raw_decode(page, start)[0]


def test_snakemake_s_own_report(default: Path) -> None:
    # A proxy that nobody serves: whatever asks the network fails.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    said = succeeds(default, "snakemake --report results/snakemake-report.html", **nowhere)
    assert "ERROR" not in said, said[-3000:]  # captions are reStructuredText
    page = (default / "results/snakemake-report.html").read_text()
    categories, results = embedded(page, "categories"), embedded(page, "results")
    chapters = {"corpora", "models", "localization", "suppression", "tracing", "editing"}
    assert set(categories) >= chapters
    for chapter in chapters:
        assert set(categories[chapter]) == {"figures", "tables"}, chapter
    figures = {str(path.relative_to(default)) for path in (default / "results/figures").glob("*.svg")}
    assert {path for parts in categories.values() for path in parts.get("figures", [])} >= figures
    for path, result in results.items():
        assert result["caption"].strip() and result["labels"], path
    assert "Niu, Liu, Zhu" in page and "smoke" in page


CONDA = """#!/bin/sh
case "$1" in
  info) echo '{"conda_version": "24.11.0", "platform": "linux-64", "conda_prefix": "/c"}' ;;
  config) echo '{"get": {"channel_priority": "strict"}, "channel_priority": "strict"}' ;;
  *) echo "conda 24.11.0" ;;
esac
"""
PLUGIN = '''"""A stand-in for the plugin: what it says of itself, and no queue."""

from dataclasses import dataclass, field
from typing import Optional

from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

common_settings = CommonSettings(non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False)


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    status_command: Optional[str] = field(default=None, metadata={"help": "not looked at"})


class Executor(RemoteExecutor):
    """It runs nothing."""
'''


def stand_ins(study: Path) -> dict[str, str]:
    """Make a conda and an executor plugin that are there and do nothing; the environment that finds them."""
    folder = study / "stand-ins"
    (folder / "snakemake_executor_plugin_slurm").mkdir(parents=True)
    (folder / "snakemake_executor_plugin_slurm/__init__.py").write_text(PLUGIN)
    (folder / "conda").write_text(CONDA)
    (folder / "conda").chmod(0o755)
    return {"PATH": str(folder), "PYTHONPATH": str(folder)}


def test_with_conda_or_a_cluster_the_plan_is_made(tmp_path: Path) -> None:
    study = with_environment(copy_repository(tmp_path / "study"))
    there = stand_ins(study)
    (_, _, cluster) = commands(blocks("sh", "Run on a cluster")[0])
    planned = succeeds(study, f"{cluster} --dry-run", **there)
    for job in ("get_model", "build_report"):
        assert re.search(rf"^{job} +\d+$", planned, re.MULTILINE), job
    assert "train_model" in succeeds(study, "snakemake --cores all --sdm conda --dry-run", **there)
