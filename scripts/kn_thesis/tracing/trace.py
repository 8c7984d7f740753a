"""Trace one prompt: run it clean, corrupted, and patched at every token and layer (Meng et al. 2022, §2).

Words of several tokens are asked token by token, each after the word's earlier tokens, and scored by the product. Only
the prompt's own tokens are patched. In a causal model, patching a token before the cue changes nothing, so the result
there is the corrupted run's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from kn_thesis.errors import UserError
from kn_thesis.models.cloze import Encoded, steps, too_long
from kn_thesis.models.forward import log_probabilities, run_layers
from kn_thesis.models.memory import MemoryBudget, run_batches
from kn_thesis.models.self_check import not_finite
from kn_thesis.tracing.corruption import cue_noise
from kn_thesis.tracing.patching import KINDS, patch_sites, patched_log_probabilities, scaled_window

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Settings:
    """How prompts are corrupted and patched.

    Attributes:
        noise: Scale of the noise, in standard deviations of the word embeddings.
        draws: Number of noise samples.
        window: Width of the window, as a share of the model's layers.
        kinds: What is restored; see `patching.KINDS`.
        batch_tokens: Maximum rows × tokens in memory at once.
        seed: Seed of the noise.

    Raises:
        UserError: Nothing would be traced under these settings.
    """

    noise: float = 3.0
    draws: int = 10
    window: float = 10 / 48
    kinds: tuple[str, ...] = KINDS
    batch_tokens: int = 4096
    seed: int = 1

    def __post_init__(self) -> None:
        """Check the settings."""
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise UserError(f"unknown kind {unknown[0] if unknown else ''!r}: choose one of {', '.join(KINDS)}")
        if self.draws < 1 or self.noise <= 0:
            raise UserError("noise and draws must be above 0: nothing would be corrupted otherwise")


@dataclass(frozen=True)
class Probabilities:
    """Probabilities of the target, and of its foil if there is one, in all runs of a prompt; float64.

    Attributes:
        clean: (words,).
        corrupted: (draws, words).
        restored: (kinds, tokens, layers, draws, words).
    """

    clean: np.ndarray
    corrupted: np.ndarray
    restored: np.ndarray

    def effects(self) -> tuple[float, float, np.ndarray]:
        """Compute indirect effects on P(target).

        Returns:
            P(target) in the clean run and in the corrupted ones (mean over noise samples), and the indirect effects
            (kinds, tokens, layers): restored minus corrupted, mean over noise samples.
        """
        return _effects(self.clean[0], self.corrupted[:, 0], self.restored[..., 0])

    def preference_effects(self) -> tuple[float, float, np.ndarray]:
        """Compute the same for the target's share P(target) / (P(target) + P(foil)), which isolates agreement."""
        return _effects(*(array[..., 0] / array.sum(-1) for array in (self.clean, self.corrupted, self.restored)))


def _effects(clean: float, corrupted: np.ndarray, restored: np.ndarray) -> tuple[float, float, np.ndarray]:
    return float(clean), float(corrupted.mean()), (restored - corrupted).mean(axis=-1)


def memory_budget_of(model: Model, settings: Settings) -> MemoryBudget:
    """Make the memory budget that prompts share when they are traced one after the other."""
    return MemoryBudget(model, "tracing", settings.batch_tokens)


def trace_prompt(
    model: Model,
    words: Sequence[Encoded],
    cue: tuple[int, int],
    name: str,
    settings: Settings,
    budget: MemoryBudget | None = None,
    deviation: float | None = None,
) -> Probabilities:
    """Trace one prompt.

    Args:
        model: The model.
        words: The target and, if there is one, its foil, at the same blank.
        cue: First corrupted token and one past the last.
        name: Name of the prompt. The noise depends only on the name, the seed and the cue's length.
        settings: How the prompt is corrupted and patched.
        budget: Memory budget; None makes a new one.
        deviation: See `cue_noise`.

    Returns:
        Probabilities of the words in all runs.

    Raises:
        UserError: The prompt is longer than the model can read, does not fit in memory, or has no finite answer.
    """
    adapter, budget = model.adapter, budget or memory_budget_of(model, settings)
    tokens = len(words[0].input_ids)
    targets: dict[tuple[tuple[int, ...], int], list[tuple[int, int]]] = {}
    for number, word in enumerate(words):
        for step in steps(word, adapter.objective):
            targets.setdefault((step.input_ids, step.gap), []).append((number, step.token))
    if too_long(model, words):
        needed = max(len(ids) for ids, _ in targets)
        raise UserError(f"a prompt of {needed} tokens is longer than the model's {model.positions}; leave it out")
    total = [np.zeros(1)] * 3
    for (ids, gap), pairs in targets.items():
        ids_of_targets = [token for _, token in pairs]
        parts = _trace(model, ids, gap, ids_of_targets, cue, tokens, name, settings, budget, deviation)
        share = np.zeros((len(pairs), len(words)))
        share[range(len(pairs)), [number for number, _ in pairs]] = 1  # a word is the sum of its tokens
        total = [sum_ + part @ share for sum_, part in zip(total, parts, strict=True)]
    return Probabilities(*map(np.exp, total))


def _trace(
    model: Model,
    ids: tuple[int, ...],
    gap: int,
    targets: Sequence[int],
    cue: tuple[int, int],
    tokens: int,
    name: str,
    settings: Settings,
    budget: MemoryBudget,
    deviation: float | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities of tokens at one blank, as the arrays of `Probabilities`."""
    adapter, layers = model.adapter, model.adapter.layers
    noise = cue_noise(adapter, len(ids), cue, settings.draws, settings.noise, settings.seed, name, deviation)
    input_ids = torch.tensor(ids, device=model.device)
    window = scaled_window(layers, settings.window)
    sites = [site for kind in settings.kinds for site in patch_sites(kind, layers, window)]

    def size(draws: Sequence[int], batch_tokens: int) -> int:
        rows = len(draws) * len(ids)
        return rows * (1 + min(len(sites), max(1, batch_tokens // rows)))

    def run(draws: Sequence[int], batch_tokens: int) -> list[np.ndarray]:
        """Clean, corrupted and restored (tokens, draws, sites, targets) under some noise samples."""
        clean, corrupted = run_layers(adapter, input_ids), run_layers(adapter, input_ids, noise[list(draws)])
        before = log_probabilities(adapter, clean.last[0, gap], targets)
        after = log_probabilities(adapter, corrupted.last[:, gap], targets)
        restored = after[:, None].expand(-1, len(sites), -1).repeat(tokens, 1, 1, 1)
        for token in range(cue[0] if adapter.objective == "causal" else 0, tokens):
            restored[token] = patched_log_probabilities(
                adapter, clean, corrupted, token, sites, gap, targets, batch_tokens
            )
        return [x.double().cpu().numpy() for x in (before, after, restored)]

    results = [result for _, result in run_batches([range(settings.draws)], run, budget, size)]
    if not all(np.isfinite(x).all() for result in results for x in result):
        raise not_finite(model, ids, f"tracing {name!r}")
    before, (after, restored) = results[0][0], (np.concatenate([x[n] for x in results], axis=n - 1) for n in (1, 2))
    shape = (tokens, settings.draws, len(settings.kinds), layers, len(targets))
    return before, after, restored.reshape(shape).transpose(2, 0, 3, 1, 4)
