"""`make plan`: what it prints and writes, and the sizes of tasks that it starts from."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from count_sizes import places
from kn_thesis.configuration.tasks import TASKS_FILE, task_table
from kn_thesis.plan.jobs import Model
from kn_thesis.plan.sizes import SIZES_FILE, Shape, Size, attributed_size, count_task, numbers, read_sizes
from kn_thesis.plan.table import COLUMNS, job_counts, plan_rows, render_plan, total
from plan_study import measured
from tests.helpers.readme import blocks, commands, shell, succeeds, with_environment
from tests.helpers.study import ROOT, copy_repository

CHAPTERS = ("models", "localization", "suppression", "tracing", "editing")
SIZES = read_sizes(yaml.safe_load((ROOT / SIZES_FILE).read_text()))
TABLE = task_table(yaml.safe_load((ROOT / TASKS_FILE).read_text()))
MIRROR = ROOT / "../shared/corpora"


def recounted(corpus: str, task: str, files: dict[str, str]) -> None:
    for kind in TABLE[task].takes:
        parts = ["pairs"] if TABLE[task].kind == "paradigm" else ["patterns", "facts"]
        found = count_task(task, kind, {part: files[part].format(task=task) for part in parts})
        assert numbers(found) == numbers(SIZES[corpus][task, kind]), (task, kind)


def test_sizes_of_the_world_s_tasks(finished_study: Path) -> None:
    files = places(Path(), finished_study / "results/corpora/world-baseline")["world"]
    tasks = [task for task in (*TABLE.paradigms, *TABLE.relations) if "world" in TABLE[task].corpora]
    for task in tasks[:2] + tasks[-3:]:
        recounted("world", task, files)
    assert {task for task, _ in SIZES["world"]} == set(tasks)


def test_sizes_of_the_public_corpora_s_tasks() -> None:
    if not MIRROR.is_dir():
        pytest.skip("there is no mirror of the corpora at ../shared/corpora to count again")
    for task in ("determiner_noun_agreement_1", "anaphor_number_agreement", "P1376"):
        recounted("fetched", task, places(MIRROR, Path())["fetched"])
    asked = {name for name, task in (TABLE.paradigms | TABLE.relations).items() if task.takes}
    assert {task for task, _ in SIZES["fetched"]} == {task for task in asked if TABLE[task].is_in("fetched")}


def test_sizes_of_a_user_s_own_tasks() -> None:
    folder = ROOT / "resources/examples"
    pairs = {"pairs": folder / "paradigm/quantifier_noun_agreement.jsonl"}
    facts = {part: folder / f"relation/country_language.{part}.jsonl" for part in ("patterns", "facts")}
    for task, files in (("quantifier_noun_agreement", pairs), ("country_language", facts)):
        for kind in ("masked", "causal"):
            size = count_task(task, kind, files)
            assert size.prompts >= size.groups > 1 and 2 < size.words < 20, (task, kind)


def test_what_is_localized_is_counted_as_it_is_sampled() -> None:
    assert attributed_size(Size(1000, 170, 6), "paradigm", 400) == Size(400, 80, 6)
    assert attributed_size(Size(1000, 4, 6), "paradigm", 400) == Size(400, 4, 6)
    assert attributed_size(Size(592, 74, 6), "relation", 60) == Size(56, 7, 6)  # whole facts
    assert attributed_size(Size(20, 1, 6), "relation", 10) == Size(20, 1, 6)  # one fact is always whole


def test_the_speed_of_this_machine_is_said_for_each_shape() -> None:
    model = Model(Shape(2, 32, 64, 2, 100), masked=False, dtype="float32", speed=1.0)
    wider = replace(model, shape=Shape(2, 64, 64, 2, 100))
    plan: Any = SimpleNamespace(models={"small": model, "twin": model, "wider": wider}, gpus=lambda _: 0)
    lines = measured(plan).splitlines()
    assert [line.split(":")[0] for line in lines] == ["small", "wider"]
    assert all(re.search(r"plan: \{cpu_speed: \d\.\de\+\d+\}$", line) for line in lines)


def job(rule: str, model: str, **changes: float) -> dict[str, Any]:
    numbers = dict.fromkeys(COLUMNS[4:], 1.0)
    return {"chapter": "localization", "rule": rule, "model": model, **numbers, **changes}


def test_jobs_are_added_up_and_held_against_the_workflow_s() -> None:
    said = "job    count\n-----  -----\nattribute_neurons  2\nplot  3\ntotal  5\n"
    counts = job_counts(said)
    assert counts == {"attribute_neurons": 2, "plot": 3}
    jobs = [job("attribute_neurons", "a", peak_mb=100 * number) for number in (1, 2)]
    rows = plan_rows(jobs, counts)
    assert [(row["rule"], row["jobs"], row["peak_mb"]) for row in rows] == [
        ("attribute_neurons", 2, 200),
        ("plot", 3, 250),
    ]
    assert rows[0]["flops"] == 2 and total(rows)["jobs"] == 5 and total(rows)["flops"] == 2
    assert "attribute_neurons" in render_plan(rows) and render_plan(rows).splitlines()[-1].startswith("total")
    with pytest.raises(ValueError, match="attribute_neurons: 2 jobs planned, 1 in the workflow"):
        plan_rows(jobs, {"attribute_neurons": 1})


def test_the_paper_s_study_is_planned(tmp_path: Path) -> None:
    """The command of docs/cluster.md, in a fresh copy: no weights, no corpora, and nothing else written."""
    study = with_environment(copy_repository(tmp_path / "study"))
    before = {path for path in study.rglob("*") if "__pycache__" not in path.parts}
    (command,) = [line for line in commands(blocks("sh", "Run on a cluster")[0]) if line.startswith("make plan")]
    said = succeeds(study, command)
    after = {path for path in study.rglob("*") if "__pycache__" not in path.parts}
    assert after - before == {study / "results", study / "results/plan.csv"}
    with (study / "results/plan.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and {row["chapter"] for row in rows} >= set(CHAPTERS)
    number = {row["rule"] + row["model"]: {name: float(row[name]) for name in COLUMNS[3:]} for row in rows}
    for model in ("bert-base-cased", "gpt2-xl", "llama-2-7b"):
        for rule in ("attribute_neurons", "suppress_neurons", "trace_prompts", "edit_tasks"):
            one = number[rule + model]
            assert one["plain_seconds"] > 2 * one["seconds"] and one["plain_forward"] > one["forward"] > 1e6
        assert number["get_model" + model]["stored"] > 4e8
    assert number["attribute_neuronsgpt2-xl"]["stored"] > 5e9  # scores of 307,200 neurons for each prompt
    jobs = sum(int(row["jobs"]) for row in rows)
    assert f"paper: {jobs} jobs, " in said
    (excerpt,) = blocks("text", "Run on a cluster")
    assert excerpt in said, "docs/cluster.md shows what is printed"
    assert "plan.gpu_speed" in said and "plan.cpu_speed" not in said


def test_a_study_that_cannot_be_planned_is_refused_in_a_line(tmp_path: Path) -> None:
    study = with_environment(copy_repository(tmp_path / "study"))
    (study / "wrong.yaml").write_text("study: wrong\ntasks: {evaluated: -1}\n")
    done = shell(study, 'make plan ARGS="--configfile wrong.yaml"')
    assert done.returncode and "evaluated" in done.stdout and "Traceback" not in done.stdout
    assert not (study / "results").exists()
