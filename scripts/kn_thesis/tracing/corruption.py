"""Corrupt a prompt's cue: Gaussian noise on the embeddings of its tokens, in standard deviations of the embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from kn_thesis.corpora.sampling import hash_rank
from kn_thesis.models.adapter import Adapter


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
    """Draw noise for the cue's tokens; it is 0 at all other tokens.

    The noise depends only on the seed, the prompt's name and the cue's length, so that other prompts, their order and
    the batch change nothing.

    Args:
        adapter: The model's adapter.
        tokens: Number of tokens of the prompt.
        cue: First token of the cue and one past the last.
        draws: Number of noise samples.
        sigmas: Scale of the noise, in standard deviations of the word embeddings.
        seed: Seed of the noise.
        name: Name of the prompt.
        deviation: `standard_deviation` of the word embeddings. None computes it here, which takes a pass over the whole
            matrix.

    Returns:
        Noise (draws, tokens, hidden), with the dtype and on the device of the embeddings.
    """
    embeddings = adapter.word_embeddings()
    generator = torch.Generator().manual_seed(hash_rank("noise", seed, name) % 2**63)
    first, last = cue
    samples = torch.randn(draws, last - first, embeddings.shape[1], generator=generator, dtype=torch.float64)
    noise = torch.zeros(draws, tokens, embeddings.shape[1], device=embeddings.device, dtype=embeddings.dtype)
    scale = sigmas * (standard_deviation(embeddings) if deviation is None else deviation)
    noise[:, first:last] = (scale * samples).to(noise)
    return noise


@torch.no_grad()
def standard_deviation(embeddings: Tensor) -> float:
    """Compute the standard deviation of all entries of a matrix (rows, width), in float64.

    It takes some rows at a time, because a float64 copy may not fit beside a model.
    """
    parts = embeddings.split(max(1, 2**22 // embeddings.shape[1]))
    mean = sum(float(part.sum(dtype=torch.float64)) for part in parts) / embeddings.numel()
    squares = sum(float((part.double() - mean).square().sum()) for part in parts)
    return (squares / (embeddings.numel() - 1)) ** 0.5
