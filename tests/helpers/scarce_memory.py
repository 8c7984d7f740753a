"""A model on a device with little memory: its layers take so many rows at once, or fail at chosen calls."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB"
CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"


class Scarce:
    """A model's adapter whose neurons take at most `most` rows × tokens at once, and which fails at some calls.

    calls: numbers of calls of `neurons`, from 0, that fail if they are for more than `least` rows × tokens. failed: how
    many did.
    """

    def __init__(self, adapter: Any, most: float = float("inf"), calls: Collection[int] = (), least: int = 0) -> None:
        self.adapter, self.most, self.calls, self.least = adapter, most, calls, least
        self.asked = self.failed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.adapter, name)

    def neurons(self, layer: int, state: Tensor) -> Tensor:
        found = self.adapter.neurons(layer, state)
        self.take(found.numel() // found.shape[-1])
        return found

    def take(self, rows: int) -> None:
        """Fail where so many rows do not fit, or it is the call's turn."""
        number, self.asked = self.asked, self.asked + 1
        if rows > (self.least if number in self.calls else self.most):
            self.failed += 1
            raise (torch.OutOfMemoryError(CUDA) if number % 2 else RuntimeError(CPU))


def scarce(model: Any, most: float = float("inf"), calls: Collection[int] = (), least: int = 0) -> Any:
    """The model with such an adapter."""
    adapter = Scarce(model.adapter, most, calls, least)
    return SimpleNamespace(
        module=Asked(model.module, adapter),
        adapter=adapter,
        tokenizer=model.tokenizer,
        device=model.device,
        positions=model.positions,
        name="models/scarce",
    )


class Asked:
    """A module that fails as its adapter does, by the tokens that it is asked to read."""

    def __init__(self, module: Any, adapter: Scarce) -> None:
        self.module, self.scarce = module, adapter

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def __call__(self, input_ids: Tensor, **further: Any) -> Any:
        self.scarce.take(input_ids.numel())
        return self.module(input_ids=input_ids, **further)
