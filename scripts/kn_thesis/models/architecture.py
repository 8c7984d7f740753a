"""Tiny models of real families: transformers' own classes, untrained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

POSITIONS = 128  # the longest input in tokens
SPREAD = 0.02 * 768**0.5  # of weights at the start, times the square root of the width


@dataclass(frozen=True)
class Settings:
    """How a model is made: its shape, and its training (see the configuration's section `train`)."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    intermediate: int = 512
    vocabulary: int = 3000
    steps: int = 6000
    batch: int = 64
    learning_rate: float = 2e-3
    check: int = 50
    causal_steps: int = 1200
    mask_rate: float = 0.2
    seed: int = 1


def build_model(family: str, settings: Settings, vocabulary: int, token_ids: dict[str, int | None]) -> PreTrainedModel:
    """An untrained model of transformers' own class for `family`, without dropout.

    `vocabulary` is the number of tokens there are, `token_ids` the special ones (pad, bos, eos).
    """
    import transformers

    # The families' usual 0.02 is meant for a width of 768; narrower models start with wider weights.
    spread = round(SPREAD * settings.width**-0.5, 4)
    shared: dict[str, Any] = {"vocab_size": vocabulary, "initializer_range": spread}
    shared |= {f"{name}_token_id": number for name, number in token_ids.items()}
    if family == "bert":
        config = transformers.BertConfig(
            hidden_size=settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            intermediate_size=settings.intermediate,
            max_position_embeddings=POSITIONS,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            **shared,
        )
        return transformers.BertForMaskedLM(config)
    if family == "gpt2":
        config = transformers.GPT2Config(
            n_embd=settings.width,
            n_layer=settings.layers,
            n_head=settings.heads,
            n_inner=settings.intermediate,
            n_positions=POSITIONS,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            activation_function="gelu_pytorch_tanh",  # the same function as GPT-2's gelu_new, in one kernel
            **shared,
        )
        return transformers.GPT2LMHeadModel(config)
    if family == "llama":
        config = transformers.LlamaConfig(
            hidden_size=settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            intermediate_size=settings.intermediate,
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,  # as in the smallest models of the family; untied ones learn agreement by heart
            **shared,
        )
        return transformers.LlamaForCausalLM(config)
    raise UserError(f"the family '{family}' cannot be trained; known: bert, gpt2, llama")
