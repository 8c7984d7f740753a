"""Forward passes through all layers, one layer after another: unpatched, with noise, or up to one layer.

`clean_run` is the run that attribution and suppression restart from: many prompts, and at each layer what the mask
position needs. `run_layers` is the run that causal tracing patches: one prompt, with or without noise on its cue, all
tokens of every layer. `state_in`, `state_out` and `state_before_mlp` are the steps from which editing builds its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kn_thesis.models.adapter import Adapter, attend, precise


@dataclass(frozen=True)
class CleanLayer:
    """One layer of an unpatched run over prompts of one length.

    Attributes:
        hidden: Input of the layer (prompts, tokens, hidden).
        queries: Projection of the input (prompts, tokens, heads, size).
        keys: The same (prompts, tokens, key heads, size).
        values: The same (prompts, tokens, key heads, size).
        state: Between attention and MLP at the mask position (prompts, hidden).
        neurons: At the mask position (prompts, width).
    """

    hidden: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor
    state: Tensor
    neurons: Tensor


@dataclass(frozen=True)
class LayerStates:
    """One layer of a run of one prompt, with a row for each noise sample; an unpatched run has a single row.

    Attributes:
        hidden: Input of the layer (samples, tokens, hidden).
        keys: Projection of the input (samples, tokens, key heads, size).
        values: The same.
        attention: What the attention adds (samples, tokens, hidden).
        state: Between attention and MLP (samples, tokens, hidden).
        mlp: What the MLP adds (samples, tokens, hidden).
    """

    hidden: Tensor
    keys: Tensor
    values: Tensor
    attention: Tensor
    state: Tensor
    mlp: Tensor


@dataclass(frozen=True)
class LayerRun:
    """All layers of a run, and the hidden states (samples, tokens, hidden) that leave the last one."""

    layers: list[LayerStates]
    last: Tensor


@torch.no_grad()
def clean_run(adapter: Adapter, input_ids: Tensor, gaps: Tensor) -> tuple[list[CleanLayer], Tensor]:
    """Run prompts of one length through the model, unchanged.

    Args:
        adapter: The model's adapter.
        input_ids: Token ids (prompts, tokens), without padding.
        gaps: Each prompt's mask position, int64 (prompts,).

    Returns:
        The layers, and the hidden states (prompts, hidden) that leave the last layer at the mask position.
    """
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    at_gap = torch.arange(len(input_ids), device=input_ids.device), gaps
    hidden = adapter.embed(input_ids)
    run = []
    for layer in range(adapter.layers):
        entering = hidden
        queries, keys, values = adapter.project(layer, hidden, positions)
        context = attend(queries, keys, values, adapter.scaling(layer), causal=adapter.objective == "causal")
        last = layer + 1 == adapter.layers
        if last:  # nothing above reads the other tokens
            hidden, context = hidden[at_gap], context[at_gap]
        state = adapter.after_attention(layer, hidden, adapter.attention_output(layer, context))
        neurons = adapter.neurons(layer, state)
        gap = (state, neurons) if last else (state[at_gap], neurons[at_gap])
        run.append(CleanLayer(entering, queries, keys, values, *gap))
        hidden = adapter.after_mlp(layer, state, adapter.mlp_output(layer, neurons))
    return run, hidden


@torch.no_grad()
def run_layers(adapter: Adapter, input_ids: Tensor, noise: Tensor | None = None) -> LayerRun:
    """Run one prompt through the model and keep every layer.

    Args:
        adapter: The model's adapter.
        input_ids: Token ids (tokens,).
        noise: Added to the word embeddings (samples, tokens, hidden): one row for each sample. None: one row, no noise.
    """
    tokens = len(input_ids)
    positions = torch.arange(tokens, device=input_ids.device)
    hidden = adapter.embed(input_ids[None].expand(1 if noise is None else len(noise), -1), noise)
    layers = []
    for layer in range(adapter.layers):
        queries, keys, values = adapter.project(layer, hidden, positions)
        context = attend(queries, keys, values, adapter.scaling(layer), causal=adapter.objective == "causal")
        attention = adapter.attention_output(layer, context)
        state = adapter.after_attention(layer, hidden, attention)
        mlp = adapter.mlp_output(layer, adapter.neurons(layer, state))
        layers.append(LayerStates(hidden, keys, values, attention, state, mlp))
        hidden = adapter.after_mlp(layer, state, mlp)
    return LayerRun(layers, hidden)


def state_in(adapter: Adapter, layer: int, hidden: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the first half of a layer: the state (rows, tokens, hidden) between its attention and its MLP.

    Args:
        adapter: The model's adapter.
        layer: The layer's number, from 0.
        hidden: Input of the layer (rows, tokens, hidden).
        positions: See `Adapter.project`.
        mask: See `attend`. None: each token sees itself and those before it; in a masked model, all tokens.
    """
    queries, keys, values = adapter.project(layer, hidden, positions)
    causal = mask is None and adapter.objective == "causal"
    context = attend(queries, keys, values, adapter.scaling(layer), causal, mask)
    return adapter.after_attention(layer, hidden, adapter.attention_output(layer, context))


def state_out(adapter: Adapter, layer: int, state: Tensor) -> Tensor:
    """Compute the second half of a layer: its output (rows, tokens, hidden) from the state before its MLP."""
    return adapter.after_mlp(layer, state, adapter.mlp_output(layer, adapter.neurons(layer, state)))


@torch.no_grad()
def state_before_mlp(adapter: Adapter, ids: Tensor, layer: int, mask: Tensor | None = None) -> Tensor:
    """Compute the state (rows, tokens, hidden) before one layer's MLP; layers above it are not run.

    Args:
        adapter: The model's adapter.
        ids: Token ids (rows, tokens).
        layer: The layer's number, from 0.
        mask: See `state_in`.
    """
    positions = torch.arange(ids.shape[1], device=ids.device)
    hidden = adapter.embed(ids)
    for number in range(layer):
        hidden = state_out(adapter, number, state_in(adapter, number, hidden, positions, mask))
    return state_in(adapter, layer, hidden, positions, mask)


@torch.no_grad()
def log_probabilities(adapter: Adapter, hidden: Tensor, tokens: Sequence[int]) -> Tensor:
    """Compute the log-probabilities of some tokens.

    Args:
        adapter: The model's adapter.
        hidden: Hidden states that leave the last layer (…, hidden).
        tokens: Ids of the tokens.

    Returns:
        Nats (…, tokens), at least float32.
    """
    logits = adapter.logits(hidden)
    logits = logits.to(precise(logits))
    return logits[..., list(tokens)] - logits.logsumexp(-1, keepdim=True)


def pad_right(rows: list[tuple[int, ...]], device: object) -> Tensor:
    """Return ids (rows, longest), with each row's last token repeated after its end."""
    longest = max(map(len, rows))
    return torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows], device=device)
