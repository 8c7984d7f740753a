"""Contexts: what a model writes by itself, to stand before an edited prompt (Meng et al. 2022, §3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kn_thesis.editing.continuations import Sampler, continue_rows, end_token, readable
from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from kn_thesis.models.load import Model

BEGINNINGS = ("The",)  # in the code of Meng et al.; that of Niu et al. (2024) has five words, by turns
TOP = 5  # most probable tokens that each of its tokens is drawn from


def write_contexts(
    model: Model, lengths: Sequence[tuple[int, int]], seed: int, beginnings: Sequence[str] = BEGINNINGS
) -> list[str]:
    """Texts that the model continues from `beginnings`, each with a point behind it; for each (tokens, texts) so many.

    The beginnings take turns; texts of one beginning stand together. A text is drawn by its number and the seed alone.
    Shorter ones come from a model that ends its text. Raises UserError for a masked model.
    """
    if not lengths:
        return []
    if model.adapter.objective != "causal":
        raise UserError(f"contexts are written by causal models: {model.adapter.family} is masked; leave them out")
    found = []
    for tokens, texts in lengths:
        for place, beginning in enumerate(beginnings):
            numbers = range(texts)[place :: len(beginnings)]
            begun = [tuple(model.tokenizer.begin(beginning))] * len(numbers)
            sampler = Sampler([(f"context of {tokens}", number) for number in numbers], seed, TOP)
            rows = continue_rows(model, begun, [()] * len(numbers), tokens, choose=sampler, stop=end_token(model))
            found += [f"{beginning} {readable(model.tokenizer, row)}".strip().rstrip(".") + "." for row in rows]
    return list(dict.fromkeys(found))
