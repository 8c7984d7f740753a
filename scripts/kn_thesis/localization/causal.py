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


def nothing(run: list[CleanLayer]) -> Tensor:
    """Travelling rows below the first layer: (prompts, 0, hidden)."""
    return run[0].hidden.new_empty(len(run[0].hidden), 0, run[0].hidden.shape[-1])


def passed(
    adapter: Adapter,
    run: list[CleanLayer],
    layer: int,
    gaps: Tensor,
    travelling: Tensor,
    fresh: Tensor,
    adjust: Adjust | None = None,
) -> Tensor:
    """Rows (prompts, rows, hidden) that leave a layer: those that travel, then those that have started just below.

    travelling, fresh (prompts, rows, hidden): the gap's token, as it enters. `adjust` changes neurons on the way.
    """
    rows = torch.cat((travelling, fresh), dim=1)
    if not rows.shape[1]:
        return rows
    place = torch.full((1,), run[0].hidden.shape[1] - 1, device=gaps.device)
    context = _last_token_attention(*adapter.project(layer, rows, place), adapter.scaling(layer), run[layer])
    state = adapter.after_attention(layer, rows, adapter.attention_output(layer, context))
    neurons = adapter.neurons(layer, state)
    return adapter.after_mlp(layer, state, adapter.mlp_output(layer, adjust(layer, neurons) if adjust else neurons))


def _last_token_attention(queries: Tensor, keys: Tensor, values: Tensor, scaling: float, clean: CleanLayer) -> Tensor:
    """Context (prompts, rows, heads, size) of rows that are each the last token after the same earlier ones.

    queries (prompts, rows, heads, size), keys and values (prompts, rows, key heads, size) of the rows themselves.
    The rows are queries of one product with the earlier keys, which are not copied for each of them. Products and
    softmax are in float32 at least, as in `attend`.
    """
    prompts, rows, heads, size = queries.shape
    groups = keys.shape[2]
    earlier_keys, earlier_values = (x[:, :-1].transpose(1, 2) for x in (clean.keys, clean.values))
    q = queries.reshape(prompts, rows, groups, heads // groups, size).permute(0, 2, 1, 3, 4).to(precise(queries))
    k, v = (x.transpose(1, 2)[:, :, :, None] for x in (keys, values))
    scores = q.flatten(2, 3) @ earlier_keys.to(q.dtype).transpose(-1, -2)
    own = (q * k).sum(-1).flatten(2, 3)[..., None]
    shares = (torch.cat((scores, own), dim=-1) * scaling).softmax(-1).to(v.dtype)
    context = (shares[..., :-1] @ earlier_values).view(q.shape) + shares[..., -1:].view(*q.shape[:-1], 1) * v
    return context.permute(0, 2, 1, 3, 4).reshape(prompts, rows, heads, size)
