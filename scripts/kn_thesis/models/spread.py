"""A model spread over several devices: its layers' weights lie apart, everything else stays on the first device.

Embeddings, head, and every activation are on the first device. What a layer computes is computed where its weights
are: inputs go there, and outputs come back. So no method knows of it, and only layers that lie elsewhere pay for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from kn_thesis.models.adapter import Adapter

FIRST_KEEPS = 0.5  # of an equal share of the layers: the first device holds activations, embeddings and head as well


def layer_devices(layers: int, devices: Sequence[torch.device]) -> list[torch.device]:
    """The device of each layer: neighbours together, fewer on the first device."""
    if len(devices) == 1:
        return [devices[0]] * layers
    first = max(1, int(FIRST_KEEPS * layers / len(devices)))
    others = len(devices) - 1
    return [
        devices[0] if layer < first else devices[1 + (layer - first) * others // (layers - first)]
        for layer in range(layers)
    ]


def spread(module: Any, adapter: Adapter, devices: Sequence[torch.device]) -> Adapter:
    """Move a model's weights, which are in main memory, to the devices; the adapter that knows where they are.

    `module` itself can be called as before: its layers take their inputs to their device and bring outputs back.
    """
    places = layer_devices(adapter.layers, devices)
    blocks = [adapter.block(layer) for layer in range(adapter.layers)]
    inside = {id(weight) for block in blocks for weight in chain(block.parameters(), block.buffers())}
    for block, place in zip(blocks, places, strict=True):
        block.to(place)
    for part in module.modules():
        for name, weight in chain(part.named_parameters(recurse=False), part.named_buffers(recurse=False)):
            if id(weight) not in inside and weight.device != devices[0]:
                _put(part, name, weight.to(devices[0]))
    for block, place in zip(blocks, places, strict=True):
        if place != devices[0]:
            block.register_forward_pre_hook(_bring(place), with_kwargs=True)
            block.register_forward_hook(lambda _, __, output: _moved(output, devices[0]))
    return SpreadAdapter(adapter, places, devices[0])


def _put(part: torch.nn.Module, name: str, weight: Tensor) -> None:
    if name in part._parameters:
        part._parameters[name] = torch.nn.Parameter(weight, requires_grad=False)
    else:
        part._buffers[name] = weight


def _bring(place: torch.device) -> Any:
    def hook(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return _moved(arguments, place), {name: _moved(value, place) for name, value in named.items()}

    return hook


def _moved(value: Any, place: torch.device) -> Any:
    """Tensors, and tuples and lists of them, on a device; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(place)
    if type(value) in (tuple, list):
        return type(value)(_moved(part, place) for part in value)
    return value


class SpreadAdapter:
    """An adapter whose layers compute where their weights are; see `Adapter`."""

    def __init__(self, inner: Adapter, places: Sequence[torch.device], home: torch.device) -> None:
        """Take `inner`, whose layers' weights lie in `places` and whose others at `home`."""
        self._inner, self._places, self._home = inner, list(places), home
        self.family, self.objective = inner.family, inner.objective
        self.layers, self.width = inner.layers, inner.width
        self.vocabulary, self.longest = inner.vocabulary, inner.longest

    def __getattr__(self, name: str) -> Any:
        """What needs no moving (embeddings, head, modules, weights) is the family's own; the rest is moved."""
        member = getattr(self._inner, name)
        return self._there(member) if name in LAYERWISE else member

    def _there(self, method: Any) -> Any:
        def call(layer: int, *tensors: Tensor) -> Any:
            place = self._places[layer]
            if place == self._home:
                return method(layer, *tensors)
            return _moved(method(layer, *(_moved(tensor, place) for tensor in tensors)), self._home)

        return call


# The steps of a layer, which take its number and tensors.
LAYERWISE = ("project", "attention_output", "after_attention", "neurons", "mlp_output", "after_mlp")
LAYERWISE += ("preactivation", "activated")
