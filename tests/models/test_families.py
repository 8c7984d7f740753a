"""Families beside those that the workflow trains: each method on a model from its folder, as the hub has such ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import kn_thesis
from kn_thesis.errors import UserError
from kn_thesis.localization.attribution import quadrature_rule
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.config import check_config, positions
from kn_thesis.models.load import Model
from kn_thesis.tracing.corruption import cue_noise
from tests.helpers.edit_models import edit_by, plain_probabilities, plain_text, prompt_of
from tests.helpers.tiny_models import LLAMA_3, OTHERS, WORDS, load_exactly, loaded_model, model_of
from tests.helpers.tiny_tokenizers import TEXT
from tests.reference.attribution import reference_attribution
from tests.reference.suppression import plain_word
from tests.reference.tracing import plain_trace

SENTENCES = [*TEXT, *["That man admires those vases."] * 20]
# What bounds an input of 16 tokens where it is not the number of positions.
WINDOWS: dict[str, dict[str, Any]] = {
    "mistral": {"max_position_embeddings": 64, "sliding_window": 16},
    "qwen2": {"max_position_embeddings": 64, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0},
}
ONE_LAYER = {"num_hidden_layers": 1}
LONG_ROPE = {
    **{"rope_type": "longrope", "rope_theta": 500.0, "factor": 2.0, "original_max_position_embeddings": 8},
    **{"short_factor": [1.0, 1.0], "long_factor": [2.0, 2.0]},
}


def load(family: str, folder: Path, **changes: Any) -> Model:
    return loaded_model(family, folder, SENTENCES, **({"tie_word_embeddings": False} | changes))


@pytest.fixture(scope="module", params=OTHERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(request.param, tmp_path_factory.mktemp(request.param))


def test_attribution_of_texts(model: Model) -> None:
    found = kn_thesis.attribute(model, [prompt_of(model)], ["mans"], nodes=3)
    one, rule = model.tokenizer.encode_prompt(prompt_of(model), "mans"), quadrature_rule("gauss-legendre", 3)
    assert len(one.target_ids) == 2
    scores, clean, silent = reference_attribution(model.module, one.input_ids, one.gap, one.target_ids, *rule)
    assert np.abs(found.scores[0] - scores).max() <= 1e-6 * np.abs(scores).max()
    assert found.probability[0] == pytest.approx(clean, rel=1e-6)
    assert found.baseline[0] == pytest.approx(silent, rel=1e-6)


def test_suppression_of_neurons(model: Model) -> None:
    found = kn_thesis.suppress(model, [prompt_of(model)], [(0, 3), (2, 5), (1, 4)], ["this", "mans"])
    for row in found.itertuples():
        one = model.tokenizer.encode_prompt(row.prompt, row.word)
        asked = (model.module, one.input_ids, one.gap, one.target_ids)
        before, after = plain_word(*asked), plain_word(*asked, [0, 2, 1], [3, 5, 4], "erase")
        assert (row.before, row.after) == pytest.approx((np.exp(before), np.exp(after)), rel=1e-5)
        assert abs(after - before) > 1e-4


def test_a_trace(model: Model) -> None:
    one, settings = model.tokenizer.encode_prompt(prompt_of(model), "this"), {"draws": 2, "window": 2}
    found = kn_thesis.trace(
        model, prompt_of(model), "old man", "this", kind="attention", seed=1, require_first_choice=False, **settings
    )
    assert found.tokens[slice(*found.cue)] == ["old", "man"]
    name = f"The old man admires ___{' vases.' if model.adapter.objective == 'masked' else ''}"
    noise = cue_noise(model.adapter, len(one.input_ids), found.cue, 2, 3.0, 1, name)
    clean, corrupted, restored = plain_trace(
        model.module, one.input_ids, one.gap, one.target_ids[0], noise, "attention", window=2
    )
    assert (found.clean, found.corrupted) == pytest.approx((clean, corrupted), rel=1e-9)
    np.testing.assert_allclose(found.effects, restored - corrupted, rtol=1e-7, atol=1e-13)
    assert np.abs(found.effects).max() > 0


def test_edits(model: Model) -> None:
    causal, words = model.adapter.objective == "causal", ["this", "those", "mans"]
    before = plain_probabilities(model, words)
    for editor in ("rome", "fine_tuning", "knowledge_neuron") if causal else ("knowledge_neuron",):
        with edit_by(model, editor, old="this") as edited:
            table, after = edited.probabilities(prompt_of(model), words), plain_probabilities(model, words)
            np.testing.assert_allclose(table["before"], before, rtol=1e-9)
            np.testing.assert_allclose(table["after"], after, rtol=1e-9)
            assert abs(after[1] / before[1] - 1) > 0.01
            if causal:
                text = "The old king admires"
                assert edited.complete(text, 4) == " ".join(plain_text(model, text, 4).split())
        assert plain_probabilities(model, words) == before


def test_the_longest_input_of_a_folder(model: Model) -> None:
    assert model.positions == model.adapter.longest == model.tokenizer.max_length == 24


@pytest.mark.parametrize("family", ["roberta", *WINDOWS])
def test_inputs_as_long_as_the_model_takes(family: str) -> None:
    model = model_of(family, **ONE_LAYER, **WINDOWS.get(family, {}))
    longest = model.adapter.longest
    assert longest == 16
    ids = tuple(np.random.default_rng(2).integers(2, WORDS, longest + 1).tolist())
    asked = [Encoded(ids[:longest], longest - 1, (7,))]
    found = kn_thesis.attribute(model, asked, nodes=2)
    scores, clean, _ = reference_attribution(
        model.module, ids[:longest], longest - 1, [7], *quadrature_rule("gauss-legendre", 2)
    )
    assert found.probability[0] == pytest.approx(clean, rel=1e-6)
    assert np.abs(found.scores[0] - scores).max() <= 1e-6 * np.abs(scores).max()
    with pytest.raises(UserError, match="has 17 tokens; the model takes 16"):
        kn_thesis.attribute(model, [Encoded(ids, longest, (7,))])
    if family == "roberta":  # there is no position for one token more
        with pytest.raises((IndexError, RuntimeError)):
            model.module(torch.tensor([ids]))
        return
    # The last token of one more does not see the first any longer.
    for size, seen in ((longest, True), (longest + 1, False)):
        one, other = (
            model.module(torch.tensor([[first, *ids[1:size]]])).logits[0, -1] for first in (ids[0], ids[0] - 1)
        )
        assert torch.equal(one, other) != seen


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "gptj", "n_positions": 2048}, 2048),
        ({"model_type": "mistral", "max_position_embeddings": 32768, "sliding_window": 4096}, 4096),
        ({"model_type": "mistral", "max_position_embeddings": 32768, "sliding_window": None}, 32768),
        ({"model_type": "mistral", "max_position_embeddings": 32768}, 4096),
        ({"model_type": "qwen2", "max_position_embeddings": 131072, "sliding_window": 4096}, 131072),
        (
            {
                **{"model_type": "qwen2", "max_position_embeddings": 131072},
                **{"use_sliding_window": True, "sliding_window": 4096},
            },
            4096,
        ),
        ({"model_type": "llama"}, None),
    ],
    ids=str,
)
def test_positions_that_a_configuration_states(config: dict[str, Any], longest: int | None) -> None:
    assert positions(config) == longest


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        ("roberta", {"is_decoder": True}, "is a decoder"),
        ("roberta", {"max_position_embeddings": 2}, "no position after its padding token's"),
        ("gptj", {"rotary_dim": 3}, r"turns 3 of its heads' 8 entries .* from 2 to 8"),
        ("gptj", {"rotary_dim": 10}, "turns 10 of"),
        ("mistral", {"rope_parameters": LONG_ROPE}, "this Mistral's positions depend on the input's length"),
        ("qwen2", {"rope_parameters": LONG_ROPE}, "this Qwen2's positions depend on the input's length"),
        ("llama", {"rope_parameters": LONG_ROPE}, "this LLaMA's positions depend on the input's length"),
    ],
)
def test_what_an_adapter_would_get_wrong_is_refused(family: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        model_of(family, **changes)
    assert "\n" not in str(error.value)


def test_keys_that_no_number_of_heads_can_share_are_refused() -> None:
    config = {"model_type": "qwen2", "num_attention_heads": 12, "num_key_value_heads": 5}
    with pytest.raises(UserError, match=r"num_key_value_heads \(5\) does not divide num_attention_heads \(12\)"):
        check_config(config, "x")
    check_config(config | {"num_key_value_heads": 2}, "x")


def as_roberta_base(weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """The output matrix is the embeddings', and there are parts that nothing needs."""
    assert "lm_head.decoder.weight" not in weights
    weights["roberta.embeddings.position_ids"] = torch.arange(26)[None]
    weights["roberta.pooler.dense.weight"], weights["roberta.pooler.dense.bias"] = torch.ones(16, 16), torch.ones(16)


def as_gpt_j(weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Masks lie among the weights, and the MLP's width goes without saying."""
    for layer in range(3):
        weights[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 24, 24)
        weights[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e9)
    config["n_inner"] = None


def as_llama_3(weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """The turns of its positions are stated in the words of its time."""
    scaling = dict(config.pop("rope_parameters"))
    config |= {"rope_theta": scaling.pop("rope_theta"), "rope_scaling": scaling}


FOLDERS: list[tuple[str, dict[str, Any], Callable[[dict[str, Tensor], dict[str, Any]], None]]] = [
    ("roberta", {"tie_word_embeddings": True}, as_roberta_base),
    ("gptj", {"n_inner": 64}, as_gpt_j),
    ("llama", {"num_key_value_heads": 2, "rope_parameters": LLAMA_3}, as_llama_3),
]


@pytest.mark.parametrize(("family", "changes", "rewrite"), FOLDERS)
def test_folders_as_the_hub_has_them(
    family: str, changes: dict[str, Any], rewrite: Callable[..., None], tmp_path: Path
) -> None:
    model = load(family, tmp_path, **changes)
    one = model.tokenizer.encode_prompt(prompt_of(model), "this")
    before = model.module(torch.tensor([one.input_ids])).logits
    weights = load_file(tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    rewrite(weights, config)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = load_exactly(family, tmp_path)
    torch.testing.assert_close(again.module(torch.tensor([one.input_ids])).logits, before, rtol=0, atol=0)
    found = kn_thesis.attribute(again, [one], nodes=2)
    scores, clean, _ = reference_attribution(
        again.module, one.input_ids, one.gap, one.target_ids, *quadrature_rule("gauss-legendre", 2)
    )
    assert found.probability[0] == pytest.approx(clean, rel=1e-6)
    assert np.abs(found.scores[0] - scores).max() <= 1e-6 * np.abs(scores).max()


def test_llama_3_s_scaling_is_in_force() -> None:
    plain, scaled = (model_of("llama", rope_parameters=LLAMA_3 | {"factor": factor}) for factor in (1.0, 8.0))
    ids = torch.arange(1, 13)[None]
    assert not torch.allclose(plain.module(ids).logits[0, -1], scaled.module(ids).logits[0, -1], rtol=1e-3)
