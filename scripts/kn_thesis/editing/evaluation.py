"""Answers of a model before and after edits: prompts of many edits at once, each with its own change of weights.

Below the first edited layer's MLP the models do not differ, and each distinct prompt runs once. Above it, the rows of
the edited models have their own changes beside the weights that all share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kn_thesis.editing.weight_update import Update
from kn_thesis.errors import UserError
from kn_thesis.models.adapter import Adapter, precise
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.evaluate import EvaluationRow, evaluation_rows
from kn_thesis.models.forward import pad_right, state_before_mlp, state_in
from kn_thesis.models.memory import MemoryBudget, halves, run_batches
from kn_thesis.models.self_check import not_finite

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


HEAD_ROWS = 1024  # positions whose scores over the vocabulary are in memory at once


@dataclass(frozen=True)
class Prediction:
    """A model's answers to n targets.

    Attributes:
        log_probability: of all tokens of a target together, teacher-forced, nats, (n,).
        first: whether each of its tokens is the first choice, (n,).
        share: share of its tokens that are, (n,).
        says: id of the first choice for its first token, (n,).
    """

    log_probability: np.ndarray
    first: np.ndarray
    share: np.ndarray
    says: np.ndarray


@dataclass(frozen=True)
class _Batch:
    """Edits with the same first changed layer, by their numbers, and the rows of their prompts."""

    layer: int
    edits: list[int]
    rows: list[tuple[int, EvaluationRow]]  # place in `edits`, and row; row.target counts all targets

    @property
    def tokens(self) -> int:
        return sum(len(row.ids) for _, row in self.rows)

    def halves(self) -> list[_Batch]:
        return [replace(self, rows=list(rows)) for rows in halves(self.rows)]


def predict(
    model: Model,
    updates: Sequence[Sequence[Update]],
    targets: Sequence[Sequence[Encoded]],
    batch_tokens: int = 4096,
) -> tuple[list[Prediction], list[Prediction]]:
    """Predict each edit's targets in the model as it is and in the edited model.

    Args:
        model: the model; its weights are left as they are.
        updates: changes of each edit; none: the model as it is.
        targets: prompts of each edit, with the word in their blank.
        batch_tokens: most tokens in memory at once; at least one edit's are.

    Returns:
        Predictions before and after, one per edit each, in order.

    Raises:
        UserError: for a prompt that is too long, does not fit in memory, or has no finite answer.
    """
    adapter = model.adapter
    flat = [target for part in targets for target in part]
    longest = max((len(row.ids) for n, one in enumerate(flat) for row in _rows(adapter, n, one)), default=0)
    if 0 < model.positions < longest:
        raise UserError(f"a prompt of {longest} tokens is longer than the model's {model.positions}; leave it out")
    tallies = [_Tally(len(flat)) for _ in range(2)]
    for _, parts in run_batches(
        _batches(adapter, updates, targets, batch_tokens),
        lambda batch, _: _ask(model, batch, updates),
        MemoryBudget(model, "answers to questions", batch_tokens),
        lambda batch, _: batch.tokens,
        _Batch.halves,
    ):
        for tally, part, when in zip(tallies, parts, ("before", "after"), strict=True):
            for answers in part:
                if not np.isfinite(answers.log).all():
                    wrong = answers.targets[~np.isfinite(answers.log)][0]
                    raise not_finite(model, flat[wrong].input_ids, f"answers {when} an edit")
                tally.add(answers)
    ends = np.cumsum([len(part) for part in targets])
    before, after = (
        [tally.prediction(end - len(part), end) for part, end in zip(targets, ends, strict=True)] for tally in tallies
    )
    return before, after


class _Targets(NamedTuple):
    """Answers at some tokens, arrays of one length; targets, steps: number of the target, and which of its tokens."""

    targets: np.ndarray
    steps: np.ndarray
    log: np.ndarray
    hit: np.ndarray
    says: np.ndarray


class _Tally:
    """Sums over the tokens of each target, as its rows come in."""

    def __init__(self, targets: int) -> None:
        self.log_probability, self.hits, self.tokens = np.zeros((3, targets))
        self.says = np.full(targets, -1)

    def add(self, answers: _Targets) -> None:
        np.add.at(self.log_probability, answers.targets, answers.log)
        np.add.at(self.hits, answers.targets, answers.hit)
        np.add.at(self.tokens, answers.targets, 1)
        self.says[answers.targets[answers.steps == 0]] = answers.says[answers.steps == 0]

    def prediction(self, start: int, end: int) -> Prediction:
        hits, tokens = self.hits[start:end], self.tokens[start:end]
        return Prediction(
            self.log_probability[start:end], hits == tokens, hits / np.maximum(tokens, 1), self.says[start:end]
        )


def _rows(adapter: Adapter, number: int, target: Encoded) -> Iterator[EvaluationRow]:
    return evaluation_rows(number, target, adapter.objective == "masked")


def _batches(
    adapter: Adapter, updates: Sequence[Sequence[Update]], targets: Sequence[Sequence[Encoded]], batch_tokens: int
) -> Iterator[_Batch]:
    """Batches of edits with the same first layer, in order; failed ones have the top layer, where nothing changes."""
    waiting: dict[int, _Batch] = {}
    sizes: dict[int, int] = {}
    number = 0
    for edit, (changes, part) in enumerate(zip(updates, targets, strict=True)):
        layer = min((update.layer for update in changes), default=adapter.layers - 1)
        rows = []
        for target in part:
            rows += list(_rows(adapter, number, target))
            number += 1
        size = sum(len(row.ids) for row in rows)
        if layer in waiting and sizes[layer] + size > batch_tokens:
            yield waiting.pop(layer)
        batch = waiting.setdefault(layer, _Batch(layer, [], []))
        sizes[layer] = size + (sizes[layer] if batch.edits else 0)
        batch.rows.extend((len(batch.edits), row) for row in rows)
        batch.edits.append(edit)
    yield from waiting.values()


@torch.no_grad()
def _ask(model: Model, batch: _Batch, updates: Sequence[Sequence[Update]]) -> tuple[list[_Targets], list[_Targets]]:
    """Answers to a batch's rows of the model as it is, and of each row's edited model."""
    adapter, rows = model.adapter, batch.rows
    if not rows:
        return [], []
    distinct = _numbered(row.ids for _, row in rows)
    texts = list(distinct)
    ids = pad_right(texts, model.device)
    mask = _mask(adapter, texts, ids)
    # One row per text for the model as it is, then one per edit and text, those of an edit side by side.
    edited = _numbered((edit, row.ids) for edit, row in rows)
    source = [*range(len(texts)), *(distinct[text] for _, text in edited)]
    source = torch.tensor(source, device=model.device)
    state = state_before_mlp(adapter, ids, batch.layer, mask)[source]
    wide = None if mask is None else mask[source]
    spans = _spans([edit for edit, _ in edited], len(batch.edits), len(texts))
    positions = torch.arange(ids.shape[1], device=model.device)
    for layer in range(batch.layer, adapter.layers):
        neurons = adapter.neurons(layer, state)
        mlp = adapter.mlp_output(layer, neurons)
        for (start, end), edit in zip(spans, batch.edits, strict=True):
            for update in updates[edit]:
                if update.layer == layer and end > start:
                    mlp[start:end] += update.added(neurons[start:end])
        hidden = adapter.after_mlp(layer, state, mlp)
        if layer + 1 < adapter.layers:
            state = state_in(adapter, layer + 1, hidden, positions, wide)
    targets = [row for _, row in rows]
    places = [distinct[row.ids] for row in targets], [len(texts) + edited[edit, row.ids] for edit, row in rows]
    before, after = (list(_targets_of(adapter, hidden, targets, part)) for part in places)
    return before, after


def _numbered(items: Iterable[Any]) -> dict[Any, int]:
    """Place of each distinct item, in order of first appearance."""
    return {item: place for place, item in enumerate(dict.fromkeys(items))}


def _mask(adapter: Adapter, texts: list[tuple[int, ...]], ids: Tensor) -> Tensor | None:
    """Which tokens a masked model attends to: those of the text, not the padding."""
    if adapter.objective == "causal":
        return None
    lengths = torch.tensor([len(text) for text in texts], device=ids.device)
    return (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])[:, None, None]


def _spans(edits: list[int], count: int, start: int) -> list[tuple[int, int]]:
    """First row of each edit, and one past its last; rows of an edit are side by side from row `start` on."""
    counts = np.bincount(edits, minlength=count)
    ends = start + np.cumsum(counts)
    return [(int(end - rows), int(end)) for end, rows in zip(ends, counts, strict=True)]


def _targets_of(adapter: Adapter, hidden: Tensor, rows: list[EvaluationRow], places: list[int]) -> Iterator[_Targets]:
    """Answers of the rows, which lie at `places` of `hidden`, at the positions where something is predicted."""
    predicted = [
        (place, row.first_position + step, token, row.target, row.first_step + step)
        for place, row in zip(places, rows, strict=True)
        for step, token in enumerate(row.predicted)
    ]
    for start in range(0, len(predicted), HEAD_ROWS):
        place, position, token, target, step = map(np.asarray, zip(*predicted[start : start + HEAD_ROWS], strict=True))
        logits = adapter.logits(hidden[torch.as_tensor(place), torch.as_tensor(position)])
        logits = logits.to(precise(logits))
        wanted = torch.as_tensor(token, device=logits.device)[:, None]
        log = (logits.gather(1, wanted)[:, 0] - logits.logsumexp(1)).double().cpu().numpy()
        says = logits.argmax(1).cpu().numpy()
        yield _Targets(target, step, log, says == token, says)
