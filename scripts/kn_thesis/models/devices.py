"""GPUs: claim one that no other job of this study uses, or distribute a model's layers over several (device map).

Snakemake counts GPUs (`--resources gpu=4`) but does not tell a job which one is its own. A lock on a file per GPU does;
the system releases it when the process ends, however it ends. Under SLURM a job sees only its own GPUs.

With a device map, each layer's weights lie on their own device, and the embeddings, the head and all activations on the
first. A layer computes where its weights are: its inputs are moved there and its outputs back. No method needs to know.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from kn_thesis.models.adapter import Adapter

FIRST_KEEPS = 0.5  # of an equal share of the layers: the first device also holds activations, embeddings and the head
# The steps of a layer: adapter methods that take its number and tensors.
LAYERWISE = ("project", "attention_output", "after_attention", "neurons", "mlp_output", "after_mlp")
LAYERWISE += ("preactivation", "activated")


@dataclass
class Claim:
    """A claim to a device, which lasts as long as this object.

    Attributes:
        number: The device's number among those that the process sees.
        lock: The locked file; None if every device was taken and this one is shared.
    """

    number: int
    lock: IO[str] | None = field(default=None, repr=False)


def claim_devices(names: Sequence[str], count: int = 1, folder: Path | None = None) -> list[Claim]:
    """Claim devices: first those that nobody has claimed, then others, to share.

    Args:
        names: A name for each device that is unique on this machine (a GPU's UUID), in the order of their numbers.
        count: Number of devices; there may be fewer.
        folder: Where the lock files are. None: a folder of the user's in the system's temporary folder.

    Raises:
        ValueError: `names` is empty.
    """
    if not names:
        raise ValueError("no device to claim")
    import fcntl

    folder = folder or Path(tempfile.gettempdir()) / f"kn-thesis-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own: list[Claim] = []
    shared: list[Claim] = []
    for number, name in enumerate(names):
        if len(own) == count:
            break
        file = (folder / f"{name}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            shared.append(Claim(number))
        else:
            own.append(Claim(number, file))
    return [*own, *shared][:count]


def gpu_names() -> list[str]:
    """Return the UUID of each GPU that this process sees."""
    return [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())]


def device_map(layers: int, devices: Sequence[torch.device]) -> list[torch.device]:
    """Return the device of each layer: neighbouring layers together, fewer on the first device."""
    if len(devices) == 1:
        return [devices[0]] * layers
    first = max(1, int(FIRST_KEEPS * layers / len(devices)))
    others = len(devices) - 1
    return [
        devices[0] if layer < first else devices[1 + (layer - first) * others // (layers - first)]
        for layer in range(layers)
    ]


def distribute_layers(module: Any, adapter: Adapter, devices: Sequence[torch.device]) -> Adapter:
    """Move a model's weights from main memory to several devices.

    `module` can still be called: hooks on its layers move inputs to their device and outputs back.

    Args:
        module: The model.
        adapter: Its adapter.
        devices: At least one; the first holds everything outside the layers.

    Returns:
        An adapter that knows where the layers are.
    """
    places = device_map(adapter.layers, devices)
    blocks = [adapter.block(layer) for layer in range(adapter.layers)]
    inside = {id(weight) for block in blocks for weight in chain(block.parameters(), block.buffers())}
    for block, place in zip(blocks, places, strict=True):
        block.to(place)
    for part in module.modules():
        for name, weight in chain(part.named_parameters(recurse=False), part.named_buffers(recurse=False)):
            if id(weight) not in inside and weight.device != devices[0]:
                _set_weight(part, name, weight.to(devices[0]))
    for block, place in zip(blocks, places, strict=True):
        if place != devices[0]:
            block.register_forward_pre_hook(_move_inputs(place), with_kwargs=True)
            block.register_forward_hook(lambda _, __, output: _move(output, devices[0]))
    return DistributedAdapter(adapter, places, devices[0])


def _set_weight(part: torch.nn.Module, name: str, weight: Tensor) -> None:
    if name in part._parameters:
        part._parameters[name] = torch.nn.Parameter(weight, requires_grad=False)
    else:
        part._buffers[name] = weight


def _move_inputs(place: torch.device) -> Any:
    def hook(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return _move(arguments, place), {name: _move(value, place) for name, value in named.items()}

    return hook


def _move(value: Any, place: torch.device) -> Any:
    """Move tensors, and tuples and lists of them, to a device; return anything else unchanged."""
    if isinstance(value, Tensor):
        return value.to(place)
    if type(value) in (tuple, list):
        return type(value)(_move(part, place) for part in value)
    return value


class DistributedAdapter:
    """An adapter whose layers compute where their weights are; see `Adapter`."""

    def __init__(self, inner: Adapter, places: Sequence[torch.device], home: torch.device) -> None:
        """Wrap `inner`, whose layers' weights are on `places` and everything else on `home`."""
        self._inner, self._places, self._home = inner, list(places), home
        self.family, self.objective = inner.family, inner.objective
        self.layers, self.width = inner.layers, inner.width
        self.vocabulary, self.longest = inner.vocabulary, inner.longest

    def __getattr__(self, name: str) -> Any:
        """Return the inner adapter's member; the steps of a layer move their tensors."""
        member = getattr(self._inner, name)
        return self._on_device(member) if name in LAYERWISE else member

    def _on_device(self, method: Any) -> Any:
        def call(layer: int, *tensors: Tensor) -> Any:
            place = self._places[layer]
            if place == self._home:
                return method(layer, *tensors)
            return _move(method(layer, *(_move(tensor, place) for tensor in tensors)), self._home)

        return call
