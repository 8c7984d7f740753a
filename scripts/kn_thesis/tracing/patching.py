"""Activation patching: run a corrupted prompt with some states of one token as in the clean run, many runs at once.

Below the patched layer everything equals the corrupted run, and in a causal model the tokens before the patched one
never change, so neither is computed again. The patch sites of one token go through the model together, whatever their
layers and kinds: each enters the layer above its first restored state with that one token changed. The kinds are those
of Meng et al.'s (2022) code:

    hidden       the state that leaves layer l
    mlp          what the MLPs add in a window of layers around l
    attention    what the attentions add in a window of layers around l
    severed_mlp, severed_attention
                 hidden, while what the token's MLPs (attentions) add above l is held at its corrupted value
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kn_thesis.models.adapter import Adapter, attend
from kn_thesis.models.forward import LayerRun, log_probabilities

KINDS = ("hidden", "mlp", "attention", "severed_mlp", "severed_attention")


@dataclass(frozen=True)
class PatchSite:
    """What is restored at one token.

    Attributes:
        kind: One of `KINDS`.
        layer: The layer l, counted from 0.
        first: First layer of the window around l.
        last: One past the last layer of the window.
    """

    kind: str
    layer: int
    first: int
    last: int

    @property
    def enters(self) -> int:
        """The layer that the site enters with its token changed."""
        return (self.layer if self.kind == "hidden" or self.kind.startswith("severed") else self.first) + 1


def patch_sites(kind: str, layers: int, window: int) -> list[PatchSite]:
    """Make a patch site for each layer.

    Args:
        kind: One of `KINDS`.
        layers: Number of layers of the model.
        window: Width w of the window, in layers. Around layer l it reaches from l − ⌊w/2⌋ to l + ⌈w/2⌉ − 1, cut off at
            the model's ends.

    Returns:
        The sites, by layer.
    """
    return [
        PatchSite(kind, layer, max(0, layer - window // 2), min(layers, layer - (-window // 2)))
        for layer in range(layers)
    ]


def scaled_window(layers: int, share: float = 10 / 48) -> int:
    """Scale the window to a model's depth: by default 10 layers of gpt2-xl's 48; at least 1."""
    return max(1, round(share * layers))


@torch.no_grad()
def patched_log_probabilities(
    adapter: Adapter,
    clean: LayerRun,
    corrupted: LayerRun,
    token: int,
    sites: Sequence[PatchSite],
    gap: int,
    targets: Sequence[int],
    batch_tokens: int = 4096,
) -> Tensor:
    """Compute log-probabilities of target tokens at the blank when one token is patched.

    Args:
        adapter: The model's adapter.
        clean: The clean run.
        corrupted: The corrupted runs, one per noise sample.
        token: Position of the patched token.
        sites: What is restored there, each in runs of its own.
        gap: Position of the blank.
        targets: Token ids.
        batch_tokens: Maximum rows × tokens in memory at once (at least the rows of one site). All tokens count, because
            those before the patched one are present as keys and values.

    Returns:
        Log-probabilities in nats (draws, sites, targets).
    """
    tokens, draws = corrupted.last.shape[1], len(corrupted.last)
    start = token if adapter.objective == "causal" else 0
    order = sorted(range(len(sites)), key=lambda number: sites[number].enters)
    at_once = max(1, batch_tokens // (draws * tokens))
    columns: list[Tensor | None] = [None] * len(sites)
    for first in range(0, len(order), at_once):
        numbers = order[first : first + at_once]
        hidden = _run_sites(adapter, clean, corrupted, token, [sites[n] for n in numbers], gap, start)
        for number, column in zip(numbers, log_probabilities(adapter, hidden, targets).unbind(1), strict=True):
            columns[number] = column
    return torch.stack([column for column in columns if column is not None], dim=1)


def _run_sites(
    adapter: Adapter, clean: LayerRun, corrupted: LayerRun, token: int, sites: Sequence[PatchSite], gap: int, start: int
) -> Tensor:
    """Last hidden states at the blank (draws, sites, hidden); sites are in the order in which they enter."""
    tokens = corrupted.last.shape[1]
    positions = torch.arange(tokens, device=corrupted.last.device)
    mask = positions[start:, None] >= positions if adapter.objective == "causal" else None
    rows = corrupted.last.new_empty(len(corrupted.last), 0, tokens - start, corrupted.last.shape[-1])
    for layer in range(adapter.layers):
        new = [site for site in sites if site.enters == layer]
        if new:
            fresh = torch.stack([_entering_state(adapter, clean, corrupted, token, site) for site in new], dim=1)
            rows = torch.cat((rows, _with_token(corrupted.layers[layer].hidden, fresh, token, start)), dim=1)
        if rows.shape[1]:
            last = layer + 1 == adapter.layers
            rows = _layer(
                adapter, clean, corrupted, layer, rows, sites, token, start, positions, mask, gap if last else None
            )
    late = [site for site in sites if site.enters == adapter.layers]
    at_gap = rows[:, :, 0] if rows.shape[1] else rows.new_empty(len(rows), 0, rows.shape[-1])
    if not late:
        return at_gap
    fresh = torch.stack([_entering_state(adapter, clean, corrupted, token, site) for site in late], dim=1)
    untouched = corrupted.last[:, gap][:, None].expand_as(fresh)
    return torch.cat((at_gap, fresh if token == gap else untouched), dim=1)


def _entering_state(adapter: Adapter, clean: LayerRun, corrupted: LayerRun, token: int, site: PatchSite) -> Tensor:
    """The token's state (draws, hidden) as it leaves the layer below the one that the site enters."""
    below = site.enters - 1
    draws = len(corrupted.last)
    if site.kind not in ("mlp", "attention"):
        states = clean.layers[site.enters].hidden if site.enters < adapter.layers else clean.last
        return states[:, token].expand(draws, -1)
    ours, theirs = corrupted.layers[below], clean.layers[below]
    if site.kind == "mlp":
        return adapter.after_mlp(below, ours.state[:, token], theirs.mlp[:, token].expand(draws, -1))
    state = adapter.after_attention(below, ours.hidden[:, token], theirs.attention[:, token].expand(draws, -1))
    return adapter.after_mlp(below, state, adapter.mlp_output(below, adapter.neurons(below, state)))


def _with_token(hidden: Tensor, fresh: Tensor, token: int, start: int) -> Tensor:
    """Corrupted tokens from `start` on (draws, sites, tokens, hidden), with the patched token of each site."""
    rows = hidden[:, None, start:].repeat(1, fresh.shape[1], 1, 1)
    rows[:, :, token - start] = fresh
    return rows


def _layer(
    adapter: Adapter,
    clean: LayerRun,
    corrupted: LayerRun,
    layer: int,
    rows: Tensor,
    sites: Sequence[PatchSite],
    token: int,
    start: int,
    positions: Tensor,
    mask: Tensor | None,
    gap: int | None,
) -> Tensor:
    """Run one layer over rows (draws, sites, tokens, hidden). With `gap`, only that token is computed and returned."""
    queries, keys, values = adapter.project(layer, rows, positions[start:])
    if start:  # the tokens before are those of the corrupted run
        ours, count = corrupted.layers[layer], rows.shape[1]
        keys, values = (
            torch.cat((x[:, None, :start].expand(-1, count, -1, -1, -1), y), dim=2)
            for x, y in ((ours.keys, keys), (ours.values, values))
        )
    place = token - start
    if gap is not None:
        rows, queries = rows[:, :, gap - start][:, :, None], queries[:, :, gap - start][:, :, None]
        mask = None if mask is None else mask[gap - start][None]
        place = 0 if token == gap else -1  # other tokens are no longer needed
    attention = adapter.attention_output(layer, attend(queries, keys, values, adapter.scaling(layer), mask=mask))
    _patch_output(attention, sites, layer, "attention", clean, corrupted, token, place)
    state = adapter.after_attention(layer, rows, attention)
    mlp = adapter.mlp_output(layer, adapter.neurons(layer, state))
    _patch_output(mlp, sites, layer, "mlp", clean, corrupted, token, place)
    return adapter.after_mlp(layer, state, mlp)


def _patch_output(
    output: Tensor,
    sites: Sequence[PatchSite],
    layer: int,
    sublayer: str,
    clean: LayerRun,
    corrupted: LayerRun,
    token: int,
    place: int,
) -> None:
    """Set a sublayer's output at the token, in place, to its clean value (window) or its corrupted one (severed)."""
    if place < 0:
        return
    running = list(enumerate(sites[: output.shape[1]]))
    restored = [n for n, site in running if site.kind == sublayer and site.enters <= layer < site.last]
    severed = [n for n, site in running if site.kind == f"severed_{sublayer}" and site.enters <= layer]
    for numbers, run in ((restored, clean), (severed, corrupted)):
        if numbers:
            output[:, numbers, place] = getattr(run.layers[layer], sublayer)[:, token][:, None]
