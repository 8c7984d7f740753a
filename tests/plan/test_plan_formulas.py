"""The formulas of `make plan` against passes and operations of random models, as they are counted there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kn_thesis.editing.rome import Settings as RomeSettings
from kn_thesis.editing.value_optimization import Problem, TokenRow, compute_v
from kn_thesis.localization.attribution import attribute
from kn_thesis.models.cloze import Encoded
from kn_thesis.plan import jobs, plain, work
from kn_thesis.plan.sizes import Shape
from kn_thesis.suppression.intervention import Change, Reading, changed_answers, mean_activations
from kn_thesis.tracing.corruption import cue_noise
from kn_thesis.tracing.trace import Settings as Tracing
from kn_thesis.tracing.trace import trace_prompt
from tests.helpers.counted_passes import Operations, counted
from tests.helpers.tiny_models import WORDS, model_of
from tests.localization.test_memory_budget import of_size, peak_bytes
from tests.reference.attribution import reference_attribution
from tests.reference.suppression import plain_answers
from tests.reference.tracing import plain_trace

SIZES = ("hidden_size", "num_hidden_layers", "intermediate_size")


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_passes_in_a_deeper_model_are_counted_to_the_last(family: str) -> None:
    """With nothing left to assume, the formulas are the methods' own."""
    layers = {"n_layer" if family == "gpt2" else "num_hidden_layers": 7}
    masked, nodes, tokens = family == "bert", 4, 9
    shape = Shape(layers=7, hidden=16, intermediate=24, heads=4, vocabulary=WORDS, gated=family == "llama")
    encoded = Encoded(tuple(range(1, tokens + 1)), 4 if masked else tokens - 1, (5,))
    with counted(model_of(family, **layers)) as (model, passes):
        attribute(model, [encoded] * 3, nodes=nodes)
    task = work.Task(3, tokens)
    expected = work.attribution(shape, masked, task, nodes, 4096)
    assert (expected.forward, expected.backward) == pytest.approx((passes.forward, passes.backward), rel=1e-6)
    assert expected.predictions == pytest.approx(passes.predictions)

    recomputed = work.attribution(shape, masked, task, nodes, 4096, recomputed=True)
    assert recomputed.forward == pytest.approx(expected.forward + expected.backward)

    settings = {"draws": 2, "kinds": ["hidden", "mlp", "attention"], "window": 3 / 7}
    with counted(model_of(family, **layers)) as (model, passes):
        trace_prompt(model, [encoded], (2, 4), "name", Tracing(**settings))
    task = work.Task(1, tokens, behind=tokens if masked else tokens - 2)
    done = work.tracing(shape, masked, task, settings, 4096)
    assert done.forward == pytest.approx(passes.forward, rel=0.1)  # what enters a window is counted there alone


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize("begin", [0, 1, 3, 6])
def test_suppression_is_planned_to_the_last_pass_where_sets_begin_as_assumed(
    family: str, begin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the counted passes, and by torch's own count of operations, which has attention over the tokens besides."""
    masked, tokens, prompts, sample = family == "bert", 9, 4, 2
    shape = Shape(layers=7, hidden=16, intermediate=24, heads=4, vocabulary=WORDS, gated=family == "llama")
    gap = 4 if masked else tokens - 1
    readings = [Reading(tuple(range(1, tokens + 1)), gap, (5,))] * prompts
    changes = [Change(np.array([begin]), np.array([neuron]), "erase") for neuron in range(3)]
    means = np.zeros((7, 24))
    model = model_of(family, **{"n_layer" if family == "gpt2" else "num_hidden_layers": 7})
    with counted(model) as (counting, passes), FlopCounterMode(display=False) as operations:
        mean_activations(counting, [Encoded(one.input_ids, one.gap, one.targets) for one in readings])
        changed_answers(counting, readings, changes, means)
        changed_answers(counting, readings[:sample], changes * 5, means)
    settings = {"operations": ["erase"], "words": {}, "random_sets": 5, "random_prompts": sample, "longer": 0}
    monkeypatch.setattr(work, "SETS_BEGIN", begin / 7)
    planned = work.suppression(shape, masked, work.Task(prompts, tokens), 3, settings, 4096)
    assert planned.forward == pytest.approx(passes.forward, rel=1e-6)
    assert planned.predictions == passes.predictions
    assert 0.9 < planned.flops(shape) / operations.get_total_flops() < 1.01


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_passes_of_the_plain_algorithms(family: str) -> None:
    """The reference algorithms of the tests, with the number of nodes and draws of public code."""
    model, tokens = model_of(family), 6
    shape = Shape(layers=3, hidden=16, intermediate=24, heads=4, vocabulary=WORDS)
    ids, gap = list(range(1, tokens + 1)), 2 if family == "bert" else tokens - 1
    task = work.Task(1, tokens, behind=tokens)
    with counted(model) as (_, passes):
        points = np.linspace(0, 1, plain.NODES)
        reference_attribution(model.module, ids, gap, [5], points, np.ones(plain.NODES), baseline=False)
    assert plain.attribution(shape, task).forward == passes.forward
    with counted(model) as (_, passes):
        plain_answers(model.module, ids, gap, [5], [1], [3], "erase")
    assert plain.forwards(shape, 1, tokens).forward == passes.forward
    settings = {"draws": 2, "kinds": ["hidden"], "window": 0.2}
    with counted(model) as (_, passes):
        noise = cue_noise(model.adapter, tokens, (1, 3), 2, 3.0, 1, "name")
        plain_trace(model.module, ids, gap, 5, noise, "hidden", 1)
    assert plain.tracing(shape, task, settings).forward == passes.forward


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize(("prompts", "nodes", "tokens"), [(16, 32, 9), (3, 5, 14)])
def test_operations_are_those_that_torch_counts(family: str, prompts: int, nodes: int, tokens: int) -> None:
    """Attribution in models as large as the miniature's; torch counts attention, too, which the plan leaves out."""
    names = ("n_embd", "n_layer", "n_inner") if family == "gpt2" else SIZES
    model = model_of(family, dtype=torch.float32, **dict(zip(names, (128, 4, 512), strict=True)))
    shape = Shape(layers=4, hidden=128, intermediate=512, heads=4, vocabulary=WORDS, gated=family == "llama")
    encoded = Encoded(tuple(range(1, tokens + 1)), tokens - 1, (5,))
    with Operations() as counted:
        attribute(model, [encoded] * prompts, nodes=nodes, batch_tokens=8192)
    done = work.attribution(shape, family == "bert", work.Task(prompts, tokens), nodes, 8192)
    assert done.flops(shape) == pytest.approx(counted.found, rel=0.02)


@pytest.mark.parametrize("family", ["gpt2", "gptj", "llama", "mistral"])
@pytest.mark.parametrize("batch_tokens", [300, 10**6])
def test_memory_of_rome(family: str, batch_tokens: int) -> None:
    """A batch of texts and what a step keeps for its way back: no less than is allocated, nor three times as much."""
    model, tokens, subject, texts, layer = of_size(family, 128, 10, 512, torch.float32), 12, 4, 9, 2
    text = TokenRow(tuple(range(5, 5 + tokens)), subject, (7,))
    problem = Problem((text,) * texts, replace(text, wanted=()))
    settings = RomeSettings(steps=3)
    peak = peak_bytes(lambda: compute_v(model, layer, [problem] * 12, settings, batch_tokens))
    shape = Shape(layers=10, hidden=128, intermediate=512, heads=8, vocabulary=300)
    task = work.Task(12, tokens, 1, last=tokens - subject)
    edits = work.Edits(12, 12, task, 1, 1)
    contexts = [(0, texts - 1)]  # and the bare prompt, and the kept text
    kept = 4 * work.rome_graph(shape, edits, layer, contexts, False, batch_tokens)
    batch = jobs.batch_bytes(shape, min(batch_tokens, 12 * (texts + 1) * tokens)) - 4 * jobs.HEAD_NUMBERS
    assert (kept + batch) / 3 < peak < kept + batch, peak / (kept + batch)
