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


def nothing(run: list[CleanLayer]) -> Tensor:
    """Travelling rows below the first layer: (prompts, 0, tokens, hidden)."""
    return run[0].hidden.new_empty(len(run[0].hidden), 0, *run[0].hidden.shape[1:])


def passed(
    adapter: Adapter,
    run: list[CleanLayer],
    layer: int,
    gaps: Tensor,
    travelling: Tensor,
    fresh: Tensor,
    adjust: Adjust | None = None,
) -> Tensor:
    """Rows that leave a layer, first those that travel: (prompts, rows, tokens, hidden); the last layer's gaps alone.

    travelling (prompts, rows, tokens, hidden) differ in all tokens, fresh (prompts, rows, hidden) have started just
    below: only the gap's token differs. `adjust` changes the gap's neurons on the way.
    """
    clean, last = run[layer], layer + 1 == len(run)
    if not travelling.shape[1] + fresh.shape[1]:
        return travelling[:, :, 0] if last else travelling
    prompts, tokens = clean.hidden.shape[:2]
    positions = torch.arange(tokens, device=gaps.device)
    index = torch.arange(prompts, device=gaps.device), gaps
    parts = [(travelling, adapter.project(layer, travelling, positions))] if travelling.shape[1] else []
    if fresh.shape[1]:
        at_gap = (positions == gaps[:, None])[:, None, :, None]  # (prompts, 1, tokens, 1)
        # One position serves all fresh rows: a masked family has its positions in the embeddings.
        new = adapter.project(layer, fresh, positions[:1])
        shared = (clean.queries, clean.keys, clean.values)
        spread = [_spread(x, y, at_gap[..., None]) for x, y in zip(shared, new, strict=True)]
        parts.append((_spread(clean.hidden, fresh, at_gap), spread))
    if last:
        parts = [(_at(hidden, index), (_at(q, index)[:, :, None], k, v)) for hidden, (q, k, v) in parts]
    hidden = torch.cat([part[0] for part in parts], dim=1)
    context = torch.cat([attend(*part[1], adapter.scaling(layer)) for part in parts], dim=1)
    context = context.view(*hidden.shape[:-1], *context.shape[-2:])
    state = adapter.after_attention(layer, hidden, adapter.attention_output(layer, context))
    neurons = adapter.neurons(layer, state)
    if adjust and last:
        neurons = adjust(layer, neurons)
    elif adjust:
        neurons.transpose(1, 2)[index] = adjust(layer, _at(neurons, index))
    return adapter.after_mlp(layer, state, adapter.mlp_output(layer, neurons))


def _spread(clean: Tensor, fresh: Tensor, at_gap: Tensor) -> Tensor:
    """The untouched tokens (prompts, tokens, …) with the gap's replaced by each row's (prompts, rows, …)."""
    return torch.where(at_gap, fresh[:, :, None], clean[:, None])


def _at(x: Tensor, index: tuple[Tensor, Tensor]) -> Tensor:
    """The gap's token of every row: (prompts, rows, tokens, …) to (prompts, rows, …)."""
    return x.transpose(1, 2)[index]
