"""Answers under many changed sets of neurons: prompts and sets in one batch, nothing below the first change twice.

A set's neurons are changed at the gap alone, in every layer that it reaches into. In a word of several tokens the gap
of each is the position that predicts it: earlier ones are untouched there. The untouched run is made once per
prompt; a row (one set under one operation) takes up from it at the set's first layer, and rows of all sets travel up
together (`localization.restarted`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kn_thesis.localization.clean import CleanLayer, clean_run
from kn_thesis.localization.restarted import restarted
from kn_thesis.localization.room import head_rows
from kn_thesis.models.adapter import Adapter, precise
from kn_thesis.models.finite import not_finite
from kn_thesis.models.memory import Room, worked
from kn_thesis.progress import shown

if TYPE_CHECKING:
    from kn_thesis.corpora.gaps import Encoded
    from kn_thesis.models.load import Model

# What becomes of a neuron w: scale · w + share · its mean.
OPERATIONS = {"erase": (0.0, 0.0), "enhance": (2.0, 0.0), "mean": (0.0, 1.0)}


@dataclass(frozen=True)
class Change:
    """Neurons (layer, index) that are changed together: int arrays of one length, at least 1, and the operation."""

    layer: np.ndarray
    neuron: np.ndarray
    operation: str


@dataclass(frozen=True)
class Reading:
    """Something the model reads, the position that answers, and the tokens whose probability is asked there."""

    input_ids: tuple[int, ...]
    gap: int
    asked: tuple[int, ...]


def mean_activations(model: Model, encoded: Sequence[Encoded], batch_tokens: int = 4096) -> np.ndarray:
    """Mean activation of every neuron at the gap over prompts: float64 (layers, width).

    Raises UserError for a prompt that does not fit in memory, or whose activations are not finite.
    """
    total = np.zeros((model.adapter.layers, model.adapter.width))

    def activations(batch: Sequence[int], _: int) -> list[np.ndarray]:
        ids = torch.tensor([encoded[number].input_ids for number in batch], device=model.device)
        gaps = torch.tensor([encoded[number].gap for number in batch], device=model.device)
        run, _ = clean_run(model.adapter, ids, gaps)
        return [layer.neurons.double().cpu().numpy() for layer in run]

    for batch, found in worked(
        _alike([prompt.input_ids for prompt in encoded], batch_tokens),
        activations,
        Room(model, "mean activations", batch_tokens),
        size=lambda batch, _: sum(len(encoded[number].input_ids) for number in batch),
    ):
        for place, number in enumerate(batch):  # one by one: a sum of floats depends on what is added up first
            row = np.stack([layer[place] for layer in found])
            if not np.isfinite(row).all():
                raise not_finite(model, encoded[number].input_ids, "mean activations")
            total += row
    return total / max(1, len(encoded))


def changed_answers(
    model: Model,
    readings: Sequence[Reading],
    changes: Sequence[Change],
    means: np.ndarray,
    batch_tokens: int = 4096,
    progress: bool = False,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Log-probabilities (nats) of the tokens asked, untouched and under each change.

    `means` (layers, width) is what the operation `mean` sets a neuron to. batch_tokens: most rows × tokens in memory
    at once (one row at least). Returns two lists, an entry per reading: float64 (asked,) untouched, and float32
    (asked, changes). A reading's result does not depend on the others, up to rounding. Raises UserError for a reading
    that does not fit in memory, or has no finite answer.
    """
    adapter = model.adapter
    order = np.array(sorted(range(len(changes)), key=lambda number: int(changes[number].layer.min())), dtype=int)
    untouched: list[np.ndarray] = [np.zeros(0)] * len(readings)
    changed = [np.zeros((len(reading.asked), len(changes)), dtype=np.float32) for reading in readings]
    per_token = adapter.objective == "masked"  # a causal model's row is one token
    plans: dict[int, list[_Plan]] = {}
    batches = list(_alike([reading.input_ids for reading in readings], batch_tokens, max(1, len(changes)), per_token))

    def together(batch: Sequence[int], most: int) -> int:
        """Changes that are in memory at once."""
        length = len(readings[batch[0]].input_ids) if per_token else 1
        return min(len(changes), max(1, most // (len(batch) * length)))

    def size(batch: Sequence[int], most: int) -> int:
        length = len(readings[batch[0]].input_ids)
        return len(batch) * (length + together(batch, most) * (length if per_token else 1))

    def answered(batch: Sequence[int], most: int) -> tuple[np.ndarray, np.ndarray]:
        """Untouched (batch, asked), and (batch, changes, asked)."""
        ids = torch.tensor([readings[n].input_ids for n in batch], device=model.device)
        gaps = torch.tensor([readings[n].gap for n in batch], device=model.device)
        longest = max(len(readings[n].asked) for n in batch)
        padded = [readings[n].asked + readings[n].asked[:1] * (longest - len(readings[n].asked)) for n in batch]
        asked = torch.tensor(padded, device=model.device)
        run, last = clean_run(adapter, ids, gaps)
        clean = _log_probabilities(adapter, last[:, None], asked)[:, 0].double().cpu().numpy()
        room = max(1, together(batch, most))
        if room not in plans:
            parts = [order[start : start + room] for start in range(0, len(order), room)]
            plans[room] = [_Plan.of(part, [changes[n] for n in part], means, model) for part in parts]
        under = np.zeros((len(batch), len(changes), longest), dtype=np.float32)
        for plan in plans[room]:
            answers = _log_probabilities(adapter, plan.hidden(adapter, run, gaps), asked)
            under[:, plan.numbers] = answers.float().cpu().numpy()
        return clean, under

    shown_batches = shown(batches, len(readings), "suppression", "prompt", progress)
    for batch, (clean, under) in worked(shown_batches, answered, Room(model, "suppression", batch_tokens), size):
        for n, row, rows in zip(batch, clean, under, strict=True):
            wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if len(wrong) or not np.isfinite(row).all():
                raise not_finite(model, readings[n].input_ids, _wrong([changes[number] for number in wrong[:1]]))
            untouched[n], changed[n][:] = row[: len(readings[n].asked)], rows.T[: len(readings[n].asked)]
    return untouched, changed


def _wrong(changes: Sequence[Change]) -> str:
    """What is not finite, in words."""
    return "suppression" + "".join(
        f" ({change.operation} in layer {', '.join(map(str, np.unique(change.layer)))})" for change in changes
    )


class _Edit(NamedTuple):
    """Entries of (prompts, rows, width) that change: their row and neuron, and what they are multiplied by and gain."""

    row: Tensor
    neuron: Tensor
    scale: Tensor
    gain: Tensor

    def __call__(self, neurons: Tensor) -> Tensor:
        """The same neurons, changed in place."""
        if len(self.row):
            picked = neurons[:, self.row, self.neuron]
            neurons[:, self.row, self.neuron] = picked * self.scale + self.gain
        return neurons


@dataclass(frozen=True)
class _Plan:
    """Changes in order of their first layer: which rows start at which layer, and what each layer does to its rows."""

    numbers: np.ndarray  # of the changes among all
    starting: list[int]  # rows that start at each layer
    fresh: list[_Edit]  # of rows that start at the layer, counted from 0
    travelling: list[_Edit]  # of rows that started below

    @classmethod
    def of(cls, numbers: np.ndarray, changes: Sequence[Change], means: np.ndarray, model: Model) -> _Plan:
        """The plan of changes that are in order of their first layer."""
        layers, kind = model.adapter.layers, next(model.module.parameters()).dtype
        first = np.array([change.layer.min() for change in changes])
        starting = [int((first == layer).sum()) for layer in range(layers)]
        row = np.repeat(np.arange(len(changes)), [len(change.layer) for change in changes])
        layer, neuron = (np.concatenate([getattr(c, name) for c in changes]) for name in ("layer", "neuron"))
        scale, share = np.array([OPERATIONS[changes[r].operation] for r in row]).T
        gain = share * means[layer, neuron]

        def edit(chosen: np.ndarray, offset: int) -> _Edit:
            numbers = [torch.as_tensor(x[chosen], device=model.device) for x in (row - offset, neuron)]
            return _Edit(
                *numbers, *(torch.as_tensor(x[chosen], device=model.device, dtype=kind) for x in (scale, gain))
            )

        here = [layer == number for number in range(layers)]
        new = [first[row] == number for number in range(layers)]
        fresh = [edit(here[n] & new[n], sum(starting[:n])) for n in range(layers)]
        return cls(numbers, starting, fresh, [edit(here[n] & ~new[n], 0) for n in range(layers)])

    @torch.no_grad()
    def hidden(self, adapter: Adapter, run: list[CleanLayer], gaps: Tensor) -> Tensor:
        """Last hidden states at the gap under each change: (prompts, changes, hidden)."""
        activations = [
            edit(layer.neurons[:, None].repeat(1, count, 1))
            for layer, count, edit in zip(run, self.starting, self.fresh, strict=True)
        ]
        return restarted(adapter, run, gaps, activations, lambda layer, neurons: self.travelling[layer](neurons))


@torch.no_grad()
def _log_probabilities(adapter: Adapter, hidden: Tensor, asked: Tensor) -> Tensor:
    """Log-probabilities (prompts, rows, asked), from hidden (prompts, rows, hidden) and token ids (prompts, asked)."""
    wanted = asked[:, None].expand(-1, hidden.shape[1], -1).flatten(0, 1)
    parts, rows = [], head_rows(adapter.vocabulary)
    for part, tokens in zip(hidden.flatten(0, 1).split(rows), wanted.split(rows), strict=True):
        logits = adapter.logits(part)
        logits = logits.to(precise(logits))
        parts.append(logits.gather(1, tokens) - logits.logsumexp(1, keepdim=True))
    return torch.cat(parts).unflatten(0, hidden.shape[:2])


def _alike(
    texts: Sequence[tuple[int, ...]], batch_tokens: int, rows: int = 1, per_token: bool = True
) -> Iterator[list[int]]:
    """Numbers of texts of one length together, in order, as many as fit with `rows` rows each."""
    lengths: dict[int, list[int]] = {}
    for number, text in enumerate(texts):
        lengths.setdefault(len(text), []).append(number)
    for length, numbers in sorted(lengths.items()):
        size = max(1, min(batch_tokens // length, batch_tokens // (rows * (length if per_token else 1))))
        yield from (numbers[start : start + size] for start in range(0, len(numbers), size))
