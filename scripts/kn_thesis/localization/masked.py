"""Masked models: a changed activation at the gap reaches every token, but not at once, and only the gap is read.

Leaving its own layer, it has moved the gap alone: in the next layer the other tokens' queries, keys and values are
the untouched run's. From there on all tokens differ, up to the last layer, where only the gap's query and MLP are
needed. Rows of all layers travel together: at layer m there are those that started at layers 0 … m−1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kn_thesis.localization.clean import Adjust, CleanLayer
from kn_thesis.models.adapter import Adapter, attend


def restarted(
    adapter: Adapter, run: list[CleanLayer], gaps: Tensor, activations: list[Tensor], adjust: Adjust | None = None
) -> Tensor:
    """Last hidden states at the gap when a layer's neurons there are replaced.

    `activations[l]` (prompts, rows, width) are the rows that start at layer l with these neurons; `adjust` changes
    the gap's neurons of rows that started below as they pass a layer.
    Returns (prompts, rows of all layers, hidden), those of layer 0 first.
    """
    prompts, tokens = run[0].hidden.shape[:2]
    positions = torch.arange(tokens, device=gaps.device)
    at_gap = (positions == gaps[:, None])[:, None, :, None]  # (prompts, 1, tokens, 1)
    index = torch.arange(prompts, device=gaps.device), gaps
    # Rows whose tokens all differ, and those that have just left the layer they started in: the gap's token alone.
    full = run[0].hidden.new_empty(prompts, 0, *run[0].hidden.shape[1:])
    fresh = run[0].hidden.new_empty(prompts, 0, run[0].hidden.shape[-1])
    for layer, clean in enumerate(run):
        last = layer + 1 == len(run)
        parts = [(full, adapter.project(layer, full, positions))] if full.shape[1] else []
        if fresh.shape[1]:
            # One position serves all fresh rows: a masked family has its positions in the embeddings.
            new = adapter.project(layer, fresh, positions[:1])
            shared = (clean.queries, clean.keys, clean.values)
            spread = [_spread(x, y, at_gap[..., None]) for x, y in zip(shared, new, strict=True)]
            parts.append((_spread(clean.hidden, fresh, at_gap), spread))
        if parts:
            if last:
                parts = [(_at(hidden, index), (_at(q, index)[:, :, None], k, v)) for hidden, (q, k, v) in parts]
            hidden = torch.cat([part[0] for part in parts], dim=1)
            context = torch.cat([attend(*part[1]) for part in parts], dim=1)
            context = context.view(*hidden.shape[:-1], *context.shape[-2:])
            state = adapter.after_attention(layer, hidden, adapter.attention_output(layer, context))
            neurons = adapter.neurons(layer, state)
            if adjust and last:
                neurons = adjust(layer, neurons)
            elif adjust:
                neurons.transpose(1, 2)[index] = adjust(layer, _at(neurons, index))
            full = adapter.after_mlp(layer, state, adapter.mlp_output(layer, neurons))
        elif last:
            full = full[:, :, 0]
        replaced = activations[layer]
        state = clean.state[:, None].expand(-1, replaced.shape[1], -1)
        fresh = adapter.after_mlp(layer, state, adapter.mlp_output(layer, replaced))
    return torch.cat((full, fresh), dim=1)


def _spread(clean: Tensor, fresh: Tensor, at_gap: Tensor) -> Tensor:
    """The untouched tokens (prompts, tokens, …) with the gap's replaced by each row's (prompts, rows, …)."""
    return torch.where(at_gap, fresh[:, :, None], clean[:, None])


def _at(x: Tensor, index: tuple[Tensor, Tensor]) -> Tensor:
    """The gap's token of every row: (prompts, rows, tokens, …) to (prompts, rows, …)."""
    return x.transpose(1, 2)[index]
