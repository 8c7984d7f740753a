"""The knowledge-neuron edit: value slots lose the old answer and gain the new one (Dai et al. 2022, §4.3).

The value slot of each knowledge neuron of the fact becomes slot − λ₁ · e(old) + λ₂ · e(new), e the word's embedding:
that with which its score is read (BERT and GPT-2 have one for words and scores; LLaMA has two, and a value slot speaks
to the output). Neurons that more than a share of the other facts have, too, are left alone, as they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

from kn_thesis.corpora.gaps import Encoded
from kn_thesis.editing.names import NO_NEURONS
from kn_thesis.editing.request import Request
from kn_thesis.editing.update import Edit, Update
from kn_thesis.localization.attribution import attribute
from kn_thesis.localization.selection import select_neurons
from kn_thesis.models.adapter import precise
from kn_thesis.shards import EDITS, blocks

if TYPE_CHECKING:
    from torch import Tensor

    from kn_thesis.models.load import Model

_TOLERANCE = 1e-9  # a share of a count may fall short of that count by a last bit


@dataclass(frozen=True)
class Settings:
    """old, new: λ₁ and λ₂. coarse, share: thresholds of the selection. shared: largest share of the other requests
    whose neuron it may be as well. paraphrases: most prompts of a fact that are attributed. quadrature, nodes,
    batch_tokens: of attribution.
    """

    old: float = 1.0
    new: float = 8.0
    coarse: float = 0.2
    share: float = 0.7
    shared: float = 0.1
    paraphrases: int = 10
    quadrature: str = "gauss-legendre"
    nodes: int = 10
    batch_tokens: int = 4096


def find_edits(model: Model, requests: Sequence[Request], settings: Settings) -> list[Edit]:
    """The edit of each request, in order; those without a knowledge neuron of their own fail, and say so."""
    found = [_selected(model, requests, part, settings) for part in blocks(range(len(requests)), EDITS)]
    selected = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["group", "layer", "neuron"])
    own = own_neurons(selected, len(requests), settings.shared)
    embeddings = model.adapter.output_embeddings()
    return [
        _edit(model, request, own[own["group"] == str(number)], embeddings, settings)
        for number, request in enumerate(requests)
    ]


def _selected(model: Model, requests: Sequence[Request], part: range, settings: Settings) -> pd.DataFrame:
    """Rows of `select_neurons` of some requests, the number of a request as its group; scores are not kept."""
    prompts: list[Encoded] = []
    groups: list[str] = []
    for number in part:
        asked = requests[number].paraphrases[: settings.paraphrases] or (requests[number].old_prompt,)
        prompts += asked
        groups += [str(number)] * len(asked)
    scores = attribute(
        model,
        prompts,
        quadrature=settings.quadrature,
        nodes=settings.nodes,
        batch_tokens=settings.batch_tokens,
    ).scores
    return select_neurons(scores, groups, coarse=settings.coarse, share=settings.share)


def own_neurons(selected: pd.DataFrame, requests: int, shared: float) -> pd.DataFrame:
    """Rows of `select_neurons` whose neuron at most a share `shared` of the other requests have as well."""
    others = selected.groupby(["layer", "neuron"])["group"].transform("size") - 1
    return selected[others <= shared * max(1, requests - 1) + _TOLERANCE]


def _edit(model: Model, request: Request, neurons: pd.DataFrame, embeddings: Tensor, settings: Settings) -> Edit:
    if not len(neurons):
        return Edit(request.name, (), NO_NEURONS)
    dtype = precise(embeddings)
    old, new = (
        embeddings[list(prompt.target_ids)].to(dtype).mean(0) for prompt in (request.old_prompt, request.new_prompt)
    )
    left = (settings.new * new - settings.old * old)[:, None]
    updates = []
    for layer, part in neurons.groupby("layer"):
        right = torch.zeros(model.adapter.width, 1, dtype=dtype, device=embeddings.device)
        right[part["neuron"].to_numpy().tolist()] = 1
        updates.append(Update(int(layer), left, right))
    return Edit(request.name, tuple(updates))
