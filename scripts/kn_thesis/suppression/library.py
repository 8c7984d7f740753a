"""One set of neurons, some prompts, some words: suppression for use outside the workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.corpora.gaps import Encoded
from kn_thesis.errors import UserError
from kn_thesis.given_values import checked_list, checked_texts, checked_whole, is_whole
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
        `adapter_for`.
    A word of several tokens is scored by their product, teacher-forced. Each token has an intervention of its own, as
    it has in attribution: the neurons are changed at the one position that predicts it, and the tokens before it are
    read by the untouched model. So `after` is no probability under a single change of the model where `tokens` is
    above 1; with one token it is.
    Returns one row per prompt and word: prompt, word, tokens (of the word there; 0 for none), before, after
    (probabilities), log_change (nats) and reason, why the tokenizer cannot put the word there (then the numbers are
    nan), else "". Raises UserError for bad input.
    """
    prompts, words = checked_texts("prompts", prompts, 1), checked_texts("words", words, 1)
    batch_tokens = checked_whole("batch_tokens", batch_tokens, 1)
    if not isinstance(operation, str) or operation not in OPERATIONS:
        raise UserError(f"unknown operation {operation!r}: choose one of {', '.join(OPERATIONS)}")
    model = replace(model, adapter=adapter_for(model.adapter, neuron))
    change = Change(*_neurons(model, neurons), operation)
    gaps: dict[int, Encoded] = {}
    tokens = np.zeros((len(prompts), len(words)), dtype=int)

    def encode(number: int, column: int) -> Encoded:
        encoded = model.tokenizer.encode_prompt(prompts[number], words[column])
        gaps.setdefault(number, encoded)
        tokens[number, column] = len(encoded.target_ids)
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
            "tokens": tokens.ravel(),
            "before": np.exp(before),
            "after": np.exp(after),
            "log_change": after - before,
            "reason": [reasons.get(row, "") for row in range(len(before))],
        }
    )


def _neurons(model: Model, neurons: pd.DataFrame | Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Layers and indices, checked."""
    if isinstance(neurons, pd.DataFrame):
        if missing := [name for name in ("layer", "neuron") if name not in neurons]:
            raise UserError(f"the table of neurons has no column {missing[0]!r}: give layer and neuron")
        pairs = list(zip(neurons["layer"], neurons["neuron"], strict=True))
    else:  # the order of neurons means nothing
        pairs = checked_list("neurons", list(neurons) if _rows(neurons) else neurons)
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


def _rows(neurons: object) -> bool:
    """Whether these are a matrix or a set, whose rows or entries are pairs."""
    return isinstance(neurons, set | frozenset) or getattr(neurons, "ndim", 1) == 2


def _means(model: Model, gaps: Sequence[Encoded], operation: str, batch_tokens: int) -> np.ndarray:
    if operation != "mean":
        return np.zeros((model.adapter.layers, model.adapter.width))
    return mean_activations(model, gaps, batch_tokens)
