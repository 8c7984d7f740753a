"""Restored runs: the corrupted run with some states of one token as in the clean run, many such runs at once.

Below the restored layer everything is the corrupted run; in a causal model the tokens before the restored one never
change, so neither is computed again. Cells of one token travel together, whatever their layers and kinds: each enters
the layer above its first restored state with that one token changed. Kinds, as in the code of Meng et al. (2022):

    hidden       the state that leaves layer l
    mlp          what the MLPs add in a window of layers around l
    attention    what the attentions add in a window of layers around l
    severed_mlp, severed_attention
                 hidden, while what the token's MLPs (attentions) add above l is held at its corrupted value
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kn_thesis.models.adapter import Adapter, attend
from kn_thesis.tracing.runs import Run, log_probabilities

KINDS = ("hidden", "mlp", "attention", "severed_mlp", "severed_attention")


@dataclass(frozen=True)
class Cell:
    """What is restored at one token: kind, the layer l, and the window's layers (first, one past the last)."""

    kind: str
    layer: int
    first: int
    last: int

    @property
    def enters(self) -> int:
        """The layer that it enters with its token changed."""
        return (self.layer if self.kind == "hidden" or self.kind.startswith("severed") else self.first) + 1


def cells_of(kind: str, layers: int, window: int) -> list[Cell]:
    """A cell for each layer. A window of w layers around l is l − ⌊w/2⌋ to l + ⌈w/2⌉ − 1, cut at the model's ends."""
    return [
        Cell(kind, layer, max(0, layer - window // 2), min(layers, layer - (-window // 2))) for layer in range(layers)
    ]


def scaled_window(layers: int, share: float = 10 / 48) -> int:
    """Layers in a window: 10 of gpt2-xl's 48, scaled to the model's depth; 1 at least."""
    return max(1, round(share * layers))


@torch.no_grad()
def restored_log_probabilities(
    adapter: Adapter,
    clean: Run,
    corrupted: Run,
    token: int,
    cells: Sequence[Cell],
    gap: int,
    targets: Sequence[int],
    batch_tokens: int = 4096,
) -> Tensor:
    """Log-probabilities of target tokens at the gap in the runs restored at one token: (draws, cells, targets), nats.

    batch_tokens: most rows × tokens in memory at once (one cell's rows at least). All tokens count, for those before
    the restored one are there as keys and values.
    """
    tokens, draws = corrupted.last.shape[1], len(corrupted.last)
    start = token if adapter.objective == "causal" else 0
    order = sorted(range(len(cells)), key=lambda number: cells[number].enters)
    room = max(1, batch_tokens // (draws * tokens))
    result: list[Tensor | None] = [None] * len(cells)
    for numbers in _parts(order, room):
        hidden = _travel(adapter, clean, corrupted, token, [cells[n] for n in numbers], gap, start)
        for number, column in zip(numbers, log_probabilities(adapter, hidden, targets).unbind(1), strict=True):
            result[number] = column
    return torch.stack([column for column in result if column is not None], dim=1)


def _parts(order: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(order), size):
        yield order[first : first + size]


def _travel(
    adapter: Adapter, clean: Run, corrupted: Run, token: int, cells: Sequence[Cell], gap: int, start: int
) -> Tensor:
    """Last hidden states at the gap (draws, cells, hidden) of cells in the order in which they enter."""
    tokens = corrupted.last.shape[1]
    positions = torch.arange(tokens, device=corrupted.last.device)
    mask = positions[start:, None] >= positions if adapter.objective == "causal" else None
    rows = corrupted.last.new_empty(len(corrupted.last), 0, tokens - start, corrupted.last.shape[-1])
    for layer in range(adapter.layers):
        new = [cell for cell in cells if cell.enters == layer]
        if new:
            fresh = torch.stack([_entering(adapter, clean, corrupted, token, cell) for cell in new], dim=1)
            rows = torch.cat((rows, _spread(corrupted.layers[layer].hidden, fresh, token, start)), dim=1)
        if rows.shape[1]:
            last = layer + 1 == adapter.layers
            rows = _layer(
                adapter, clean, corrupted, layer, rows, cells, token, start, positions, mask, gap if last else None
            )
    late = [cell for cell in cells if cell.enters == adapter.layers]
    at_gap = rows[:, :, 0] if rows.shape[1] else rows.new_empty(len(rows), 0, rows.shape[-1])
    if not late:
        return at_gap
    fresh = torch.stack([_entering(adapter, clean, corrupted, token, cell) for cell in late], dim=1)
    untouched = corrupted.last[:, gap][:, None].expand_as(fresh)
    return torch.cat((at_gap, fresh if token == gap else untouched), dim=1)


def _entering(adapter: Adapter, clean: Run, corrupted: Run, token: int, cell: Cell) -> Tensor:
    """The token's state (draws, hidden) as it leaves the layer below the one that the cell enters."""
    below = cell.enters - 1
    draws = len(corrupted.last)
    if cell.kind not in ("mlp", "attention"):
        states = clean.layers[cell.enters].hidden if cell.enters < adapter.layers else clean.last
        return states[:, token].expand(draws, -1)
    ours, theirs = corrupted.layers[below], clean.layers[below]
    if cell.kind == "mlp":
        return adapter.after_mlp(below, ours.state[:, token], theirs.mlp[:, token].expand(draws, -1))
    state = adapter.after_attention(below, ours.hidden[:, token], theirs.attention[:, token].expand(draws, -1))
    return adapter.after_mlp(below, state, adapter.mlp_output(below, adapter.neurons(below, state)))


def _spread(hidden: Tensor, fresh: Tensor, token: int, start: int) -> Tensor:
    """Corrupted tokens from `start` on (draws, cells, tokens, hidden) with the one token of each cell's own."""
    rows = hidden[:, None, start:].repeat(1, fresh.shape[1], 1, 1)
    rows[:, :, token - start] = fresh
    return rows


def _layer(
    adapter: Adapter,
    clean: Run,
    corrupted: Run,
    layer: int,
    rows: Tensor,
    cells: Sequence[Cell],
    token: int,
    start: int,
    positions: Tensor,
    mask: Tensor | None,
    gap: int | None,
) -> Tensor:
    """One layer over rows (draws, cells, tokens, hidden); with `gap`, for that token alone: it is then the only one."""
    queries, keys, values = adapter.project(layer, rows, positions[start:])
    if start:  # the tokens before are the corrupted run's
        ours, count = corrupted.layers[layer], rows.shape[1]
        keys, values = (
            torch.cat((x[:, None, :start].expand(-1, count, -1, -1, -1), y), dim=2)
            for x, y in ((ours.keys, keys), (ours.values, values))
        )
    place = token - start
    if gap is not None:
        rows, queries = rows[:, :, gap - start][:, :, None], queries[:, :, gap - start][:, :, None]
        mask = None if mask is None else mask[gap - start][None]
        place = 0 if token == gap else -1  # other tokens are not read any more
    attention = adapter.attention_output(layer, attend(queries, keys, values, adapter.scaling(layer), mask=mask))
    _hold(attention, cells, layer, "attention", clean, corrupted, token, place)
    state = adapter.after_attention(layer, rows, attention)
    mlp = adapter.mlp_output(layer, adapter.neurons(layer, state))
    _hold(mlp, cells, layer, "mlp", clean, corrupted, token, place)
    return adapter.after_mlp(layer, state, mlp)


def _hold(
    output: Tensor,
    cells: Sequence[Cell],
    layer: int,
    sublayer: str,
    clean: Run,
    corrupted: Run,
    token: int,
    place: int,
) -> None:
    """Set what a sublayer adds at the token to its clean value (in a window) or its corrupted one (severed)."""
    if place < 0:
        return
    travelling = list(enumerate(cells[: output.shape[1]]))
    restored = [n for n, cell in travelling if cell.kind == sublayer and cell.enters <= layer < cell.last]
    severed = [n for n, cell in travelling if cell.kind == f"severed_{sublayer}" and cell.enters <= layer]
    for numbers, run in ((restored, clean), (severed, corrupted)):
        if numbers:
            output[:, numbers, place] = getattr(run.layers[layer], sublayer)[:, token][:, None]
