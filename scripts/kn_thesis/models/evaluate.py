"""Evaluate a model on cloze prompts: log-probabilities and ranks of targets, and whether each prompt is correct."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.models.cloze import Encoded, encoded_from, steps
from kn_thesis.models.memory import MemoryBudget, run_batches
from kn_thesis.models.self_check import not_finite

if TYPE_CHECKING:
    import torch

    from kn_thesis.models.load import Model


COLUMNS = ["prompt", "task", "kind", "group", "split", "correct", "probability", "foil_probability", "rank"]


class TargetScores(NamedTuple):
    """Scores of n targets.

    Attributes:
        log_probability: Nats, summed over the target's tokens, each given those before it; float64 (n,).
        first_choice: Whether each of the target's tokens is the most probable of the vocabulary; bool (n,).
        rank: Of the target's first token: 1 plus the number of tokens that are more probable; int64 (n,).
    """

    log_probability: np.ndarray
    first_choice: np.ndarray
    rank: np.ndarray


class EvaluationRow(NamedTuple):
    """One row of a batch.

    Attributes:
        target: Number of the target that it belongs to.
        ids: What the model sees.
        first_position: The position that predicts the first of `predicted`; the next ones predict the others.
        predicted: The tokens to predict.
        first_step: Which token of the target the first of `predicted` is, from 0.
    """

    target: int
    ids: tuple[int, ...]
    first_position: int
    predicted: tuple[int, ...]
    first_step: int


def target_log_probabilities(model: Model, encoded: Sequence[Encoded], batch_tokens: int = 4096) -> TargetScores:
    """Compute the log-probability of every target, teacher-forced.

    Rows of equal length are batched together, so nothing is padded. Probabilities are at least float32, whatever the
    model's dtype.

    Args:
        model: The model, from `load_model`.
        encoded: Prompts with their targets; `Encoded.gap` says where the first token is predicted.
        batch_tokens: Maximum number of tokens in a batch; a single row may exceed it.

    Raises:
        UserError: A prompt is longer than the model can read, does not fit in memory, or its result is not finite.
    """
    masked = model.adapter.objective == "masked"
    rows = [row for number, one in enumerate(encoded) for row in evaluation_rows(number, one, masked)]
    longest = model.positions
    if longest and rows and (length := max(len(row.ids) for row in rows)) > longest:
        raise UserError(f"a prompt of {length} tokens is longer than the model's {longest}; leave it out")
    log_probability = np.zeros(len(encoded))
    first_choice = np.ones(len(encoded), dtype=bool)
    rank = np.zeros(len(encoded), dtype=np.int64)
    budget = MemoryBudget(model, "evaluation", batch_tokens)
    results = run_batches(
        _batches(rows, batch_tokens),
        lambda batch, _: _score_rows(model, batch, masked),
        budget,
        size=lambda batch, _: sum(len(row.ids) for row in batch),
    )
    for batch, scores in results:
        for row, (log, first, place) in zip(batch, scores, strict=True):
            if not math.isfinite(log):
                raise not_finite(model, row.ids, "evaluation")
            log_probability[row.target] += log
            first_choice[row.target] &= first
            if row.first_step == 0:
                rank[row.target] = place
    return TargetScores(log_probability, first_choice, rank)


def evaluate_prompts(model: Model, prompts: pd.DataFrame, batch_tokens: int = 4096) -> pd.DataFrame:
    """Evaluate every prompt of a table of prompts.

    Args:
        model: The model, from `load_model`.
        prompts: A table of prompts, as `corpora.prompts` makes it.
        batch_tokens: See `target_log_probabilities`.

    Returns:
        One row per prompt, in the same order, with `COLUMNS`. correct: for a paradigm, P(target) > P(foil); for a
        relation, whether each of the target's tokens is the most probable of the vocabulary. probability and
        foil_probability: of all of the word's tokens together, float32; foil_probability is nan for relations. rank: of
        the target's first token, from 1.
    """
    targets = [
        encoded_from(ids, gap, target)
        for ids, gap, target in zip(prompts["input_ids"], prompts["gap"], prompts["target_ids"], strict=True)
    ]
    answers = target_log_probabilities(model, targets, batch_tokens)
    paradigm = (prompts["kind"] == "paradigm").to_numpy(dtype=bool)
    foils = [
        with_target(one, tuple(map(int, foil)), model.adapter.objective)
        for one, foil, is_pair in zip(targets, prompts["foil_ids"], paradigm, strict=True)
        if is_pair
    ]
    foil_log_probability = np.full(len(prompts), np.nan)
    foil_log_probability[paradigm] = target_log_probabilities(model, foils, batch_tokens).log_probability
    # Log-probabilities are compared because small products would both round to 0.
    correct = np.where(paradigm, answers.log_probability > foil_log_probability, answers.first_choice)
    return prompts[["prompt", "task", "kind", "group", "split"]].assign(
        correct=correct.astype(bool),
        probability=np.exp(answers.log_probability).astype(np.float32),
        foil_probability=np.exp(foil_log_probability).astype(np.float32),
        rank=answers.rank,
    )[COLUMNS]


def with_target(encoded: Encoded, target_ids: tuple[int, ...], objective: str) -> Encoded:
    """Return the same prompt with another target; a masked model's prompt gets as many masks as it has tokens."""
    if objective == "causal":
        return Encoded(encoded.input_ids, encoded.gap, target_ids)
    ids, gap, masks = encoded.input_ids, encoded.gap, len(encoded.target_ids)
    return Encoded((*ids[:gap], *([ids[gap]] * len(target_ids)), *ids[gap + masks :]), gap, target_ids)


def evaluation_rows(number: int, encoded: Encoded, masked: bool) -> Iterator[EvaluationRow]:
    """Yield the rows that a target takes: one per token for a masked model, a single one for a causal model.

    Args:
        number: The target's number, for `EvaluationRow.target` and messages.
        encoded: The prompt with its target.
        masked: Whether the model is masked.

    Raises:
        UserError: The target is empty.
    """
    ids, gap, target = tuple(encoded.input_ids), encoded.gap, tuple(encoded.target_ids)
    if not target:
        raise UserError(f"prompt {number} has an empty target; every prompt needs at least one target token")
    if not masked:
        yield EvaluationRow(number, ids + target[:-1], gap, target, 0)
        return
    for step, (seen, position, token) in enumerate(steps(encoded, "masked")):
        yield EvaluationRow(number, seen, position, (token,), step)


def _batches(rows: Sequence[EvaluationRow], batch_tokens: int) -> Iterator[list[EvaluationRow]]:
    """Yield rows of equal length, in order, at most `batch_tokens` tokens at once."""
    by_length: dict[int, list[EvaluationRow]] = {}
    for row in rows:
        by_length.setdefault(len(row.ids), []).append(row)
    for length, group in sorted(by_length.items()):
        size = max(batch_tokens // length, 1)
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _score_rows(model: Model, batch: Sequence[EvaluationRow], masked: bool) -> list[tuple[float, bool, int]]:
    """Return each row's log-probability, whether all its tokens are first choices, and the rank of the first."""
    import torch

    results = []
    with torch.inference_mode():
        for row, scores in zip(batch, _logits(model, batch, masked), strict=True):
            steps = torch.arange(len(row.predicted), device=scores.device)
            tokens = torch.tensor(row.predicted, device=scores.device)
            own = scores[steps, tokens]
            log = float((own - scores.logsumexp(-1)).double().sum())
            results.append((log, bool((scores.argmax(-1) == tokens).all()), 1 + int((scores[0] > own[0]).sum())))
    return results


def _logits(model: Model, batch: Sequence[EvaluationRow], masked: bool) -> list[torch.Tensor]:
    """Return each row's logits (steps, vocabulary), at least float32, where tokens are predicted."""
    import torch

    ids = torch.tensor([row.ids for row in batch], device=model.device)
    if masked:
        start, logits = 0, model.module(input_ids=ids).logits
    else:  # predictions are at the end: logits before them are not computed
        start = min(row.first_position for row in batch)
        logits = model.module(input_ids=ids, use_cache=False, logits_to_keep=ids.shape[1] - start).logits
    return [
        scores[row.first_position - start :][: len(row.predicted)].to(torch.promote_types(scores.dtype, torch.float32))
        for row, scores in zip(batch, logits, strict=True)
    ]
