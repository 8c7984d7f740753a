"""Compares the example family of docs/extending.md with plain forwards; run in a copy of the repository that has it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
from torch import Tensor

import kn_thesis
from kn_thesis.localization.attribution import quadrature_rule
from kn_thesis.models.load import Model
from kn_thesis.models.tokenizer_training import save_tokenizer, train_tokenizer
from kn_thesis.tracing.corruption import cue_noise
from kn_thesis.tracing.patching import KINDS
from tests.reference.attribution import VALUE_MATRIX, reference_attribution
from tests.reference.tracing import ADDS, BLOCKS, WORDS, plain_trace

PROMPTS, TARGETS = ["The old man admires", "That man admires those"], ["those", "vases"]
TEXT = ["The old man admires this vase.", "That man admires those vases.", "The capital of France is Paris."] * 20

VALUE_MATRIX["gpt_neox"] = lambda module, layer: module.gpt_neox.layers[layer].mlp.dense_4h_to_h
BLOCKS["gpt_neox"] = lambda module: module.gpt_neox.layers
ADDS["gpt_neox"] = {"mlp": lambda block: block.mlp, "attention": lambda block: block.attention}
WORDS["gpt_neox"] = lambda module: module.gpt_neox.embed_in


def make_model(folder: Path, parallel: bool) -> Model:
    """A tiny random model in the hub's format, far from the usual start, loaded in float64."""
    tokenizer = train_tokenizer("gpt2", TEXT, 500)
    config = transformers.GPTNeoXConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        use_parallel_residual=parallel,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(3)
    module = transformers.GPTNeoXForCausalLM(config)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * (0.35 if weight.dim() > 1 else 0.2))
    module.save_pretrained(folder)
    save_tokenizer(tokenizer, "gpt2", folder, 32)
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 32, "eos_token": "<|endoftext|>"}))
    return kn_thesis.load_model(folder, dtype="float64", device="cpu")


def plain(model: Model, prompt: str, word: str) -> float:
    """P(word) by the untouched model's own forward."""
    one = model.tokenizer.encode_prompt(prompt, word)
    assert len(one.target_ids) == 1
    with torch.no_grad():
        logits = model.module(torch.tensor([one.input_ids])).logits[0, one.gap]
    return float(logits.softmax(-1)[one.target_ids[0]])


def check_attribution(model: Model) -> kn_thesis.Attribution:
    found = kn_thesis.attribute(model, PROMPTS, TARGETS, nodes=4)
    for number, (prompt, target) in enumerate(zip(PROMPTS, TARGETS, strict=True)):
        one = model.tokenizer.encode_prompt(prompt, target)
        rule = quadrature_rule("gauss-legendre", 4)
        scores, clean, silent = reference_attribution(model.module, one.input_ids, one.gap, one.target_ids, *rule)
        assert np.abs(found.scores[number] - scores).max() <= 1e-6 * np.abs(scores).max()
        assert np.allclose(found.probability[number], clean, rtol=1e-6)
        assert np.allclose(found.baseline[number], silent, rtol=1e-6)
    return found


def check_suppression(model: Model, neurons: pd.DataFrame) -> None:
    found = kn_thesis.suppress(model, PROMPTS[:1], neurons, ["those"]).iloc[0]
    handles = []
    for layer, index in zip(neurons["layer"], neurons["neuron"], strict=True):

        def silence(_: Any, inputs: tuple[Tensor, ...], index: int = index) -> tuple[Tensor]:
            changed = inputs[0].clone()
            changed[:, -1, index] = 0
            return (changed,)

        handles.append(VALUE_MATRIX["gpt_neox"](model.module, layer).register_forward_pre_hook(silence))
    after = plain(model, PROMPTS[0], "those")
    for handle in handles:
        handle.remove()
    assert np.allclose([found["before"], found["after"]], [plain(model, PROMPTS[0], "those"), after], rtol=1e-6)
    assert found["before"] != found["after"]


def check_trace(model: Model) -> None:
    one = model.tokenizer.encode_prompt(PROMPTS[0], "those")
    asked = {"window": 2, "draws": 2, "seed": 1, "require_first_choice": False}
    for kind in KINDS:
        found = kn_thesis.trace(model, PROMPTS[0], "old man", "those", kind=kind, **asked)
        noise = cue_noise(model.adapter, len(one.input_ids), found.cue, 2, 3.0, 1, f"{PROMPTS[0]} ___")
        clean, corrupted, restored = plain_trace(
            model.module, one.input_ids, one.gap, one.target_ids[0], noise, kind, window=2
        )
        assert np.allclose([found.clean, found.corrupted], [clean, corrupted], rtol=1e-6)
        assert np.allclose(found.effects, restored - corrupted, rtol=1e-6, atol=1e-12)
        assert np.abs(found.effects).max() > 0


def check_edit(model: Model) -> None:
    before = plain(model, PROMPTS[0], "those")
    asked = {"layer": 1, "token": "last", "weight_decay": 1e-3, "require_new": False}
    with kn_thesis.edit(model, PROMPTS[0], "old man", "those", **asked) as edited:
        found = edited.probabilities(PROMPTS[0], ["those"]).iloc[0]
        assert np.allclose([found["before"], found["after"]], [before, plain(model, PROMPTS[0], "those")], rtol=1e-6)
        assert found["after"] > 2 * found["before"]
    assert plain(model, PROMPTS[0], "those") == before


if __name__ == "__main__":
    torch.set_num_threads(1)
    for parallel in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            made = make_model(Path(folder), parallel)
            scores = check_attribution(made).scores
            check_suppression(made, kn_thesis.select_neurons(scores, ["one", "one"], share=0.4))
            check_trace(made)
            check_edit(made)
    print("all right")
