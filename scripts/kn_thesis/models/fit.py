"""Whether a tokenizer and a model belong together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kn_thesis.corpora.gaps import read_tokenizer
from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def check_tokenizer(path: Path, name: str, vocabulary: Any = None) -> None:
    """Raise UserError unless the tokenizer can be read, and fits a model with a `vocabulary`, where one is known."""
    tokenizer = read_tokenizer(path)
    if isinstance(vocabulary, int):
        check_vocabulary(tokenizer, vocabulary, name)


def check_vocabulary(tokenizer: Tokenizer, vocabulary: int, name: str) -> None:
    """Raise UserError unless a tokenizer's tokens have places in a model with `vocabulary` embeddings.

    Added tokens that no text has may lie beyond them, as a padding token in some models does; and models often have
    more embeddings than there are tokens, but not twice as many.
    """
    remedy = "take tokenizer and weights from the same model"
    tokens = tokenizer.get_vocab(with_added_tokens=False)
    try:
        used = [*tokens.values(), *tokenizer.encode("The").ids]
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the tokenizer of {name} cannot be used ({reason}); {remedy}") from error
    largest = max(used, default=-1)
    if largest >= vocabulary:
        raise UserError(
            f"the tokenizer of {name} has a token with the number {largest}, but the model has {vocabulary} embeddings,"
            f" from 0 on; {remedy}"
        )
    if 2 * tokenizer.get_vocab_size() < vocabulary:
        raise UserError(
            f"the tokenizer of {name} has {tokenizer.get_vocab_size()} tokens, but the model has {vocabulary}"
            f" embeddings; {remedy}"
        )
