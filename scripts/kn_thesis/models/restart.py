"""Runs that restart from replaced neurons at the mask position, without recomputing the layers below.

A row is one prompt with one layer's neurons replaced at the mask position. It starts at that layer, from the unpatched
run (`forward.clean_run`), and passes through the layers above. The rows of all layers travel together: at layer m
there are those that started at layers 0 … m−1, and one matrix product serves them all. `restart_rows` does this
without gradients, `RestartWithGradients` with them.

How much of a row has to be computed depends on the objective:

- Causal: the mask position is the last token, so the replaced neurons change no other token. A row is one token, which
  attends to the keys and values that the unpatched run left for the tokens before it (`_causal_layer`).
- Masked: when a row leaves its own layer, only the mask position has changed, so the next layer takes the other tokens'
  queries, keys and values from the unpatched run. From there on all tokens differ. The last layer needs only the query
  and the MLP of the mask position (`_masked_layer`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kn_thesis.models.adapter import Adapter, attend, precise
from kn_thesis.models.forward import CleanLayer

# Changes the neurons (prompts, rows, width) at the mask position as they pass a layer: layer, neurons → neurons.
Adjust = Callable[[int, Tensor], Tensor]


def restart_rows(
    adapter: Adapter, run: list[CleanLayer], gaps: Tensor, activations: list[Tensor], adjust: Adjust | None = None
) -> Tensor:
    """Compute the last hidden states at the mask position when a layer's neurons there are replaced; no gradients.

    Args:
        adapter: The model's adapter.
        run: The layers of the unpatched run.
        gaps: Each prompt's mask position, int64 (prompts,).
        activations: For each layer, the neurons (prompts, rows, width) of the rows that start there.
        adjust: Changes the neurons of rows that started below as they pass a layer.

    Returns:
        Hidden states (prompts, rows of all layers, hidden), those of layer 0 first.
    """
    pass_layer = _LAYER[adapter.objective]
    travelling, fresh = _no_rows(adapter, run)
    with torch.no_grad():
        for layer, replaced in enumerate(activations):
            travelling = pass_layer(adapter, run, layer, gaps, travelling, fresh, adjust)
            fresh = _starting_rows(adapter, run[layer], layer, replaced)
        return torch.cat((travelling, fresh), dim=1)


class RestartWithGradients:
    """`restart_rows` with gradients with respect to the replaced neurons.

    Each layer has an autograd graph of its own. With `keep` the graphs of all layers are in memory at once. Without it
    only the inputs of the layers and the graph of one layer are, and every layer is computed twice.

    Attributes:
        rows: Last hidden states at the mask position (prompts, rows of all layers, hidden), those of layer 0 first.
    """

    def __init__(
        self, adapter: Adapter, run: list[CleanLayer], gaps: Tensor, activations: list[Tensor], keep: bool = True
    ) -> None:
        """Run the rows up through the layers; for the arguments see `restart_rows`."""
        travelling, fresh = _no_rows(adapter, run)
        self._layers: list[_Layer] = []
        for layer, replaced in enumerate(activations):
            self._layers.append(_Layer(adapter, run, layer, gaps, (travelling, fresh, replaced)))
            travelling, fresh = self._layers[-1].output(keep)
        self._sizes = travelling.shape[1], fresh.shape[1]
        self.rows = torch.cat((travelling, fresh), dim=1)

    def gradients(self, slope: Tensor) -> list[Tensor]:
        """Return the gradients with respect to the replaced neurons; may be called once.

        Args:
            slope: The gradient with respect to `rows`, in the same shape.

        Returns:
            For each layer, a tensor (prompts, rows, width).
        """
        downwards, gradients = slope.split(self._sizes, dim=1), []
        while self._layers:  # frees the layer's graph once it has been used
            *downwards, gradient = self._layers.pop().gradients(downwards)
            gradients.append(gradient)
        return gradients[::-1]


class _Layer:
    """One layer as a graph of its own, from the rows that enter it to those that leave it."""

    def __init__(
        self, adapter: Adapter, run: list[CleanLayer], layer: int, gaps: Tensor, entering: tuple[Tensor, ...]
    ) -> None:
        self._where = adapter, run, layer, gaps
        self._entering = [x.detach().requires_grad_() for x in entering]
        self._leaving: tuple[Tensor, Tensor] | None = None

    def output(self, keep: bool) -> tuple[Tensor, Tensor]:
        """Return the rows that have passed and those that start here; with `keep`, keep their graph."""
        with torch.set_grad_enabled(keep):
            leaving = self._compute()
        if keep:
            self._leaving = leaving
        return leaving[0].detach(), leaving[1].detach()

    def gradients(self, downwards: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of travelling rows, fresh rows and replaced neurons from those of the output."""
        if self._leaving is None:
            with torch.enable_grad():
                self._leaving = self._compute()
        return torch.autograd.grad(self._leaving, self._entering, downwards, materialize_grads=True)

    def _compute(self) -> tuple[Tensor, Tensor]:
        adapter, run, layer, gaps = self._where
        travelling, fresh, replaced = self._entering
        passed = _LAYER[adapter.objective](adapter, run, layer, gaps, travelling, fresh)
        return passed, _starting_rows(adapter, run[layer], layer, replaced)


def _no_rows(adapter: Adapter, run: list[CleanLayer]) -> tuple[Tensor, Tensor]:
    """Return no rows, as they enter the first layer: travelling (prompts, 0, …, hidden), fresh (prompts, 0, hidden)."""
    hidden = run[0].hidden
    tokens = hidden.shape[1:2] if adapter.objective == "masked" else ()
    return (
        hidden.new_empty(len(hidden), 0, *tokens, hidden.shape[-1]),
        hidden.new_empty(len(hidden), 0, hidden.shape[-1]),
    )


def _starting_rows(adapter: Adapter, clean: CleanLayer, layer: int, replaced: Tensor) -> Tensor:
    """Return the output (prompts, rows, hidden) at the mask position of a layer with replaced neurons."""
    state = clean.state[:, None].expand(-1, replaced.shape[1], -1)
    return adapter.after_mlp(layer, state, adapter.mlp_output(layer, replaced))


def _causal_layer(
    adapter: Adapter,
    run: list[CleanLayer],
    layer: int,
    gaps: Tensor,
    travelling: Tensor,
    fresh: Tensor,
    adjust: Adjust | None = None,
) -> Tensor:
    """Pass rows of a causal model through a layer.

    Args:
        adapter: The model's adapter.
        run: The layers of the unpatched run.
        layer: The layer's number, from 0.
        gaps: Each prompt's mask position, int64 (prompts,).
        travelling: Last tokens of the rows that passed the layer below (prompts, rows, hidden).
        fresh: Last tokens of the rows that started in the layer below (prompts, rows, hidden).
        adjust: Changes the neurons on the way.

    Returns:
        The last tokens (prompts, rows, hidden) that leave the layer: first the travelling, then the fresh rows.
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
    """Compute the attention of rows that are each the last token after the same earlier tokens.

    One product multiplies the queries of all rows with the earlier keys, which are not copied for each row. Products
    and softmax are in at least float32, as in `attend`.

    Args:
        queries: Of the rows (prompts, rows, heads, size).
        keys: Of the rows (prompts, rows, key heads, size).
        values: Of the rows (prompts, rows, key heads, size).
        scaling: See `attend`.
        clean: The layer of the unpatched run.

    Returns:
        The context (prompts, rows, heads, size).
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


def _masked_layer(
    adapter: Adapter,
    run: list[CleanLayer],
    layer: int,
    gaps: Tensor,
    travelling: Tensor,
    fresh: Tensor,
    adjust: Adjust | None = None,
) -> Tensor:
    """Pass rows of a masked model through a layer.

    Args:
        adapter: The model's adapter.
        run: The layers of the unpatched run.
        layer: The layer's number, from 0.
        gaps: Each prompt's mask position, int64 (prompts,).
        travelling: Rows that passed the layer below and differ in all tokens (prompts, rows, tokens, hidden).
        fresh: The mask position of rows that started in the layer below (prompts, rows, hidden).
        adjust: Changes the neurons at the mask position on the way.

    Returns:
        The rows that leave the layer (prompts, rows, tokens, hidden), first the travelling, then the fresh ones; from
        the last layer only their mask position (prompts, rows, hidden).
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
        # Any position does: masked families have their positions in the embeddings.
        new = adapter.project(layer, fresh, positions[:1])
        shared = (clean.queries, clean.keys, clean.values)
        filled = [_insert(x, y, at_gap[..., None]) for x, y in zip(shared, new, strict=True)]
        parts.append((_insert(clean.hidden, fresh, at_gap), filled))
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


def _insert(clean: Tensor, fresh: Tensor, at_gap: Tensor) -> Tensor:
    """Repeat clean tokens (prompts, tokens, …) for every row, with the row's own (prompts, rows, …) at the mask."""
    return torch.where(at_gap, fresh[:, :, None], clean[:, None])


def _at(x: Tensor, index: tuple[Tensor, Tensor]) -> Tensor:
    """Select each row's mask position: (prompts, rows, tokens, …) to (prompts, rows, …)."""
    return x.transpose(1, 2)[index]


_LAYER = {"causal": _causal_layer, "masked": _masked_layer}
