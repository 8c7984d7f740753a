"""What the methods need to know of a transformer, whatever its family: one layer in seven steps.

A family's module (`bert.py`, `roberta.py`, `gpt2.py`, `gptj.py`, `llama.py`, `mistral.py`, `qwen2.py`) is the only
code that knows the names inside a model. To add one, say GPT-NeoX, write `gpt_neox.py` with

1. a class with the members of `Adapter`, each a line or two over the model's own modules, so that weights, biases
   and norms are used as they are and nothing is computed a second way;
2. `FAMILY = Family("gpt_neox", "causal", model_class, make)`, where `model_class` imports the Hugging Face class late
   (an import of it costs seconds) and `make` builds the adapter or refuses a configuration it would get wrong;

and enter it in `families.py`; a class that shares its modules with another's takes that one's adapter over, as
`qwen2.py` does LLaMA's. `tests/test_attribution.py` compares each family with the plain algorithm run on the
untouched model: add a tiny random model of the family there, and it tells whether the adapter is right. Every model
that is loaded is held against its adapter on one short prompt (`agreement.py`).
resources/examples/family/ is a whole example, done step by step in the README.

A layer is split where the methods have to reach in:

    queries, keys, values = project(layer, hidden, positions)    every token by itself
    context               = attend(..., scaling(layer))           the only step in which tokens meet
    attention             = attention_output(layer, context)      what the attention adds
    state                 = after_attention(layer, hidden, attention)
    neurons               = neurons(layer, state)                 the vector w of DESIGN.md §3
    mlp                   = mlp_output(layer, neurons)            what the MLP adds
    hidden                = after_mlp(layer, state, mlp)

In a model whose MLP does not follow its attention (GPT-J's are parallel), `state` carries what both need: it is
opaque to the methods, which only slice and expand it along its leading axes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class Adapter(Protocol):
    """A model of one family, taken apart. Leading axes (written …) are free: prompts, rows, tokens."""

    family: str
    objective: str  # "masked" or "causal"
    layers: int
    width: int  # neurons per layer
    vocabulary: int
    longest: int  # most tokens in a prompt

    def embed(self, input_ids: Tensor, noise: Tensor | None = None) -> Tensor:
        """Hidden states (prompts, tokens, hidden) below the first layer, from ids (prompts, tokens) without padding.

        `noise` (prompts, tokens, hidden) is added to the words' embeddings, before positions and norms.
        """

    def word_embeddings(self) -> Tensor:
        """The matrix of the words' embeddings (vocabulary, hidden)."""

    def output_embeddings(self) -> Tensor:
        """The matrix (vocabulary, hidden) that the words' scores are read with; the same as the words' when tied."""

    def project(self, layer: int, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (…, tokens, heads, size), keys and values (…, tokens, key heads, size) of hidden states.

        `positions` (tokens,) or (1,) are the tokens' places in the prompt, or (rows, tokens) each row's own.
        """

    def scaling(self, layer: int) -> float:
        """The factor of the products of queries and keys in the softmax."""

    def attention_output(self, layer: int, context: Tensor) -> Tensor:
        """What the attention adds (…, hidden), from context (…, heads, size)."""

    def after_attention(self, layer: int, hidden: Tensor, attention: Tensor) -> Tensor:
        """State (…, hidden) between attention and MLP, from what came in and what the attention adds (…, hidden)."""

    def neurons(self, layer: int, state: Tensor) -> Tensor:
        """Activations (…, width): what the layer's value matrix is multiplied with."""

    def mlp_output(self, layer: int, neurons: Tensor) -> Tensor:
        """What the MLP adds (…, hidden), from neurons (…, width)."""

    def after_mlp(self, layer: int, state: Tensor, mlp: Tensor) -> Tensor:
        """Hidden states (…, hidden) that leave the layer, from the state and what the MLP adds (…, hidden)."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores (…, vocabulary) of the next or hidden word from the last layer's hidden states (…, hidden)."""

    def block(self, layer: int) -> torch.nn.Module:
        """The module that holds all of a layer's weights."""

    def value_matrix(self, layer: int) -> torch.nn.Module:
        """The module whose input is the neurons: the place for a hook."""

    def value_weight(self, layer: int) -> Tensor:
        """The layer's value matrix (hidden, width) itself, or a view of it: writing to it changes the model."""


@dataclass(frozen=True)
class Family:
    """An architecture: its name (Hugging Face's `model_type`), its objective, and how its models are made."""

    name: str
    objective: str  # "masked" or "causal"
    model_class: Callable[[], Any]  # imports and returns the Hugging Face class
    adapter: Callable[[Any], Adapter]  # raises UserError for a configuration that the adapter does not cover


def precise(x: Tensor) -> torch.dtype:
    """The dtype of sums and probabilities: float32, or float64 where the model has it."""
    return torch.promote_types(x.dtype, torch.float32)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, scaling: float, causal: bool = False, mask: Tensor | None = None
) -> Tensor:
    """Attention of every token to every token, to none after itself, or to those that `mask` allows.

    It is what transformers computes by default: products and softmax in float32 at least, the factor in between.

    Args:
        queries: (…, tokens, heads, size); the tokens of a causal call are all of the prompt's.
        keys: (…, others, key heads, size), where key heads divides heads.
        values: As the keys.
        scaling: The layer's `Adapter.scaling`.
        causal: Whether no token sees those after itself.
        mask: bool (tokens, others), or (rows, 1, tokens or 1, others) with rows of their own.

    Returns:
        The context (…, tokens, heads, size).
    """
    q, k, v = (x.flatten(0, -4).transpose(1, 2) for x in (queries, keys, values))
    grouped = k.shape[1] != q.shape[1]
    context = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scaling, enable_gqa=grouped)
    return context.transpose(1, 2).reshape(queries.shape)
