"""The untouched run that all layers and all nodes of a batch share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kn_thesis.models.adapter import Adapter, attend

# Changes neurons (prompts, rows, width) at the gap as they pass a layer: layer, neurons → neurons.
Adjust = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class CleanLayer:
    """One layer of the untouched run over prompts of one length.

    hidden (prompts, tokens, hidden) goes in; queries, keys, values (prompts, tokens, heads, size) are its
    projections; state (prompts, hidden) and neurons (prompts, width) are those at the gap.
    """

    hidden: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor
    state: Tensor
    neurons: Tensor


@torch.no_grad()
def clean_run(adapter: Adapter, input_ids: Tensor, gaps: Tensor) -> tuple[list[CleanLayer], Tensor]:
    """Every layer's part of the untouched run, and the hidden states (prompts, hidden) that leave the last at the gap.

    `input_ids` (prompts, tokens) without padding, `gaps` (prompts,).
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
        if last:  # nothing above it reads the other tokens
            hidden, context = hidden[at_gap], context[at_gap]
        state = adapter.after_attention(layer, hidden, adapter.attention_output(layer, context))
        neurons = adapter.neurons(layer, state)
        gap = (state, neurons) if last else (state[at_gap], neurons[at_gap])
        run.append(CleanLayer(entering, queries, keys, values, *gap))
        hidden = adapter.after_mlp(layer, state, adapter.mlp_output(layer, neurons))
    return run, hidden
