"""The sweep of layers against edits and answers one by one; contexts that a model writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch

from kn_thesis.editing import generation
from kn_thesis.editing.covariance import Covariance
from kn_thesis.editing.generation import Sampler, continue_rows, end_token, write_contexts
from kn_thesis.editing.rome import Settings, find_edits
from kn_thesis.editing.tables import TOO_LONG
from kn_thesis.editing.task import SWEEP, sweep_layers
from kn_thesis.errors import UserError
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.load import Model
from tests.helpers.edit_questions import asked, requests_of
from tests.helpers.editing_prompts import CAPITAL, LANDS, facts_table, pairs_table, sentences
from tests.helpers.tiny_models import loaded_model
from tests.reference.editing import evaluate

# So strong that even a model that knows nothing gives new answers.
SETTINGS = Settings(steps=12, learning_rate=2.0, weight_decay=0.0, kl=0.0, clamp=99.0, token="last", batch_tokens=200)
LENGTHS = [(4, 3), (9, 2)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    families = ("gpt2", "llama", "bert")
    return {name: loaded_model(name, tmp_path_factory.mktemp(name), sentences(), 40) for name in families}


def covariance() -> Covariance:
    generator = torch.Generator().manual_seed(3)
    keys = [torch.randn(24, 99, generator=generator) for _ in range(3)]
    return Covariance({layer: k @ k.T / 99 for layer, k in enumerate(keys)}, 99)


@pytest.mark.parametrize("kind", ["relation", "paradigm"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_each_layer_is_edited_and_asked(models: dict[str, Model], family: str, kind: str) -> None:
    model = models[family]
    prompts = facts_table(model.tokenizer, CAPITAL, LANDS) if kind == "relation" else pairs_table(model.tokenizer)
    requests = list(requests_of(model.tokenizer, prompts).values())[:3]
    questions = {one.name: asked(one, model.tokenizer, prompts, others=2, each=3)[0] for one in requests}
    further: dict[str, Any] = {"contexts": ["The king helped."], "covariance": covariance()}
    found = sweep_layers(model, requests, questions, SETTINGS, [2, 0], **further)
    rows = []
    for layer in (2, 0):
        for request in requests:
            [edit] = find_edits(model, [request], replace(SETTINGS, layer=layer), **further)
            asked_of = questions[request.name]
            changes = {update.layer: update.matrix() for update in edit.updates}
            assert set(changes) == {layer}
            answers = evaluate(model.module, family, "causal", changes, asked_of)
            for criterion in dict.fromkeys(question.criterion for question in asked_of):
                part = [row for row in answers if row["criterion"] == criterion]
                if kind == "relation":
                    held = [row["first_after"] for row in part]
                else:
                    held = [row["p_after"] > row["rival_after"] for row in part]
                values = held, [row["p_before"] for row in part], [row["p_after"] for row in part]
                means = [sum(column) / len(part) for column in values]
                rows.append((request.name, request.cluster, layer, criterion, *means))
    expected = pd.DataFrame(rows, columns=list(SWEEP)).astype(SWEEP)
    assert len(expected) > 12 and expected["held"].nunique() > 1
    pd.testing.assert_frame_equal(found, expected, rtol=1e-7)


def test_edits_that_fail_are_asked_of_the_model_as_it_is(models: dict[str, Model]) -> None:
    model = models["gpt2"]
    prompts = facts_table(model.tokenizer, CAPITAL, LANDS)
    request, other, *_ = requests_of(model.tokenizer, prompts).values()
    ids = request.new_prompt.input_ids * 20
    long = replace(request, new_prompt=Encoded(ids, len(ids) - 1, request.new_prompt.target_ids))
    assert find_edits(model, [long], replace(SETTINGS, layer=0))[0].failure == TOO_LONG
    questions = {one.name: asked(one, model.tokenizer, prompts, others=2, each=3)[0] for one in (request, other)}
    found = sweep_layers(model, [long, other], questions, SETTINGS, [0, 1])
    failed = found["edit"] == long.name
    assert found[failed]["p_after"].tolist() == pytest.approx(found[failed]["p_before"].tolist())
    assert failed.any() and (found[~failed]["p_after"] != found[~failed]["p_before"]).any()


def test_nothing_to_sweep(models: dict[str, Model]) -> None:
    model = models["gpt2"]
    requests = list(requests_of(model.tokenizer, facts_table(model.tokenizer, CAPITAL, LANDS)).values())[:1]
    for some, layers in ((requests, []), ([], [0, 1])):
        found = sweep_layers(model, some, {requests[0].name: []}, SETTINGS, layers)
        assert len(found) == 0 and dict(found.dtypes) == {n: pd.Series(dtype=k).dtype for n, k in SWEEP.items()}
    with pytest.raises(UserError, match="layer 3"):
        sweep_layers(model, requests, {requests[0].name: []}, SETTINGS, [0, 3])


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_contexts_are_what_the_model_goes_on_to_write(models: dict[str, Model], family: str) -> None:
    model = models[family]
    found = write_contexts(model, LENGTHS, 5)
    expected = []
    begun = model.tokenizer.tokenizer.encode("The").ids
    for tokens, texts in LENGTHS:
        for number in range(texts):
            draw = Sampler([(f"context of {tokens}", number)], 5, 5)
            [row] = continue_rows(model, [begun], None, tokens, choose=draw, stop=end_token(model))
            assert 0 < len(row) <= tokens
            text = model.tokenizer.tokenizer.decode(row, skip_special_tokens=True)
            expected.append(" ".join(f"The {text}".rstrip("\ufffd").split()).rstrip(".") + ".")
    assert found == expected and len(set(found)) == 5


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_contexts_are_seeded_distinct_and_end_with_a_point(models: dict[str, Model], family: str) -> None:
    model = models[family]
    found = write_contexts(model, LENGTHS, 5)
    assert write_contexts(model, LENGTHS, 5) == found and not set(write_contexts(model, LENGTHS, 6)) & set(found)
    for text in found:
        assert text.startswith("The ") and text.endswith(".") and not text.endswith("..")
        assert " ".join(text.split()) == text
    # A text has its own number, whatever else is written.
    assert write_contexts(model, [(9, 1), (4, 2)], 5) == [found[3], *found[:2]]
    assert write_contexts(model, [(4, 3), (4, 3)], 5) == found[:3]
    many = write_contexts(model, [(1, 40)], 5)
    assert len(many) == len(set(many)) <= 5  # one token of the five most probable


def test_contexts_begin_with_several_words_by_turns(models: dict[str, Model]) -> None:
    words = ["The", "Therefore", "You"]
    found = write_contexts(models["gpt2"], [(9, 7)], 5, words)
    assert [text.split()[0].rstrip(".") for text in found] == ["The"] * 3 + ["Therefore"] * 2 + ["You"] * 2
    every = write_contexts(models["gpt2"], [(9, 7)], 5)
    assert found[:3] == every[::3]  # a text has its own number, whatever the others begin with


@pytest.mark.parametrize(("written", "expected"), [("king.", "The king."), ("king", "The king."), ("", "The.")])
def test_a_context_has_one_point(
    models: dict[str, Model], monkeypatch: pytest.MonkeyPatch, written: str, expected: str
) -> None:
    monkeypatch.setattr(generation, "readable_text", lambda *_: written)
    assert write_contexts(models["gpt2"], [(4, 3)], 5) == [expected]


def test_no_contexts(models: dict[str, Model]) -> None:
    for family in ("gpt2", "bert"):
        assert write_contexts(models[family], [], 5) == []
    assert write_contexts(models["gpt2"], [(4, 0)], 5) == []
    with pytest.raises(UserError, match="bert is masked; leave them out"):
        write_contexts(models["bert"], LENGTHS, 5)
