"""A control for editors: a change of a random direction, as large as a real edit's.

An editor has two parts: `Settings`, a frozen dataclass with a default for every field, and `find_edits`, which says for
each request what is to be changed and changes nothing. A criterion that this editor meets as often as another one
says nothing of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kn_thesis.corpora.rank import rank
from kn_thesis.editing.keys import check_layer
from kn_thesis.editing.request import Request
from kn_thesis.editing.update import Edit, Update
from kn_thesis.models.adapter import precise

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Settings:
    """layer: the changed one. size: norm of the change, relative to the value matrix's. seed: of the directions."""

    layer: int = 17
    size: float = 0.1
    seed: int = 1


def find_edits(model: Model, requests: Sequence[Request], settings: Settings) -> list[Edit]:
    """A matrix of rank one for each request, in order. Raises UserError for a layer that is not there."""
    check_layer(settings.layer, model.adapter.layers)
    weight = model.adapter.value_weight(settings.layer)
    norm = settings.size * float(weight.to(precise(weight)).norm())
    edits = []
    for request in requests:
        # Seeded by the request's name: an edit is the same whatever stands beside it.
        generator = torch.Generator().manual_seed(rank("noise", settings.seed, request.name) % 2**63)
        left, right = (torch.randn(size, 1, generator=generator, dtype=precise(weight)) for size in weight.shape)
        left *= norm / (left.norm() * right.norm())
        edits.append(Edit(request.name, (Update(settings.layer, left.to(model.device), right.to(model.device)),)))
    return edits
