"""Suppress neurons in a model: the public function `suppress`, for use outside the workflow.

It checks its arguments, puts the words into tokens with `task.make_queries`, and measures with
`intervention.changed_answers`, as the workflow does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.inputs import checked_list, checked_texts, checked_whole, is_whole
from kn_thesis.models.adapter import adapter_for
from kn_thesis.models.cloze import Encoded
from kn_thesis.suppression.intervention import OPERATIONS, Change, changed_answers, mean_activations
from kn_thesis.suppression.task import make_queries

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


def suppress(
    model: Model,
    prompts: Sequence[str],
    neurons: pd.DataFrame | Sequence[tuple[int, int]],
    words: Sequence[str],
    *,
    operation: str = "erase",
    neuron: str = "activation",
    batch_tokens: int = 4096,
) -> pd.DataFrame:
    """Measure each word's probability at the blank of each prompt, before and after neurons are changed there.

    A word of several tokens is scored by the product of their probabilities, teacher-forced. Each token has its own
    intervention, as in attribution: the neurons are changed only at the position that predicts that token, and the
    tokens before it are read by the untouched model. With several tokens (`tokens` above 1) `after` is therefore not
    the probability under one changed model. With a single token it is.

    Args:
        model: What `load_model` returns.
        prompts: Texts with the blank written "___" or as the mask token. For a causal model, also texts that end where
            the blank would be.
        neurons: Pairs (layer, index), both counted from 0, or a table with the columns layer and neuron, such as
            `select_neurons` returns. They are all changed together.
        words: Words to put into the blank.
        operation: "erase" (set to 0), "enhance" (double) or "mean" (set to the mean at the blank over `prompts`).
        neuron: "activation" or "preactivation", as in the attribution that selected them; see `adapter_for`.
        batch_tokens: Maximum rows × tokens in memory at once.

    Returns:
        One row per prompt and word, with the columns prompt, word, tokens (of the word at that blank; 0 if it cannot
        stand there), before and after (probabilities), log_change (nats) and reason. `reason` says why the tokenizer
        cannot put the word there; the numbers are then nan. Otherwise it is empty.

    Raises:
        UserError: For an invalid argument.
    """
    prompts, words = checked_texts("prompts", prompts, 1), checked_texts("words", words, 1)
    batch_tokens = checked_whole("batch_tokens", batch_tokens, 1)
    if not isinstance(operation, str) or operation not in OPERATIONS:
        raise UserError(f"unknown operation {operation!r}: choose one of {', '.join(OPERATIONS)}")
    model = replace(model, adapter=adapter_for(model.adapter, neuron))
    change = Change(*_checked_neurons(model, neurons), operation)
    gaps: dict[int, Encoded] = {}
    tokens = np.zeros((len(prompts), len(words)), dtype=int)

    def encode(number: int, column: int) -> Encoded:
        encoded = model.tokenizer.encode_prompt(prompts[number], words[column])
        gaps.setdefault(number, encoded)
        tokens[number, column] = len(encoded.target_ids)
        return encoded

    queries = make_queries(len(prompts), len(words), encode, model.adapter.objective)
    if operation == "mean":
        means = mean_activations(model, list(gaps.values()), batch_tokens)
    else:
        means = np.zeros((model.adapter.layers, model.adapter.width))
    answers = changed_answers(model, queries.readings, [change], means, batch_tokens)
    before, after = (
        queries.gather([x.astype(float) for x in part], len(prompts), len(words)).ravel() for part in answers
    )
    reasons = {number * len(words) + column: reason for (number, column), reason in queries.reasons.items()}
    return pd.DataFrame(
        {
            "prompt": np.repeat(np.asarray(prompts, dtype=object), len(words)),
            "word": np.tile(np.asarray(words, dtype=object), len(prompts)),
            "tokens": tokens.ravel(),
            "before": np.exp(before),
            "after": np.exp(after),
            "log_change": after - before,
            "reason": [reasons.get(row, "") for row in range(len(before))],
        }
    )


def _checked_neurons(model: Model, neurons: pd.DataFrame | Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Layers and indices, sorted and without duplicates."""
    if isinstance(neurons, pd.DataFrame):
        if missing := [name for name in ("layer", "neuron") if name not in neurons]:
            raise UserError(f"the table of neurons has no column {missing[0]!r}: give layer and neuron")
        pairs = list(zip(neurons["layer"], neurons["neuron"], strict=True))
    else:  # the order of neurons does not matter, so sets are accepted
        pairs = checked_list("neurons", list(neurons) if _is_matrix_or_set(neurons) else neurons)
    if not len(pairs):
        raise UserError("no neuron at all: select some first, or lower the thresholds of the selection")
    whole = (
        isinstance(pair, list | tuple | np.ndarray) and len(pair) == 2 and all(map(is_whole, pair)) for pair in pairs
    )
    if not all(whole):
        raise UserError("neurons are pairs of whole numbers (layer, index)")
    table = np.unique(np.array([[int(number) for number in pair] for pair in pairs]), axis=0)
    layers, width = model.adapter.layers, model.adapter.width
    wrong = table[(table < 0).any(axis=1) | (table[:, 0] >= layers) | (table[:, 1] >= width)]
    if len(wrong):
        raise UserError(f"there is no neuron {tuple(wrong[0].tolist())}: {layers} layers of {width} neurons, from 0")
    return table[:, 0], table[:, 1]


def _is_matrix_or_set(neurons: object) -> bool:
    """Whether the rows or entries of `neurons` are pairs."""
    return isinstance(neurons, set | frozenset) or getattr(neurons, "ndim", 1) == 2
