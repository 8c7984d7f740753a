"""resources/tasks.yaml agrees with the corpora on every task."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from kn_thesis.configuration.tasks import task_table
from kn_thesis.corpora.world.facts import load_facts
from kn_thesis.corpora.world.grammar import load_grammar

ROOT = Path(__file__).parents[2]
MIRROR = ROOT.parent / "shared" / "corpora"
TASKS = task_table(yaml.safe_load((ROOT / "resources/tasks.yaml").read_text()))


def test_the_world_has_the_tasks_that_are_said_to_be_its() -> None:
    paradigms = [name for name, task in TASKS.paradigms.items() if "world" in task.corpora]
    relations = [name for name, task in TASKS.relations.items() if "world" in task.corpora]
    assert sorted(paradigms) == sorted(p.name for p in load_grammar(ROOT / "resources/world").paradigms)
    stated = {relation.name: relation.label for relation in load_facts(ROOT / "resources/world").relations}
    assert sorted(relations) == sorted(stated)
    assert {name: TASKS.relations[name].label for name in stated} == stated


@pytest.mark.skipif(not MIRROR.exists(), reason="no mirror of the corpora beside the repository (../shared/corpora)")
def test_blimp_says_the_same_of_its_paradigms() -> None:
    files = {path.stem: path for path in (MIRROR / "blimp/data").glob("*.jsonl")}
    assert set(TASKS.paradigms) == set(files)
    for name, task in TASKS.paradigms.items():
        pairs = [json.loads(line) for line in files[name].read_text().splitlines()]
        assert {pair["linguistics_term"] for pair in pairs} == {task.label}, name
        one_prefix = all(pair["one_prefix_method"] for pair in pairs)
        assert ("causal" in task.takes) == one_prefix, name
        one_word = [
            sum(a != b for a, b in zip(good, bad, strict=True)) == 1 if len(good) == len(bad) else False
            for good, bad in ((pair["sentence_good"].split(), pair["sentence_bad"].split()) for pair in pairs)
        ]
        assert ("masked" in task.takes) == (sum(one_word) > 0), name


@pytest.mark.skipif(not MIRROR.exists(), reason="no mirror of the corpora beside the repository (../shared/corpora)")
def test_pararel_has_the_relations_that_are_said_to_be_fetched() -> None:
    patterns = {path.stem for path in (MIRROR / "pararel/data/pattern_data/graphs_json").glob("*.jsonl")}
    facts = {path.stem for path in (MIRROR / "pararel/data/trex_lms_vocab").glob("*.jsonl")}
    fetched = {name for name, task in TASKS.relations.items() if "fetched" in task.corpora}
    assert fetched == patterns & facts


def test_every_table_of_a_study_states_each_task_s_own_kind(finished_study: Path) -> None:
    """Tasks of both kinds share jobs."""
    told = 0
    for file in sorted((finished_study / "results/tables").glob("*.csv")):
        rows = pd.read_csv(file)
        if {"task", "kind"} <= set(rows.columns) and rows["kind"].isin(["paradigm", "relation"]).all():
            for task, kind in rows[rows["task"] != "all"][["task", "kind"]].drop_duplicates().itertuples(index=False):
                assert TASKS[task].kind == kind, f"{file.name}: {task}"
                told += 1
    assert told > 12
