"""Changes of down-projections: applied beside the model for many edits at once, or written into its weights.

The down-projection W (hidden, width) maps a layer's neurons to the output of its MLP. ROME and the knowledge-neuron
edit change it by a matrix of low rank, left · rightᵀ; fine-tuning changes it by a matrix of any rank.
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
    """A change of one layer's W to W + left · rightᵀ, or to W + left where `right` is None.

    Attributes:
        layer: number of the layer, from 0.
        left: (hidden, rank), or (hidden, width) without `right`; float32, float64 in a model of that dtype.
        right: (width, rank), of the same dtype.
    """

    layer: int
    left: Tensor
    right: Tensor | None = None

    def matrix(self) -> Tensor:
        """The whole change (hidden, width)."""
        return self.left if self.right is None else self.left @ self.right.T

    def added(self, neurons: Tensor) -> Tensor:
        """What the change adds to the MLP's output (…, hidden), given the neurons (…, width)."""
        wide = neurons.to(self.left.dtype)
        output = wide @ self.left.T if self.right is None else (wide @ self.right) @ self.left.T
        return output.to(neurons.dtype)

    def norm(self) -> float:
        """Frobenius norm of the change."""
        if self.right is None:
            return float(self.left.norm())
        return float(((self.left.T @ self.left) * (self.right.T @ self.right)).sum().clamp(min=0).sqrt())


@dataclass(frozen=True)
class Edit:
    """The edit of one request.

    Attributes:
        request: name of the request.
        updates: at most one per layer; none when the edit failed.
        failure: why it failed, a status of `editing.tables`; "" when it did not.
        steps: number of the optimiser's steps.
        loss: last loss of the optimiser (nats; nan without one).
    """

    request: str
    updates: tuple[Update, ...] = field(default=())
    failure: str = ""
    steps: int = 0
    loss: float = float("nan")


@contextmanager
def applied(adapter: Adapter, updates: Sequence[Update]) -> Iterator[None]:
    """Change a model's weights for a with block; afterwards, also on an exception, restore them bit for bit.

    Args:
        adapter: of the model.
        updates: changes; several of one layer add up.
    """
    kept: list[tuple[Tensor, Tensor]] = []
    try:
        with torch.no_grad():
            for update in updates:
                weight = adapter.down_projection_weight(update.layer)
                kept.append((weight, weight.detach().clone()))
                changed = weight.to(precise(weight)) + update.matrix().to(weight.device, precise(weight))
                weight.copy_(changed.to(weight.dtype))
        yield
    finally:
        with torch.no_grad():
            for weight, before in reversed(kept):
                weight.copy_(before)
