"""A task split over jobs gives the numbers of the whole task, to the last digit."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kn_thesis.editing import tables as editing_results
from kn_thesis.editing import task as editing_task
from kn_thesis.editing.rome import Settings as Rome
from kn_thesis.editing.rome import find_edits
from kn_thesis.editing.tables import ELSEWHERE
from kn_thesis.errors import UserError
from kn_thesis.localization.attribution import attribute
from kn_thesis.localization.tables import load_shards, save_attributions
from kn_thesis.models.families import FAMILIES
from kn_thesis.models.load import load_model
from kn_thesis.models.memory import BLOCK, blocks, shard_of
from kn_thesis.suppression.tables import SuppressedAnswers, concat_answers, suppression_tables
from kn_thesis.suppression.task import suppress_prompts
from kn_thesis.tracing.tables import concat_tracing
from kn_thesis.tracing.task import trace_task
from tests.editing.test_editing_task import CONTINUED
from tests.helpers.edit_questions import asked, requests_of
from tests.helpers.editing_prompts import CAPITAL, LANDS, facts_table, sentences
from tests.helpers.tiny_models import loaded_model, model_of
from tests.helpers.tiny_tokenizers import TEXT
from tests.localization.test_attribution import prompt_of
from tests.suppression.test_suppression_effects import PROMPTS, SETTINGS, load, task_of
from tests.tracing.test_tracing_task import SETTINGS as TRACING
from tests.tracing.test_tracing_task import prompts_of

SHARDS = ("1-of-3", "2-of-3", "3-of-3")


@given(st.integers(0, 2000), st.integers(1, 9), st.sampled_from([1, 32, 64]))
def test_shards_are_neighbouring_blocks_and_nothing_is_left_out(count: int, of: int, block: int) -> None:
    parts = [shard_of(count, f"{number}-of-{of}", block) for number in range(1, of + 1)]
    assert [place for part in parts for place in part] == list(range(count)) == list(shard_of(count, None))
    assert all(part.start % block == 0 for part in parts if len(part))
    sizes = [-(-len(part) // block) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert [place for part in parts for group in blocks(part, block) for place in group] == list(range(count))


@pytest.mark.parametrize("item", ["0-of-3", "4-of-3", "1-of-0", "one", "", "1-of-3/x"])
def test_what_is_no_shard_is_refused(item: str) -> None:
    with pytest.raises(ValueError, match="no shard"):
        shard_of(5, item)


@pytest.mark.parametrize("family", FAMILIES)
def test_attribution_is_the_same_bit_for_bit(family: str, tmp_path: Path) -> None:
    model = model_of(family, torch.float32)
    prompts = [prompt_of(family, 4 + n % 5, 1 + n % 2, n) for n in range(150)]
    whole = attribute(model, prompts, nodes=3, batch_tokens=600)
    paths = [tmp_path / item for item in SHARDS]
    for item, path in zip(SHARDS, paths, strict=True):
        places = shard_of(len(prompts), item, BLOCK)
        part = attribute(model, [prompts[place] for place in places], nodes=3, batch_tokens=600)
        save_attributions(path, {"P1": (part, [f"p{place}" for place in places])})
    found, names = load_shards(paths, "P1")
    assert names == [f"p{n}" for n in range(150)]
    for field in fields(whole):
        assert np.array_equal(getattr(found, field.name), getattr(whole, field.name)), field.name


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_suppression_is_the_same_bit_for_bit(family: str, tmp_path: Path) -> None:
    load(family, tmp_path)
    model = load_model(tmp_path, dtype="float32", device="cpu")
    few = task_of(model).prompts
    prompts = pd.concat([few.assign(prompt=few["prompt"] + f".{n}") for n in range(15)], ignore_index=True)
    attributed = [f"p{n}.0" for n, (*_, peaks) in enumerate(PROMPTS) if peaks]
    scores = np.full((len(attributed), model.adapter.layers, model.adapter.width), 0.01, dtype=np.float32)
    for row, (*_, peaks) in zip(scores, [one for one in PROMPTS if one[-1]], strict=True):
        row[tuple(np.transpose(peaks))] = 1
    settings = replace(SETTINGS, random_prompts=70)

    def tables(answers: SuppressedAnswers) -> list[pd.DataFrame]:
        found = suppression_tables(answers, prompts)
        return [getattr(found, field.name) for field in fields(found)]

    parts = []
    for item in SHARDS:
        places = shard_of(len(prompts), item, BLOCK)
        suppress_prompts(model, prompts, scores, attributed, settings, places).save(tmp_path / item)
        parts.append(SuppressedAnswers.load(tmp_path / item))
    whole = tables(suppress_prompts(model, prompts, scores, attributed, settings))
    for ours, expected in zip(tables(concat_answers(parts)), whole, strict=True):
        pd.testing.assert_frame_equal(ours, expected, check_exact=True)
    empty = suppress_prompts(model, prompts, scores, attributed, settings, shard_of(len(prompts), "2-of-9", BLOCK))
    assert empty.prompts == [] and len(tables(concat_answers([empty, *parts]))[0]) == len(whole[0])
    with pytest.raises(UserError, match="not a file of answers"):
        (tmp_path / "text").write_text("x")
        SuppressedAnswers.load(tmp_path / "text")


def test_tracing_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    model = loaded_model("gpt2", tmp_path, TEXT)
    prompts = prompts_of(model)
    evaluation = prompts[["prompt"]].assign(correct=prompts["prompt"] != "p3")

    def traced(item: str | None) -> Any:
        return trace_task(model, prompts, evaluation, 7, TRACING, item=item)

    whole, parts = traced(None), [traced(item) for item in SHARDS]
    assert all(0 < (part.prompts["status"] == "traced").sum() < 7 for part in parts)
    found = concat_tracing(parts)
    pd.testing.assert_frame_equal(found.prompts, whole.prompts, check_exact=True)
    pd.testing.assert_frame_equal(found.effects, whole.effects, check_exact=True)


def test_editing_is_the_same_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing_task, "BLOCK", 2)
    model = loaded_model("gpt2", tmp_path, sentences(), 40)
    prompts = facts_table(model.tokenizer, CAPITAL, LANDS)
    requests = list(requests_of(model.tokenizer, prompts).values())[:5]
    questions = {one.name: asked(one, model.tokenizer, prompts, others=2, each=2)[0] for one in requests}
    rows = [(one.name, one.cluster, one.subject, one.old, one.new, one.text, "edited") for one in requests]
    rows.insert(1, ("never", "c", "Mars", "x", "", "Mars ___", "the model does not know it"))
    statuses = pd.DataFrame(rows, columns=list(editing_results.EDITS)[:7], dtype="str")
    sizes = []

    def find(some: Any) -> Any:
        sizes.append(len(some))
        return find_edits(model, some, Rome(layer=1, steps=3))

    def edited(item: str | None, **further: Any) -> Any:
        return editing_task.edit_task(model, find, requests, statuses, questions, CONTINUED, item=item, **further)

    whole, parts = edited(None), [edited(item) for item in SHARDS]
    assert sizes == [2, 2, 1] * 2 and (parts[0].edits["status"] == ELSEWHERE).sum() == 3
    found = editing_results.concat_edits(parts)
    for field in fields(whole):
        pd.testing.assert_frame_equal(getattr(found, field.name), getattr(whole, field.name), check_exact=True)
    edited(None, together=True)
    assert sizes[-1] == 5  # an editor that compares requests is given all of them
