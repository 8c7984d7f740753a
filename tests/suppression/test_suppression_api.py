"""`kn_thesis.suppress`: one set of neurons, some prompts, some words, against the plain algorithm."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import kn_thesis
from kn_thesis.errors import UserError
from kn_thesis.models.cloze import steps
from kn_thesis.models.load import Model
from tests.helpers.tiny_models import DETAILED, loaded_model
from tests.helpers.tiny_tokenizers import TEXT
from tests.reference.attribution import hooked
from tests.reference.suppression import plain_means, plain_word

NEURONS = [(0, 3), (2, 5), (1, 4)]
WORDS = ["this", "those", "mans", "☃"]  # two of one token, one of two, one that nobody knows


@pytest.fixture(scope="module", params=DETAILED)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder, text = tmp_path_factory.mktemp(request.param), [*TEXT, *["That man admires those vases."] * 20]
    return loaded_model(request.param, folder, text)


def prompts_of(model: Model) -> list[str]:
    ending = " vases." if model.adapter.objective == "masked" else ""
    return [f"The old man admires ___{ending}", f"That man admires ___{ending}"]


@pytest.mark.parametrize("operation", ["erase", "enhance", "mean"])
def test_it_equals_the_plain_algorithm(model: Model, operation: str) -> None:
    prompts = prompts_of(model)
    found = kn_thesis.suppress(model, prompts, NEURONS, WORDS, operation=operation)
    assert list(found["prompt"]) == [prompt for prompt in prompts for _ in WORDS]
    assert list(found["word"]) == WORDS * len(prompts)
    means = plain_means(model.module, [model.tokenizer.encode_prompt(prompt, "this") for prompt in prompts])
    layers, neurons = zip(*NEURONS, strict=True)
    for row in found.itertuples():
        if row.reason:
            assert row.word == "☃" and np.isnan([row.before, row.after, row.log_change]).all()
            continue
        encoded = model.tokenizer.encode_prompt(row.prompt, row.word)
        asked = (model.module, encoded.input_ids, encoded.gap, encoded.target_ids)
        before, after = plain_word(*asked), plain_word(*asked, layers, neurons, operation, means)
        assert (row.before, row.after) == pytest.approx((np.exp(before), np.exp(after)), rel=1e-5)
        assert row.log_change == pytest.approx(after - before, abs=1e-5) and abs(row.log_change) > 1e-4


def changed_at(model: Model, ids: list[int], places: list[int], asked: int, token: int) -> float:
    """Probability of a token at a position of a text whose neurons are erased at some places: plain hooks."""
    with ExitStack() as hooks, torch.no_grad():
        for layer, neuron in NEURONS:

            def erased(neurons: torch.Tensor, neuron: int = neuron) -> torch.Tensor:
                neurons = neurons.clone()
                neurons[0, places, neuron] = 0
                return neurons

            hooks.callback(hooked(model.module, layer, erased).remove)
        logits = model.module(torch.tensor([ids])).logits[0, asked]
    return float(torch.softmax(logits.double(), -1)[token])


def test_each_token_of_a_word_has_an_intervention_of_its_own(model: Model) -> None:
    """Of three readings of "changed at the gap" it is the one in which every token's own position is changed."""
    prompt = prompts_of(model)[0]
    found = kn_thesis.suppress(model, [prompt], NEURONS, ["this", "mans"]).set_index("word")
    encoded = model.tokenizer.encode_prompt(prompt, "mans")
    gap, tokens = encoded.gap, encoded.target_ids
    assert list(found["tokens"]) == [1, 2] and len(tokens) == 2
    texts = [list(seen) for seen, _, _ in steps(encoded, model.adapter.objective)]
    first = changed_at(model, texts[0], [gap], gap, tokens[0])
    readings = {
        "own": first * changed_at(model, texts[1], [gap + 1], gap + 1, tokens[1]),
        "gap alone": first * changed_at(model, texts[1], [gap], gap + 1, tokens[1]),
        "from the gap on": first * changed_at(model, texts[1], [gap, gap + 1], gap + 1, tokens[1]),
    }
    after = found.loc["mans", "after"]
    assert after == pytest.approx(readings["own"], rel=1e-5)
    for other in ("gap alone", "from the gap on"):  # a test that could not tell them apart would hold nothing
        assert abs(after / readings[other] - 1) > 1e-3, other


def test_preactivations_can_be_changed(model: Model) -> None:
    before, prompts = model.adapter.objective == "causal", prompts_of(model)
    found = kn_thesis.suppress(model, prompts, NEURONS, ["this"], operation="mean", neuron="preactivation")
    encoded = [model.tokenizer.encode_prompt(prompt, "this") for prompt in prompts]
    change = (*zip(*NEURONS, strict=True), "mean", plain_means(model.module, encoded, before), before)
    plain = [plain_word(model.module, one.input_ids, one.gap, one.target_ids, *change) for one in encoded]
    assert found["after"].to_numpy() == pytest.approx(np.exp(plain), rel=1e-5)


def test_it_takes_a_table_of_neurons_and_counts_each_once(model: Model) -> None:
    table = pd.DataFrame(NEURONS * 2, columns=["layer", "neuron"]).assign(group="x")
    once = kn_thesis.suppress(model, prompts_of(model), NEURONS, WORDS[:2], operation="enhance")
    pd.testing.assert_frame_equal(
        kn_thesis.suppress(model, prompts_of(model), table, WORDS[:2], operation="enhance"), once
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prompts": "The man ___."}, "prompts is a list"),
        ({"words": []}, "words is a list with at least one"),
        ({"neurons": []}, "no neuron at all"),
        ({"neurons": [(0, 24)]}, r"no neuron \(0, 24\): 3 layers of 24"),
        ({"neurons": [(-1, 0)]}, r"no neuron \(-1, 0\)"),
        ({"neurons": [(0.5, 1)]}, "whole numbers"),
        ({"neuron": "gate"}, "unknown neuron 'gate': choose one of activation"),
        ({"operation": "remove"}, "unknown operation 'remove': choose one of erase"),
    ],
)
def test_bad_input_is_one_line(model: Model, changed: dict[str, Any], said: str) -> None:
    asked: dict[str, Any] = {"prompts": prompts_of(model), "neurons": NEURONS, "words": ["this"]} | changed
    with pytest.raises(UserError, match=said) as error:
        kn_thesis.suppress(model, **asked)
    assert "\n" not in str(error.value)
