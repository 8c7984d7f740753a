"""What a model answers before and after edits: the prompts of many edits at once, each with its own change of weights.

Below the first edited layer's MLP both models are one, and each distinct prompt is run once. Above it, the rows of the
edited models carry their own changes beside the matrices that all share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kn_thesis.corpora.gaps import Encoded
from kn_thesis.editing.passes import filled_up, state_before_mlp, state_in
from kn_thesis.editing.update import Update
from kn_thesis.errors import UserError
from kn_thesis.models.adapter import Adapter, precise
from kn_thesis.models.evaluate import Row, rows_of
from kn_thesis.models.finite import not_finite
from kn_thesis.models.memory import Room, halves, worked

if TYPE_CHECKING:
    from kn_thesis.models.load import Model

HEAD_ROWS = 1024  # rows whose scores over the vocabulary are in memory at once


@dataclass(frozen=True)
class Said:
    """What one model says of n targets: arrays (n,).

    log_probability (nats) over all of a target's tokens, teacher-forced; first: whether each of its tokens is the first
    choice; share of its tokens that are; says: id of the first choice for its first token.
    """

    log_probability: np.ndarray
    first: np.ndarray
    share: np.ndarray
    says: np.ndarray


@dataclass(frozen=True)
class _Batch:
    """Edits whose first changed layer is one, and the rows of their prompts: edits' numbers, and (target, Row) each."""

    layer: int
    edits: list[int]
    rows: list[tuple[int, Row]]  # number in `edits`, row; row.target is its place among all targets

    @property
    def tokens(self) -> int:
        return sum(len(row.ids) for _, row in self.rows)

    def halves(self) -> list[_Batch]:
        return [replace(self, rows=list(rows)) for rows in halves(self.rows)]


def answers(
    model: Model,
    updates: Sequence[Sequence[Update]],
    targets: Sequence[Sequence[Encoded]],
    batch_tokens: int = 4096,
) -> tuple[list[Said], list[Said]]:
    """Each edit's targets, before and after: one `Said` per edit, in order.

    updates: of each edit; none: the model as it is. targets: of each edit, a prompt and the word for its gap. At most
    `batch_tokens` tokens are in memory at once (one edit's at least). Raises UserError for a prompt that is too long,
    does not fit in memory, or has no finite answer.
    """
    adapter = model.adapter
    flat = [target for part in targets for target in part]
    longest = max((len(row.ids) for n, one in enumerate(flat) for row in _rows(adapter, n, one)), default=0)
    if 0 < model.positions < longest:
        raise UserError(f"a prompt of {longest} tokens is longer than the model's {model.positions}; leave it out")
    found = [_Tally(len(flat)) for _ in range(2)]
    for _, parts in worked(
        _batches(adapter, updates, targets, batch_tokens),
        lambda batch, _: _ask(model, batch, updates),
        Room(model, "answers to questions", batch_tokens),
        lambda batch, _: batch.tokens,
        _Batch.halves,
    ):
        for tally, part, when in zip(found, parts, ("before", "after"), strict=True):
            for told in part:
                if not np.isfinite(told.log).all():
                    wrong = told.targets[~np.isfinite(told.log)][0]
                    raise not_finite(model, flat[wrong].input_ids, f"answers {when} an edit")
                tally.add(told)
    ends = np.cumsum([len(part) for part in targets])
    before, after = (
        [tally.said(end - len(part), end) for part, end in zip(targets, ends, strict=True)] for tally in found
    )
    return before, after


class _Told(NamedTuple):
    """What a model says of some tokens: arrays of one length. targets, steps: the target, and which of its tokens."""

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

    def add(self, told: _Told) -> None:
        np.add.at(self.log_probability, told.targets, told.log)
        np.add.at(self.hits, told.targets, told.hit)
        np.add.at(self.tokens, told.targets, 1)
        self.says[told.targets[told.steps == 0]] = told.says[told.steps == 0]

    def said(self, start: int, end: int) -> Said:
        hits, tokens = self.hits[start:end], self.tokens[start:end]
        return Said(self.log_probability[start:end], hits == tokens, hits / np.maximum(tokens, 1), self.says[start:end])


def _rows(adapter: Adapter, number: int, target: Encoded) -> Iterator[Row]:
    return rows_of(number, target, adapter.objective == "masked")


def _batches(
    adapter: Adapter, updates: Sequence[Sequence[Update]], targets: Sequence[Sequence[Encoded]], batch_tokens: int
) -> Iterator[_Batch]:
    """Edits with the same first layer, in order; failed ones go with the top layer, where both models are one."""
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
def _ask(model: Model, batch: _Batch, updates: Sequence[Sequence[Update]]) -> tuple[list[_Told], list[_Told]]:
    """What the model as it is says of a batch's rows, and what each row's edited model does."""
    adapter, rows = model.adapter, batch.rows
    if not rows:
        return [], []
    distinct = _numbered(row.ids for _, row in rows)
    texts = list(distinct)
    ids = filled_up(texts, model.device)
    mask = _mask(adapter, texts, ids)
    # Rows of the model as it is, one per text; then one per edit and text, those of an edit side by side.
    edited = _numbered((edit, row.ids) for edit, row in rows)
    source = [*range(len(texts)), *(distinct[text] for _, text in edited)]
    source = torch.tensor(source, device=model.device)
    state = state_before_mlp(adapter, ids, batch.layer, mask)[source]
    wide = None if mask is None else mask[source]
    spans = _spans([edit for edit, _ in edited], len(batch.edits), len(texts))
    positions = torch.arange(ids.shape[1], device=model.device)
    for layer in range(batch.layer, adapter.layers):
        if layer > batch.layer:
            state = state_in(adapter, layer, hidden, positions, wide)
        neurons = adapter.neurons(layer, state)
        mlp = adapter.mlp_output(layer, neurons)
        for (start, end), edit in zip(spans, batch.edits, strict=True):
            for update in updates[edit]:
                if update.layer == layer and end > start:
                    mlp[start:end] += update.added(neurons[start:end])
        hidden = adapter.after_mlp(layer, state, mlp)
    asked = [row for _, row in rows]
    places = [distinct[row.ids] for row in asked], [len(texts) + edited[edit, row.ids] for edit, row in rows]
    before, after = (list(_told(adapter, hidden, asked, part)) for part in places)
    return before, after


def _numbered(items: Iterable[Any]) -> dict[Any, int]:
    """Each distinct item's place, in order of first appearance."""
    return {item: place for place, item in enumerate(dict.fromkeys(items))}


def _mask(adapter: Adapter, texts: list[tuple[int, ...]], ids: Tensor) -> Tensor | None:
    """Which tokens a masked model may look at: those of the text, not what fills it up."""
    if adapter.objective == "causal":
        return None
    lengths = torch.tensor([len(text) for text in texts], device=ids.device)
    return (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])[:, None, None]


def _spans(edits: list[int], count: int, start: int) -> list[tuple[int, int]]:
    """First row and one past the last of each edit, whose rows are side by side from row `start` on."""
    counts = np.bincount(edits, minlength=count)
    ends = start + np.cumsum(counts)
    return [(int(end - rows), int(end)) for end, rows in zip(ends, counts, strict=True)]


def _told(adapter: Adapter, hidden: Tensor, rows: list[Row], places: list[int]) -> Iterator[_Told]:
    """What the rows, which lie at `places` of `hidden`, say at the positions where something is predicted."""
    asked = [
        (place, row.first_position + step, token, row.target, row.first_step + step)
        for place, row in zip(places, rows, strict=True)
        for step, token in enumerate(row.predicted)
    ]
    for start in range(0, len(asked), HEAD_ROWS):
        place, position, token, target, step = map(np.asarray, zip(*asked[start : start + HEAD_ROWS], strict=True))
        logits = adapter.logits(hidden[torch.as_tensor(place), torch.as_tensor(position)])
        logits = logits.to(precise(logits))
        wanted = torch.as_tensor(token, device=logits.device)[:, None]
        log = (logits.gather(1, wanted)[:, 0] - logits.logsumexp(1)).double().cpu().numpy()
        says = logits.argmax(1).cpu().numpy()
        yield _Told(target, step, log, says == token, says)
