"""Answers in batches equal answers one token at a time, and prompts are judged as the definitions say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from kn_thesis.errors import UserError
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.evaluate import evaluate_prompts, target_log_probabilities, with_target
from kn_thesis.models.families import FAMILIES
from kn_thesis.models.load import Model
from kn_thesis.models.train import Settings, build_model

MASK = 4
OBJECTIVES = {"bert": "masked", "gpt2": "causal", "llama": "causal"}
SHAPE = Settings(layers=2, width=32, heads=2, intermediate=48)


@pytest.fixture(scope="module", params=OBJECTIVES)
def model(request: pytest.FixtureRequest) -> Model:
    torch.manual_seed(0)
    module = build_model(request.param, SHAPE, 60, {"pad": None, "bos": None, "eos": None}).eval()
    for parameter in module.parameters():  # sharper than at the start, so that ranks and choices differ
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return Model(module, FAMILIES[request.param].adapter(module), None, torch.device("cpu"))


def random_prompts(objective: str, count: int = 40) -> list[Encoded]:
    rng = np.random.default_rng(1)
    made = []
    for _ in range(count):
        ids, target = (tuple(map(int, rng.integers(5, 60, n))) for n in (rng.integers(3, 9), rng.integers(1, 4)))
        gap = int(rng.integers(0, len(ids)))
        if objective == "masked":
            made.append(Encoded((*ids[:gap], *[MASK] * len(target), *ids[gap:]), gap, target))
        else:
            made.append(Encoded(ids, len(ids) - 1, target))
    return made


def one_at_a_time(model: Model, encoded: Encoded) -> tuple[float, bool, int]:
    """The reference: one row, one step, the whole vocabulary's probabilities."""
    total, first, rank = 0.0, True, 0
    for step, token in enumerate(encoded.target_ids):
        ids = list(encoded.input_ids)
        if model.adapter.objective == "masked":
            ids[encoded.gap : encoded.gap + step] = encoded.target_ids[:step]
        else:
            ids += encoded.target_ids[:step]
        with torch.no_grad():
            probabilities = model.module(torch.tensor([ids])).logits[0, encoded.gap + step].double().softmax(-1)
        total += float(probabilities[token].log())
        first = first and int(probabilities.argmax()) == token
        if step == 0:
            rank = 1 + sum(float(p) > float(probabilities[token]) for p in probabilities)
    return total, first, rank


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_batches_equal_one_at_a_time(model: Model, batch_tokens: int) -> None:
    prompts = random_prompts(model.adapter.objective)
    # Some targets that are the model's own choice, so that `first_choice` is not false throughout.
    for number in range(0, len(prompts), 4):
        one = with_target(prompts[number], (5,), model.adapter.objective)
        with torch.no_grad():
            best = int(model.module(torch.tensor([one.input_ids])).logits[0, one.gap].argmax())
        prompts[number] = with_target(one, (best,), model.adapter.objective)
    answers = target_log_probabilities(model, prompts, batch_tokens)
    reference = [one_at_a_time(model, prompt) for prompt in prompts]
    np.testing.assert_allclose(answers.log_probability, [r[0] for r in reference], rtol=1e-4, atol=1e-5)
    assert answers.first_choice.tolist() == [r[1] for r in reference]
    assert answers.rank.tolist() == [r[2] for r in reference]
    assert 0 < answers.first_choice.sum() < len(prompts)


def test_another_word_gets_its_own_masks() -> None:
    encoded = Encoded((2, 9, MASK, MASK, 8, 3), 2, (20, 21))
    assert with_target(encoded, (30,), "masked") == Encoded((2, 9, MASK, 8, 3), 2, (30,))
    assert with_target(encoded, (30, 31, 32), "masked") == Encoded((2, 9, MASK, MASK, MASK, 8, 3), 2, (30, 31, 32))
    assert with_target(Encoded((1, 9), 1, (20,)), (30, 31), "causal") == Encoded((1, 9), 1, (30, 31))


def test_prompts_are_judged_by_kind(model: Model) -> None:
    objective = model.adapter.objective
    prompts = random_prompts(objective)
    rng = np.random.default_rng(2)
    foils = [tuple(map(int, rng.integers(5, 60, rng.integers(1, 3)))) for _ in prompts]
    kinds = ["paradigm", "relation"] * (len(prompts) // 2)
    table = pd.DataFrame(
        {
            "prompt": [f"p{n}" for n in range(len(prompts))],
            "task": "t",
            "kind": kinds,
            "group": "g",
            "split": "held_out",
            "input_ids": [list(p.input_ids) for p in prompts],
            "gap": [p.gap for p in prompts],
            "target_ids": [list(p.target_ids) for p in prompts],
            "foil_ids": [list(f) if k == "paradigm" else [] for f, k in zip(foils, kinds, strict=True)],
        }
    )
    result = evaluate_prompts(model, table)
    assert result["prompt"].tolist() == table["prompt"].tolist()
    assert result["correct"].dtype == bool and result["probability"].dtype == np.float32
    for row, prompt, foil in zip(result.itertuples(), prompts, foils, strict=True):
        good, first, rank = one_at_a_time(model, prompt)
        assert row.rank == rank
        assert row.probability == pytest.approx(np.exp(good), rel=1e-4)
        if row.kind == "relation":
            assert row.correct == first and np.isnan(row.foil_probability)
        else:
            bad = one_at_a_time(model, with_target(prompt, foil, objective))[0]
            assert row.correct == (good > bad)
            assert row.foil_probability == pytest.approx(np.exp(bad), rel=1e-4)
    assert 0 < result.loc[result["kind"] == "paradigm", "correct"].mean() < 1


def test_nothing_to_ask(model: Model) -> None:
    answers = target_log_probabilities(model, [])
    assert [len(values) for values in answers] == [0, 0, 0]


def test_too_long_and_empty_are_said(model: Model) -> None:
    with pytest.raises(UserError, match="130 tokens"):
        target_log_probabilities(model, [Encoded((5,) * 129 + (MASK,), 129, (6,))])
    with pytest.raises(UserError, match="empty target"):
        target_log_probabilities(model, [Encoded((5, MASK), 1, ())])
