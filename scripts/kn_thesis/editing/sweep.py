"""Which layer should be edited? ROME at one after the other, with the same requests and questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from kn_thesis.editing.rome import Settings, find_edits
from kn_thesis.editing.task import ask

if TYPE_CHECKING:
    from kn_thesis.editing.request import Question, Request
    from kn_thesis.models.load import Model

COLUMNS = {
    **dict.fromkeys(("edit", "cluster"), "str"),
    "layer": "int64",
    "criterion": "str",
    **dict.fromkeys(("held", "p_before", "p_after"), "float64"),
}


def sweep_layers(
    model: Model,
    requests: Sequence[Request],
    questions: Mapping[str, Sequence[Question]],
    settings: Settings,
    layers: Sequence[int],
    **further: Any,
) -> pd.DataFrame:
    """One row per edit, layer and criterion: edit, cluster, layer, criterion, held, p_before, p_after.

    held: share of the edit's questions of that criterion that hold after it; p_*: mean P(expected) over them.
    `further`: contexts and covariance, as in `rome.find_edits`.
    """
    clusters = {request.name: request.cluster for request in requests}
    asked = [questions[request.name] for request in requests]
    frames = []
    for layer in layers:
        edits = find_edits(model, requests, replace(settings, layer=layer), **further)
        table = ask(model, requests, edits, asked, settings.batch_tokens)
        means = table.groupby(["edit", "criterion"], sort=False)[["holds_after", "p_before", "p_after"]].mean()
        frames.append(means.rename(columns={"holds_after": "held"}).reset_index().assign(layer=layer))
    found = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
    return found.assign(cluster=found["edit"].map(clusters))[list(COLUMNS)].astype(COLUMNS)
