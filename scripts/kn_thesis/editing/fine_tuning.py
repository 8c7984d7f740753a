"""Constrained fine-tuning of one value matrix on the edited prompt alone (FT+L in Meng et al. 2022; Zhu et al. 2020).

Adam on W, every entry of the change held within ± `norm` after each step. Many requests go together: what lies below
the layer's MLP is run once, and each request has a change of its own beside the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kn_thesis.editing.descent import descend
from kn_thesis.editing.keys import check_causal, check_layer
from kn_thesis.editing.names import DIVERGED, TOO_LONG
from kn_thesis.editing.passes import filled_up, leaving, state_before_mlp, state_in
from kn_thesis.editing.request import Request
from kn_thesis.editing.update import Edit, Update
from kn_thesis.models.adapter import Adapter, precise
from kn_thesis.models.length import too_long
from kn_thesis.models.memory import Room, worked

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Settings:
    """layer: the changed one. steps: losses computed, with an update after each but the last. learning_rate: Adam's.
    norm: largest change of an entry of W. stop: loss (nats) below which no update is made. batch_values: most entries
    of W, over the requests of a batch, in memory at once (Adam keeps three more of each).
    """

    layer: int = 17
    steps: int = 25
    learning_rate: float = 5e-4
    norm: float = 5e-4
    stop: float = 0.01
    batch_values: int = 2**24


def find_edits(model: Model, requests: Sequence[Request], settings: Settings) -> list[Edit]:
    """The edit of each request, in order.

    Raises UserError for a masked model, a layer that is not there, and a request that does not fit in memory.
    """
    adapter = model.adapter
    check_causal("fine_tuning", adapter)
    check_layer(settings.layer, adapter.layers)
    edits: dict[int, Edit] = {}
    fitting = []
    for number, request in enumerate(requests):
        if too_long(model, [request.new_prompt]):
            edits[number] = Edit(request.name, (), TOO_LONG)
        else:
            fitting.append(number)
    fitting.sort(key=lambda number: len(requests[number].new_prompt.input_ids))
    values = adapter.value_weight(settings.layer).numel()
    room = max(1, settings.batch_values // values)
    for part, found in worked(
        (fitting[start : start + room] for start in range(0, len(fitting), room)),
        lambda part, _: _find(adapter, [requests[n] for n in part], settings, model.device),
        Room(model, "fine-tuning", settings.batch_values, "entries of W"),
        size=lambda part, _: len(part) * values,
    ):
        edits.update(zip(part, found, strict=True))
    return [edits[number] for number in range(len(requests))]


def _find(adapter: Adapter, requests: Sequence[Request], settings: Settings, device: object) -> list[Edit]:
    texts = [request.new_prompt.input_ids + request.new_prompt.target_ids[:-1] for request in requests]
    state = state_before_mlp(adapter, filled_up(texts, device), settings.layer)
    with torch.no_grad():
        neurons = adapter.neurons(settings.layer, state)
        mlp = adapter.mlp_output(settings.layer, neurons)
    positions = torch.arange(state.shape[1], device=device)
    asked = [
        (n, len(request.new_prompt.input_ids) - 1 + place, token, 1 / len(request.new_prompt.target_ids))
        for n, request in enumerate(requests)
        for place, token in enumerate(request.new_prompt.target_ids)
    ]
    *columns, shares = zip(*asked, strict=True)
    row, place, wanted = (torch.tensor(column, device=device) for column in columns)
    weight = torch.tensor(shares, dtype=precise(state), device=device)
    shape = adapter.value_weight(settings.layer).shape
    changes = [torch.zeros(shape, dtype=precise(state), device=device, requires_grad=True) for _ in requests]

    def losses_of(active: list[int], change: Tensor) -> Tensor:
        hidden = mlp[active] + neurons[active] @ change.to(neurons.dtype).mT
        hidden = adapter.after_mlp(settings.layer, state[active], hidden)
        for number in range(settings.layer + 1, adapter.layers):
            hidden = leaving(adapter, number, state_in(adapter, number, hidden, positions))
        numbers = torch.tensor(active, device=device)
        still = torch.isin(row, numbers)
        local = torch.searchsorted(numbers, row[still])
        logits = adapter.logits(hidden[local, place[still]])
        found = logits.to(weight.dtype).log_softmax(-1).gather(1, wanted[still][:, None])[:, 0]
        loss = torch.zeros(len(active), dtype=weight.dtype, device=device)
        return loss.index_add(0, local, -weight[still] * found)

    losses, counts = descend(
        changes,
        losses_of,
        lambda _, change: change.clamp_(-settings.norm, settings.norm),
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        stop=settings.stop,
    )
    return [
        Edit(request.name, (Update(settings.layer, change.detach()),), "", count, loss)
        if math.isfinite(loss) and bool(torch.isfinite(change).all())
        else Edit(request.name, (), DIVERGED, count, loss)
        for request, change, count, loss in zip(requests, changes, counts, losses, strict=True)
    ]
