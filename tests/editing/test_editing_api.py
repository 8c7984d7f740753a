"""`kn_thesis.edit`: one edit in force for a block, seen through the untouched Hugging Face model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import kn_thesis
from kn_thesis.editing import api, fine_tuning, knowledge_neuron, rome, value_optimization
from kn_thesis.editing.api import scaled_layer
from kn_thesis.editing.editors import EDITORS
from kn_thesis.editing.requests import Request
from kn_thesis.editing.weight_update import Update
from kn_thesis.errors import UserError
from kn_thesis.localization import selection
from kn_thesis.models import forward
from kn_thesis.models.load import Model
from tests.helpers.edit_models import (
    CAUSAL,
    EDITED_BY,
    LONG,
    OLD,
    TARGET,
    Models,
    asked,
    changed,
    edit_by,
    nothing_stays,
    plain_probabilities,
    plain_text,
    prompt_of,
    state_of,
)


@pytest.fixture(autouse=True)
def _nothing_stays(models: Models) -> Iterator[None]:
    with nothing_stays(models):
        yield


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize(("family", "editor"), EDITED_BY)
def test_the_model_itself_answers_as_the_edit_says(models: Models, family: str, editor: str, dtype: str) -> None:
    model = models(family, dtype)
    state, words = state_of(model), [OLD, TARGET, LONG]
    before = plain_probabilities(model, words)
    close = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 0.05}[dtype]
    with edit_by(model, editor, old=OLD) as edited:
        names = changed(model, state)
        assert len(names) == len(edited.layers) > 0
        for layer, name in zip(edited.layers, names, strict=True):
            assert f".{layer}." in name and model.adapter.down_projection_weight(layer).shape == (16, 24)
        after = plain_probabilities(model, words)
        table = edited.probabilities(prompt_of(model), words)
        assert list(table) == ["word", "before", "after"] and list(table["word"]) == words
        np.testing.assert_allclose(table["before"], before, rtol=close)
        np.testing.assert_allclose(table["after"], after, rtol=close)
        assert abs(after[1] / before[1] - 1) > 0.01
        assert changed(model, state) == names  # and asking left the edit in force
        if family in CAUSAL and dtype == "float64":
            text = "The old king admires"
            assert edited.complete(text, 6) == " ".join(plain_text(model, text, 6).split())
    assert changed(model, state) == []
    assert plain_probabilities(model, words) == before


@pytest.mark.parametrize("editor", ["rome", "fine_tuning"])
def test_edits_reach_their_target(causal: Model, editor: str) -> None:
    with edit_by(causal, editor) as edited:
        table = edited.probabilities(f"{prompt_of(causal)} ___", [OLD, TARGET]).set_index("word")
        assert table["before"].idxmax() == OLD and table["after"].idxmax() == TARGET
        assert np.exp(-edited.loss) == pytest.approx(table.loc[TARGET, "after"], rel=0.5)
        assert edited.complete(prompt_of(causal), 1) == TARGET
        assert edited.complete(f"{prompt_of(causal)} ___", 1, before=True) == OLD
    assert (edited.editor, edited.old, edited.subject, edited.target) == (editor, OLD, "old man", TARGET)
    assert edited.prompt == prompt_of(causal) and 1 < edited.steps <= 25


def plain_request(model: Model, subject_token: int, **more: Any) -> Request:
    """What `edit` is expected to ask the editors for, put together by hand."""
    prompt, (start, _, end) = prompt_of(model), prompt_of(model).partition("___")
    new, old = (model.tokenizer.encode_prompt(prompt, word) for word in (TARGET, OLD))
    where = {"prefix": start.strip(), "suffix": end, "subject": "old man", "subject_at": 4}
    words = {"old": OLD, "new": TARGET, "new_prompt": new, "old_prompt": old}
    return Request("e", "t", "relation", "c", **where, **words, subject_token=subject_token, **more)


@pytest.mark.parametrize("editor", ["rome", "fine_tuning", "knowledge_neuron"])
def test_the_weights_are_those_that_the_editor_finds(gpt2: Model, editor: str) -> None:
    spelt = [gpt2.tokenizer.tokenizer.id_to_token(token) for token in asked_ids(gpt2)]
    assert spelt[2:3] == ["Ġman"]
    other = "This man admires"
    more = {"paraphrases": [other]} if editor == "knowledge_neuron" else {}
    own = {"paraphrases": tuple(gpt2.tokenizer.encode_prompt(text, OLD) for text in (prompt_of(gpt2), other))}
    request = plain_request(gpt2, 2, **own)
    settings = {
        "rome": rome.Settings(layer=1, steps=4, kl=0.5),
        "fine_tuning": fine_tuning.Settings(layer=2, steps=4, norm=0.01),
        "knowledge_neuron": knowledge_neuron.Settings(old=2.0, new=3.0, coarse=0.1, share=0.4, nodes=3),
    }[editor]
    given = {
        "rome": {"layer": 1, "steps": 4, "kl": 0.5},
        "fine_tuning": {"layer": 2, "steps": 4, "norm": 0.01},
        "knowledge_neuron": {"old_factor": 2, "new_factor": 3.0, "coarse": 0.1, "share": 0.4, "nodes": 3},
    }[editor]
    [found] = EDITORS[editor].find(gpt2, [request], settings)
    weights = {
        update.layer: gpt2.adapter.down_projection_weight(update.layer) + update.matrix() for update in found.updates
    }
    with kn_thesis.edit(gpt2, **asked(gpt2, editor), **given, **more) as edited:
        assert edited.layers == tuple(sorted(weights)) and edited.steps == found.steps
        for layer, weight in weights.items():
            torch.testing.assert_close(gpt2.adapter.down_projection_weight(layer), weight, rtol=1e-12, atol=1e-15)


def asked_ids(model: Model) -> tuple[int, ...]:
    return model.tokenizer.encode_prompt(prompt_of(model), TARGET).input_ids


def test_a_subject_behind_the_gap_of_a_masked_model(models: Models) -> None:
    bert = models("bert")
    wanted = api.EditRequest("The ___ man admires old vases.", " old vases ", "old")
    request = api.make_request(bert, wanted)
    filled = f"{request.prefix} {request.new}{request.suffix}"
    assert filled[request.subject_at :].startswith("old vases") and filled.count("old") == 2
    ids = bert.tokenizer.tokenizer.encode(filled).ids
    assert bert.tokenizer.tokenizer.decode(ids[: request.subject_token + 1]).endswith("vases")
    assert not bert.tokenizer.tokenizer.decode(ids[: request.subject_token]).endswith("vases")


@pytest.mark.parametrize(("layers", "layer"), [(48, 17), (1, 0), (2, 1), (3, 1), (4, 1), (12, 4), (32, 11), (96, 34)])
def test_the_layer_is_scaled_to_the_depth(layers: int, layer: int) -> None:
    assert scaled_layer(17, layers) == layer


@pytest.mark.parametrize("editor", ["rome", "fine_tuning"])
def test_without_a_layer_it_is_the_scaled_one(causal: Model, editor: str) -> None:
    with edit_by(causal, editor) as edited:
        assert edited.layers == (1,)
    with edit_by(causal, editor, layer=0, steps=3) as edited:
        assert edited.layers == (0,) and edited.steps == 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize(("family", "editor"), EDITED_BY)
def test_whatever_ends_the_block_brings_the_weights_back(
    models: Models, family: str, editor: str, error: type[BaseException]
) -> None:
    model, seen = models(family), []
    state = state_of(model)
    with pytest.raises(error), edit_by(model, editor) as edited:
        seen.append(changed(model, state))
        raise error
    assert seen[0] and changed(model, state) == []
    with pytest.raises(UserError, match="is over"):
        edited.probabilities(prompt_of(model), [OLD])


WITHIN = {
    "rome": (value_optimization, "_losses"),
    "fine_tuning": (forward, "state_out"),
    "knowledge_neuron": (selection, "select_neurons"),
}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize(("family", "editor"), EDITED_BY)
def test_an_editor_that_is_stopped_leaves_nothing(
    models: Models, monkeypatch: pytest.MonkeyPatch, family: str, editor: str, error: type[BaseException]
) -> None:
    model = models(family)
    state = state_of(model)
    module, name = WITHIN[editor]
    after, calls, original = (0 if editor == "knowledge_neuron" else 2), [], getattr(module, name)

    def stop(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) > after:
            raise error
        return original(*arguments, **named)

    monkeypatch.setattr(module, name, stop)
    with pytest.raises(error), edit_by(model, editor):
        raise AssertionError("the block was entered")
    assert len(calls) == after + 1 and changed(model, state) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_one_that_is_stopped_between_two_matrices_leaves_nothing(
    model: Model, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    state, seen, original = state_of(model), [], Update.matrix

    def stop(update: Update) -> Tensor:
        seen.append(changed(model, state))
        if len(seen) == 2:
            raise error
        return original(update)

    monkeypatch.setattr(Update, "matrix", stop)
    with pytest.raises(error), edit_by(model, "knowledge_neuron", coarse=0.0, old=OLD):
        raise AssertionError("the block was entered")
    assert [len(names) for names in seen] == [0, 1] and changed(model, state) == []


def test_a_question_that_is_stopped_leaves_the_edit_in_force(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    state, seen = state_of(model), []

    def stop(*_: Any) -> None:
        seen.append(changed(model, state))
        raise KeyboardInterrupt

    with edit_by(model, "knowledge_neuron") as edited:
        inside = changed(model, state)
        within = state_of(model)
        monkeypatch.setattr(api, "target_log_probabilities", stop)
        with pytest.raises(KeyboardInterrupt):
            edited.probabilities(prompt_of(model), [OLD])
        assert seen == [[]]  # it was asking the model as it was
        assert changed(model, within) == [] and changed(model, state) == inside != []
    assert changed(model, state) == []


@pytest.mark.parametrize("layers", [(1, 1), (0, 2), (2, 0)])
def test_edits_are_nested_and_unwind_in_order(causal: Model, layers: tuple[int, int]) -> None:
    state, words = state_of(causal), [OLD, TARGET, "king"]
    start = plain_probabilities(causal, words)
    with edit_by(causal, layer=layers[0], target=TARGET) as outer:
        first, middle = state_of(causal), plain_probabilities(causal, words)
        with edit_by(causal, "fine_tuning", layer=layers[1], target="king") as inner:
            assert inner.old in (TARGET, "") and np.argmax(middle) == words.index(TARGET)  # "" before part of a word
            assert changed(causal, first) and len(changed(causal, state)) == len(set(layers))
            now = plain_probabilities(causal, words)
            table = inner.probabilities(prompt_of(causal), words)
            np.testing.assert_allclose(table["before"], middle, rtol=1e-9)
            np.testing.assert_allclose(table["after"], now, rtol=1e-9)
            np.testing.assert_allclose(outer.probabilities(prompt_of(causal), words)["after"], now, rtol=1e-9)
        assert changed(causal, first) == []
        table = outer.probabilities(prompt_of(causal), words)
        np.testing.assert_allclose(table["before"], start, rtol=1e-9)
        np.testing.assert_allclose(table["after"], middle, rtol=1e-9)
    assert changed(causal, state) == []


@pytest.mark.parametrize("around", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize(("family", "editor"), EDITED_BY)
def test_it_works_whatever_is_said_of_gradients(
    models: Models, family: str, editor: str, around: Callable[[], Any]
) -> None:
    model = models(family)
    state = state_of(model)
    with edit_by(model, editor) as edited:
        expected = edited.probabilities(prompt_of(model), [OLD, TARGET])
    with around(), edit_by(model, editor) as edited:
        found = edited.probabilities(prompt_of(model), [OLD, TARGET])
    np.testing.assert_allclose(found["after"], expected["after"], rtol=1e-9)
    assert changed(model, state) == []


def test_it_is_public_and_imported_at_first_use() -> None:
    code = (
        "import sys, kn_thesis; assert {'edit', 'Edited'} <= set(dir(kn_thesis)) & set(kn_thesis.__all__); "
        "assert not {'torch', 'pandas', 'kn_thesis.editing.api'} & set(sys.modules); "
        "kn_thesis.edit; assert 'kn_thesis.editing.api' in sys.modules; "
        "from kn_thesis import Edited, edit; assert edit is kn_thesis.edit and Edited.__name__ == 'Edited'"
    )
    scripts = Path(__file__).parents[2] / "scripts"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=scripts)
    stubs = (scripts / "kn_thesis" / "__init__.pyi").read_text()
    for name in kn_thesis.__all__:
        assert f" import {name} as {name}\n" in stubs
