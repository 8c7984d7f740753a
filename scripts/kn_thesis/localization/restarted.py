"""Runs that restart from replaced activations: rows of all layers travel up together, and gradients come down again.

A row is one prompt with one layer's neurons replaced at the gap. Rows start at every layer; `causal.passed` and
`masked.passed` take those that started below through a layer. Each layer is a graph of its own: the states that enter
it are kept, and on the way down it is either there still (`keep`) or made again, so that never more than one is.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from kn_thesis.localization import causal, masked
from kn_thesis.localization.clean import Adjust, CleanLayer
from kn_thesis.models.adapter import Adapter

WAYS: dict[str, ModuleType] = {"causal": causal, "masked": masked}


def restarted(
    adapter: Adapter, run: list[CleanLayer], gaps: Tensor, activations: list[Tensor], adjust: Adjust | None = None
) -> Tensor:
    """Last hidden states at the gap when a layer's neurons there are replaced; no gradients.

    `activations[l]` (prompts, rows, width) are the rows that start at layer l with these neurons; `adjust` changes
    the neurons of rows that started below as they pass a layer.
    Returns (prompts, rows of all layers, hidden), those of layer 0 first.
    """
    way = WAYS[adapter.objective]
    travelling, fresh = _below(adapter, run)
    with torch.no_grad():
        for layer, replaced in enumerate(activations):
            travelling = way.passed(adapter, run, layer, gaps, travelling, fresh, adjust)
            fresh = _started(adapter, run[layer], layer, replaced)
        return torch.cat((travelling, fresh), dim=1)


class Ascent:
    """The same with gradients. `rows` (prompts, rows of all layers, hidden): last hidden states at the gap, as above.

    With `keep` the graphs of all layers are in memory at once; without, the states that enter the layers and the graph
    of one layer, and every layer is computed twice.
    """

    def __init__(
        self, adapter: Adapter, run: list[CleanLayer], gaps: Tensor, activations: list[Tensor], keep: bool = True
    ) -> None:
        """Take rows with these activations up, as `restarted` does."""
        travelling, fresh = _below(adapter, run)
        self._layers: list[_Layer] = []
        for layer, replaced in enumerate(activations):
            self._layers.append(_Layer(adapter, run, layer, gaps, (travelling, fresh, replaced)))
            travelling, fresh = self._layers[-1].output(keep)
        self._sizes = travelling.shape[1], fresh.shape[1]
        self.rows = torch.cat((travelling, fresh), dim=1)

    def gradients(self, slope: Tensor) -> list[Tensor]:
        """With respect to the replaced neurons, a tensor (prompts, rows, width) for each layer; to be asked once.

        slope: the gradient with respect to `rows`.
        """
        downwards, gradients = slope.split(self._sizes, dim=1), []
        while self._layers:  # a layer's graph goes when it has been passed
            *downwards, gradient = self._layers.pop().gradients(downwards)
            gradients.append(gradient)
        return gradients[::-1]


class _Layer:
    """One layer between its entering rows and those that leave it: a graph that ends at both sides."""

    def __init__(
        self, adapter: Adapter, run: list[CleanLayer], layer: int, gaps: Tensor, entering: tuple[Tensor, ...]
    ) -> None:
        self._where = adapter, run, layer, gaps
        self._entering = [x.detach().requires_grad_() for x in entering]
        self._leaving: tuple[Tensor, Tensor] | None = None

    def output(self, keep: bool) -> tuple[Tensor, Tensor]:
        """Rows that have passed and rows that start here; with `keep`, their graph stays."""
        with torch.set_grad_enabled(keep):
            leaving = self._computed()
        if keep:
            self._leaving = leaving
        return leaving[0].detach(), leaving[1].detach()

    def gradients(self, downwards: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """With respect to what travelled, had started below, and starts here; from those of what leaves."""
        if self._leaving is None:
            with torch.enable_grad():
                self._leaving = self._computed()
        return torch.autograd.grad(self._leaving, self._entering, downwards, materialize_grads=True)

    def _computed(self) -> tuple[Tensor, Tensor]:
        adapter, run, layer, gaps = self._where
        travelling, fresh, replaced = self._entering
        passed = WAYS[adapter.objective].passed(adapter, run, layer, gaps, travelling, fresh)
        return passed, _started(adapter, run[layer], layer, replaced)


def _below(adapter: Adapter, run: list[CleanLayer]) -> tuple[Tensor, Tensor]:
    """No rows, as they enter the first layer: travelling, and fresh (prompts, 0, hidden)."""
    hidden = run[0].hidden
    return WAYS[adapter.objective].nothing(run), hidden.new_empty(len(hidden), 0, hidden.shape[-1])


def _started(adapter: Adapter, clean: CleanLayer, layer: int, replaced: Tensor) -> Tensor:
    """The gap's states (prompts, rows, hidden) that leave a layer whose neurons are replaced."""
    state = clean.state[:, None].expand(-1, replaced.shape[1], -1)
    return adapter.after_mlp(layer, state, adapter.mlp_output(layer, replaced))
