"""What `kn_thesis.edit` takes, and what it refuses in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kn_thesis
from kn_thesis.editing import api
from kn_thesis.editing.covariance import Covariance
from kn_thesis.errors import UserError
from kn_thesis.models.load import Model
from tests.helpers.bad_edit_calls import BAD, BAD_CAUSAL
from tests.helpers.edit_models import (
    EDITED_BY,
    LONG,
    OLD,
    TARGET,
    Models,
    asked,
    changed,
    edit_by,
    nothing_stays,
    prompt_of,
    state_of,
)
from tests.helpers.tiny_models import DETAILED


@pytest.fixture(autouse=True)
def _nothing_stays(models: Models) -> Iterator[None]:
    with nothing_stays(models):
        yield


def test_the_old_answer_is_the_model_s_own(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with edit_by(model, "knowledge_neuron") as edited:
        assert edited.old == OLD
        own = state_of(model)
    with edit_by(model, "knowledge_neuron", old=OLD):
        assert changed(model, own) == []
    with edit_by(model, "knowledge_neuron", old="vases") as edited:
        assert edited.old == "vases" and changed(model, own)
    monkeypatch.setattr(api, "first_word", lambda *_: None)
    with pytest.raises(UserError, match=f"in the prompt '{prompt_of(model)}' is not a whole word: say with"):
        edit_by(model, "knowledge_neuron").__enter__()
    if model.adapter.objective == "causal":
        with edit_by(model) as edited:
            assert edited.old == "" and edited.layers == (1,)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("mans vases.", "mans"),  # a word of two tokens, to its end
        ("this.", "this"),
        (". this", None),
        ("this" * 12, None),  # longer than is looked at
        ("", None),
    ],
)
def test_a_causal_model_s_own_word(gpt2: Model, monkeypatch: pytest.MonkeyPatch, said: str, word: str | None) -> None:
    one = gpt2.tokenizer.encode_prompt(prompt_of(gpt2), TARGET)
    tokens = gpt2.tokenizer.tokenizer.encode(f" {said}" if said[:1].isalpha() else said).ids
    monkeypatch.setattr(api, "continue_rows", lambda *_, **__: [tokens[: api.LONGEST_WORD]])
    assert api.first_word(gpt2, prompt_of(gpt2), one) == word
    # The same letters without a space before them go on with the word before the gap.
    tokens = gpt2.tokenizer.tokenizer.encode(said).ids
    assert api.first_word(gpt2, prompt_of(gpt2), one) is None


def test_a_masked_model_s_piece_of_a_word_is_no_word(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    bert = models("bert")
    one = bert.tokenizer.encode_prompt(prompt_of(bert), LONG)
    assert api.first_word(bert, prompt_of(bert), one) == OLD
    piece = bert.tokenizer.tokenizer.token_to_id("##s")
    said = type("Said", (), {"says": np.array([piece])})()
    monkeypatch.setattr(api, "predict", lambda *_: ([said], [said]))
    assert api.first_word(bert, prompt_of(bert), one) is None


def test_it_wants_a_new_answer(model: Model) -> None:
    prompt = prompt_of(model)
    with pytest.raises(UserError, match=f"^'this' is the model's first choice in the prompt '{prompt}' already: ask"):
        edit_by(model, "knowledge_neuron", target=OLD).__enter__()
    with pytest.raises(UserError, match=r"^'those' is both the old answer and the target"):
        edit_by(model, "knowledge_neuron", old=TARGET).__enter__()
    with pytest.raises(UserError, match=r"^'this' is both the old answer and the target"):
        edit_by(model, "knowledge_neuron", target=OLD, require_new=False).__enter__()
    if model.adapter.objective == "causal":
        with edit_by(model, target=OLD, require_new=False) as edited:
            table = edited.probabilities(prompt, [OLD])
            assert table.loc[0, "after"] > table.loc[0, "before"] > 0.5
        # Where the loss is below `stop` from the first step on, there is nothing to change.
        with edit_by(model, target=OLD, require_new=False, stop=9.0) as edited:
            assert edited.steps == 1 and edited.loss < 9


def refused(model: Model, changes: dict[str, Any], said: str) -> None:
    state = state_of(model)
    with pytest.raises(UserError, match=said) as error, kn_thesis.edit(model, **(asked(model) | changes)):
        raise AssertionError("the block was entered")
    assert "\n" not in str(error.value) and changed(model, state) == []


@pytest.mark.parametrize(("changes", "said"), BAD)
def test_bad_input_is_one_line(model: Model, changes: dict[str, Any], said: str) -> None:
    refused(model, {"editor": "knowledge_neuron" if model.adapter.objective == "masked" else "rome"} | changes, said)


@pytest.mark.parametrize(("changes", "said"), BAD_CAUSAL)
def test_bad_input_of_a_causal_model_is_one_line(causal: Model, changes: dict[str, Any], said: str) -> None:
    refused(causal, changes, said)


@pytest.mark.parametrize("editor", ["rome", "fine_tuning"])
def test_a_masked_model_has_one_editor(models: Models, editor: str) -> None:
    refused(
        models("bert"), {"editor": editor}, f"{editor} edits causal models: bert is masked; choose knowledge_neuron"
    )


def test_a_masked_prompt_needs_a_gap(models: Models) -> None:
    said = "the prompt 'The old man admires vases.': no gap; write it once, as ___"
    refused(models("bert"), {"editor": "knowledge_neuron", "prompt": "The old man admires vases."}, said)


def test_facts_without_a_shared_neuron_are_one_line(model: Model) -> None:
    more = {"editor": "knowledge_neuron", "coarse": 0.99, "share": 0.99}
    ends = " ___ vases." if model.adapter.objective == "masked" else ""
    paraphrases = [f"{start}{ends}" for start in ("This king", "The capital of Rome", "Those women admire", "France")]
    refused(model, more | {"paraphrases": paraphrases}, "no knowledge neuron was found; lower coarse or share")


@pytest.mark.parametrize(("family", "editor"), EDITED_BY)
def test_weights_that_are_no_numbers_are_one_line(models: Models, family: str, editor: str) -> None:
    model = models(family)
    weight = model.adapter.down_projection_weight(2)
    kept = weight[0, 0].clone()
    weight[0, 0] = float("nan")
    try:
        changes = {"editor": editor, "old": OLD}
        with pytest.raises(UserError, match=r"layer 2 has weights that are not finite \(.*: 1 of ") as error:
            kn_thesis.edit(model, **(asked(model) | changes)).__enter__()
        assert "\n" not in str(error.value)
    finally:
        weight[0, 0] = kept


def test_factors_that_the_weights_cannot_hold_are_one_line(models: Models) -> None:
    for family in DETAILED:
        changes = {"editor": "knowledge_neuron", "new_factor": 1e39, "old": OLD}
        refused(
            models(family, "float32"), changes, "the changed weights are not finite; lower learning_rate or the fac"
        )


def test_a_place_that_the_gap_does_not_see_is_one_line(causal: Model) -> None:
    refused(causal, {"layer": 2, "token": "subject_last"}, "no weight changes; take more steps, .* or another layer")


def test_contexts_are_texts_or_lengths(causal: Model) -> None:
    found = {}
    choices = {
        "none": None,
        "empty": [],
        "one": ["This king."],
        "other": ["Those vases."],
        "written": [(3, 2), (4, 1)],
    }
    for name, contexts in choices.items():
        with edit_by(causal, contexts=contexts):
            found[name] = state_of(causal)
    with edit_by(causal, contexts=[(3, 2), (4, 1)]):
        assert changed(causal, found["written"]) == []
    with edit_by(causal, contexts=[(3, 2), (4, 1)], seed=2):
        assert changed(causal, found["written"])
    with edit_by(causal):
        assert changed(causal, found["none"]) == changed(causal, found["empty"]) == []
        assert changed(causal, found["one"]) and changed(causal, found["other"])
    with edit_by(causal, contexts=["This king."]):
        assert changed(causal, found["other"])


def test_a_covariance_turns_the_change(causal: Model, tmp_path: Path) -> None:
    torch.manual_seed(1)
    keys = torch.randn(200, 24)
    covariance = Covariance({1: keys.T @ keys / 200}, 200)
    covariance.save(tmp_path / "covariance")
    before = causal.adapter.down_projection_weight(1).clone()
    with edit_by(causal):
        plain = causal.adapter.down_projection_weight(1) - before
    with edit_by(causal, covariance=covariance):
        spared = causal.adapter.down_projection_weight(1) - before
    with edit_by(causal, covariance=tmp_path / "covariance"):
        torch.testing.assert_close(causal.adapter.down_projection_weight(1) - before, spared, rtol=0, atol=0)
    key = torch.linalg.svd(plain)[2][0]
    expected = torch.linalg.solve(covariance.matrices[1].double(), key)
    direction = torch.linalg.svd(spared)[2][0]
    assert abs(float(direction @ expected / expected.norm())) == pytest.approx(1, abs=1e-9)
    assert abs(float(direction @ key)) < 0.999


def test_questions_that_cannot_be_asked_are_one_line(model: Model) -> None:
    causal = model.adapter.objective == "causal"
    with edit_by(model, "knowledge_neuron") as edited:
        for ask, said in (
            (lambda: edited.probabilities(prompt_of(model), OLD), "words is a list with at least one entry"),
            (lambda: edited.probabilities(prompt_of(model), []), "words is a list with at least one entry"),
            (lambda: edited.probabilities(prompt_of(model), [" "]), "' ' cannot fill the blank"),
            (lambda: edited.probabilities("A ___ or ___", [OLD]), "more than one gap"),
            (lambda: edited.complete("This", 0), "tokens is 0: give" if causal else "bert is masked and does not"),
            (lambda: edited.complete("this " * 30), "the model takes 1 to 24" if causal else "ask for probabilities"),
        ):
            with pytest.raises(UserError, match=said) as error:
                ask()
            assert "\n" not in str(error.value)
    for ask in (lambda: edited.complete("This"), lambda: edited.probabilities(prompt_of(model), [OLD])):
        with pytest.raises(UserError, match=f"^the edit '{prompt_of(model)}' → 'those' is over: ask inside its with"):
            ask()


def test_no_text_is_no_text_to_continue(gpt2: Model) -> None:
    with edit_by(gpt2) as edited, pytest.raises(UserError, match="the text '' has 0 tokens: the model takes 1 to 24"):
        edited.complete("")


def test_what_fills_the_positions_is_continued_by_nothing(gpt2: Model) -> None:
    with edit_by(gpt2) as edited:
        text = " ".join(["this"] * 24)
        assert len(gpt2.tokenizer.tokenizer.encode(text).ids) >= 24
        assert edited.complete(gpt2.tokenizer.tokenizer.decode(gpt2.tokenizer.tokenizer.encode(text).ids[:24])) == ""


def test_a_prompt_too_long_is_one_line_where_the_tokenizer_knows_no_limit(model: Model) -> None:
    object.__setattr__(model.tokenizer, "max_length", None)
    try:
        editor = "knowledge_neuron" if model.adapter.objective == "masked" else "rome"
        changes = {"prompt": f"The old man {'and this ' * 20}admires ___", "editor": editor}
        refused(model, changes, r"the prompt 'The old .*' is longer than the model's 24 positions: shorten it")
    finally:
        object.__setattr__(model.tokenizer, "max_length", 24)
