"""Layers of a model run one after the other over rows of tokens that are filled up behind their end."""

from __future__ import annotations

import torch
from torch import Tensor

from kn_thesis.models.adapter import Adapter, attend


def state_in(adapter: Adapter, layer: int, hidden: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
    """State (rows, tokens, hidden) between a layer's attention and its MLP, from what enters the layer.

    mask: see attend; None: every token looks at itself and those before it, in a masked model at all.
    """
    queries, keys, values = adapter.project(layer, hidden, positions)
    causal = mask is None and adapter.objective == "causal"
    context = attend(queries, keys, values, adapter.scaling(layer), causal, mask)
    return adapter.after_attention(layer, hidden, adapter.attention_output(layer, context))


def leaving(adapter: Adapter, layer: int, state: Tensor) -> Tensor:
    """Hidden states (rows, tokens, hidden) that leave the layer, from the state before its MLP."""
    return adapter.after_mlp(layer, state, adapter.mlp_output(layer, adapter.neurons(layer, state)))


@torch.no_grad()
def state_before_mlp(adapter: Adapter, ids: Tensor, layer: int, mask: Tensor | None = None) -> Tensor:
    """The state before one layer's MLP, from ids (rows, tokens); nothing above it is run."""
    positions = torch.arange(ids.shape[1], device=ids.device)
    hidden = adapter.embed(ids)
    for number in range(layer):
        hidden = leaving(adapter, number, state_in(adapter, number, hidden, positions, mask))
    return state_in(adapter, layer, hidden, positions, mask)


def filled_up(rows: list[tuple[int, ...]], device: object) -> Tensor:
    """Ids (rows, longest) with each row's last token repeated behind its end."""
    longest = max(map(len, rows))
    return torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows], device=device)
