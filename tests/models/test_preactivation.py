"""Neurons before the activation function: equal to hooks at `mlp.c_fc` and `mlp.gate_proj` of the unpatched model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from kn_thesis.errors import UserError
from kn_thesis.localization.attribution import attribute, quadrature_rule
from kn_thesis.models.adapter import Adapter, HasPreactivation, adapter_for
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.families import FAMILIES
from kn_thesis.suppression.intervention import OPERATIONS, Change, Reading, changed_answers, mean_activations
from tests.helpers.tiny_models import WORDS, model_of
from tests.reference.attribution import PREACTIVATION, reference_attribution
from tests.reference.suppression import plain_answers, plain_means

SIZES = [(5, 1), (8, 2), (5, 1), (3, 3)]  # tokens of a prompt, and of its target
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("gpt2", {}),
    ("gpt2", {"activation_function": "relu", "n_layer": 1}),
    ("llama", {}),
    ("gptj", {}),
    ("mistral", {}),
    ("qwen2", {}),
    ("llama", {"num_key_value_heads": 2, "mlp_bias": True, "hidden_act": "gelu"}),
]


def prompts_of() -> list[Encoded]:
    random = np.random.default_rng(11)
    draws = [[tuple(random.integers(1, WORDS, size).tolist()) for size in sizes] for sizes in SIZES]
    return [Encoded(ids, len(ids) - 1, target) for ids, target in draws]


def suppressible(family: str, **options: Any) -> SimpleNamespace:
    """A model as `suppress_task` makes it of the one that was loaded."""
    model = model_of(family, **options)
    return SimpleNamespace(**vars(model) | {"adapter": adapter_for(model.adapter, "preactivation")})


@pytest.mark.parametrize(("family", "options"), VARIANTS)
def test_attribution_equals_the_plain_algorithm(family: str, options: dict[str, Any]) -> None:
    model, prompts = model_of(family, **options), prompts_of()
    result = attribute(model, prompts, neuron="preactivation", quadrature="riemann", nodes=6)
    rule = quadrature_rule("riemann", 6)
    for number, prompt in enumerate(prompts):
        asked = model.module, prompt.input_ids, prompt.gap, prompt.target_ids, *rule
        scores, clean, silent = reference_attribution(*asked, before=True)
        assert np.abs(result.scores[number] - scores).max() <= 1e-6 * np.abs(scores).max()
        assert result.probability[number] == pytest.approx(clean, rel=1e-6)
        assert result.baseline[number] == pytest.approx(silent, rel=1e-6)
        missed = scores.sum(-1) - (clean - silent)
        assert np.abs(result.residuals[number] - missed).max() <= 1e-6 * max(clean, silent.max())


@pytest.mark.parametrize("family", PREACTIVATION)
def test_the_residual_vanishes_with_nodes(family: str) -> None:
    model, prompts = model_of(family), prompts_of()
    few, many = (
        np.abs(attribute(model, prompts, neuron="preactivation", nodes=nodes).residuals).max() for nodes in (2, 60)
    )
    assert many < 1e-6 and many < few / 10


@pytest.mark.parametrize(("family", "options"), VARIANTS)
@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_suppression_equals_the_plain_algorithm(family: str, options: dict[str, Any], batch_tokens: int) -> None:
    model = suppressible(family, **options)
    random = np.random.default_rng(12)
    readings = [Reading(one.input_ids, one.gap, one.target_ids) for one in prompts_of()]
    last = model.adapter.layers - 1
    layers = [np.array(reach) for reach in ([0, 0], [last], [0, last, last])]
    changes = [
        Change(np.array(reach), random.choice(24, len(reach), replace=False), operation)
        for reach in layers
        for operation in OPERATIONS
    ]
    means = random.normal(size=(last + 1, 24))
    _, changed = changed_answers(model, readings, changes, means, batch_tokens)
    for reading, after in zip(readings, changed, strict=True):
        asked = model.module, reading.input_ids, reading.gap, reading.targets
        plain = [plain_answers(*asked, c.layer, c.neuron, c.operation, means, before=True) for c in changes]
        np.testing.assert_allclose(after, np.transpose(plain), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("family", PREACTIVATION)
def test_means_equal_a_plain_loop(family: str) -> None:
    model, prompts = suppressible(family), prompts_of()
    plain = plain_means(model.module, prompts, before=True)
    np.testing.assert_allclose(mean_activations(model, prompts), plain, rtol=1e-9, atol=1e-12)
    assert not np.allclose(plain, plain_means(model.module, prompts), atol=0.1)


@pytest.mark.parametrize("family", PREACTIVATION)
def test_it_matters_except_to_what_is_erased(family: str) -> None:
    """Both activation functions are 0 at 0: the two differ in which neurons are found, and in doubling and means."""
    model, wrapped, prompts = model_of(family), suppressible(family), prompts_of()
    one, other = (attribute(model, prompts, neuron=neuron) for neuron in ("activation", "preactivation"))
    assert np.abs(one.scores - other.scores).max() > 0.05 * np.abs(one.scores).max()
    np.testing.assert_allclose(one.baseline, other.baseline, rtol=1e-6)
    readings = [Reading(prompt.input_ids, prompt.gap, prompt.target_ids) for prompt in prompts]
    changes = [Change(np.array([0, 1]), np.array([3, 5]), operation) for operation in ("erase", "enhance")]
    after, before = (changed_answers(which, readings, changes, np.zeros((3, 24)))[1] for which in (model, wrapped))
    for some, same in zip(after, before, strict=True):
        np.testing.assert_allclose(some[:, 0], same[:, 0], rtol=1e-6)
        assert np.abs(some[:, 1] - same[:, 1]).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_wrapped_model_is_the_model(family: str) -> None:
    """Masked families, and causal ones left alone, answer as before; the down-projection stays where hooks find it."""
    model = model_of(family)
    assert adapter_for(model.adapter, "activation") is model.adapter
    wrapped = adapter_for(model.adapter, "preactivation")
    assert (wrapped is model.adapter) == (model.adapter.objective == "masked")
    assert wrapped.down_projection(1) is model.adapter.down_projection(1) and wrapped.width == 24
    hidden = torch.randn(2, 5, 16, dtype=torch.float64)
    state = model.adapter.after_attention(1, hidden, torch.randn_like(hidden))
    through = (one.after_mlp(1, state, one.mlp_output(1, one.neurons(1, state))) for one in (model.adapter, wrapped))
    torch.testing.assert_close(*through, rtol=1e-12, atol=1e-12)


def test_mistakes_are_named_in_one_line() -> None:
    model = model_of("gpt2")
    with pytest.raises(UserError, match="choose one of activation, preactivation"):
        attribute(model, prompts_of(), neuron="gate")
    members = [name for name in dir(Adapter) if not name.startswith("_")] + ["family", "objective"]
    without = SimpleNamespace(**{name: getattr(model.adapter, name) for name in members})
    assert isinstance(model.adapter, HasPreactivation) and not isinstance(without, HasPreactivation)
    with pytest.raises(UserError, match=r"'gpt2' has no pre-activations.*attribution.neuron: activation") as caught:
        adapter_for(without, "preactivation")
    assert "\n" not in str(caught.value)
