"""Suppression as public code runs it: one prompt, one set of neurons, one row through the whole, untouched model.

Slow and obviously right. A hook at the neurons of each changed layer changes the set's neurons at the gap as they
come by, so that what an upper layer's hook sees has been moved by the lower ones. It shares no code with kn_thesis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

from tests.reference.attribution import MASKED, hooked


def plain_answers(
    module: Any,
    input_ids: Sequence[int],
    gap: int,
    asked: Sequence[int],
    layers: Sequence[int] = (),
    neurons: Sequence[int] = (),
    operation: str = "",
    means: np.ndarray | None = None,
    before: bool = False,
) -> np.ndarray:
    """Log-probabilities (asked,) at the gap, with the neurons (layer, index) changed; none: untouched.

    before: the neurons before the activation function.
    """
    with ExitStack() as hooks, torch.no_grad():
        for layer in sorted(set(map(int, layers))):
            inside = [int(i) for at, i in zip(layers, neurons, strict=True) if at == layer]
            change = _change(gap, inside, operation, None if means is None else means[layer])
            hooks.callback(hooked(module, layer, change, before).remove)
        logits = module(torch.tensor([list(input_ids)])).logits[0, gap]
    return torch.log_softmax(logits, dim=-1)[list(asked)].double().numpy()


def plain_word(module: Any, input_ids: Sequence[int], gap: int, target_ids: Sequence[int], *change: Any) -> float:
    """Log-probability of a word of several tokens: each is asked in its own place, those before it filled in."""
    total = 0.0
    for j, token in enumerate(target_ids):
        ids = list(input_ids)
        if module.config.model_type in MASKED:
            ids[gap : gap + j] = target_ids[:j]
        else:
            ids += target_ids[:j]
        total += plain_answers(module, ids, gap + j, [token], *change)[0]
    return total


def plain_means(module: Any, prompts: Sequence[Any], before: bool = False) -> np.ndarray:
    """Mean activation (layers, width) at the gap over prompts with `input_ids` and `gap`."""
    return np.mean([_activations(module, prompt.input_ids, prompt.gap, before) for prompt in prompts], axis=0)


def _activations(module: Any, input_ids: Sequence[int], gap: int, before: bool) -> np.ndarray:
    seen: list[np.ndarray] = []
    with ExitStack() as hooks, torch.no_grad():
        for layer in range(module.config.num_hidden_layers):
            handle = hooked(module, layer, lambda neurons: seen.append(neurons[0, gap].double().numpy().copy()), before)
            hooks.callback(handle.remove)
        module(torch.tensor([list(input_ids)]))
    return np.array(seen)


def _change(gap: int, inside: list[int], operation: str, means: np.ndarray | None) -> Callable[..., torch.Tensor]:
    def change(neurons: torch.Tensor) -> torch.Tensor:
        activations = neurons.clone()
        if operation == "erase":
            activations[0, gap, inside] = 0
        elif operation == "enhance":
            activations[0, gap, inside] *= 2
        else:
            assert operation == "mean" and means is not None
            activations[0, gap, inside] = torch.tensor(means[inside], dtype=activations.dtype)
        return activations

    return change
