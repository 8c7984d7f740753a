"""A change of value matrices: computed beside the model for many edits at once, or written into it and taken out again.

A value matrix W (hidden, width) takes a layer's neurons to what its MLP adds. ROME and the knowledge-neuron edit
change it by a matrix of low rank, left · rightᵀ; fine-tuning by any matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kn_thesis.models.adapter import precise

if TYPE_CHECKING:
    from kn_thesis.models.adapter import Adapter


@dataclass(frozen=True)
class Update:
    """W of one layer becomes W + left · rightᵀ: left (hidden, rank), right (width, rank).

    With `right` None it becomes W + left. Both float32 (float64 in a model of that dtype), whatever the model's.
    """

    layer: int
    left: Tensor
    right: Tensor | None = None

    def matrix(self) -> Tensor:
        """The whole change (hidden, width)."""
        return self.left if self.right is None else self.left @ self.right.T

    def added(self, neurons: Tensor) -> Tensor:
        """What the change adds to the MLP's output (…, hidden), from neurons (…, width)."""
        wide = neurons.to(self.left.dtype)
        found = wide @ self.left.T if self.right is None else (wide @ self.right) @ self.left.T
        return found.to(neurons.dtype)

    def norm(self) -> float:
        """Frobenius norm of the change."""
        if self.right is None:
            return float(self.left.norm())
        return float(((self.left.T @ self.left) * (self.right.T @ self.right)).sum().clamp(min=0).sqrt())


@dataclass(frozen=True)
class Edit:
    """What an editor found for one request.

    updates: at most one per layer; none when it failed. failure: why, of editing.names, or "". steps: of its
    optimiser. loss: the last one (nats; nan without an optimiser).
    """

    request: str
    updates: tuple[Update, ...] = field(default=())
    failure: str = ""
    steps: int = 0
    loss: float = float("nan")


@contextmanager
def applied(adapter: Adapter, updates: Sequence[Update]) -> Iterator[None]:
    """The model with changed weights; leaving, also by an exception, brings every one of them back bit for bit."""
    kept: list[tuple[Tensor, Tensor]] = []
    try:
        with torch.no_grad():
            for update in updates:
                weight = adapter.value_weight(update.layer)
                kept.append((weight, weight.detach().clone()))
                changed = weight.to(precise(weight)) + update.matrix().to(weight.device, precise(weight))
                weight.copy_(changed.to(weight.dtype))
        yield
    finally:
        with torch.no_grad():
            for weight, before in reversed(kept):
                weight.copy_(before)
