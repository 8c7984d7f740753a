"""Restored runs, many at once, equal one whole forward of the untouched model for each token, layer and kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kn_thesis.models.forward import log_probabilities, run_layers
from kn_thesis.tracing.corruption import cue_noise
from kn_thesis.tracing.patching import KINDS, patch_sites, patched_log_probabilities, scaled_window
from tests.helpers.tiny_models import DETAILED, OTHERS, WORDS, model_of
from tests.reference.tracing import plain_trace

VARIANTS = [
    *((family, {}) for family in DETAILED),
    ("bert", {"num_hidden_layers": 1}),
    ("gpt2", {"n_layer": 1}),
    ("bert", {"num_hidden_layers": 5}),
    ("gpt2", {"n_layer": 5}),
    ("llama", {"num_key_value_heads": 2, "num_hidden_layers": 4}),
    ("gptj", {}),
]
OF_EACH_KIND = [(*variant, kind) for variant in VARIANTS for kind in KINDS]
OF_SOME = [(family, {}, kind) for family in OTHERS if family != "gptj" for kind in ("mlp", "severed_attention")]


@pytest.mark.parametrize(("family", "changes", "kind"), [*OF_EACH_KIND, *OF_SOME], ids=str)
def test_restored_runs_equal_the_plain_algorithm(family: str, changes: dict[str, Any], kind: str) -> None:
    model = model_of(family, **changes)
    adapter, random = model.adapter, np.random.default_rng(4)
    ids = random.integers(1, WORDS, 7)
    gap = 6 if adapter.objective == "causal" else 4
    noise = cue_noise(adapter, 7, (2, 4), 3, 3.0, 1, "prompt")
    window = 3
    clean, corrupted, expected = plain_trace(model.module, ids.tolist(), gap, 5, noise, kind, window)
    runs = run_layers(adapter, torch.tensor(ids)), run_layers(adapter, torch.tensor(ids), noise)
    assert float(log_probabilities(adapter, runs[0].last[0, gap], [5]).exp()) == pytest.approx(clean, rel=1e-9)
    assert float(log_probabilities(adapter, runs[1].last[:, gap], [5]).exp().mean()) == pytest.approx(
        corrupted, rel=1e-9
    )
    for batch_tokens in (1, 40, 4096):
        found = [
            patched_log_probabilities(
                adapter, *runs, token, patch_sites(kind, adapter.layers, window), gap, [5, 3], batch_tokens
            ).exp()
            for token in range(7)
        ]
        np.testing.assert_allclose([x[..., 0].mean(0).numpy() for x in found], expected, rtol=1e-8, atol=1e-12)
    assert np.abs(expected - corrupted).max() > 1e-5


def test_all_kinds_may_travel_together() -> None:
    model = model_of("gpt2", n_layer=4)
    ids = torch.tensor([3, 9, 4, 8, 2])
    runs = (
        run_layers(model.adapter, ids),
        run_layers(model.adapter, ids, cue_noise(model.adapter, 5, (1, 3), 4, 3.0, 1, "x")),
    )
    sites = [site for kind in KINDS for site in patch_sites(kind, 4, 2)]
    together = patched_log_probabilities(model.adapter, *runs, 2, sites, 4, [7])
    apart = [patched_log_probabilities(model.adapter, *runs, 2, patch_sites(kind, 4, 2), 4, [7]) for kind in KINDS]
    torch.testing.assert_close(together, torch.cat(apart, dim=1))


def test_noise_depends_on_the_prompt_s_name_alone() -> None:
    adapter = model_of("gpt2").adapter
    one, longer = (cue_noise(adapter, tokens, (1, 3), 2, 3.0, 1, "a") for tokens in (4, 9))
    torch.testing.assert_close(one[:, 1:3], longer[:, 1:3], rtol=0, atol=0)
    assert (one[:, [0, 3]] == 0).all() and (one[0, 1] != one[1, 1]).all()
    assert not torch.equal(one, cue_noise(adapter, 4, (1, 3), 2, 3.0, 1, "b"))
    assert not torch.equal(one, cue_noise(adapter, 4, (1, 3), 2, 3.0, 2, "a"))
    many = cue_noise(adapter, 4, (1, 3), 4000, 3.0, 1, "a")[:, 1:3]
    assert float(many.std()) == pytest.approx(3 * float(adapter.word_embeddings().std()), rel=0.01)


def test_windows_scale_with_depth() -> None:
    assert [scaled_window(layers) for layers in (48, 12, 4, 1)] == [10, 2, 1, 1]
    assert [(site.first, site.last) for site in patch_sites("mlp", 5, 3)] == [(0, 2), (0, 3), (1, 4), (2, 5), (3, 5)]
    assert [(site.first, site.last) for site in patch_sites("mlp", 3, 1)] == [(0, 1), (1, 2), (2, 3)]
