"""The knowledge-neuron edit (Dai et al. 2022, §4.3): columns of down-projections lose the old answer, gain the new one.

The column w of each knowledge neuron of the fact ("value slot" in the paper) becomes
w − λ₁ · ‖w‖ · ê(old) + λ₂ · ‖w‖ · ê(new), as in the authors' code. Their equation has e for ‖w‖ · ê: a setting. e(word)
is the word's output embedding, by which its score is computed, and ê has its direction and length 1. BERT and GPT-2
have the same embedding for input and output, LLaMA has two, and a column is added to what is read out. As in the paper,
neurons that more than a share of the other facts have as well are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kn_thesis.editing.settings import Editor, setting, study_setting

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from kn_thesis.editing.requests import Request
    from kn_thesis.editing.weight_update import Edit
    from kn_thesis.models.cloze import Encoded
    from kn_thesis.models.load import Model


STEPS = ("slot", "embedding")  # what λ is a multiple of: the value slot's norm, or the embedding's
_TOLERANCE = 1e-9  # of comparisons with a share of a count, which is rounded


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of the knowledge-neuron edit.

    Attributes:
        coarse, share: thresholds of `localization.selection.select_neurons`.
        quadrature, nodes, batch_tokens: of `localization.attribution.attribute`.
    """

    old: float = setting(1.0, "λ₁, of the old answer's embedding, taken off", argument="old_factor")
    new: float = setting(8.0, "λ₂, of the new answer's embedding, put on", argument="new_factor")
    step: str = setting(
        "slot",
        "what λ₁ and λ₂ are multiples of: the value slot's norm (public code), or the embedding's",
        choices=STEPS,
    )
    coarse: float = study_setting(0.2, "selection", "coarse")
    share: float = study_setting(0.7, "selection", "share", maximum=1)
    # Of several requests together; a single one has the paraphrases that it comes with.
    shared: float = setting(
        0.1, "largest share of the other facts that a neuron may belong to", maximum=1, argument=None
    )
    paraphrases: int = setting(
        10, "most prompts of a fact in which its neurons are looked for", scope="editor", argument=None
    )
    quadrature: str = study_setting("gauss-legendre", "attribution", "quadrature")
    nodes: int = setting(10, "of the quadrature of their attribution", scope="editor")
    batch_tokens: int = 4096


def find_edits(model: Model, requests: Sequence[Request], settings: Settings) -> list[Edit]:
    """Find the edit of each request; the model is left as it is.

    Args:
        model: masked or causal.
        requests: those of a whole task: neurons that many of them share are left alone.
        settings: hyperparameters.

    Returns:
        One edit per request, in order; a request without a knowledge neuron of its own fails, and says so.
    """
    import pandas as pd

    from kn_thesis.models.memory import EDITS, blocks

    parts = [_selected(model, requests, part, settings) for part in blocks(range(len(requests)), EDITS)]
    selected = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["group", "layer", "neuron"])
    own = own_neurons(selected, len(requests), settings.shared)
    embeddings = model.adapter.output_embeddings()
    return [
        _edit(model, request, own[own["group"] == str(number)], embeddings, settings)
        for number, request in enumerate(requests)
    ]


EDITOR = Editor(
    "knowledge_neuron",
    Settings,
    find_edits,
    "The knowledge-neuron edit",
    "Dai et al. (2022).",
    needs_facts=True,
)


def _selected(model: Model, requests: Sequence[Request], part: range, settings: Settings) -> pd.DataFrame:
    """Rows of `select_neurons` for some requests, with the request's number as group; scores are not kept."""
    from kn_thesis.localization.attribution import attribute
    from kn_thesis.localization.selection import select_neurons

    prompts: list[Encoded] = []
    groups: list[str] = []
    for number in part:
        paraphrases = requests[number].paraphrases[: settings.paraphrases] or (requests[number].old_prompt,)
        prompts += paraphrases
        groups += [str(number)] * len(paraphrases)
    scores = attribute(
        model,
        prompts,
        quadrature=settings.quadrature,
        nodes=settings.nodes,
        batch_tokens=settings.batch_tokens,
    ).scores
    return select_neurons(scores, groups, coarse=settings.coarse, share=settings.share)


def own_neurons(selected: pd.DataFrame, requests: int, shared: float) -> pd.DataFrame:
    """Select the neurons that few other requests have.

    Args:
        selected: rows of `select_neurons`; a request is a group.
        requests: number of all requests.
        shared: largest share of the other requests that may have a neuron as well.

    Returns:
        The rows of those neurons.
    """
    others = selected.groupby(["layer", "neuron"])["group"].transform("size") - 1
    return selected[others <= shared * max(1, requests - 1) + _TOLERANCE]


def _edit(model: Model, request: Request, neurons: pd.DataFrame, embeddings: Tensor, settings: Settings) -> Edit:
    """The change of the down-projections' columns that belong to a request's neurons."""
    import torch

    from kn_thesis.editing.tables import NO_NEURONS
    from kn_thesis.editing.weight_update import Edit, Update
    from kn_thesis.models.adapter import precise

    if not len(neurons):
        return Edit(request.name, (), NO_NEURONS)
    dtype = precise(embeddings)
    old, new = (
        embeddings[list(prompt.target_ids)].to(dtype).mean(0) for prompt in (request.old_prompt, request.new_prompt)
    )
    if settings.step == "slot":
        old, new = (torch.nn.functional.normalize(embedding, dim=0) for embedding in (old, new))
    left = (settings.new * new - settings.old * old)[:, None]
    updates = []
    for layer, part in neurons.groupby("layer"):
        right = torch.zeros(model.adapter.width, 1, dtype=dtype, device=embeddings.device)
        places = part["neuron"].to_numpy().tolist()
        slots = model.adapter.down_projection_weight(int(layer))[:, places].detach().to(right)
        right[places] = slots.norm(dim=0)[:, None] if settings.step == "slot" else 1
        updates.append(Update(int(layer), left, right))
    return Edit(request.name, tuple(updates))
