"""Memory budget of attribution: how much is in memory at once, and how many bytes that is, without computing anything.

The unit is a token in one layer whose activations are kept for the gradient. A row (`models.restart`) of a causal model
is one token, and of a masked model all tokens of the prompt; it passes every layer above the one in which it starts.
Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

HEAD_NUMBERS = 2**24  # logits in memory at once
# What the graph of a layer holds for a token: this many numbers per entry of the hidden state, and per neuron. Families
# differ in what their functions keep (GPT-2's GELU consists of eight); tests/localization/test_memory_budget.py checks
# that each stays below.
STATES, NEURONS = 10, 4
# Fractions of the unit: an input of a layer; a token of the unpatched run in one layer (state, queries, keys, values).
ENTERING, UNTOUCHED = 1 / 16, 1 / 5


@dataclass(frozen=True)
class Layout:
    """What is in memory at once.

    Attributes:
        prompts: Number of prompts.
        nodes: Number of quadrature nodes of each prompt.
        keep: Whether the graphs of all layers are, rather than of one at a time.
    """

    prompts: int
    nodes: int
    keep: bool


def plan_layout(objective: str, layers: int, length: int, nodes: int, budget: int) -> Layout:
    """Choose what fits in a budget; at least one prompt and one node, even if they do not fit.

    Args:
        objective: "masked" or "causal".
        layers: The model's number of layers.
        length: Tokens of each prompt.
        nodes: Number of quadrature nodes.
        budget: Maximum number of units in memory at once.

    Returns:
        The layout. It keeps the graphs of all layers if those of one prompt and node fit.
    """

    def held(count: int, keep: bool) -> int:
        return tokens_held(objective, layers, length, count, keep)

    if held(nodes, True) <= budget:
        return Layout(budget // held(nodes, True), nodes, True)
    keep = held(1, True) <= budget
    fitting = [count for count in range(1, nodes) if held(count, keep) <= budget]
    return Layout(1, max(fitting, default=1), keep)


def tokens_held(objective: str, layers: int, length: int, nodes: int, keep: bool) -> int:
    """Return the units in memory for one prompt; for the arguments see `plan_layout` and `Layout`."""
    row_tokens = 1 if objective == "causal" else length
    rows = layers * nodes * row_tokens
    passing = rows * (layers - 1) // 2
    return ceil(UNTOUCHED * layers * length + rows + passing * (1 if keep else ENTERING))


def head_rows(vocabulary: int) -> int:
    """Return the number of rows whose logits over the vocabulary may be in memory at once."""
    return max(1, HEAD_NUMBERS // vocabulary)


def budget_bytes(hidden: int, intermediate: int, vocabulary: int, batch_tokens: int, item: int = 4) -> int:
    """Return the maximum number of bytes that attribution takes in addition to the model and the results.

    Some families keep states in float32 whatever the dtype. So are the logits, of which there are three at once:
    themselves, their softmax, and its gradient.

    Args:
        hidden: Size of the hidden state.
        intermediate: Neurons per layer.
        vocabulary: Number of token ids.
        batch_tokens: The budget, in units.
        item: Bytes of a number in the model's dtype.
    """
    token = STATES * hidden * max(item, 4) + NEURONS * intermediate * item
    return batch_tokens * token + 3 * max(item, 4) * head_rows(vocabulary) * vocabulary
