"""Tasks of a model that share a job: which they are, what they are called, and the files that hold their tables."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from kn_thesis.configuration.study import STEPS, StudyTasks, read_study
from kn_thesis.errors import UserError
from kn_thesis.files import by_folder, read_task_tables, read_tasks, write_task_tables
from tests.helpers.study import ROOT, SMOKE

CONFIG = yaml.safe_load((ROOT / SMOKE).read_text(encoding="utf-8"))
SYNTAX = ["determiner_noun_agreement_2", "distractor_agreement_relational_noun"]


def study_of(**tasks: Any) -> StudyTasks:
    config = copy.deepcopy(CONFIG)
    config["tasks"] |= tasks | {"evaluated": 100, "attributed": 100}
    config["editing"]["requests"] = 60
    return read_study(ROOT, config, [], {})


def names(study: StudyTasks, rule: str, model: str, editor: str | None = None) -> dict[str, list[str]]:
    return {batch.name: batch.tasks for batch in study.batches(rule, model, editor)}


@pytest.mark.parametrize(
    ("per_job", "expected"),
    [
        (1, {SYNTAX[0]: SYNTAX[:1], SYNTAX[1]: SYNTAX[1:], "P36": ["P36"]}),
        (2, {"paradigms-1": SYNTAX, "P36": ["P36"]}),  # apart, though three would fit into two jobs otherwise
        (3, {"tasks-1": [*SYNTAX, "P36"]}),
    ],
)
def test_a_batch_is_named_after_its_only_task_or_its_kind(per_job: int, expected: dict[str, list[str]]) -> None:
    study = study_of(per_job=per_job)
    for rule in ("make_prompts", "attribute_neurons", "select_neurons", "trace_prompts"):
        assert names(study, rule, "bert") == expected
    edited = {"tasks-1": ["P36", SYNTAX[1]]} if per_job > 1 else {"P36": ["P36"], SYNTAX[1]: SYNTAX[1:]}
    assert names(study, "edit_tasks", "bert", "knowledge_neuron") == edited  # facts and agreement need not be apart


def test_batches_of_a_kind_are_numbered() -> None:
    study = study_of(per_job=2, paradigms=[*SYNTAX, "anaphor_gender_agreement"], relations=["P36", "P101", "P106"])
    assert list(names(study, "make_prompts", "bert")) == [
        "paradigms-1",
        "anaphor_gender_agreement",
        "relations-1",
        "P106",
    ]
    assert list(names(study, "suppress_neurons", "bert")) == ["paradigms-1", "anaphor_gender_agreement"]


def test_a_task_that_is_split_is_a_batch_for_each_shard() -> None:
    study = study_of(shards={"attribution": 64, "editing": 32})
    batches = list(study.batches("attribute_neurons", "bert"))
    assert [(batch.name, batch.shard) for batch in batches[:2]] == [
        (f"{SYNTAX[0]}-1-of-2", "1-of-2"),
        (f"{SYNTAX[0]}-2-of-2", "2-of-2"),
    ]
    assert len(batches) == 6 and all(len(batch.tasks) == 1 for batch in batches)
    assert list(names(study, "select_neurons", "bert")) == [*SYNTAX, "P36"]  # whole again
    assert list(names(study, "trace_prompts", "bert")) == ["paradigms-1", "P36"]  # as before
    by_editor = {editor: names(study, "edit_tasks", "gpt2", editor) for editor in study.editors_of("gpt2")}
    assert {editor for editor, batches in by_editor.items() if "P36-1-of-2" in batches} == {
        editor for editor in by_editor if not study.method_of(editor).joint
    }
    assert all(
        set(batches) <= {"P36", SYNTAX[1]} for editor, batches in by_editor.items() if study.method_of(editor).joint
    )


def test_the_tasks_of_every_rule_are_in_one_batch_each() -> None:
    for tasks in ({}, {"per_job": 1}, {"per_job": 30}, {"shards": {"suppression": 64, "tracing": 10}}):
        study = study_of(**tasks)
        for rule, step in STEPS.items():
            for model in study.study.models:
                batches = study.batches(rule, model)
                firsts = [batch for batch in batches if batch.shard is None or batch.shard.startswith("1-")]
                assert sorted(task for batch in firsts for task in batch.tasks) == sorted(
                    getattr(study, step.tasks)(model)
                )
                assert all(study.batch(rule, model, batch.name) == batch for batch in batches)


def test_a_batch_that_a_model_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(UserError, match=r"^trace_prompts: bert has no batch P1, but paradigms-1, P36$"):
        study_of().batch("trace_prompts", "bert", "P1")


def test_a_task_with_the_name_of_a_batch_is_refused() -> None:
    pairs = str(ROOT / "resources/examples/paradigm/quantifier_noun_agreement.jsonl")
    paradigms = [*SYNTAX, "paradigms-1"]
    study = study_of(per_job=2, paradigms=paradigms, own={"paradigms": {"paradigms-1": {"pairs": pairs}}})
    with pytest.raises(
        UserError, match="bert: paradigms-1 is the name of a task and of a batch of tasks; rename the task"
    ):
        study.batches("make_prompts", "bert")


def table(seed: int, rows: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    words = [f"w{n}" for n in random.permutation(9)]
    return pd.DataFrame(
        {
            "word": pd.Categorical.from_codes(random.integers(0, 4, rows), words),  # most categories have no row
            "count": random.integers(0, 9, rows),
            "value": random.normal(size=rows).astype(np.float32),
            "ids": [list(range(n)) for n in random.integers(0, 3, rows)],
        }
    )


def test_tables_of_tasks_come_back_as_they_were(tmp_path: Path) -> None:
    tables = {"P36": table(1, 5), "none": table(2, 0), "P101": table(3, 7)}
    write_task_tables(tables, tmp_path / "a.parquet")
    write_task_tables({"P106": table(4, 3)}, tmp_path / "b.parquet")
    again = dict(read_task_tables(tmp_path / "a.parquet"))
    assert list(again) == list(tables)
    for task, expected in tables.items():
        assert list(again[task].columns) == list(expected.columns) and len(again[task]) == len(expected)
        assert list(again[task]["word"].cat.categories) == list(expected["word"].cat.categories)
        for column in ("word", "count", "value", "ids"):
            assert [list(cell) if column == "ids" else cell for cell in again[task][column]] == list(expected[column])
            if column != "ids":
                assert again[task][column].dtype == expected[column].dtype, column
    both = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    chosen = read_tasks(both, ["P106", "P36"], ["value"])
    assert list(chosen) == ["P36", "P106"] and list(chosen["P36"]) == ["value"] and len(chosen["P106"]) == 3


def test_other_readers_find_one_table_with_a_column_task(tmp_path: Path) -> None:
    write_task_tables({"P36": table(1, 5), "none": table(2, 0), "P101": table(3, 7)}, tmp_path / "a.parquet")
    whole = pd.read_parquet(tmp_path / "a.parquet")
    assert list(whole["task"]) == ["P36"] * 5 + ["P101"] * 7
    assert list(whole["word"]) == [*map(str, table(1, 5)["word"]), *map(str, table(3, 7)["word"])]


def test_a_column_that_is_there_already_is_kept(tmp_path: Path) -> None:
    write_task_tables({"P36": table(1, 5).assign(task="P36")}, tmp_path / "a.parquet")
    [(task, again)] = read_task_tables(tmp_path / "a.parquet")
    assert task == "P36" and list(again["task"]) == ["P36"] * 5


def test_files_are_grouped_by_their_folders() -> None:
    paths = {"edits": ["r/gpt2/rome/a.x", "r/gpt2/rome/b.x", "r/bert/kn/a.x"], "layers": ["r/gpt2/layers/a.x"]}
    two = by_folder(paths, levels=2)
    assert two["gpt2/rome"] == {"edits": [Path("r/gpt2/rome/a.x"), Path("r/gpt2/rome/b.x")], "layers": []}
    assert list(two) == ["gpt2/rome", "bert/kn", "gpt2/layers"] and by_folder({"edits": []}) == {}
