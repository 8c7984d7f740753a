"""Neurons before the activation function: what the public code of Niu et al. (2024) patches in causal models.

There the entry that is scaled, or set to zero, is the output of `mlp.c_fc` in GPT-2 and of `mlp.gate_proj` in LLaMA; in
BERT it is the activation. An adapter in this wrapper says so in its own seven steps (`adapter.py`): `neurons` are the
pre-activations z, and what follows them in the MLP is done on the way out of the layer, where a gated MLP has the state
that its other factor comes from.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from kn_thesis.errors import UserError
from kn_thesis.models.adapter import Adapter

NEURONS = ("activation", "preactivation")


@runtime_checkable
class HasPreactivation(Protocol):
    """What an adapter of a causal family needs besides, so that its neurons can be taken before the activation."""

    def preactivation(self, layer: int, state: Tensor) -> Tensor:
        """z (…, width), what the activation function is applied to; in a gated MLP the gate."""

    def activated(self, layer: int, preactivation: Tensor, state: Tensor) -> Tensor:
        """Activations (…, width) as `Adapter.neurons` has them, from z (…, width) and the state (…, hidden)."""


class Preactivated:
    """An adapter whose neurons are the pre-activations z; all else is the inner adapter's."""

    def __init__(self, inner: Adapter) -> None:
        """Take the adapter of a family with `HasPreactivation`."""
        self._inner: Any = inner

    def __getattr__(self, name: str) -> Any:
        """The inner adapter's member."""
        if name == "_inner":  # not there yet, while a copy is made
            raise AttributeError(name)
        return getattr(self._inner, name)

    def neurons(self, layer: int, state: Tensor) -> Tensor:
        """z (…, width)."""
        return self._inner.preactivation(layer, state)

    def mlp_output(self, layer: int, neurons: Tensor) -> Tensor:
        """z as it is: what is made of it needs the state, which `after_mlp` has."""
        return neurons

    def after_mlp(self, layer: int, state: Tensor, mlp: Tensor) -> Tensor:
        """Hidden states that leave the layer, from the state and z (…, width)."""
        activations = self._inner.activated(layer, mlp, state)
        return self._inner.after_mlp(layer, state, self._inner.mlp_output(layer, activations))


def adapter_for(adapter: Adapter, neuron: str) -> Adapter:
    """The adapter whose neurons are those that `neuron` names ("activation" or "preactivation").

    A masked model's are activations under both names, as in the public code. The wrapper is for runs that change
    neurons; edits of weights and causal tracing take the family's own adapter. Raises UserError for another name, and
    for a causal family whose adapter does not say what its pre-activations are.
    """
    if neuron not in NEURONS:
        raise UserError(f"unknown neuron {neuron!r}: choose one of {', '.join(NEURONS)}")
    if neuron == "activation" or adapter.objective == "masked":
        return adapter
    if not isinstance(adapter, HasPreactivation):
        raise UserError(
            f"the family {adapter.family!r} has no pre-activations to attribute to: choose attribution.neuron: "
            "activation, or give its adapter `preactivation` and `activated` (kn_thesis/models/preactivation.py)"
        )
    return Preactivated(adapter)
