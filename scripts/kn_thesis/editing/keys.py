"""The texts in which a subject's key and value are looked for: the prompt after some contexts, and "… is a"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kn_thesis.corpora.gaps import CannotExpress, Encoded
from kn_thesis.editing.request import Request
from kn_thesis.editing.values import Problem, Row
from kn_thesis.errors import UserError
from kn_thesis.tracing.spans import token_span

if TYPE_CHECKING:
    from kn_thesis.corpora.gaps import GapTokenizer
    from kn_thesis.models.adapter import Adapter

TOKENS = ("subject_last", "last")
KEPT = "is a"  # follows the subject in the text whose continuation shall stay (Meng et al. 2022, §3.1)


def problem_of(
    tokenizer: GapTokenizer, request: Request, contexts: Sequence[str], longest: int = 0, token: str = "subject_last"
) -> Problem | None:
    """The texts of a request: the bare prompt, then the prompt after each context, then the kept text.

    token: of TOKENS, where the prompt's key and value are: the subject's last token, or the last before the gap.

    Places of the subject follow from the tokens' offsets in each whole text. Contexts after which the prompt has more
    than `longest` tokens (0: no limit), or cannot be put in tokens, are left out; None when the bare one is too long.
    """
    bare = Row(_seen(request.new_prompt), request.subject_token, request.new_prompt.target_ids)
    if 0 < longest < len(bare.ids):
        return None
    rows = [bare]
    for context in contexts:
        begun = len(tokenizer.beginning(request.prefix))  # special tokens stay before all else
        prefix = f"{request.prefix[:begun]}{context} {request.prefix[begun:]}"
        row = _row(tokenizer, prefix, request, len(context) + 1 + request.subject_at, request.glued)
        if row is not None and not 0 < longest < len(row.ids):
            rows.append(row)
    subject = request.subject[0].upper() + request.subject[1:]
    kept = _row(tokenizer, f"{subject} {KEPT}", request, 0)
    # Where the word cannot follow "is a", or nothing can, any other text about the subject will do.
    if kept is None or 0 < longest < len(_prompt(kept)):
        kept = bare
    kept = Row(_prompt(kept), kept.subject)
    if token == "last":
        rows = [replace(row, subject=len(_prompt(row)) - 1) for row in rows]
        kept = replace(kept, subject=len(kept.ids) - 1)
    return Problem(tuple(rows), kept)


def _prompt(row: Row) -> tuple[int, ...]:
    """The row's tokens before the wanted ones."""
    return row.ids[: len(row.ids) - max(0, len(row.wanted) - 1)]


def _seen(encoded: Encoded) -> tuple[int, ...]:
    """Tokens of the prompt and of the target but its last."""
    return encoded.input_ids + encoded.target_ids[:-1]


def _row(tokenizer: GapTokenizer, prefix: str, request: Request, subject_at: int, glued: bool = False) -> Row | None:
    try:
        encoded = tokenizer.encode(prefix, "", request.new, glued)
    except CannotExpress:
        return None
    found = token_span(tokenizer, prefix, "", request.new, subject_at, subject_at + len(request.subject), glued)
    if found is None or found[1] > len(encoded.input_ids):
        return None
    return Row(_seen(encoded), found[1] - 1, encoded.target_ids)


def check_causal(editor: str, adapter: Adapter) -> None:
    """Raise UserError for a masked model."""
    if adapter.objective != "causal":
        raise UserError(f"{editor} edits causal models: {adapter.family} is masked; choose knowledge_neuron")


def check_layer(layer: int, layers: int) -> None:
    """Raise UserError for a layer that the model does not have."""
    if not 0 <= layer < layers:
        raise UserError(f"layer {layer} is not there: the model has layers 0 to {layers - 1}")
