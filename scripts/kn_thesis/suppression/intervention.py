"""Change neurons in a model and read log-probabilities: erase, enhance, or set to the mean.

Neurons are changed only at the blank, in every layer that a set reaches into. In a word of several tokens, the blank of
each token is the position that predicts it; earlier positions stay untouched. The untouched model runs once per prompt.
A row (one set under one operation) starts from that run at the set's first layer, and the rows of all sets go through
the layers above together (`models.restart`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kn_thesis.localization.memory_budget import head_rows
from kn_thesis.models.adapter import Adapter, precise
from kn_thesis.models.forward import CleanLayer, clean_run
from kn_thesis.models.memory import MemoryBudget, run_batches, with_progress
from kn_thesis.models.restart import restart_rows
from kn_thesis.models.self_check import not_finite

if TYPE_CHECKING:
    from kn_thesis.models.cloze import Encoded
    from kn_thesis.models.load import Model


# (scale, share): a neuron w becomes scale · w + share · its mean.
OPERATIONS = {"erase": (0.0, 0.0), "enhance": (2.0, 0.0), "mean": (0.0, 1.0)}


@dataclass(frozen=True)
class Change:
    """Neurons that are changed together.

    Attributes:
        layer: Layer of each neuron, int (neurons,), at least one.
        neuron: Index of each neuron in its layer, int (neurons,).
        operation: A key of `OPERATIONS`.
    """

    layer: np.ndarray
    neuron: np.ndarray
    operation: str


@dataclass(frozen=True)
class Reading:
    """One input of the model and what is read from its output.

    Attributes:
        input_ids: The input's token ids.
        gap: Position of the blank, which predicts the targets.
        targets: Token ids whose probabilities are read there.
    """

    input_ids: tuple[int, ...]
    gap: int
    targets: tuple[int, ...]


def mean_activations(model: Model, encoded: Sequence[Encoded], batch_tokens: int = 4096) -> np.ndarray:
    """Average the activation of every neuron at the blank over prompts.

    Args:
        model: The model, with the adapter whose neurons are averaged.
        encoded: The prompts.
        batch_tokens: Maximum tokens in memory at once.

    Returns:
        float64 (layers, width).

    Raises:
        UserError: A prompt does not fit in memory, or its activations are not finite.
    """
    total = np.zeros((model.adapter.layers, model.adapter.width))

    def activations(batch: Sequence[int], _: int) -> list[np.ndarray]:
        ids = torch.tensor([encoded[number].input_ids for number in batch], device=model.device)
        gaps = torch.tensor([encoded[number].gap for number in batch], device=model.device)
        run, _ = clean_run(model.adapter, ids, gaps)
        return [layer.neurons.double().cpu().numpy() for layer in run]

    for batch, layers in run_batches(
        _batches([prompt.input_ids for prompt in encoded], batch_tokens),
        activations,
        MemoryBudget(model, "mean activations", batch_tokens),
        size=lambda batch, _: sum(len(encoded[number].input_ids) for number in batch),
    ):
        for place, number in enumerate(batch):  # one by one: a sum of floats depends on the order of its terms
            row = np.stack([layer[place] for layer in layers])
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
    """Compute the log-probabilities of the target tokens in the untouched model and under each change.

    The result for a reading does not depend on the other readings, up to rounding.

    Args:
        model: The model, with the adapter whose neurons are changed.
        readings: What the model reads.
        changes: Each is made on its own.
        means: What the operation "mean" sets neurons to, (layers, width).
        batch_tokens: Maximum rows × tokens in memory at once (at least one row).
        progress: Whether to show a progress bar on stderr.

    Returns:
        Two lists with an entry per reading, in nats: float64 (targets,) untouched, and float32 (targets, changes).

    Raises:
        UserError: A reading does not fit in memory, or an answer is not finite.
    """
    adapter = model.adapter
    order = np.array(sorted(range(len(changes)), key=lambda number: int(changes[number].layer.min())), dtype=int)
    untouched: list[np.ndarray] = [np.zeros(0)] * len(readings)
    changed = [np.zeros((len(reading.targets), len(changes)), dtype=np.float32) for reading in readings]
    per_token = adapter.objective == "masked"  # a causal model's row is one token
    plans: dict[int, list[_Plan]] = {}
    batches = list(_batches([reading.input_ids for reading in readings], batch_tokens, max(1, len(changes)), per_token))

    def changes_at_once(batch: Sequence[int], budget: int) -> int:
        length = len(readings[batch[0]].input_ids) if per_token else 1
        return min(len(changes), max(1, budget // (len(batch) * length)))

    def size(batch: Sequence[int], budget: int) -> int:
        length = len(readings[batch[0]].input_ids)
        return len(batch) * (length + changes_at_once(batch, budget) * (length if per_token else 1))

    def answers(batch: Sequence[int], budget: int) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities untouched (batch, targets) and changed (batch, changes, targets)."""
        ids = torch.tensor([readings[n].input_ids for n in batch], device=model.device)
        gaps = torch.tensor([readings[n].gap for n in batch], device=model.device)
        longest = max(len(readings[n].targets) for n in batch)
        padded = [readings[n].targets + readings[n].targets[:1] * (longest - len(readings[n].targets)) for n in batch]
        targets = torch.tensor(padded, device=model.device)
        run, last = clean_run(adapter, ids, gaps)
        clean = _log_probabilities(adapter, last[:, None], targets)[:, 0].double().cpu().numpy()
        at_once = max(1, changes_at_once(batch, budget))
        if at_once not in plans:
            parts = [order[start : start + at_once] for start in range(0, len(order), at_once)]
            plans[at_once] = [_Plan.of(part, [changes[n] for n in part], means, model) for part in parts]
        under = np.zeros((len(batch), len(changes), longest), dtype=np.float32)
        for plan in plans[at_once]:
            part = _log_probabilities(adapter, plan.hidden(adapter, run, gaps), targets)
            under[:, plan.numbers] = part.float().cpu().numpy()
        return clean, under

    for batch, (clean, under) in run_batches(
        with_progress(batches, len(readings), "suppression", "prompt", progress),
        answers,
        MemoryBudget(model, "suppression", batch_tokens),
        size,
    ):
        for n, row, rows in zip(batch, clean, under, strict=True):
            wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if len(wrong) or not np.isfinite(row).all():
                raise not_finite(model, readings[n].input_ids, _where([changes[number] for number in wrong[:1]]))
            untouched[n], changed[n][:] = row[: len(readings[n].targets)], rows.T[: len(readings[n].targets)]
    return untouched, changed


def _where(changes: Sequence[Change]) -> str:
    """Where an answer is not finite, in words."""
    return "suppression" + "".join(
        f" ({change.operation} in layer {', '.join(map(str, np.unique(change.layer)))})" for change in changes
    )


class _Edit(NamedTuple):
    """Entries of (prompts, rows, width) that change: row and neuron of each, its factor and what is added to it."""

    row: Tensor
    neuron: Tensor
    scale: Tensor
    gain: Tensor

    def __call__(self, neurons: Tensor) -> Tensor:
        """Change the neurons in place and return them."""
        if len(self.row):
            values = neurons[:, self.row, self.neuron]
            neurons[:, self.row, self.neuron] = values * self.scale + self.gain
        return neurons


@dataclass(frozen=True)
class _Plan:
    """Changes in the order of their first layer: which rows start at which layer, and what each layer does to rows.

    Attributes:
        numbers: Numbers of the changes among all.
        starting: Number of rows that start at each layer.
        fresh: Per layer, the edit of the rows that start there, counted from 0.
        travelling: Per layer, the edit of the rows that started below.
    """

    numbers: np.ndarray
    starting: list[int]
    fresh: list[_Edit]
    travelling: list[_Edit]

    @classmethod
    def of(cls, numbers: np.ndarray, changes: Sequence[Change], means: np.ndarray, model: Model) -> _Plan:
        """Plan changes that are in the order of their first layer."""
        layers, dtype = model.adapter.layers, next(model.module.parameters()).dtype
        first = np.array([change.layer.min() for change in changes])
        starting = [int((first == layer).sum()) for layer in range(layers)]
        row = np.repeat(np.arange(len(changes)), [len(change.layer) for change in changes])
        layer, neuron = (np.concatenate([getattr(c, name) for c in changes]) for name in ("layer", "neuron"))
        scale, share = np.array([OPERATIONS[changes[r].operation] for r in row]).T
        gain = share * means[layer, neuron]

        def edit(mask: np.ndarray, offset: int) -> _Edit:
            indices = [torch.as_tensor(x[mask], device=model.device) for x in (row - offset, neuron)]
            values = [torch.as_tensor(x[mask], device=model.device, dtype=dtype) for x in (scale, gain)]
            return _Edit(*indices, *values)

        here = [layer == number for number in range(layers)]
        new = [first[row] == number for number in range(layers)]
        fresh = [edit(here[n] & new[n], sum(starting[:n])) for n in range(layers)]
        return cls(numbers, starting, fresh, [edit(here[n] & ~new[n], 0) for n in range(layers)])

    @torch.no_grad()
    def hidden(self, adapter: Adapter, run: list[CleanLayer], gaps: Tensor) -> Tensor:
        """Last hidden states at the blank under each change: (prompts, changes, hidden)."""
        activations = [
            edit(layer.neurons[:, None].repeat(1, count, 1))
            for layer, count, edit in zip(run, self.starting, self.fresh, strict=True)
        ]
        return restart_rows(adapter, run, gaps, activations, lambda layer, neurons: self.travelling[layer](neurons))


@torch.no_grad()
def _log_probabilities(adapter: Adapter, hidden: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities (prompts, rows, targets) from hidden (prompts, rows, hidden) and ids (prompts, targets)."""
    ids = targets[:, None].expand(-1, hidden.shape[1], -1).flatten(0, 1)
    parts, rows = [], head_rows(adapter.vocabulary)
    for part, tokens in zip(hidden.flatten(0, 1).split(rows), ids.split(rows), strict=True):
        logits = adapter.logits(part)
        logits = logits.to(precise(logits))
        parts.append(logits.gather(1, tokens) - logits.logsumexp(1, keepdim=True))
    return torch.cat(parts).unflatten(0, hidden.shape[:2])


def _batches(
    texts: Sequence[tuple[int, ...]], batch_tokens: int, rows: int = 1, per_token: bool = True
) -> Iterator[list[int]]:
    """Batches of texts (by number, in order) of one length, as many as fit with `rows` rows each."""
    lengths: dict[int, list[int]] = {}
    for number, text in enumerate(texts):
        lengths.setdefault(len(text), []).append(number)
    for length, numbers in sorted(lengths.items()):
        size = max(1, min(batch_tokens // length, batch_tokens // (rows * (length if per_token else 1))))
        yield from (numbers[start : start + size] for start in range(0, len(numbers), size))
