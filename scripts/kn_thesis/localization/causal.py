"""Causal models: with the gap at the end, a changed activation moves one token, whatever lies before it.

So each node of each layer is one token that passes through the layers above, beside the keys and values that the
untouched run left for the tokens before it. The tokens of all layers travel together: at layer m there are those
that started at layers 0 … m−1, and one matrix product serves them all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kn_thesis.localization.clean import Adjust, CleanLayer
from kn_thesis.models.adapter import Adapter, precise


def restarted(
    adapter: Adapter, run: list[CleanLayer], gaps: Tensor, activations: list[Tensor], adjust: Adjust | None = None
) -> Tensor:
    """Last hidden states at the gap when a layer's neurons there are replaced.

    `activations[l]` (prompts, rows, width) are the rows that start at layer l with these neurons; `adjust` changes
    the neurons of rows that started below as they pass a layer.
    Returns (prompts, rows of all layers, hidden), those of layer 0 first.
    """
    prompts = run[0].hidden.shape[0]
    place = torch.full((1,), run[0].hidden.shape[1] - 1, device=gaps.device)
    rows = run[0].hidden.new_empty(prompts, 0, run[0].hidden.shape[-1])
    for layer, clean in enumerate(run):
        if rows.shape[1]:
            context = _last_token_attention(*adapter.project(layer, rows, place), clean)
            state = adapter.after_attention(layer, rows, adapter.attention_output(layer, context))
            neurons = adapter.neurons(layer, state)
            rows = adapter.after_mlp(
                layer, state, adapter.mlp_output(layer, adjust(layer, neurons) if adjust else neurons)
            )
        replaced = activations[layer]
        state = clean.state[:, None].expand(-1, replaced.shape[1], -1)
        rows = torch.cat((rows, adapter.after_mlp(layer, state, adapter.mlp_output(layer, replaced))), dim=1)
    return rows


def _last_token_attention(queries: Tensor, keys: Tensor, values: Tensor, clean: CleanLayer) -> Tensor:
    """Context (prompts, rows, heads, size) of rows that are each the last token after the same earlier ones.

    queries (prompts, rows, heads, size), keys and values (prompts, rows, key heads, size) of the rows themselves.
    The rows are queries of one product with the earlier keys, which are not copied for each of them.
    """
    prompts, rows, heads, size = queries.shape
    groups = keys.shape[2]
    earlier_keys, earlier_values = (x[:, :-1].transpose(1, 2) for x in (clean.keys, clean.values))
    q = queries.reshape(prompts, rows, groups, heads // groups, size).permute(0, 2, 1, 3, 4)
    k, v = (x.transpose(1, 2)[:, :, :, None] for x in (keys, values))
    scores = q.flatten(2, 3) @ earlier_keys.transpose(-1, -2)
    own = (q * k).sum(-1).flatten(2, 3)[..., None]
    shares = torch.cat((scores, own), dim=-1).softmax(-1, dtype=precise(scores)).to(v.dtype)
    context = (shares[..., :-1] @ earlier_values).view(q.shape) + shares[..., -1:].view(*q.shape[:-1], 1) * v
    return context.permute(0, 2, 1, 3, 4).reshape(prompts, rows, heads, size)
