"""Adam on many requests' changes at once, each of which stops by itself, as if it were alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Losses (active,) of the requests with these numbers, from their changes stacked in that order.
Losses = Callable[[list[int], Tensor], Tensor]


def descend(
    changes: Sequence[Tensor],
    losses_of: Losses,
    hold: Callable[[int, Tensor], None],
    *,
    steps: int,
    learning_rate: float,
    stop: float,
) -> tuple[list[float], list[int]]:
    """Lower each request's loss by its own change, in place; returns the last loss and the number of losses of each.

    changes: leaves of one shape that require gradients. An update follows each loss but the last of `steps`, unless it
    is below `stop` or not finite: that request is done. hold: brings a request's change back within bounds, in place,
    after an update.
    """
    adam = torch.optim.Adam(changes, lr=learning_rate)
    losses, counts = [math.nan] * len(changes), [0] * len(changes)
    active = list(range(len(changes)))
    for step in range(steps):
        with torch.enable_grad():
            loss = losses_of(active, torch.stack([changes[number] for number in active]))
        for number, value in zip(active, loss.tolist(), strict=True):
            losses[number], counts[number] = value, step + 1
        going = [number for number in active if stop <= losses[number] < math.inf]
        if not going or step + 1 == steps:
            break
        adam.zero_grad(set_to_none=True)
        loss[[active.index(number) for number in going]].sum().backward()
        for number in set(active) - set(going):
            changes[number].grad = None  # Adam leaves it as it is
        adam.step()
        with torch.no_grad():
            for number in going:
                hold(number, changes[number])
        active = going
    return losses, counts
