"""The two runs that restored ones are made of: a prompt as it is, and with noise on its cue (Meng et al. 2022, §2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kn_thesis.corpora.rank import rank
from kn_thesis.models.adapter import Adapter, attend, precise


@dataclass(frozen=True)
class RunLayer:
    """One layer of a run of one prompt under several draws of noise (one row each; the clean run has one).

    hidden (draws, tokens, hidden) goes in; keys and values (draws, tokens, key heads, size) are its projections;
    attention and mlp (draws, tokens, hidden) are what the two sublayers add; state lies between them.
    """

    hidden: Tensor
    keys: Tensor
    values: Tensor
    attention: Tensor
    state: Tensor
    mlp: Tensor


@dataclass(frozen=True)
class Run:
    """All layers of a run, and the hidden states (draws, tokens, hidden) that leave the last one."""

    layers: list[RunLayer]
    last: Tensor


@torch.no_grad()
def run_layers(adapter: Adapter, input_ids: Tensor, noise: Tensor | None = None) -> Run:
    """A whole run over ids (tokens,); with `noise` (draws, tokens, hidden) one row for each draw."""
    tokens = len(input_ids)
    positions = torch.arange(tokens, device=input_ids.device)
    hidden = adapter.embed(input_ids[None].expand(1 if noise is None else len(noise), -1), noise)
    layers = []
    for layer in range(adapter.layers):
        queries, keys, values = adapter.project(layer, hidden, positions)
        context = attend(queries, keys, values, adapter.scaling(layer), causal=adapter.objective == "causal")
        attention = adapter.attention_output(layer, context)
        state = adapter.after_attention(layer, hidden, attention)
        mlp = adapter.mlp_output(layer, adapter.neurons(layer, state))
        layers.append(RunLayer(hidden, keys, values, attention, state, mlp))
        hidden = adapter.after_mlp(layer, state, mlp)
    return Run(layers, hidden)


def cue_noise(
    adapter: Adapter,
    tokens: int,
    cue: tuple[int, int],
    draws: int,
    sigmas: float,
    seed: int,
    name: str,
    deviation: float | None = None,
) -> Tensor:
    """Gaussian noise (draws, tokens, hidden) of `sigmas` standard deviations of the words' embeddings on cue tokens.

    cue: first token and one past the last. deviation: `standard_deviation` of the words' embeddings (None: it is worked
    out here, which takes a pass over the whole matrix). The noise depends on seed, the prompt's `name` and the cue's
    length, and on nothing else: other prompts, their order and the batch change nothing.
    """
    embeddings = adapter.word_embeddings()
    generator = torch.Generator().manual_seed(rank("noise", seed, name) % 2**63)
    first, last = cue
    drawn = torch.randn(draws, last - first, embeddings.shape[1], generator=generator, dtype=torch.float64)
    noise = torch.zeros(draws, tokens, embeddings.shape[1], device=embeddings.device, dtype=embeddings.dtype)
    scale = sigmas * (standard_deviation(embeddings) if deviation is None else deviation)
    noise[:, first:last] = (scale * drawn).to(noise)
    return noise


@torch.no_grad()
def standard_deviation(embeddings: Tensor) -> float:
    """Of all entries of a matrix (rows, width), in float64, some rows at a time: a copy may not fit beside a model."""
    parts = embeddings.split(max(1, 2**22 // embeddings.shape[1]))
    mean = sum(float(part.sum(dtype=torch.float64)) for part in parts) / embeddings.numel()
    squares = sum(float((part.double() - mean).square().sum()) for part in parts)
    return (squares / (embeddings.numel() - 1)) ** 0.5


@torch.no_grad()
def log_probabilities(adapter: Adapter, hidden: Tensor, tokens: Sequence[int]) -> Tensor:
    """Log-probabilities (…, tokens), nats, of some tokens from last hidden states (…, hidden); float32 at least."""
    logits = adapter.logits(hidden)
    logits = logits.to(precise(logits))
    return logits[..., list(tokens)] - logits.logsumexp(-1, keepdim=True)
