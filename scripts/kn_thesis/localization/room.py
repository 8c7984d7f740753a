"""How much of an attribution is in memory at once, and how many bytes that is: stated before anything is computed.

The unit is a token whose activations in one layer are kept for the gradient. A row of a causal model is one token, of
a masked one all of the prompt's; it passes every layer above the one that it starts in. Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

HEAD_NUMBERS = 2**24  # scores over the vocabulary in memory at once
# What a layer's graph holds for a token, in numbers: of the state's width, and of neurons. Families differ in what
# their functions keep (GPT-2's GELU is made of eight); tests/test_room.py holds each below this.
STATES, NEURONS = 10, 4
# Parts of that: a state that enters a layer; a token of the untouched run in one layer (state, queries, keys, values).
ENTERING, UNTOUCHED = 1 / 16, 1 / 5


@dataclass(frozen=True)
class Layout:
    """prompts and nodes that are in memory at once; whether the graphs of all layers are, or of one at a time."""

    prompts: int
    nodes: int
    keep: bool


def row_tokens(objective: str, length: int) -> int:
    """Tokens of a row, of a prompt of that length, that differ from the untouched run."""
    return 1 if objective == "causal" else length


def tokens_held(objective: str, layers: int, length: int, nodes: int, keep: bool) -> int:
    """Units in memory for one prompt with so many nodes."""
    rows = layers * nodes * row_tokens(objective, length)
    passing = rows * (layers - 1) // 2
    return ceil(UNTOUCHED * layers * length + rows + passing * (1 if keep else ENTERING))


def layout(objective: str, layers: int, length: int, nodes: int, most: int) -> Layout:
    """What fits in `most` units: graphs of all layers where one prompt and node allows it; one of each at least."""

    def held(count: int, keep: bool) -> int:
        return tokens_held(objective, layers, length, count, keep)

    if held(nodes, True) <= most:
        return Layout(most // held(nodes, True), nodes, True)
    keep = held(1, True) <= most
    fitting = [count for count in range(1, nodes) if held(count, keep) <= most]
    return Layout(1, max(fitting, default=1), keep)


def head_rows(vocabulary: int) -> int:
    """Rows whose scores over the vocabulary are in memory at once."""
    return max(1, HEAD_NUMBERS // vocabulary)


def budget_bytes(hidden: int, intermediate: int, vocabulary: int, batch_tokens: int, item: int = 4) -> int:
    """Most bytes that attribution takes beside the model and its results: the stated budget.

    item: bytes of a number of the model's dtype. States are float32 in parts of some families, whatever the dtype;
    so are the scores over the vocabulary, of which there are three at once: themselves, their softmax, its gradient.
    """
    token = STATES * hidden * max(item, 4) + NEURONS * intermediate * item
    return batch_tokens * token + 3 * max(item, 4) * head_rows(vocabulary) * vocabulary
