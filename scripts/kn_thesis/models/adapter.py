"""The adapter: what every method needs of a transformer, whatever its family, as one layer in seven steps.

A layer is split where the methods have to reach in:

    queries, keys, values = project(layer, hidden, positions)    every token by itself
    context               = attend(..., scaling(layer))           the only step that mixes tokens
    attention             = attention_output(layer, context)      what the attention adds
    state                 = after_attention(layer, hidden, attention)
    neurons               = neurons(layer, state)                 the input of the down-projection
    mlp                   = mlp_output(layer, neurons)            what the MLP adds
    hidden                = after_mlp(layer, state, mlp)

The methods treat `state` as opaque: they only slice and expand its leading axes. A model whose MLP does not follow its
attention (GPT-J runs them in parallel) can therefore pack whatever both need into it.

Only the modules of the families (`bert.py`, `gpt2.py`, `gptj.py`, `llama.py`) know the names inside a model. To add a
family, say GPT-NeoX, write `gpt_neox.py` with

1. a class with the members of `Adapter`. Each is a line or two that calls the model's own modules, so that weights,
   biases and norms are used as they are and nothing is computed a second way;
2. `GPT_NEOX = Family("gpt_neox", "causal", model_class, adapter)`. `model_class` imports the Hugging Face class when
   called, because that import takes seconds. `adapter` builds the adapter, or refuses a configuration that it would
   get wrong;

and add it to `families.py`. A family that shares its modules with another subclasses that family's adapter, as
`Qwen2Adapter` does. resources/examples/family/ is a complete example, explained step by step in docs/extending.md.

To check an adapter, add a tiny random model of the family to `tests/localization/test_attribution.py`, which compares
every family with the plain algorithm on the untouched model. In addition, `self_check.py` compares every loaded model
with its adapter on one short prompt.

`Preactivated` wraps an adapter so that its neurons are taken before the activation function, as in the public code of
Niu et al. (2024): the output of `mlp.c_fc` in GPT-2 and of `mlp.gate_proj` in LLaMA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kn_thesis.errors import UserError

NEURONS = ("activation", "preactivation")


class Adapter(Protocol):
    """A model of one family, split into steps. Leading axes (written …) are free: prompts, rows, tokens.

    Attributes:
        family: Hugging Face's `model_type`.
        objective: "masked" or "causal".
        layers: Number of layers.
        width: Neurons per layer.
        vocabulary: Number of token ids.
        longest: Maximum number of tokens in a prompt.
    """

    family: str
    objective: str
    layers: int
    width: int
    vocabulary: int
    longest: int

    def embed(self, input_ids: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the hidden states (prompts, tokens, hidden) that enter the first layer.

        Args:
            input_ids: Token ids (prompts, tokens), without padding.
            noise: Added to the word embeddings (prompts, tokens, hidden), before positions and norms.
        """

    def word_embeddings(self) -> Tensor:
        """Return the matrix of word embeddings (vocabulary, hidden)."""

    def output_embeddings(self) -> Tensor:
        """Return the output matrix (vocabulary, hidden), which is that of the word embeddings when they are tied."""

    def project(self, layer: int, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (…, tokens, heads, size), and keys and values (…, tokens, key heads, size).

        Args:
            layer: The layer's number, from 0.
            hidden: Hidden states (…, tokens, hidden).
            positions: The tokens' places in the prompt, (tokens,) or (1,) for all rows, or (rows, tokens) for each.
        """

    def scaling(self, layer: int) -> float:
        """Return the factor that multiplies the products of queries and keys in the softmax."""

    def attention_output(self, layer: int, context: Tensor) -> Tensor:
        """Return what the attention adds (…, hidden), from the context (…, heads, size)."""

    def after_attention(self, layer: int, hidden: Tensor, attention: Tensor) -> Tensor:
        """Return the state (…, hidden) between attention and MLP, from the layer's input and what attention adds."""

    def neurons(self, layer: int, state: Tensor) -> Tensor:
        """Return the neurons (…, width): the input of the layer's down-projection."""

    def mlp_output(self, layer: int, neurons: Tensor) -> Tensor:
        """Return what the MLP adds (…, hidden), from the neurons (…, width)."""

    def after_mlp(self, layer: int, state: Tensor, mlp: Tensor) -> Tensor:
        """Return the hidden states (…, hidden) that leave the layer, from the state and what the MLP adds."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (…, vocabulary) from the last layer's hidden states (…, hidden)."""

    def block(self, layer: int) -> torch.nn.Module:
        """Return the module that holds all of a layer's weights."""

    def down_projection(self, layer: int) -> torch.nn.Module:
        """Return the module whose input is the neurons: the place for a hook."""

    def down_projection_weight(self, layer: int) -> Tensor:
        """Return the layer's down-projection (hidden, width) or a view of it: writing to it changes the model."""


@dataclass(frozen=True)
class Family:
    """An architecture.

    Attributes:
        name: Hugging Face's `model_type`.
        objective: "masked" or "causal".
        model_class: Imports and returns the Hugging Face class.
        adapter: Builds the adapter of a model; raises UserError for a configuration that it does not cover.
    """

    name: str
    objective: str
    model_class: Callable[[], Any]
    adapter: Callable[[Any], Adapter]


def precise(x: Tensor) -> torch.dtype:
    """Return the dtype for sums and probabilities: float32, or float64 for a float64 tensor."""
    return torch.promote_types(x.dtype, torch.float32)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, scaling: float, causal: bool = False, mask: Tensor | None = None
) -> Tensor:
    """Compute attention as transformers does by default, with products and softmax in at least float32.

    Without `causal` or `mask`, every token sees every token.

    Args:
        queries: (…, tokens, heads, size). A causal call needs all tokens of the prompt.
        keys: (…, others, key heads, size), where the number of key heads divides the number of heads.
        values: Same shape as the keys.
        scaling: The layer's `Adapter.scaling`.
        causal: Whether to hide from each token those after it.
        mask: True where a token sees another: bool (tokens, others), or (rows, 1, tokens or 1, others).

    Returns:
        The context (…, tokens, heads, size).
    """
    q, k, v = (x.flatten(0, -4).transpose(1, 2) for x in (queries, keys, values))
    grouped = k.shape[1] != q.shape[1]
    context = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scaling, enable_gqa=grouped)
    return context.transpose(1, 2).reshape(queries.shape)


@runtime_checkable
class HasPreactivation(Protocol):
    """What the adapter of a causal family needs in addition, for neurons taken before the activation function."""

    def preactivation(self, layer: int, state: Tensor) -> Tensor:
        """Return z (…, width), the input of the activation function; in a gated MLP, the gate."""

    def activated(self, layer: int, preactivation: Tensor, state: Tensor) -> Tensor:
        """Return the activations (…, width) that `Adapter.neurons` returns, from z and the state (…, hidden)."""


class Preactivated:
    """An adapter whose neurons are the pre-activations z; everything else is the inner adapter's.

    The rest of the MLP is computed in `after_mlp`, because only there the state is at hand, which the other factor of
    a gated MLP comes from.
    """

    def __init__(self, inner: Adapter) -> None:
        """Wrap an adapter that has the members of `HasPreactivation`."""
        self._inner: Any = inner

    def __getattr__(self, name: str) -> Any:
        """Return the inner adapter's member."""
        if name == "_inner":  # not set yet while a copy is being made
            raise AttributeError(name)
        return getattr(self._inner, name)

    def neurons(self, layer: int, state: Tensor) -> Tensor:
        """Return z (…, width)."""
        return self._inner.preactivation(layer, state)

    def mlp_output(self, layer: int, neurons: Tensor) -> Tensor:
        """Return z unchanged; `after_mlp` computes the rest."""
        return neurons

    def after_mlp(self, layer: int, state: Tensor, mlp: Tensor) -> Tensor:
        """Return the hidden states that leave the layer, from the state and z (…, width)."""
        activations = self._inner.activated(layer, mlp, state)
        return self._inner.after_mlp(layer, state, self._inner.mlp_output(layer, activations))


def adapter_for(adapter: Adapter, neuron: str) -> Adapter:
    """Return the adapter with the kind of neuron asked for.

    The neurons of a masked model are activations under both names, as in the public code. Only runs that change
    neurons use this; edits of weights and causal tracing take the family's own adapter.

    Args:
        adapter: The family's adapter.
        neuron: "activation" or "preactivation".

    Raises:
        UserError: `neuron` is another name, or a causal family's adapter has no pre-activations.
    """
    if neuron not in NEURONS:
        raise UserError(f"unknown neuron {neuron!r}: choose one of {', '.join(NEURONS)}")
    if neuron == "activation" or adapter.objective == "masked":
        return adapter
    if not isinstance(adapter, HasPreactivation):
        raise UserError(
            f"the family {adapter.family!r} has no pre-activations to attribute to: choose attribution.neuron: "
            "activation, or give its adapter `preactivation` and `activated` (kn_thesis/models/adapter.py)"
        )
    return Preactivated(adapter)
