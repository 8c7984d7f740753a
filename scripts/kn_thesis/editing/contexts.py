"""Contexts: what a model writes by itself, to stand before an edited prompt (Meng et al. 2022, §3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kn_thesis.editing.continuations import Sampler, continue_rows, readable
from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from kn_thesis.models.load import Model

BEGINNING = "The"  # every context begins with it, as in the authors' code
TOP = 5  # most probable tokens that each of its tokens is drawn from


def write_contexts(model: Model, lengths: Sequence[tuple[int, int]], seed: int) -> list[str]:
    """Texts that the model continues from "The", each with a point behind it; for each (tokens, texts) so many.

    A text is drawn by its number and the seed alone. Shorter ones come from a model that ends its text. Raises
    UserError for a masked model.
    """
    if not lengths:
        return []
    if model.adapter.objective != "causal":
        raise UserError(f"contexts are written by causal models: {model.adapter.family} is masked; leave them out")
    beginning = tuple(model.tokenizer.tokenizer.encode(BEGINNING).ids)
    found = []
    for tokens, texts in lengths:
        sampler = Sampler([f"context {tokens} {number}" for number in range(texts)], TOP, seed)
        rows = continue_rows(model, [beginning] * texts, [()] * texts, tokens, choose=sampler)
        found += [f"{BEGINNING} {readable(model.tokenizer, row)}".strip().rstrip(".") + "." for row in rows]
    return list(dict.fromkeys(found))
