"""Measure a machine's speed on forward and backward passes, for plan.cpu_speed and plan.gpu_speed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import _path  # noqa: F401
from kn_thesis.plan.sizes import Shape

if TYPE_CHECKING:
    from torch import Tensor


TOKENS = 2048  # of a batch on a GPU; the maximum on a core
ROUND = 1e11  # maximum of operations in a batch on a core
LENGTH = 16  # tokens of a row
SECONDS = 0.5  # minimum of measured time


def measure_speed(
    shape: Shape, dtype: str = "float32", gpu: bool = False, seconds: float = SECONDS
) -> tuple[float, str]:
    """Measure the speed of two layers with random weights, forward and backward to the gradients of activations.

    A layer has attention over rows of LENGTH tokens, norms and an MLP.

    Args:
        shape: sizes of the layers.
        dtype: of weights and activations.
        gpu: whether to use a GPU, if the machine has one.
        seconds: minimum of measured time.

    Returns:
        Floating-point operations per second, and the device, "cuda" or "cpu" (with one thread).
    """
    import torch

    device = "cuda" if gpu and torch.cuda.is_available() else "cpu"
    parameters = 2 * (4 * shape.hidden**2 + 2 * shape.hidden * shape.intermediate)
    count = TOKENS // LENGTH
    if device == "cpu":
        count = min(count, max(1, int(ROUND / (4 * LENGTH * parameters))))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        hidden, wide = shape.hidden, shape.intermediate
        sizes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, wide), (wide, hidden)]
        kind = {"device": device, "dtype": getattr(torch, dtype)}
        layers = [[torch.randn(size, **kind) / size[0] ** 0.5 for size in sizes] for _ in range(2)]
        rows = torch.randn(count, LENGTH, hidden, **kind).requires_grad_()
        passes, began = 0, 0.0
        while passes < 2 or time.perf_counter() - began < seconds:
            if passes == 1:  # the first round warms up
                began = time.perf_counter()
            state = rows
            for layer in layers:
                state = _layer(state, layer, shape.heads)
            torch.autograd.grad(state.sum(), rows)
            if device == "cuda":
                torch.cuda.synchronize()
            passes += 1
        took = time.perf_counter() - began
    finally:
        torch.set_num_threads(threads)
    return 2 * 2 * count * LENGTH * parameters * (passes - 1) / took, device


def _layer(state: Tensor, weights: list[Tensor], heads: int) -> Tensor:
    import torch
    from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention

    projected = layer_norm(state, state.shape[-1:]) @ weights[0]
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in projected.chunk(3, dim=-1))
    context = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    state = state + context @ weights[1]
    neurons = gelu(layer_norm(state, state.shape[-1:]) @ weights[2])
    return torch.add(state, neurons @ weights[3])
