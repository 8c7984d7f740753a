"""Whether a model can read a prompt: the longest step of its words against the model's positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kn_thesis.corpora.gaps import Encoded, steps

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


def needed(word: Encoded, objective: str) -> int:
    """Tokens of the longest step: a causal model reads a word's tokens but the last behind its prompt."""
    return max(len(step.input_ids) for step in steps(word, objective))


def too_long(model: Model, words: Sequence[Encoded]) -> bool:
    """Whether any of the words takes more tokens, its own but the last included, than the model has positions."""
    return 0 < model.positions < max(needed(word, model.adapter.objective) for word in words)
