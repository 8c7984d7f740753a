"""A control for editors: a change in a random direction, as large as a real edit's.

An editor is one module with three parts. `Settings` is a frozen dataclass with a default for every field. `find_edits`
says what is to be changed for each request, and changes nothing. `EDITOR` says what else must be known of the editor.
If this editor meets a criterion as often as another one does, the criterion shows nothing about the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kn_thesis.corpora.sampling import hash_rank
from kn_thesis.editing.settings import Editor, check_layer, setting

if TYPE_CHECKING:
    from kn_thesis.editing.requests import Request
    from kn_thesis.editing.weight_update import Edit
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of a random change."""

    layer: int = setting(17, "whose down-projection is changed, from 0", minimum=0, below=1000)
    size: float = setting(0.1, "norm of the change, relative to the matrix's")
    seed: int = setting(1, "of the directions", minimum=0)


def find_edits(model: Model, requests: Sequence[Request], settings: Settings) -> list[Edit]:
    """Draw a matrix of rank one for each request, in order. Raises UserError for a layer that the model lacks."""
    import torch  # in here: the configuration reads the settings above without it

    from kn_thesis.editing.weight_update import Edit, Update
    from kn_thesis.models.adapter import precise

    check_layer(settings.layer, model.adapter.layers)
    weight = model.adapter.down_projection_weight(settings.layer)
    norm = settings.size * float(weight.to(precise(weight)).norm())
    edits = []
    for request in requests:
        # Seeded by the request's name: an edit is the same whatever stands beside it.
        generator = torch.Generator().manual_seed(hash_rank("noise", settings.seed, request.name) % 2**63)
        left, right = (torch.randn(size, 1, generator=generator, dtype=precise(weight)) for size in weight.shape)
        left *= norm / (left.norm() * right.norm())
        edits.append(Edit(request.name, (Update(settings.layer, left.to(model.device), right.to(model.device)),)))
    return edits


# joint=False: no edit depends on another request, so that tasks can be split over jobs.
EDITOR = Editor("noise", Settings, find_edits, "A random change", "A control: a random direction.", joint=False)
