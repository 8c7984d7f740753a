"""What each editor changes against the plain algorithms, and how edits are written into a model and taken out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kn_thesis.editing import fine_tuning, knowledge_neuron, rome
from kn_thesis.editing.covariance import Covariance
from kn_thesis.editing.requests import Request
from kn_thesis.editing.tables import DIVERGED, NO_NEURONS, SINGULAR, TOO_LONG
from kn_thesis.errors import UserError
from kn_thesis.localization.attribution import attribute
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.load import Model
from tests.helpers.edit_questions import changed, requests_of
from tests.helpers.editing_prompts import CAPITAL, LANDS, facts_table, pairs_table, sentences
from tests.helpers.tiny_models import loaded_model
from tests.reference import editing as plain

FAMILIES = ("gpt2", "llama")
CONTEXTS = ("The king helped.", "A woman near the old vases admires Sardinia.")
LAYER = 1
ROME = rome.Settings(steps=6, learning_rate=0.3, layer=LAYER, stop=0.0)
PLAIN: dict[str, Any] = {
    **{name: getattr(ROME, name) for name in ("steps", "learning_rate", "weight_decay", "clamp", "kl", "layer")},
    "stop_loss": ROME.stop,
}
TUNING = fine_tuning.Settings(layer=LAYER, steps=6, learning_rate=0.02, norm=0.05, stop=0.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    names = (*FAMILIES, "gptj", "bert")
    return {name: loaded_model(name, tmp_path_factory.mktemp(name), sentences(), 40) for name in names}


def requests_for(model: Model) -> list[Request]:
    """Of a relation and of agreement: of several lengths, one with an answer of several tokens."""
    facts = list(requests_of(model.tokenizer, facts_table(model.tokenizer, CAPITAL, LANDS)).values())[3:]
    pairs = list(requests_of(model.tokenizer, pairs_table(model.tokenizer)).values())[:2]
    found = [*facts[:4], changed(model.tokenizer, facts[4], "Great New Castile"), *pairs]
    assert len({len(one.new_prompt.input_ids) for one in found}) == 3 and len(found[4].new_prompt.target_ids) > 2
    return found


def covariance_of(width: int, layer: int = LAYER) -> Covariance:
    keys = torch.randn(width, 5 * width, generator=torch.Generator().manual_seed(1))
    matrix = keys @ keys.T / (5 * width)
    return Covariance({layer: (matrix + matrix.T) / 2}, 5 * width)


def after(model: Model, before: str, at: int, request: Request) -> plain.Prompt:
    """A text before an answer in tokens, and its token with the last letter of the subject that begins at `at`."""
    whole = model.tokenizer.tokenizer.encode(f"{before} {request.new}")
    letter = at + len(request.subject) - 1
    assert before[at : letter + 1].lower() == request.subject.lower()
    length = next(n for n, (_, end) in enumerate(whole.offsets) if end > len(before) + 1)
    subject = next(n for n, (start, end) in enumerate(whole.offsets) if start <= letter < end)
    return whole.ids[:length], subject


def texts_of(model: Model, request: Request, contexts: Sequence[str]) -> tuple[list[plain.Prompt], plain.Prompt]:
    """The prompt by itself and after each context, and "… is a", each with the subject's last token."""
    prompts = [after(model, request.prefix, request.subject_at, request)]
    prompts += [after(model, f"{c} {request.prefix}", len(c) + 1 + request.subject_at, request) for c in contexts]
    return prompts, after(model, f"{request.subject[0].upper()}{request.subject[1:]} is a", 0, request)


def plain_rome(model: Model, request: Request, contexts: Sequence[str], c: Tensor | None) -> plain.Rome:
    prompts, kept = texts_of(model, request, contexts)
    target = request.new_prompt.target_ids
    return plain.rome(model.module, model.adapter.family, prompts, target, kept, c, **PLAIN)


def near(found: Tensor, expected: Tensor, bound: float = 1e-8) -> bool:
    assert found.shape == expected.shape
    return bool((found - expected).norm() <= bound * expected.norm() > 0)


EACH_WAY = [
    (family, contexts, with_c) for family in FAMILIES for contexts in ((), CONTEXTS) for with_c in (False, True)
]


@pytest.mark.parametrize(("family", "contexts", "with_c"), [*EACH_WAY, ("gptj", CONTEXTS, True)])
def test_rome_is_the_plain_algorithm_and_the_closed_form(
    models: dict[str, Model], family: str, contexts: tuple[str, ...], with_c: bool
) -> None:
    model, width = models[family], models[family].adapter.width
    covariance = covariance_of(width) if with_c else None
    requests = requests_for(model)
    c = covariance.matrices[LAYER].double() if covariance else None
    module = plain.value_module(model.module, family, LAYER)
    bias = 0 if module.bias is None else module.bias
    weight = plain.down_projection_weight(model.module, family, LAYER)
    edits = rome.find_edits(model, requests, ROME, contexts=contexts, covariance=covariance)
    for request, found in zip(requests, edits, strict=True):
        expected = plain_rome(model, request, contexts, c)
        [update] = found.updates
        assert update.layer == LAYER and update.matrix().dtype == torch.float64 and not found.failure
        assert near(update.matrix(), expected.delta)
        assert update.norm() == pytest.approx(float(expected.delta.norm()))
        assert (found.request, found.steps) == (request.name, 6)
        assert found.loss == pytest.approx(expected.loss, rel=1e-8)
        # The least change of all that give v* to the bare prompt's key.
        prompts, _ = texts_of(model, request, contexts)
        keys = [plain.read(model.module, module, prompt)[0] for prompt in prompts]
        mean = torch.stack(keys).mean(0)
        least = c if c is not None else torch.eye(width, dtype=torch.float64)
        assert near(update.matrix(), plain.closed_form(weight, mean, keys[0], expected.v_star - bias, least))
        # The model itself with that change gives v*.
        with plain.edited(model.module, family, {LAYER: update.matrix()}):
            assert near(plain.read(model.module, module, prompts[0])[1], expected.v_star)


@pytest.mark.parametrize("family", FAMILIES)
def test_rome_at_the_last_token(models: dict[str, Model], family: str) -> None:
    model = models[family]
    request = requests_for(model)[4]
    assert request.subject_token < len(request.new_prompt.input_ids) - 1
    [found] = rome.find_edits(model, [request], replace(ROME, token="last"), contexts=CONTEXTS)
    prompts, (kept, _) = texts_of(model, request, CONTEXTS)
    last = [(ids, len(ids) - 1) for ids, _ in prompts]
    target = request.new_prompt.target_ids
    expected = plain.rome(model.module, family, last, target, (kept, len(kept) - 1), **PLAIN)
    assert near(found.updates[0].matrix(), expected.delta)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_subject_in_small_letters_whose_last_token_is_one(models: dict[str, Model], family: str) -> None:
    model = models[family]
    prefix, subject = "In spainz, the capital is", "spainz"
    encoded = model.tokenizer.encode(prefix, "", "Rome")
    request = replace(requests_for(model)[0], prefix=prefix, suffix="", subject=subject, subject_at=3)
    request = replace(request, new="Rome", new_prompt=encoded)
    ids, last = texts_of(model, request, ())[0][0]
    assert model.tokenizer.tokenizer.decode([ids[last]]) == "z"
    request = replace(request, subject_token=last)
    [found] = rome.find_edits(model, [request], ROME, contexts=CONTEXTS)
    assert near(found.updates[0].matrix(), plain_rome(model, request, CONTEXTS, None).delta)


@pytest.mark.parametrize("limit", [40, None])
def test_rome_leaves_out_what_does_not_fit(models: dict[str, Model], limit: int | None) -> None:
    model = models["gpt2"]
    model = replace(model, tokenizer=replace(model.tokenizer, max_length=limit))
    first, second, *_ = requests_for(model)
    ids = first.new_prompt.input_ids
    long = replace(first, name="long", new_prompt=Encoded(ids * 20, len(ids) * 20 - 1, first.new_prompt.target_ids))
    endless = " ".join(["The king helped."] * 20)
    alone = rome.find_edits(model, [second], ROME, contexts=CONTEXTS)
    found = rome.find_edits(model, [long, second], ROME, contexts=[CONTEXTS[0], endless, CONTEXTS[1]])
    assert (found[0].request, found[0].failure, found[0].updates) == ("long", TOO_LONG, ())
    assert near(found[1].updates[0].matrix(), alone[0].updates[0].matrix(), 1e-10)


def test_a_kept_text_that_is_too_long_is_replaced(models: dict[str, Model]) -> None:
    """The subject and "is a" may be longer than the model's positions where the prompt is just as long.

    A tokenizer that knows no limit of its own does not refuse it.
    """
    model = models["gpt2"]
    model = replace(model, tokenizer=replace(model.tokenizer, max_length=None))
    subject = " ".join(["Italy"] * 39)
    encoded = model.tokenizer.encode(f"In {subject}", "", "Paris")
    request = replace(requests_for(model)[0], prefix=f"In {subject}", suffix="", subject=subject, subject_at=3)
    length = len(encoded.input_ids)
    request = replace(request, new="Paris", new_prompt=encoded, old_prompt=encoded, subject_token=length - 1)
    assert length + len(encoded.target_ids) - 1 == 40 == model.positions
    [found] = rome.find_edits(model, [request], ROME)
    assert not found.failure and found.updates


def test_rome_fails_and_says_so(models: dict[str, Model]) -> None:
    model = models["gpt2"]
    requests = requests_for(model)[:2]
    nothing = Covariance({LAYER: torch.zeros(model.adapter.width, model.adapter.width)}, 9)
    found = rome.find_edits(model, requests, ROME, covariance=nothing)
    assert [(one.request, one.failure, one.updates) for one in found] == [(r.name, SINGULAR, ()) for r in requests]
    for settings, covariance, words in (
        (replace(ROME, layer=3), None, "layer 3"),
        (replace(ROME, token="first"), None, "'first'"),
        (ROME, covariance_of(24, layer=0), "layer 1"),
    ):
        with pytest.raises(UserError, match=words):
            rome.find_edits(model, requests, settings, covariance=covariance)


@pytest.mark.parametrize("module", [rome, fine_tuning])
def test_what_diverges_harms_no_other(tmp_path_factory: pytest.TempPathFactory, module: Any) -> None:
    model = loaded_model("gpt2", tmp_path_factory.mktemp("nan"), sentences(), 40, tie_word_embeddings=False)
    settings: Any = ROME if module is rome else TUNING
    good, bad, *others = requests_for(model)
    before = module.find_edits(model, [good, *others], settings)
    unused = next(n for n in range(60) if not any(n in one.new_prompt.input_ids for one in (good, bad, *others)))
    bad = replace(bad, new_prompt=replace(bad.new_prompt, input_ids=(unused, *bad.new_prompt.input_ids[1:])))
    model.adapter.word_embeddings()[unused] = torch.nan
    found = module.find_edits(model, [good, bad, *others], settings)
    lost = found.pop(1)
    assert (lost.request, lost.failure, lost.updates, lost.steps) == (bad.name, DIVERGED, (), 1)
    assert lost.loss != lost.loss
    for one, other in zip(found, before, strict=True):
        assert near(one.updates[0].matrix(), other.updates[0].matrix(), 1e-10) and one.steps == 6


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch", [1, 2**24])
def test_fine_tuning_is_the_plain_algorithm(models: dict[str, Model], family: str, batch: int) -> None:
    model = models[family]
    requests = requests_for(model)
    halfway = fine_tuning.find_edits(model, requests, replace(TUNING, steps=3))
    stop = sorted(one.loss for one in halfway)[3]
    for changes in ({}, {"norm": 9.0}, {"steps": 1}, {"stop": stop}):
        settings = replace(TUNING, batch_values=batch, **changes)
        counts, largest = set(), []
        for request, found in zip(requests, fine_tuning.find_edits(model, requests, settings), strict=True):
            ids, target = request.new_prompt.input_ids, request.new_prompt.target_ids
            names = {"layer": LAYER, "steps": settings.steps, "learning_rate": settings.learning_rate}
            names |= {"norm": settings.norm, "stop_loss": settings.stop}
            expected = plain.fine_tuning(model.module, family, ids, target, **names)
            [update] = found.updates
            assert found.request == request.name and not found.failure and update.layer == LAYER
            assert torch.allclose(update.matrix(), expected, rtol=0, atol=1e-9 * settings.learning_rate)
            counts.add(found.steps)
            largest.append(float(update.matrix().abs().max()))
            # The last loss is that of the model with the change.
            with plain.edited(model.module, family, {LAYER: update.matrix()}):
                texts = torch.tensor([[*ids, *target]])
                scores = model.module(texts).logits[0].log_softmax(-1)
            loss = -sum(float(scores[len(ids) - 1 + n, token]) for n, token in enumerate(target)) / len(target)
            assert found.loss == pytest.approx(loss, rel=1e-8)
        if "stop" in changes:
            assert len(counts) > 1
        else:
            assert counts == {settings.steps}
        if settings.steps == 6 and not settings.stop:
            assert (max(largest) == pytest.approx(0.05)) is (not changes)


def test_fine_tuning_refuses_what_it_cannot_do(models: dict[str, Model]) -> None:
    model = models["gpt2"]
    first, second, *_ = requests_for(model)
    ids = first.new_prompt.input_ids
    long = replace(first, name="long", new_prompt=Encoded(ids * 20, len(ids) * 20 - 1, first.new_prompt.target_ids))
    found = fine_tuning.find_edits(model, [long, second], TUNING)
    assert [(one.request, one.failure) for one in found] == [("long", TOO_LONG), (second.name, "")]
    with pytest.raises(UserError, match="layer 3"):
        fine_tuning.find_edits(model, [first], replace(TUNING, layer=3))


def coarse(scores: np.ndarray, share: float) -> set[tuple[int, int]]:
    """Neurons (layer, i) whose score is above a share of the prompt's largest, one after the other."""
    layers, width = scores.shape
    bound = share * max(scores[layer, i] for layer in range(layers) for i in range(width))
    return {(layer, i) for layer in range(layers) for i in range(width) if bound < scores[layer, i]}


@pytest.mark.parametrize("step", knowledge_neuron.STEPS)
@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_knowledge_neurons_are_those_of_the_fact_alone(models: dict[str, Model], family: str, step: str) -> None:
    model = models[family]
    requests = requests_for(model)
    settings = knowledge_neuron.Settings(
        old=1.5, new=7.0, step=step, coarse=0.3, share=0.4, shared=0.2, paraphrases=2, nodes=3
    )
    having: list[set[tuple[int, int]]] = []
    for request in requests:
        asked = request.paraphrases[:2]
        found = [coarse(attribute(model, [one], nodes=3).scores[0], 0.3) for one in asked]
        having.append({one for one in set().union(*found) if sum(one in part for part in found) / len(found) > 0.4})
    edits = knowledge_neuron.find_edits(model, requests, settings)
    shares = set()
    for n, (request, found) in enumerate(zip(requests, edits, strict=True)):
        others = [part for m, part in enumerate(having) if m != n]
        own = {one for one in having[n] if sum(one in part for part in others) <= 0.2 * len(others)}
        shares.add(len(own) / len(having[n]))
        old, new = request.old_prompt.target_ids, request.new_prompt.target_ids
        expected = plain.knowledge_neuron(model.module, family, own, old, new, 1.5, 7.0, of_slot=step == "slot")
        assert found.request == request.name and bool(found.updates) == bool(own)
        assert found.failure == ("" if own else NO_NEURONS)
        assert {update.layer for update in found.updates} == set(expected) and len(found.updates) == len(expected)
        for update in found.updates:
            assert near(update.matrix(), expected[update.layer], 1e-12)
    assert len(shares) > 1 and max(shares) > 0  # some neurons are left out, and some are not
