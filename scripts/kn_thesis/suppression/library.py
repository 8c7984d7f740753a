"""One set of neurons, some prompts, some words: suppression for use outside the workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.corpora.gaps import Encoded
from kn_thesis.errors import UserError
from kn_thesis.models.preactivation import adapter_for
from kn_thesis.suppression.restart import OPERATIONS, Change, changed_answers, mean_activations
from kn_thesis.suppression.words import questions

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
    """Probability of each word at the gap of each prompt, before and after neurons are changed there.

    prompts: texts with the gap as "___" or the mask token (for a causal model also texts that end at the gap).
    neurons: pairs (layer, index), both from 0, or a table with the columns layer and neuron, such as `select_neurons`
        returns; they are changed together. operation: "erase" (set to 0), "enhance" (doubled) or "mean" (set to their
        mean at the gap over `prompts`). neuron: "activation" or "preactivation", as they were attributed to; see
        `adapter_for`. A word of several tokens is scored by their product, teacher-forced.
    Returns one row per prompt and word: prompt, word, before, after (probabilities), log_change (nats) and reason, why
    the tokenizer cannot put the word there (then the numbers are nan), else "". Raises UserError for bad input.
    """
    for name, listed in (("prompts", prompts), ("words", words)):
        if isinstance(listed, str) or not len(listed):
            raise UserError(f"{name} is a list with at least one entry: put a single one in brackets")
    if operation not in OPERATIONS:
        raise UserError(f"unknown operation {operation!r}: choose one of {', '.join(OPERATIONS)}")
    model = replace(model, adapter=adapter_for(model.adapter, neuron))
    change = Change(*_neurons(model, neurons), operation)
    gaps: dict[int, Encoded] = {}

    def encode(number: int, column: int) -> Encoded:
        encoded = model.tokenizer.encode_prompt(prompts[number], words[column])
        gaps.setdefault(number, encoded)
        return encoded

    asked = questions(len(prompts), len(words), encode, model.adapter.objective)
    means = _means(model, list(gaps.values()), operation, batch_tokens)
    found = changed_answers(model, asked.readings, [change], means, batch_tokens)
    before, after = (asked.gather([x.astype(float) for x in part], len(prompts), len(words)).ravel() for part in found)
    reasons = {number * len(words) + column: reason for (number, column), reason in asked.reasons.items()}
    return pd.DataFrame(
        {
            "prompt": np.repeat(np.asarray(prompts, dtype=object), len(words)),
            "word": np.tile(np.asarray(words, dtype=object), len(prompts)),
            "before": np.exp(before),
            "after": np.exp(after),
            "log_change": after - before,
            "reason": [reasons.get(row, "") for row in range(len(before))],
        }
    )


def _neurons(model: Model, neurons: pd.DataFrame | Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Layers and indices, checked."""
    table = neurons[["layer", "neuron"]].to_numpy() if isinstance(neurons, pd.DataFrame) else np.asarray(list(neurons))
    if not len(table):
        raise UserError("no neuron at all: select some first, or lower the thresholds of the selection")
    if table.ndim != 2 or table.shape[1] != 2 or not np.issubdtype(table.dtype, np.integer):
        raise UserError("neurons are pairs of whole numbers (layer, index)")
    table = np.unique(table, axis=0).astype(int)
    layers, width = model.adapter.layers, model.adapter.width
    wrong = table[(table < 0).any(axis=1) | (table[:, 0] >= layers) | (table[:, 1] >= width)]
    if len(wrong):
        raise UserError(f"there is no neuron {tuple(wrong[0].tolist())}: {layers} layers of {width} neurons, from 0")
    return table[:, 0], table[:, 1]


def _means(model: Model, gaps: Sequence[Encoded], operation: str, batch_tokens: int) -> np.ndarray:
    if operation != "mean":
        return np.zeros((model.adapter.layers, model.adapter.width))
    return mean_activations(model, gaps, batch_tokens)
