import numpy as np
import pytest
import torch

from kn_thesis.errors import UserError
from kn_thesis.localization.attribution import attribute, quadrature_rule
from kn_thesis.localization.tables import Attribution
from kn_thesis.models.families import FAMILIES, family_named
from tests.helpers.tiny_models import DETAILED, LLAMA_3, WORDS, model_of
from tests.reference.attribution import reference_attribution


def prompt_of(family, tokens, target, seed=0):
    from kn_thesis.models.cloze import Encoded

    random = np.random.default_rng([seed, tokens, target])
    gap = tokens - 1 if FAMILIES[family].objective == "causal" else int(random.integers(tokens - target + 1))
    ids, wanted = (tuple(random.integers(1, WORDS, size).tolist()) for size in (tokens, target))
    return Encoded(ids, gap, wanted)


def prompts_of(family):
    """Lengths, blanks and numbers of target tokens mixed."""
    sizes = [(5, 1), (8, 2), (5, 1), (9, 3), (3, 1), (8, 1)]
    return [prompt_of(family, tokens, target, seed) for seed, (tokens, target) in enumerate(sizes)]


def same_as_reference(model, prompts, result, quadrature, nodes, tolerance):
    for number, prompt in enumerate(prompts):
        rule = quadrature_rule(quadrature, nodes)
        scores, clean, silent = reference_attribution(
            model.module, prompt.input_ids, prompt.gap, prompt.target_ids, *rule
        )
        assert np.abs(result.scores[number] - scores).max() <= tolerance * np.abs(scores).max()
        assert result.probability[number] == pytest.approx(clean, rel=tolerance)
        assert result.baseline[number] == pytest.approx(silent, rel=tolerance)
        missed = scores.sum(-1) - (clean - silent)
        assert np.abs(result.residuals[number] - missed).max() <= tolerance * max(clean, silent.max())


VARIANTS = [
    ("bert", {}),
    ("bert", {"num_hidden_layers": 1}),
    ("bert", {"num_hidden_layers": 2, "tie_word_embeddings": False}),
    ("gpt2", {}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True, "tie_word_embeddings": False}),
    ("gpt2", {"scale_attn_weights": False}),
    ("llama", {}),
    ("llama", {"num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama", {"num_key_value_heads": 1, "head_dim": 6}),
    ("llama", {"num_key_value_heads": 2, "rope_parameters": LLAMA_3}),
    ("roberta", {}),
    ("roberta", {"num_hidden_layers": 1, "tie_word_embeddings": False}),
    ("gptj", {}),
    ("mistral", {"sliding_window": 11, "head_dim": 6}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 11, "max_window_layers": 1, "tie_word_embeddings": True}),
]


@pytest.mark.parametrize(("family", "changes"), VARIANTS)
def test_equal_to_the_plain_algorithm(family, changes):
    model, prompts = model_of(family, **changes), prompts_of(family)
    result = attribute(model, prompts, nodes=4)
    assert result.scores.dtype == result.residuals.dtype == np.float32
    assert result.scores.shape == (6, model.adapter.layers, 24) and result.residuals.shape == result.scores.shape[:2]
    same_as_reference(model, prompts, result, "gauss-legendre", 4, 1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_riemann_in_float32_gives_the_published_numbers(family):
    model, prompts = model_of(family, torch.float32), prompts_of(family)
    same_as_reference(model, prompts, attribute(model, prompts, quadrature="riemann", nodes=20), "riemann", 20, 1e-5)


@pytest.mark.parametrize("family", DETAILED)
@pytest.mark.parametrize("batch_tokens", [1, 60, 500])
def test_batches_do_not_matter(family, batch_tokens):
    model, prompts = model_of(family), prompts_of(family)
    one, other = (attribute(model, prompts, batch_tokens=size) for size in (batch_tokens, 100_000))
    assert np.allclose(one.scores, other.scores, rtol=1e-6, atol=1e-12)
    assert np.allclose(one.baseline, other.baseline, rtol=1e-6)


@pytest.mark.parametrize("family", DETAILED)
def test_order_is_kept_and_prompts_do_not_mix(family):
    model, prompts = model_of(family), prompts_of(family)
    whole = attribute(model, prompts)
    turned = attribute(model, prompts[::-1])
    assert np.allclose(whole.scores, turned.scores[::-1], rtol=1e-6, atol=1e-12)
    assert np.allclose(whole.scores[3], attribute(model, prompts[3:4]).scores[0], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("family", DETAILED)
def test_residual_vanishes_with_nodes(family):
    model, prompts = model_of(family), prompts_of(family)
    few, many = (np.abs(attribute(model, prompts, nodes=nodes).residuals).max() for nodes in (2, 40))
    assert many < 2e-7 and many < few / 10


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(family, dtype):
    exact, half = model_of(family, torch.float32), model_of(family, dtype)
    half.module.load_state_dict(exact.module.state_dict())
    prompts = prompts_of(family)
    expected, result = attribute(exact, prompts), attribute(half, prompts)
    assert result.probability.dtype == np.float32 and np.isfinite(result.scores).all()
    for scores, wanted in zip(result.scores, expected.scores, strict=True):
        assert np.corrcoef(scores.ravel(), wanted.ravel())[0, 1] > 0.95


def test_nothing_asked_nothing_answered():
    result = attribute(model_of("gpt2"), [])
    assert result.scores.shape == (0, 3, 24) and result.probability.shape == (0,)


@pytest.mark.parametrize("family", DETAILED)
def test_the_model_is_left_as_it_was(family):
    model, prompts = model_of(family), prompts_of(family)
    before = {name: weight.clone() for name, weight in model.module.state_dict().items()}
    attribute(model, prompts)
    assert all(torch.equal(before[name], weight) for name, weight in model.module.state_dict().items())
    assert all(weight.grad is None for weight in model.module.parameters())


def bad(family="gpt2", **changes):
    from dataclasses import replace

    return [replace(prompt_of(family, 5, 1), **changes)]


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        (bad(gap=2), {}, "last token"),
        (bad(target_ids=()), {}, "target"),
        (bad(input_ids=()), {}, "no token"),
        (bad(target_ids=(WORDS,)), {}, "vocabulary"),
        (bad(input_ids=(1,) * 17, gap=16), {}, "takes 16"),
        (bad(), {"nodes": 0}, "at least 1 node"),
        (bad(), {"quadrature": "simpson"}, "simpson"),
        (bad(), {"batch_tokens": 0}, "batch_tokens"),
        (bad(), {"targets": ["x"]}, "leave `targets` out"),
        (["a ___"], {}, "as many targets"),
        (["a ___"], {"targets": ["b", "c"]}, "as many targets"),
        ("a ___", {"targets": ["b"]}, "brackets"),
        (["a ___", *bad()], {"targets": ["b", "c"]}, "all texts"),
    ],
)
def test_mistakes_are_named_in_one_line(prompts, options, message):
    with pytest.raises(UserError, match=message) as caught:
        attribute(model_of("gpt2"), prompts, **options)
    assert "\n" not in str(caught.value)


def test_a_masked_gap_lies_inside():
    with pytest.raises(UserError, match="outside"):
        attribute(model_of("bert"), bad("bert", gap=5))


def test_unknown_family_and_uncovered_configurations():
    with pytest.raises(UserError, match="known are bert, gpt2, llama, roberta, gptj, mistral, qwen2"):
        family_named("t5")
    with pytest.raises(UserError, match="decoder"):
        model_of("bert", is_decoder=True)
    with pytest.raises(UserError, match="cross-attention"):
        model_of("gpt2", add_cross_attention=True)


def test_saved_and_loaded(tmp_path):
    result = attribute(model_of("gpt2"), prompts_of("gpt2"))
    names = [f"caf\u00e9 {number}" for number in range(6)]
    result.save(tmp_path / "a.safetensors", names)
    again, found = Attribution.load(tmp_path / "a.safetensors")
    assert found == names
    for field in ("scores", "residuals", "probability", "baseline"):
        assert np.array_equal(getattr(result, field), getattr(again, field))
    result.save(tmp_path / "b.safetensors", names)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    (tmp_path / "c.safetensors").write_bytes(b"nothing")
    for broken in ("c.safetensors", "absent.safetensors"):
        with pytest.raises(UserError):
            Attribution.load(tmp_path / broken)
