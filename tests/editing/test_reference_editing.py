"""The plain editors against what does not need them: Hugging Face's own loss, linear algebra, sums of probabilities."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from kn_thesis.editing.requests import Question
from kn_thesis.models.cloze import Encoded
from tests.helpers.tiny_models import WORDS, model_of
from tests.reference.editing import (
    Rome,
    ask,
    closed_form,
    down_projection_weight,
    edited,
    evaluate,
    fine_tuning,
    knowledge_neuron,
    rome,
    value_module,
)

CAUSAL = ("gpt2", "llama")
FAMILIES = (*CAUSAL, "bert")
LAYER = 1
BARE = ((5, 9, 3, 12), 2)
PREFIXED = [BARE, ((7, 5, 9, 3, 12), 3), ((20, 21, 5, 9, 3, 12), 4)]
KL_PROMPT = ((9, 3, 30, 31), 1)
TARGET = (17, 4)
SETTINGS: dict[str, Any] = {
    **{"layer": LAYER, "steps": 6, "learning_rate": 0.3, "weight_decay": 0.5, "clamp": 4.0, "kl": 0.0625},
    "stop_loss": 0.0,
}


def made(family: str, layer: int = LAYER, **changes: Any) -> SimpleNamespace:
    """A tiny model, what its value module takes and gives, and a matrix C."""
    module = model_of(family, **changes).module
    value, generator = value_module(module, family, layer), torch.Generator().manual_seed(1)
    keys = torch.randn(24, 60, generator=generator, dtype=torch.float64)

    def seen(ids: tuple[int, ...], token: int) -> tuple[Tensor, Tensor]:
        kept = []
        handle = value.register_forward_hook(lambda _, inputs, output: kept.extend((inputs[0], output)))
        module(torch.tensor([ids]))
        handle.remove()
        return kept[0][0, token], kept[1][0, token]

    return SimpleNamespace(module=module, value=value, seen=seen, keys=keys, second_moment=keys @ keys.T / 60)


def run(model: SimpleNamespace, family: str, contexts: Any = PREFIXED, c: Tensor | None = None, **changes: Any) -> Rome:
    return rome(model.module, family, contexts, TARGET, KL_PROMPT, c, **(SETTINGS | changes))


def weights_of(module: Any) -> list[Tensor]:
    return [weight.detach().clone() for weight in module.state_dict().values()]


def library_loss(module: Any, ids: tuple[int, ...], target: tuple[int, ...]) -> float:
    """Mean −log P of the target's tokens as Hugging Face computes it, in float32."""
    labels = torch.tensor([[-100] * len(ids) + list(target)])
    return module(torch.tensor([[*ids, *target]]), labels=labels).loss.item()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_value_matrix_takes_neurons_to_what_the_mlp_adds(family: str) -> None:
    model = made(family, **({"mlp_bias": True} if family == "llama" else {}))
    neurons, output = model.seen(*BARE)
    weight = down_projection_weight(model.module, family, LAYER)
    assert weight.shape == (16, 24)
    assert torch.allclose(weight @ neurons + model.value.bias, output, rtol=1e-12)


@pytest.mark.parametrize("with_c", [True, False])
@pytest.mark.parametrize(("family", "changes"), [("gpt2", {}), ("llama", {}), ("llama", {"mlp_bias": True})])
def test_the_edited_value_module_gives_v_star(family: str, changes: dict[str, Any], with_c: bool) -> None:
    model = made(family, **changes)
    found = run(model, family, c=model.second_moment if with_c else None)
    with edited(model.module, family, {LAYER: found.delta}):
        after = model.seen(*BARE)[1]
    assert torch.allclose(after, found.v_star, rtol=1e-9, atol=1e-12)
    assert (after - model.seen(*BARE)[1]).norm() > 0.1
    assert found.u.norm().item() == pytest.approx(1) and found.losses == 6


@pytest.mark.parametrize("family", CAUSAL)
def test_the_change_is_the_constrained_least_squares_solution(family: str) -> None:
    model = made(family)
    bias = model.value.bias if model.value.bias is not None else 0
    weight = down_projection_weight(model.module, family, LAYER)
    found = run(model, family, [BARE], model.second_moment)
    key = model.seen(*BARE)[0]
    expected = closed_form(weight, key, key, found.v_star - bias, model.second_moment)
    assert (found.delta - expected).norm() < 1e-9 * expected.norm()
    # Of several contexts, k* is the mean of their keys, and the bare prompt's is the one that gets v*.
    found = run(model, family, PREFIXED, model.second_moment)
    k_star = sum(model.seen(*prompt)[0] for prompt in PREFIXED) / 3
    general = closed_form(weight, k_star, key, found.v_star - bias, model.second_moment)
    assert (found.delta - general).norm() < 1e-9 * general.norm()
    assert (found.delta - closed_form(weight, key, key, found.v_star - bias, model.second_moment)).norm() > 1e-3


def test_nothing_that_meets_the_constraint_disturbs_the_keys_less() -> None:
    model = made("gpt2")
    weight, generator = down_projection_weight(model.module, "gpt2", LAYER), torch.Generator().manual_seed(2)
    k, v_star = (torch.randn(size, generator=generator, dtype=torch.float64) for size in (24, 16))
    delta = closed_form(weight, k, k, v_star, model.second_moment)
    assert torch.allclose((weight + delta) @ k, v_star)
    least = (delta @ model.keys).norm()
    for _ in range(20):
        other = torch.randn(16, 24, generator=generator, dtype=torch.float64)
        other -= torch.outer(other @ k, k) / (k @ k)  # leaves the constraint as it is
        assert torch.allclose((weight + delta + other) @ k, v_star)
        assert ((delta + 1e-3 * other) @ model.keys).norm() > least


@pytest.mark.parametrize("family", CAUSAL)
def test_the_first_loss_is_the_library_s_mean_over_contexts(family: str) -> None:
    model = made(family)
    found = run(model, family, steps=1, weight_decay=9.0, kl=9.0)
    expected = sum(library_loss(model.module, ids, TARGET) for ids, _ in PREFIXED) / 3
    assert found.loss == pytest.approx(expected, rel=1e-6) and found.losses == 1
    assert not found.delta.any() and torch.equal(found.v_star, model.seen(*BARE)[1])


@pytest.mark.parametrize("family", CAUSAL)
def test_the_last_loss_is_that_of_the_edited_model(family: str) -> None:
    """In the last layer, at the last token, adding δ there and changing W are the same."""
    model, last = made(family, 2), ((5, 9, 3), 2)
    found = rome(model.module, family, [last], (17,), last, **(SETTINGS | {"layer": 2, "kl": 0.7}))
    v0 = model.seen(*last)[1]
    before = torch.softmax(model.module(torch.tensor([last[0]])).logits[0, -1], -1)
    with edited(model.module, family, {2: found.delta}):
        now = torch.softmax(model.module(torch.tensor([last[0]])).logits[0, -1], -1)
    divergence = (now * (now / before).log()).sum()
    decay = 0.5 * (found.v_star - v0).norm() / v0.norm() ** 2
    assert found.loss == pytest.approx((-now[17].log() + 0.7 * divergence + decay).item(), rel=1e-9)
    assert min(divergence, decay) > 1e-3


@pytest.mark.parametrize("family", CAUSAL)
def test_rome_stops_learns_and_is_clamped(family: str) -> None:
    model = made(family)
    first = run(model, family, steps=1).loss
    assert run(model, family, steps=25).loss < first - 0.15
    stopped = run(model, family, stop_loss=first + 1e-9)
    assert stopped.losses == 1 and not stopped.delta.any()
    v0 = model.seen(*BARE)[1]
    close = run(model, family, clamp=0.01, weight_decay=0.0)
    assert (close.v_star - v0).norm().item() == pytest.approx(0.01 * v0.norm().item())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("of_slot", [True, False])
def test_slots_of_knowledge_neurons_get_the_new_word_for_the_old(family: str, of_slot: bool) -> None:
    model = made(family)
    words = (model.module.cls.predictions.decoder if family == "bert" else model.module.lm_head).weight
    updates = knowledge_neuron(model.module, family, [(0, 3), (2, 1), (0, 7)], [5], [8, 9], 1.5, 8.0, of_slot)
    before = {layer: down_projection_weight(model.module, family, layer).clone() for layer in range(3)}
    old, new = words[5], (words[8] + words[9]) / 2
    with edited(model.module, family, updates):
        for layer, slots in ((0, [3, 7]), (1, []), (2, [1])):
            change = down_projection_weight(model.module, family, layer) - before[layer]
            for i in range(24):
                expected = torch.zeros(16, dtype=torch.float64)
                if i in slots:
                    length = before[layer][:, i].norm()
                    scales = (length / old.norm(), length / new.norm()) if of_slot else (1, 1)
                    expected = -1.5 * scales[0] * old + 8.0 * scales[1] * new
                assert torch.allclose(change[:, i], expected)


@pytest.mark.parametrize("family", CAUSAL)
def test_fine_tuning_learns_within_its_bounds(family: str) -> None:
    model = made(family)
    settings: dict[str, Any] = {"layer": LAYER, "learning_rate": 0.05, "norm": 0.08, "stop_loss": 0.0}

    def tuned(**changes: Any) -> Tensor:
        return fine_tuning(model.module, family, BARE[0], TARGET, **(settings | changes))

    def loss_of(delta: Tensor) -> float:
        with edited(model.module, family, {LAYER: delta}):
            return library_loss(model.module, BARE[0], TARGET)

    start, delta = library_loss(model.module, *BARE[:1], TARGET), tuned(steps=5)
    assert delta.shape == (16, 24) and delta.abs().max().item() == pytest.approx(0.08)
    assert loss_of(delta) < loss_of(tuned(steps=2)) < start
    # Adam's first update is of one length for all weights that have a gradient.
    assert tuned(steps=2).abs().max().item() == pytest.approx(0.05, rel=1e-4) and not tuned(steps=1).any()
    assert not tuned(steps=4, stop_loss=start + 1e-5).any() and tuned(steps=4, stop_loss=start - 1e-5).any()


@pytest.mark.parametrize("family", CAUSAL)
def test_every_weight_is_as_it_was(family: str) -> None:
    model = made(family)
    before = weights_of(model.module)
    delta = run(model, family, steps=3).delta
    tuned = fine_tuning(
        model.module, family, BARE[0], TARGET, layer=2, steps=2, learning_rate=0.1, norm=1.0, stop_loss=0.0
    )
    with pytest.raises(ZeroDivisionError), edited(model.module, family, {LAYER: delta, 2: tuned}):
        changed = sum(not torch.equal(*pair) for pair in zip(before, weights_of(model.module), strict=True))
        assert changed == 2
        raise ZeroDivisionError
    assert all(torch.equal(*pair) for pair in zip(before, weights_of(model.module), strict=True))
    assert not any(weight.requires_grad or weight.grad is not None for weight in model.module.parameters())
    assert not model.value._forward_hooks


def asker(family: str) -> Callable[[tuple[int, ...]], tuple[float, bool, float, int]]:
    """Asks a tiny model for a target of one or two tokens."""
    module, objective = model_of(family).module, "masked" if family == "bert" else "causal"

    def found(target: tuple[int, ...]) -> tuple[float, bool, float, int]:
        ids = (5, 6, 7) if objective == "causal" else (5, *[0] * len(target), 6, 7)
        return ask(module, objective, Encoded(ids, 2 if objective == "causal" else 1, target))

    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_sum_to_one_and_words_to_their_first_token(family: str) -> None:
    found = asker(family)
    single = [found((token,)) for token in range(WORDS)]
    assert sum(p for p, *_ in single) == pytest.approx(1)
    choice = single[0][3]
    assert [token for token in range(WORDS) if single[token][1]] == [choice]
    assert single[choice][0] == max(p for p, *_ in single)

    # Behind each first token the second ones sum to its own probability (a masked model sees two masks).
    pairs = [[found((first, second)) for second in range(WORDS)] for first in range(WORDS)]
    sums = [sum(p for p, *_ in row) for row in pairs]
    assert sum(sums) == pytest.approx(1)
    if family != "bert":
        assert sums == pytest.approx([p for p, *_ in single])
    right = [(first, second) for first in range(WORDS) for second in range(WORDS) if pairs[first][second][1]]
    assert len(right) == 1 and pairs[right[0][0]][right[0][1]][2] == 1
    assert {share for row in pairs for _, _, share, _ in row} == {0, 0.5, 1}
    assert {says for row in pairs for *_, says in row} == {right[0][0]}


def test_questions_are_asked_before_and_after() -> None:
    model = made("gpt2")
    new, old = Encoded(BARE[0], 3, TARGET), Encoded(BARE[0], 3, (11,))
    elsewhere = Encoded((30, 31, 32), 2, (6,))
    questions = [
        Question("reliability", "a ___", "new", "old", new, old),
        Question("locality", "b ___", "x", "new", elsewhere, None, near=True),
    ]
    found = run(model, "gpt2", steps=25, weight_decay=0.0, kl=0.0)
    rows = evaluate(model.module, "gpt2", "causal", {LAYER: found.delta}, questions)
    assert [row["criterion"] for row in rows] == ["reliability", "locality"] and [r["near"] for r in rows] == [0, 1]
    asked = [ask(model.module, "causal", prompt) for prompt in (new, old, elsewhere)]
    with edited(model.module, "gpt2", {LAYER: found.delta}):
        again = [ask(model.module, "causal", prompt) for prompt in (new, old, elsewhere)]
    for when, (one, other, local) in (("before", asked), ("after", again)):
        assert [rows[0][f"{name}_{when}"] for name in ("p", "first", "tokens", "says")] == list(one)
        assert [rows[0][f"{name}_{when}"] for name in ("rival", "rival_first")] == list(other[:2])
        assert [rows[1][f"{name}_{when}"] for name in ("p", "first", "tokens", "says")] == list(local)
        assert rows[1][f"rival_{when}"] != rows[1][f"rival_{when}"] and not rows[1][f"rival_first_{when}"]
    assert abs(rows[0]["p_after"] / rows[0]["p_before"] - 1) > 0.1
