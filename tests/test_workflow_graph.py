"""The picture of the workflow: Snakemake's plan read, rules of batches merged, shortcuts left out, boxes and lines."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import yaml

from kn_thesis.report.graph import Edge, places, without_shortcuts
from kn_thesis.report.jobs import Job, Rule, common_name, job_table, jobs_of_dot, planned_dot
from kn_thesis.report.routes import HALF_HIGH, HALF_WIDE, boxes_of, routes
from kn_thesis.report.style import use_style
from kn_thesis.report.workflow_figure import plot_workflow
from tests.study import SMOKE

ROOT = Path(__file__).parents[1]
DOT = r"""
digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    node[shape=box, style=rounded, fontname=sans,                 fontsize=10, penwidth=2];
	0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
	1[label = "plot", color = "0.00 0.6 0.85", style="rounded"];
	2[label = "ask_bert_1", color = "0.00 0.6 0.85", style="rounded,dashed"];
	3[label = "ask_gpt2_1", color = "0.00 0.6 0.85", style="rounded"];
	4[label = "check", color = "0.00 0.6 0.85", style="rounded"];
	5[label = "train\nmodel: bert", color = "0.00 0.6 0.85", style="rounded"];
	6[label = "edit\neditor: a\nmodel: gpt2", color = "0.00 0.6 0.85", style="rounded"];
	1 -> 0
	2 -> 1
	3 -> 1
	2 -> 3
	4 -> 2
	5 -> 4
	6 -> 3
	5 -> 2
}
"""
RULES = {
    "all": Rule("Snakefile", None),
    "plot": Rule("report", "results/benchmarks/plot.tsv"),
    "ask_bert_1": Rule("localization", "results/benchmarks/ask/bert_1.tsv"),
    "ask_gpt2_1": Rule("localization", "results/benchmarks/ask/gpt2_1.tsv"),
    "check": Rule("models", "results/benchmarks/check/{model}.tsv"),
    "train": Rule("models", "results/benchmarks/train/{model}.tsv"),
    "edit": Rule("editing", "results/benchmarks/edit/{model}/{editor,a|b}.tsv"),
}


def test_a_plan_is_read() -> None:
    jobs = jobs_of_dot(DOT)
    assert jobs[6] == Job("edit", {"editor": "a", "model": "gpt2"}, ())
    assert jobs[1] == Job("plot", {}, (2, 3)) and jobs[2].waits_for == (4, 5) and len(jobs) == 7


def test_rules_of_batches_are_one_rule_with_several_jobs() -> None:
    table = job_table(jobs_of_dot(DOT), RULES)
    assert {rule["name"]: (rule["chapter"], rule["jobs"]) for rule in table["rules"]} == {
        "ask": ("localization", 2),
        "check": ("models", 1),
        "edit": ("editing", 1),
        "plot": ("report", 1),
        "train": ("models", 1),
    }
    # Neither the target rule nor a rule that waits for itself, one batch for another, leaves a line.
    assert table["edges"] == [["ask", "plot"], ["check", "ask"], ["edit", "ask"], ["train", "ask"], ["train", "check"]]


def test_benchmark_files_are_those_of_the_plan_s_jobs() -> None:
    files = {rule["name"]: rule["benchmarks"] for rule in job_table(jobs_of_dot(DOT), RULES)["rules"]}
    assert files["ask"] == ["results/benchmarks/ask/bert_1.tsv", "results/benchmarks/ask/gpt2_1.tsv"]
    assert files["edit"] == ["results/benchmarks/edit/gpt2/a.tsv"]
    assert files["check"] == ["results/benchmarks/check/bert.tsv"]  # the plan names the model at the job before only


def test_a_wildcard_that_the_plan_does_not_tell_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not tell the wildcard model of a job of check"):
        job_table(jobs_of_dot(DOT.replace("\t5 -> 4\n", "")), RULES)


def test_common_names() -> None:
    assert common_name("results/benchmarks/edit_tasks/bert_1/rome.tsv") == "edit_tasks"
    assert common_name("results/benchmarks/build_report.tsv") == "build_report"
    assert common_name(None) is None


def test_the_plan_follows_the_configuration_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = yaml.safe_load((ROOT / SMOKE).read_text())
    configuration["models"] = {"only": configuration["models"]["bert"]}
    monkeypatch.chdir(tmp_path)
    jobs = jobs_of_dot(planned_dot(ROOT / "workflow/Snakefile", configuration))
    trained = [job for job in jobs.values() if job.rule == "train_model"]
    assert [job.wildcards for job in trained] == [{"model": "only"}]
    assert {"all", "pack_report", "list_jobs"} <= {job.rule for job in jobs.values()}
    assert not list(tmp_path.iterdir())


def test_a_plan_that_cannot_be_made_says_why() -> None:
    with pytest.raises(RuntimeError, match="unheard_of"):
        planned_dot(ROOT / "workflow/Snakefile", {"study": "x", "unheard_of": 1})


def reached(edges: list[Edge], start: str) -> set[str]:
    """All that can be reached from a node, plainly."""
    found: set[str] = set()
    for _ in range(len(edges) + 1):
        found |= {end for begin, end in edges if begin == start or begin in found}
    return found


def random_graph(seed: int) -> list[Edge]:
    chance = random.Random(seed)
    names = [f"n{number:02}" for number in range(14)]
    return [pair for pair in itertools.combinations(names, 2) if chance.random() < 0.25]


@pytest.mark.parametrize("seed", range(5))
def test_shortcuts_are_left_out_and_nothing_else(seed: int) -> None:
    edges = random_graph(seed)
    kept = without_shortcuts(reversed(edges))
    nodes = {name for edge in edges for name in edge}
    assert all(reached(kept, node) == reached(edges, node) for node in nodes)
    for edge in kept:
        fewer = [other for other in kept if other != edge]
        assert edge[1] not in reached(fewer, edge[0]), edge


def test_a_circle_is_opened() -> None:
    kept = without_shortcuts([("a", "b"), ("b", "c"), ("c", "a")])
    assert kept == [("a", "b"), ("b", "c")]


@pytest.mark.parametrize("seed", range(5))
def test_every_rule_stands_below_all_that_it_waits_for_and_on_no_other(seed: int) -> None:
    edges = without_shortcuts(random_graph(seed))
    chance = random.Random(seed)
    names = [*sorted({name for edge in edges for name in edge}), "alone"]
    columns: dict[str, list[str]] = {chapter: [] for chapter in "xyz"}
    for name in names:
        columns[chance.choice("xyz")].append(name)
    found = places(columns, edges)
    assert set(found) == set(names) and len(set(found.values())) == len(names)
    assert all(found[name][0] == number for number, chapter in enumerate("xyz") for name in columns[chapter])
    assert all(found[start][1] < found[end][1] for start, end in edges)


@pytest.fixture
def plan(finished_study: Path) -> dict[str, list]:
    return json.loads((finished_study / "results/jobs.json").read_text())


def test_the_plan_names_every_rule_that_ran(finished_study: Path, plan: dict[str, list]) -> None:
    logs = {path.name.removesuffix(".log") for path in (finished_study / "results/logs").iterdir()}
    assert {rule["name"] for rule in plan["rules"]} == logs
    for rule in plan["rules"]:
        text = (ROOT / f"workflow/rules/{rule['chapter']}.smk").read_text()
        assert f"rule {rule['name']}:" in text or f'f"{rule["name"]}_{{' in text, rule["name"]


def segments(line: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Every point of a line."""
    points = set()
    for (x, y), (u, v) in itertools.pairwise(line):
        assert x == u or y == v, "lines go straight down or across"
        points |= {(a, b) for a in range(min(x, u), max(x, u) + 1) for b in range(min(y, v), max(y, v) + 1)}
    return points


def test_boxes_and_lines_keep_apart(plan: dict[str, list]) -> None:
    edges = without_shortcuts((before, after) for before, after in plan["edges"])
    chapters: dict[str, list[str]] = {}
    for rule in plan["rules"]:
        chapters.setdefault(rule["chapter"], []).append(rule["name"])
    boxes = boxes_of(places(chapters, edges))
    area = {
        name: {
            (x, y)
            for x in range(box.x - HALF_WIDE, box.x + HALF_WIDE + 1)
            for y in range(box.y - HALF_HIGH, box.y + HALF_HIGH + 1)
        }
        for name, box in boxes.items()
    }
    assert all(not area[one] & area[two] for one, two in itertools.combinations(area, 2))
    lines = routes(boxes, edges)
    assert set(lines) == set(edges)
    for (start, end), line in lines.items():
        assert line[0] == boxes[start].bottom and line[-1] == boxes[end].top
        points = segments(line)
        for name, inside in area.items():
            assert points & inside <= ({line[0]} if name == start else {line[-1]} if name == end else set()), name


def test_lines_share_a_way_only_with_their_kin(plan: dict[str, list]) -> None:
    edges = without_shortcuts((before, after) for before, after in plan["edges"])
    chapters: dict[str, list[str]] = {}
    for rule in plan["rules"]:
        chapters.setdefault(rule["chapter"], []).append(rule["name"])
    lines = routes(boxes_of(places(chapters, edges)), edges)
    for (one, first), (two, second) in itertools.combinations(lines.items(), 2):
        if one[0] != two[0] and one[1] != two[1]:
            common = segments(first) & segments(second)
            beside = [(x, y) for x, y in common if {(x + 1, y), (x, y + 1)} & common]
            assert not beside, (one, two)


def test_every_rule_of_the_study_is_in_the_picture(finished_study: Path, plan: dict[str, list]) -> None:
    svg = (finished_study / "results/figures/workflow.svg").read_text()
    said = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
    for rule in plan["rules"]:
        assert rule["name"].replace("_", " ") in said, rule["name"]
        assert rule["chapter"] in said


def test_words_stay_in_their_boxes(plan: dict[str, list]) -> None:
    use_style()
    figure = plot_workflow(plan)
    figure.draw_without_rendering()
    axis = figure.axes[0]
    renderer = figure.canvas.get_renderer()
    # The grounds of the columns lie lowest, and the chapters' names on them.
    grounds = [patch.get_window_extent(renderer) for patch in axis.patches if patch.get_zorder() < 2]
    boxes = [patch.get_window_extent(renderer) for patch in axis.patches if patch.get_zorder() > 2]
    assert len(boxes) == len(plan["rules"]) and len(axis.texts) == 2 * len(boxes) + len(grounds)
    for text in axis.texts:
        words = text.get_window_extent(renderer)
        around = [
            box
            for box in (boxes if text.get_zorder() > 3 else grounds)
            if box.x0 <= words.x0 and words.x1 <= box.x1 and box.y0 <= words.y0 and words.y1 <= box.y1
        ]
        assert len(around) == 1, text.get_text()
    plt.close(figure)


def test_the_caption_is_there_for_snakemake_s_own_report() -> None:
    assert (ROOT / "workflow/report/workflow.rst").read_text().startswith("Every rule of this study")
