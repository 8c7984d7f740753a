"""Constrained fine-tuning of one down-projection on the edited prompt (FT+L in Meng et al. 2022; Zhu et al. 2020).

Adam changes W; after each step every entry of the change is clamped to ± `norm`. Many requests are edited at once: the
layers below the edited MLP run once, and each request has its own change beside the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kn_thesis.editing.settings import Editor, check_causal, check_layer, setting

if TYPE_CHECKING:
    from torch import Tensor

    from kn_thesis.editing.requests import Request
    from kn_thesis.editing.weight_update import Edit
    from kn_thesis.models.adapter import Adapter
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of constrained fine-tuning.

    Attributes:
        steps: losses that are computed; an update follows each but the last.
        batch_values: most entries of W in memory at once, over the requests of a batch (Adam keeps three more of each).
    """

    layer: int = setting(17, "whose down-projection is trained, from 0", minimum=0, below=1000)
    steps: int = setting(25, "of the optimiser")
    learning_rate: float = setting(5e-4, "Adam's", above=0, maximum=10)
    norm: float = setting(5e-4, "largest change of an entry of the matrix", above=0)
    stop: float = setting(0.01, "loss (nats) at which the optimiser stops")
    batch_values: int = 2**24


def find_edits(model: Model, requests: Sequence[Request], settings: Settings) -> list[Edit]:
    """Find the edit of each request, many at once; the model is left as it is.

    Args:
        model: a causal model.
        requests: what is edited, each alone.
        settings: hyperparameters.

    Returns:
        One edit per request, in order.

    Raises:
        UserError: for a masked model, a layer that it does not have, and a request that does not fit in memory.
    """
    from kn_thesis.editing.tables import TOO_LONG
    from kn_thesis.editing.weight_update import Edit
    from kn_thesis.models.cloze import too_long
    from kn_thesis.models.memory import MemoryBudget, run_batches

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
    values = adapter.down_projection_weight(settings.layer).numel()
    together = max(1, settings.batch_values // values)
    for part, part_edits in run_batches(
        (fitting[start : start + together] for start in range(0, len(fitting), together)),
        lambda part, _: _find(adapter, [requests[n] for n in part], settings, model.device),
        MemoryBudget(model, "fine-tuning", settings.batch_values, "entries of W"),
        size=lambda part, _: len(part) * values,
    ):
        edits.update(zip(part, part_edits, strict=True))
    return [edits[number] for number in range(len(requests))]


EDITOR = Editor(
    "fine_tuning",
    Settings,
    find_edits,
    "Constrained fine-tuning",
    "FT+L in Meng et al. (2022), after Zhu et al. (2020).",
    joint=False,
    whole_matrix=True,
)


def _find(adapter: Adapter, requests: Sequence[Request], settings: Settings, device: object) -> list[Edit]:
    """The edits of a batch of requests."""
    import torch

    from kn_thesis.editing.tables import DIVERGED
    from kn_thesis.editing.value_optimization import optimise
    from kn_thesis.editing.weight_update import Edit, Update
    from kn_thesis.models.adapter import precise
    from kn_thesis.models.forward import pad_right, state_before_mlp, state_in, state_out

    texts = [request.new_prompt.input_ids + request.new_prompt.target_ids[:-1] for request in requests]
    state = state_before_mlp(adapter, pad_right(texts, device), settings.layer)
    with torch.no_grad():
        neurons = adapter.neurons(settings.layer, state)
        mlp = adapter.mlp_output(settings.layer, neurons)
    positions = torch.arange(state.shape[1], device=device)
    predicted = [
        (n, len(request.new_prompt.input_ids) - 1 + place, token, 1 / len(request.new_prompt.target_ids))
        for n, request in enumerate(requests)
        for place, token in enumerate(request.new_prompt.target_ids)
    ]
    *columns, shares = zip(*predicted, strict=True)
    row, place, wanted = (torch.tensor(column, device=device) for column in columns)
    weight = torch.tensor(shares, dtype=precise(state), device=device)
    shape = adapter.down_projection_weight(settings.layer).shape
    changes = [torch.zeros(shape, dtype=precise(state), device=device, requires_grad=True) for _ in requests]

    def losses_of(active: list[int], change: Tensor) -> Tensor:
        hidden = mlp[active] + neurons[active] @ change.to(neurons.dtype).mT
        hidden = adapter.after_mlp(settings.layer, state[active], hidden)
        for number in range(settings.layer + 1, adapter.layers):
            hidden = state_out(adapter, number, state_in(adapter, number, hidden, positions))
        numbers = torch.tensor(active, device=device)
        still = torch.isin(row, numbers)
        local = torch.searchsorted(numbers, row[still])
        logits = adapter.logits(hidden[local, place[still]])
        log = logits.to(weight.dtype).log_softmax(-1).gather(1, wanted[still][:, None])[:, 0]
        loss = torch.zeros(len(active), dtype=weight.dtype, device=device)
        return loss.index_add(0, local, -weight[still] * log)

    losses, counts = optimise(
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
