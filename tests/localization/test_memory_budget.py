"""The budget of memory that attribution states, held against what is really allocated; and the same without graphs."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from kn_thesis.localization.attribution import attribute
from kn_thesis.localization.memory_budget import Layout, budget_bytes, head_rows, plan_layout, tokens_held
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.families import FAMILIES
from kn_thesis.models.forward import clean_run
from kn_thesis.models.restart import RestartWithGradients
from tests.helpers.tiny_models import model_of

TOKENS, WORDS = 12, 300
SIZES = {"bert": ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads")}
SIZES |= {"gpt2": ("n_embd", "n_layer", "n_inner", "n_head")}


def of_size(family: str, hidden: int, layers: int, width: int, dtype: torch.dtype) -> SimpleNamespace:
    """A random model large enough that its activations outweigh everything else."""
    from transformers import AutoConfig

    named = family if family in SIZES else "bert"
    sizes = dict(zip(SIZES[named], (hidden, layers, width, 8), strict=True))
    if hasattr(AutoConfig.for_model(family), "n_embd") and named != family:  # GPT-J has GPT-2's names
        sizes = dict(zip(SIZES["gpt2"], (hidden, layers, width, 8), strict=True))
    return model_of(family, dtype, vocab_size=WORDS, **sizes)


def prompts_for(model: SimpleNamespace, count: int) -> list[Encoded]:
    random = np.random.default_rng(1)
    gap = TOKENS - 1 if model.adapter.objective == "causal" else 4
    return [Encoded(tuple(random.integers(1, WORDS, TOKENS).tolist()), gap, (5,)) for _ in range(count)]


def peak_bytes(work: Callable[[], object]) -> int:
    """Most bytes that torch has allocated at once during some work, beside what was there before."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    quiet, kept = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    os.dup2(quiet, 2)  # the profiler says when it starts
    try:
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            work()
    finally:
        os.dup2(kept, 2)
        os.close(quiet)
        os.close(kept)
    now = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def slopes_of(adapter: Any, run: Any, gaps: Any, replaced: Any, slope: Callable[[Any], Any], keep: bool) -> list[Any]:
    """Gradients of the replaced neurons, from those of the last states."""
    ascent = RestartWithGradients(adapter, run, gaps, replaced, keep)
    return ascent.gradients(slope(ascent.rows))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch_tokens", [2000, 260])
def test_peak_is_within_the_stated_budget(family: str, dtype: torch.dtype, batch_tokens: int) -> None:
    model = of_size(family, 128, 10, 512, dtype)
    chosen = plan_layout(model.adapter.objective, 10, TOKENS, 8, batch_tokens)
    assert chosen.keep is (batch_tokens == 2000 or model.adapter.objective == "causal")
    stated = budget_bytes(128, 512, WORDS, batch_tokens, dtype.itemsize)
    stated -= 3 * 4 * (head_rows(WORDS) - min(head_rows(WORDS), 10 * chosen.nodes * chosen.prompts)) * WORDS
    prompts = prompts_for(model, 8 if batch_tokens == 2000 else 2)  # where they come one at a time, two will do
    peak = peak_bytes(lambda: attribute(model, prompts, nodes=8, batch_tokens=batch_tokens))
    assert peak <= stated, f"{peak / stated:.2f} of the budget"
    assert peak >= 0.1 * stated, f"only {peak / stated:.2f} of the budget is used"


@pytest.mark.parametrize("family", FAMILIES)
def test_without_graphs_memory_is_that_of_one_layer(family: str) -> None:
    """Sixteen layers instead of four: the states that enter them are there, and no graph but one."""

    def peak(layers: int, keep: bool) -> int:
        model = of_size(family, 64, layers, 512, torch.float32)
        prompt = prompts_for(model, 1)[0]
        run, _ = clean_run(model.adapter, torch.tensor([prompt.input_ids]), torch.tensor([prompt.gap]))
        # As many rows whatever the depth, all from the first layer.
        replaced = [layer.neurons[:, None].repeat(1, 60 if n == 0 else 0, 1) for n, layer in enumerate(run)]
        return peak_bytes(
            lambda: slopes_of(model.adapter, run, torch.tensor([prompt.gap]), replaced, torch.ones_like, keep)
        )

    assert peak(16, keep=False) < 1.9 * peak(4, keep=False)
    assert peak(16, keep=True) > 2.5 * peak(4, keep=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_that_are_computed_twice_give_the_same_gradients(family: str) -> None:
    model = model_of(family, torch.float32)
    prompts = prompts_for(model, 3)
    ids, gaps = torch.tensor([p.input_ids for p in prompts]) % 40, torch.tensor([p.gap for p in prompts])
    run, _ = clean_run(model.adapter, ids, gaps)
    replaced = [layer.neurons[:, None] * torch.tensor([0.2, 0.7])[:, None] for layer in run]
    kept, again = (slopes_of(model.adapter, run, gaps, replaced, torch.cos, keep) for keep in (True, False))
    assert len(kept) == len(again) == 3 and all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


@pytest.mark.parametrize("objective", ["causal", "masked"])
@pytest.mark.parametrize("layers", [1, 4, 48])
@pytest.mark.parametrize("most", [1, 40, 700, 16384])
def test_a_layout_fits_or_is_the_smallest(objective: str, layers: int, most: int) -> None:
    found = plan_layout(objective, layers, 15, 10, most)
    held = found.prompts * tokens_held(objective, layers, 15, found.nodes, found.keep)
    assert held <= most or found in (Layout(1, 1, False), Layout(1, 1, True))
    assert 1 <= found.nodes <= 10 and (found.nodes == 10 or found.prompts == 1)
    if found.nodes < 10:  # and no more would have
        assert tokens_held(objective, layers, 15, found.nodes + 1, found.keep) > most
