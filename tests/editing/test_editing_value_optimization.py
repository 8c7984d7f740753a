"""v* of many requests together against the plain algorithm, one request and one whole forward at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from kn_thesis.editing import value_optimization
from kn_thesis.editing.rome import Settings
from kn_thesis.editing.value_optimization import Problem, TokenRow, Value, compute_v
from tests.helpers.tiny_models import model_of
from tests.reference.editing import Prompt, Rome, read, rome, value_module

FAMILIES = ("gpt2", "llama")
ALL = 10**6
OPTIMISER = Settings(steps=8, learning_rate=0.3, stop=0.0)
# Prompts after contexts of several lengths, the bare one first; the answer; the text that shall be kept.
Texts = tuple[list[Prompt], tuple[int, ...], Prompt]
TEXTS: dict[str, Texts] = {
    "one token": ([((5, 9, 3, 12), 2), ((7, 5, 9, 3, 12), 3), ((20, 21, 33, 5, 9, 3, 12), 5)], (17,), ((9, 3, 30), 1)),
    "three tokens": ([((8, 6, 13, 2, 2), 1), ((19, 18, 8, 6, 13, 2, 2), 3)], (4, 25, 17), ((8, 6, 30, 31), 1)),
    "subject first": ([((3, 12, 6, 8), 0)], (11, 28), ((3, 30, 31), 0)),
    "nothing else": ([((14,), 0)], (9,), ((14,), 0)),
    "subject last": ([((5, 9, 3), 2), ((7, 35, 5, 9, 3), 4)], (22, 4), ((5, 9, 3, 30, 31), 2)),
    "token last": ([((5, 9, 3, 12, 6), 4), ((36, 5, 9, 3, 12, 6), 5)], (23,), ((9, 3, 30, 31), 3)),
}


def problems_of(texts: list[Texts]) -> list[Problem]:
    return [
        Problem(
            tuple(TokenRow((*ids, *target[:-1]), token, target) for ids, token in prompts),
            TokenRow(tuple(kept[0]), kept[1]),
        )
        for prompts, target, kept in texts
    ]


def find(model: Any, texts: list[Texts], optimiser: Settings = OPTIMISER, layer: int = 1, most: int = ALL) -> Any:
    return compute_v(model, layer, problems_of(texts), optimiser, most)


def plain(model: Any, texts: Texts, optimiser: Settings = OPTIMISER, layer: int = 1) -> Rome:
    settings: dict[str, Any] = {
        name: getattr(optimiser, name) for name in ("steps", "learning_rate", "weight_decay", "clamp", "kl")
    }
    prompts, target, kept = texts
    settings |= {"layer": layer, "stop_loss": optimiser.stop, "kl_at_end": optimiser.kl_token == "last"}
    return rome(model.module, model.adapter.family, prompts, target, kept, **settings)


def close(found: torch.Tensor, expected: torch.Tensor, bound: float) -> bool:
    assert found.shape == expected.shape
    return bool((found.double() - expected.double()).norm() <= bound * expected.double().norm())


def check(
    model: Any, texts: Texts, value: Value, optimiser: Settings = OPTIMISER, layer: int = 1, bound: float = 1e-8
) -> None:
    expected = plain(model, texts, optimiser, layer)
    value_at = value_module(model.module, model.adapter.family, layer)
    read_in = [read(model.module, value_at, prompt) for prompt in texts[0]]
    assert close(value.after, expected.v_star, bound)
    assert close(value.key, read_in[0][0], bound) and close(value.before, read_in[0][1], bound)
    assert close(value.mean_key, torch.stack([key for key, _ in read_in]).mean(0), bound)
    assert value.steps == expected.losses and value.loss == pytest.approx(expected.loss, rel=bound)


IN_EACH_LAYER = [("gpt2", {}), ("llama", {}), ("llama", {"num_key_value_heads": 2, "mlp_bias": True})]
PLACES = [(*variant, layer) for variant in IN_EACH_LAYER for layer in range(3)]


@pytest.mark.parametrize(
    ("family", "changes", "layer"), [*PLACES, *((family, {}, 1) for family in ("gptj", "mistral", "qwen2"))], ids=str
)
def test_equal_to_the_plain_algorithm(family: str, changes: dict[str, Any], layer: int) -> None:
    model = model_of(family, **changes)
    found = find(model, list(TEXTS.values()), layer=layer)
    for texts, value in zip(TEXTS.values(), found, strict=True):
        # In the top layer a token before the last says nothing of what follows: there is nothing to search.
        if layer == 2 and all(token < len(ids) - 1 for ids, token in texts[0]):
            assert value.steps == 1 and torch.equal(value.after, value.before)
            continue
        check(model, texts, value, layer=layer)
        assert value.steps == 8 and (value.after - value.before).norm() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "changes",
    [
        {"kl": 0.0},
        {"weight_decay": 0.0},
        {"kl": 0.0, "weight_decay": 0.0},
        {"kl": 3.0, "weight_decay": 5.0},
        {"kl": 3.0, "kl_token": "last"},
        {"learning_rate": 0.05},
        {"steps": 1},
        {"steps": 2},
    ],
)
def test_equal_with_each_setting(family: str, changes: dict[str, Any]) -> None:
    model, optimiser = model_of(family), replace(OPTIMISER, **changes)
    usual = find(model, list(TEXTS.values()))
    for texts, value, other in zip(TEXTS.values(), find(model, list(TEXTS.values()), optimiser), usual, strict=True):
        check(model, texts, value, optimiser)
        assert value.loss != other.loss
        assert (value.steps == 1) == torch.equal(value.before, value.after)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_clamp_holds_those_that_reach_it(family: str) -> None:
    model = model_of(family)
    free = find(model, list(TEXTS.values()), replace(OPTIMISER, clamp=1e9))
    reached = sorted(float((value.after - value.before).norm() / value.before.norm()) for value in free)
    clamp = (reached[2] + reached[3]) / 2
    optimiser = replace(OPTIMISER, clamp=clamp)
    held = []
    for texts, value in zip(TEXTS.values(), find(model, list(TEXTS.values()), optimiser), strict=True):
        check(model, texts, value, optimiser)
        length = float((value.after - value.before).norm() / value.before.norm())
        assert length <= clamp * (1 + 1e-12)
        held.append(length > clamp * (1 - 1e-12))
    assert any(held) and not all(held)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("most", [1, ALL])
def test_each_stops_by_itself(family: str, most: int) -> None:
    model, every = model_of(family), list(TEXTS.values())
    losses = [[plain(model, texts, replace(OPTIMISER, steps=steps)).loss for texts in every] for steps in (1, 4, 8)]
    # Above one's first loss, and above another's fourth or last.
    stop = min(losses[0]) + 1e-6
    optimiser = replace(OPTIMISER, stop=stop)
    counts = []
    for texts, value in zip(every, find(model, every, optimiser, most=most), strict=True):
        check(model, texts, value, optimiser)
        counts.append(value.steps)
    assert min(counts) == 1 and len(set(counts)) > 2


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_change_nothing(family: str) -> None:
    model, every = model_of(family), list(TEXTS.values())
    whole = find(model, every, replace(OPTIMISER, stop=2.5))
    embed, sizes = model.adapter.embed, []

    def seen(ids: torch.Tensor, *further: Any) -> torch.Tensor:
        sizes.append(tuple(ids.shape))
        return embed(ids, *further)

    model.adapter.embed = seen
    largest = [(4 * 7), (3 * 9), (2 * 5), (2 * 1), (3 * 6), (3 * 6)]  # rows × tokens of each alone
    for most, batches in ((1, 6), (40, 4), (60, 3), (ALL, 1)):
        sizes.clear()
        parts = find(model, every, replace(OPTIMISER, stop=2.5), most=most)
        assert len(sizes) == batches
        assert all(rows * tokens <= max(most, *largest) for rows, tokens in sizes)
        for one, other in zip(whole, parts, strict=True):
            assert close(other.after, one.after, 1e-10) and close(other.mean_key, one.mean_key, 1e-12)
            assert other.steps == one.steps and other.loss == pytest.approx(one.loss, rel=1e-10)
    # In whatever order they are asked for.
    for one, other in zip(whole, find(model, every[::-1], replace(OPTIMISER, stop=2.5))[::-1], strict=True):
        assert close(other.after, one.after, 1e-10)
    assert find(model, []) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_in_float32(family: str) -> None:
    model = model_of(family, torch.float32)
    for texts, value in zip(TEXTS.values(), find(model, list(TEXTS.values())), strict=True):
        assert value.after.dtype == value.key.dtype == value.mean_key.dtype == torch.float32
        check(model, texts, value, bound=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_float32_of_smaller_dtypes(family: str) -> None:
    model = model_of(family, torch.bfloat16)
    for value in find(model, list(TEXTS.values())):
        assert {x.dtype for x in (value.key, value.mean_key, value.before, value.after)} == {torch.float32}
        assert value.after.isfinite().all() and (value.after - value.before).norm() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_text_that_gives_nan_harms_no_other(family: str, place: int) -> None:
    model, every = model_of(family, tie_word_embeddings=False), list(TEXTS.values())
    alone = find(model, every)
    model.adapter.word_embeddings()[39] = torch.nan
    broken: Texts = ([((5, 39, 3, 12), 2), ((7, 5, 39, 3, 12), 3)], (17,), ((39, 3, 30), 1))
    found = find(model, [*every[:place], broken, *every[place:]])
    lost = found.pop(place)
    assert lost.steps == 1 and lost.loss != lost.loss
    for texts, value, other in zip(every, found, alone, strict=True):
        check(model, texts, value)
        assert close(value.after, other.after, 1e-10)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_longer_finite_ends_its_own_search(monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    model, every = model_of("gpt2"), list(TEXTS.values())
    usual, calls = value_optimization._losses, []

    def losses(*args: Any) -> torch.Tensor:
        calls.append(len(args[3]))
        found = usual(*args)
        return found + torch.tensor([0.0] * 2 + [bad] + [0.0] * 3) if len(calls) == 3 else found

    monkeypatch.setattr(value_optimization, "_losses", losses)
    found = find(model, every)
    assert calls == [6] * 3 + [5] * 5
    for number, (texts, value) in enumerate(zip(every, found, strict=True)):
        if number == 2:
            assert value.steps == 3 and value.loss == pytest.approx(bad, nan_ok=True)
            assert close(value.after, plain(model, texts, replace(OPTIMISER, steps=3)).v_star, 1e-8)
        else:
            check(model, texts, value)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_left_as_it_is(family: str) -> None:
    model = model_of(family)
    before = {name: weight.clone() for name, weight in model.module.state_dict().items()}
    find(model, list(TEXTS.values()))
    assert all(torch.equal(before[name], weight) for name, weight in model.module.state_dict().items())
    assert not any(weight.requires_grad or weight.grad is not None for weight in model.module.parameters())
