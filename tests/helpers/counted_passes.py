"""Passes as plan.work has them, counted in a model: one token through one layer, there and back; and operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from types import SimpleNamespace
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Operations(TorchDispatchMode):
    """Floating-point operations by torch's own formulas; its FlopCounterMode cannot follow torch.autograd.grad."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func.overloadpacket):
            self.found += formula(*args, **(kwargs or {}), out_val=result)
        return result


@dataclass
class Passes:
    """So far; parts of a layer count by their parameters. predictions: positions given to the output."""

    forward: float = 0.0
    backward: float = 0.0
    predictions: float = 0.0


class Counting:
    """An adapter that counts what goes through it, and is otherwise the model's own."""

    def __init__(self, adapter: Any, passes: Passes) -> None:
        self._adapter, self._passes = adapter, passes
        hidden, width = adapter.word_embeddings().shape[1], adapter.width
        gates = 2 if adapter.family == "llama" else 1
        parts = {
            "project": 3 * hidden**2,
            "attention_output": hidden**2,
            "neurons": gates * hidden * width,
            "mlp_output": hidden * width,
        }
        self._shares = {name: size / sum(parts.values()) for name, size in parts.items()}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._adapter, name)
        return self._counted(name, found) if name in self._shares else found

    def _counted(self, name: str, method: Any) -> Any:
        def run(layer: int, given: Tensor, *further: Any) -> Any:
            result = method(layer, given, *further)
            first = result[0] if isinstance(result, tuple) else result
            heads = given.shape[-2] if name == "attention_output" else 1
            tokens = given.numel() / (given.shape[-1] * heads)
            passes = tokens * self._shares[name]
            self._passes.forward += passes
            if first.requires_grad:
                first.register_hook(lambda _: self._back(passes))
            return result

        return run

    def _back(self, passes: float) -> None:
        self._passes.backward += passes

    def logits(self, hidden: Tensor) -> Tensor:
        self._passes.predictions += hidden.numel() / hidden.shape[-1]
        return self._adapter.logits(hidden)


@contextmanager
def counted(model: Any) -> Iterator[tuple[Any, Passes]]:
    """The same model, whose passes are counted: through its adapter, and through the module itself."""
    passes = Passes()

    def whole(_: Any, arguments: tuple[Any, ...], given: dict[str, Any]) -> None:
        ids = arguments[0] if arguments else given["input_ids"]
        passes.forward += ids.numel() * model.adapter.layers

    handle = model.module.base_model.register_forward_pre_hook(whole, with_kwargs=True)
    try:
        counting = Counting(model.adapter, passes)
        if is_dataclass(model):
            yield replace(model, adapter=counting), passes
        else:
            yield SimpleNamespace(**({"positions": 0} | vars(model) | {"adapter": counting})), passes
    finally:
        handle.remove()
