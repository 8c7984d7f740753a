"""What a model answers: the probability of targets at their gaps, and whether each prompt of a task is right."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from kn_thesis.corpora.gaps import Encoded, encoded_from, steps
from kn_thesis.errors import UserError
from kn_thesis.models.finite import not_finite
from kn_thesis.models.memory import Room, worked

if TYPE_CHECKING:
    import torch

    from kn_thesis.models.load import Model

COLUMNS = ["prompt", "task", "kind", "group", "split", "correct", "probability", "foil_probability", "rank"]


class Answers(NamedTuple):
    """What a model says of n targets.

    log_probability: float64 (n,), nats, the sum over the target's tokens, each given those before it.
    first_choice: bool (n,), whether each of the target's tokens is the first choice of the whole vocabulary.
    rank: int64 (n,), of the target's first token: 1 plus the number of tokens that are more probable.
    """

    log_probability: np.ndarray
    first_choice: np.ndarray
    rank: np.ndarray


class Row(NamedTuple):
    """One row of a batch: the target it belongs to, its tokens, and which tokens are predicted at which positions.

    `predicted` are predicted from `first_position` on, one each; first_step: the first one's number in the target.
    """

    target: int
    ids: tuple[int, ...]
    first_position: int
    predicted: tuple[int, ...]
    first_step: int


def target_log_probabilities(model: Model, encoded: Sequence[Encoded], batch_tokens: int = 4096) -> Answers:
    """Ask `model` about every target, teacher-forced (see `Encoded` for where each token is predicted).

    Rows of equal length go together, at most `batch_tokens` tokens at once and at least one row: nothing is padded.
    Probabilities are float32 whatever the model's dtype. An empty sequence gives empty arrays.
    Raises UserError when a prompt is longer than the model can read, does not fit in memory, or has no finite answer.
    """

    masked = model.adapter.objective == "masked"
    rows = [row for number, one in enumerate(encoded) for row in rows_of(number, one, masked)]
    longest = model.positions
    if longest and rows and (length := max(len(row.ids) for row in rows)) > longest:
        raise UserError(f"a prompt of {length} tokens is longer than the model's {longest}; leave it out")
    log_probability = np.zeros(len(encoded))
    first_choice = np.ones(len(encoded), dtype=bool)
    rank = np.zeros(len(encoded), dtype=np.int64)
    room = Room(model, "evaluation", batch_tokens)
    answered = worked(
        _batches(rows, batch_tokens),
        lambda batch, _: _answered(model, batch, masked),
        room,
        size=lambda batch, _: sum(len(row.ids) for row in batch),
    )
    for batch, found in answered:
        for row, (log, first, place) in zip(batch, found, strict=True):
            if not math.isfinite(log):
                raise not_finite(model, row.ids, "evaluation")
            log_probability[row.target] += log
            first_choice[row.target] &= first
            if row.first_step == 0:
                rank[row.target] = place
    return Answers(log_probability, first_choice, rank)


def evaluate_prompts(model: Model, prompts: pd.DataFrame, batch_tokens: int = 4096) -> pd.DataFrame:
    """Every prompt of a table of prompts, answered: one row a prompt, in the table's order, with `COLUMNS`.

    correct: for a paradigm, P(target) > P(foil); for a relation, the target is the first choice of the whole
    vocabulary at each of its tokens. probability, foil_probability: float32, over all of the word's tokens (products of
    the steps' probabilities); foil_probability is nan for relations. rank: of the target's first token, 1 is best.
    """
    targets = [
        encoded_from(ids, gap, target)
        for ids, gap, target in zip(prompts["input_ids"], prompts["gap"], prompts["target_ids"], strict=True)
    ]
    answers = target_log_probabilities(model, targets, batch_tokens)
    paradigm = (prompts["kind"] == "paradigm").to_numpy(dtype=bool)
    foils = [
        with_target(one, tuple(map(int, foil)), model.adapter.objective)
        for one, foil, asked in zip(targets, prompts["foil_ids"], paradigm, strict=True)
        if asked
    ]
    foil_log_probability = np.full(len(prompts), np.nan)
    foil_log_probability[paradigm] = target_log_probabilities(model, foils, batch_tokens).log_probability
    # A comparison of log-probabilities: small products would both round to nothing.
    correct = np.where(paradigm, answers.log_probability > foil_log_probability, answers.first_choice)
    return prompts[["prompt", "task", "kind", "group", "split"]].assign(
        correct=correct.astype(bool),
        probability=np.exp(answers.log_probability).astype(np.float32),
        foil_probability=np.exp(foil_log_probability).astype(np.float32),
        rank=answers.rank,
    )[COLUMNS]


def with_target(encoded: Encoded, target_ids: tuple[int, ...], objective: str) -> Encoded:
    """The same prompt with another word asked for; a masked model's prompt gets as many masks as that has tokens."""
    if objective == "causal":
        return Encoded(encoded.input_ids, encoded.gap, target_ids)
    ids, gap, masks = encoded.input_ids, encoded.gap, len(encoded.target_ids)
    return Encoded((*ids[:gap], *([ids[gap]] * len(target_ids)), *ids[gap + masks :]), gap, target_ids)


def rows_of(number: int, encoded: Encoded, masked: bool) -> Iterator[Row]:
    """A masked model reads one row per target token, earlier masks filled in; a causal one sees all steps in one."""
    ids, gap, target = tuple(encoded.input_ids), encoded.gap, tuple(encoded.target_ids)
    if not target:
        raise UserError(f"prompt {number} has an empty target; every prompt needs at least one target token")
    if not masked:
        yield Row(number, ids + target[:-1], gap, target, 0)
        return
    for step, (seen, position, token) in enumerate(steps(encoded, "masked")):
        yield Row(number, seen, position, (token,), step)


def _batches(rows: Sequence[Row], batch_tokens: int) -> Iterator[list[Row]]:
    """Rows of equal length, in order, at most `batch_tokens` tokens together."""
    by_length: dict[int, list[Row]] = {}
    for row in rows:
        by_length.setdefault(len(row.ids), []).append(row)
    for length, alike in sorted(by_length.items()):
        size = max(batch_tokens // length, 1)
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def _answered(model: Model, batch: Sequence[Row], masked: bool) -> list[tuple[float, bool, int]]:
    """Of each row: its log-probability, whether all its tokens are first choices, and the first one's rank."""
    import torch

    found = []
    with torch.inference_mode():
        for row, scores in zip(batch, _logits(model, batch, masked), strict=True):
            steps = torch.arange(len(row.predicted), device=scores.device)
            wanted = torch.tensor(row.predicted, device=scores.device)
            own = scores[steps, wanted]
            log = float((own - scores.logsumexp(-1)).double().sum())
            found.append((log, bool((scores.argmax(-1) == wanted).all()), 1 + int((scores[0] > own[0]).sum())))
    return found


def _logits(model: Model, batch: Sequence[Row], masked: bool) -> list[torch.Tensor]:
    """Scores, float32 (steps, vocabulary), of each row at the positions where something is predicted."""
    import torch

    ids = torch.tensor([row.ids for row in batch], device=model.device)
    if masked:
        start, logits = 0, model.module(input_ids=ids).logits
    else:  # what is predicted lies at the end: the head is spared the positions before it
        start = min(row.first_position for row in batch)
        logits = model.module(input_ids=ids, use_cache=False, logits_to_keep=ids.shape[1] - start).logits
    return [
        scores[row.first_position - start :][: len(row.predicted)].to(torch.promote_types(scores.dtype, torch.float32))
        for row, scores in zip(batch, logits, strict=True)
    ]
