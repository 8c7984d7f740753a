"""Answers before and after many edits at once against single forwards of models that are really edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kn_thesis.editing.evaluation import Prediction, predict
from kn_thesis.editing.weight_update import Update
from kn_thesis.errors import UserError
from kn_thesis.models.cloze import Encoded
from tests.helpers.tiny_models import model_of
from tests.reference.editing import ask, edited

CASES = [("gpt2", {}), ("llama", {}), ("llama", {"num_key_value_heads": 2, "mlp_bias": True}), ("bert", {})]
POSITIONS = 16
MASK = 1


def a_model(family: str, dtype: torch.dtype = torch.float64, **changes: Any) -> Any:
    model = model_of(family, dtype, **changes)
    model.positions = POSITIONS
    return model


def updates_of(dtype: torch.dtype = torch.float64) -> list[tuple[Update, ...]]:
    """None; of rank one in each layer; dense; several layers, in no order; rank 3; none again."""
    generator = torch.Generator().manual_seed(4)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return [
        (),
        (Update(0, drawn(16, 1), drawn(24, 1)),),
        (Update(1, drawn(16, 1), drawn(24, 1)),),
        (Update(2, drawn(16, 1), drawn(24, 1)),),
        (Update(1, drawn(16, 24)),),
        (Update(2, drawn(16, 24)), Update(0, drawn(16, 2), drawn(24, 2))),
        (Update(0, drawn(16, 1), drawn(24, 1)), Update(1, drawn(16, 24)), Update(2, drawn(16, 3), drawn(24, 3))),
        (),
        (Update(2, drawn(16, 1), drawn(24, 1)), Update(1, drawn(16, 1), drawn(24, 1))),
    ]


def target_of(family: str, prompt: Sequence[int], target: Sequence[int], rest: Sequence[int] = ()) -> Encoded:
    if family == "bert":
        return Encoded((*prompt, *[MASK] * len(target), *rest), len(prompt), tuple(target))
    return Encoded(tuple(prompt), len(prompt) - 1, tuple(target))


def targets_of(family: str, edits: int) -> list[list[Encoded]]:
    """Of each edit some prompts of several lengths, with words of several tokens; some of all edits, some repeated."""
    random = np.random.default_rng(5)

    def tokens(most: int) -> list[int]:
        return random.integers(2, 40, random.integers(1, most + 1)).tolist()

    shared = target_of(family, [5, 9, 3, 12], [17, 4], [8])
    other = target_of(family, [5, 9, 3, 12], [17, 23], [8])
    found = []
    for _ in range(edits):
        own = [target_of(family, tokens(8), tokens(3), tokens(3)) for _ in range(int(random.integers(1, 5)))]
        found.append([shared, *own, other, own[0], shared])
    found[3] = []
    full = target_of(family, tokens(1) * (POSITIONS - 2), [7, 9], [])
    assert len(full.input_ids) + (family != "bert") in (POSITIONS, POSITIONS - 1)
    found[4].append(full)
    return found


def first_choices(model: Any, family: str, targets: Sequence[Encoded], updates: Sequence[Update]) -> list[Encoded]:
    """The same prompts, each with what the edited model would say for the first token of its word."""
    matrices = {update.layer: update.matrix() for update in updates}
    found = []
    for one in targets:
        with edited(model.module, family, matrices):
            says = ask(model.module, objective(family), one)[3]
        found.append(Encoded(one.input_ids, one.gap, (says, *one.target_ids[1:])))
    return found


def objective(family: str) -> str:
    return "masked" if family == "bert" else "causal"


def check(
    model: Any,
    family: str,
    targets: Sequence[Encoded],
    updates: Sequence[Update],
    said: Prediction,
    bound: float = 1e-9,
) -> None:
    with edited(model.module, family, {update.layer: update.matrix() for update in updates}):
        expected = [ask(model.module, objective(family), one) for one in targets]
    assert len(said.log_probability) == len(said.first) == len(said.share) == len(said.says) == len(targets)
    for n, (p, first, share, says) in enumerate(expected):
        assert said.log_probability[n] == pytest.approx(np.log(p), abs=bound)
        assert (bool(said.first[n]), float(said.share[n]), int(said.says[n])) == (first, share, says)


@pytest.mark.parametrize(("family", "changes"), CASES)
@pytest.mark.parametrize("batch_tokens", [1, 60, 10**6])
def test_equal_to_the_edited_model(family: str, changes: dict[str, Any], batch_tokens: int) -> None:
    model, updates = a_model(family, **changes), updates_of()
    targets = targets_of(family, len(updates))
    for part, change in zip(targets, updates, strict=True):
        part += first_choices(model, family, part[:2], change)
    before, after = predict(model, updates, targets, batch_tokens)
    assert len(before) == len(after) == len(updates)
    for part, change, one, other in zip(targets, updates, before, after, strict=True):
        check(model, family, part, (), one)
        check(model, family, part, change, other)
        if part and change:
            assert np.abs(one.log_probability - other.log_probability).max() > 0.1
        else:
            assert np.array_equal(one.log_probability, other.log_probability)
            assert np.array_equal(one.says, other.says)
    # Whole words, parts of words and none of them are first choices.
    shares = [share for one in after for share in one.share]
    assert min(shares) == 0 and max(shares) == 1 and any(0 < share < 1 for share in shares)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_batches_and_company_change_nothing(family: str) -> None:
    model, updates = a_model(family), updates_of()
    targets = targets_of(family, len(updates))
    whole = predict(model, updates, targets)
    for n in range(len(updates)):
        for one, other in zip(predict(model, [updates[n]], [targets[n]], 1), whole, strict=True):
            assert len(one) == 1
            for name in ("log_probability", "first", "share", "says"):
                assert np.allclose(getattr(one[0], name), getattr(other[n], name), rtol=0, atol=1e-10)
    turned = predict(model, updates[::-1], targets[::-1], 40)
    for one, other in zip(turned, whole, strict=True):
        for mine, its in zip(one[::-1], other, strict=True):
            assert np.allclose(mine.log_probability, its.log_probability, rtol=0, atol=1e-10)


def test_batches_are_as_large_as_they_may_be() -> None:
    """Tokens of distinct prompts that go through the layers together, each edit's whole."""
    model = a_model("gpt2")
    updates = [(Update(1, torch.ones(16, 1), torch.ones(24, 1)),)] * 6 + [(Update(2, torch.ones(16, 24)),)]
    targets = [[target_of("gpt2", [n + 2, 5, 6, m], [9]) for m in (7, 8)] for n in range(7)]
    embed, sizes = model.adapter.embed, []

    def seen(ids: Tensor, *further: Any) -> Tensor:
        sizes.append(ids.numel())
        return embed(ids, *further)

    model.adapter.embed = seen
    pairs = [16, 16, 16, 8]
    for most, expected in ((1, [8] * 7), (16, pairs), (23, pairs), (24, [24, 24, 8]), (99, [48, 8])):
        sizes.clear()
        predict(model, updates, targets, most)
        assert sorted(sizes) == sorted(expected)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_in_float32(family: str) -> None:
    model, updates = a_model(family, torch.float32), updates_of(torch.float32)
    targets = targets_of(family, len(updates))
    before, after = predict(model, updates, targets)
    for part, change, one, other in zip(targets, updates, before, after, strict=True):
        assert one.log_probability.dtype == np.float64
        check(model, family, part, (), one, 1e-4)
        check(model, family, part, change, other, 1e-4)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_a_prompt_that_is_too_long_is_said(family: str) -> None:
    model = a_model(family)
    fits, over = (target_of(family, [4] * (POSITIONS - 1 - (family == "bert") + n), [5, 6]) for n in (0, 1))
    for part in ([over], [fits, over]):
        with pytest.raises(UserError, match=f"{POSITIONS + 1} tokens .* {POSITIONS}; leave it out"):
            predict(model, [()], [part])
    assert len(predict(model, [()], [[fits]])[0]) == 1
    if family == "llama":  # of a model that does not say
        model.positions = 0
        check(model, family, [over], (), predict(model, [()], [[over]])[0][0])


def test_nothing_asked() -> None:
    model = a_model("gpt2")
    assert predict(model, [], []) == ([], [])
    for said in predict(model, updates_of()[:2], [[], []]):
        assert [len(one.log_probability) for one in said] == [0, 0]
    with pytest.raises(ValueError):
        predict(model, updates_of()[:2], [[]])


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_the_model_is_left_as_it_is(family: str) -> None:
    model, updates = a_model(family), updates_of()
    before = {name: weight.clone() for name, weight in model.module.state_dict().items()}
    predict(model, updates, targets_of(family, len(updates)))
    assert all(torch.equal(before[name], weight) for name, weight in model.module.state_dict().items())
