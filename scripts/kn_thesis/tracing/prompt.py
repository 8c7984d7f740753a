"""One prompt, traced: clean, corrupted, and restored at every token and layer (Meng et al. 2022, §2).

Words of several tokens are asked token by token, those before it filled in, and scored by the product. Restored are the
prompt's own tokens. In a causal model no restored token before the cue changes anything: the corrupted run has it as it
was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from kn_thesis.corpora.gaps import Encoded, steps
from kn_thesis.errors import UserError
from kn_thesis.models.finite import not_finite
from kn_thesis.models.length import too_long
from kn_thesis.models.memory import Room, worked
from kn_thesis.tracing.restore import KINDS, cells_of, restored_log_probabilities, scaled_window
from kn_thesis.tracing.runs import cue_noise, log_probabilities, run_layers

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Settings:
    """How prompts are corrupted and restored.

    noise: standard deviations of the word embeddings. draws: of the noise. window: layers of a window over the layers
    of the model it was stated for. kinds: of restore.KINDS. batch_tokens: most rows × tokens in memory at once.
    """

    noise: float = 3.0
    draws: int = 10
    window: float = 10 / 48
    kinds: tuple[str, ...] = KINDS
    batch_tokens: int = 4096
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise UserError for settings under which nothing is traced."""
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise UserError(f"unknown kind {unknown[0] if unknown else ''!r}: choose of {', '.join(KINDS)}")
        if self.draws < 1 or self.noise <= 0:
            raise UserError("noise and draws are above 0: nothing would be corrupted")


@dataclass(frozen=True)
class Probabilities:
    """Probabilities of one or two words in a prompt's runs, float64; the first word is the target, the second its foil.

    clean (words,), corrupted (draws, words), restored (kinds, tokens, layers, draws, words).
    """

    clean: np.ndarray
    corrupted: np.ndarray
    restored: np.ndarray

    def effects(self) -> tuple[float, float, np.ndarray]:
        """P(target) clean and corrupted (mean over draws), and the indirect effects (kinds, tokens, layers)."""
        return _effects(self.clean[0], self.corrupted[:, 0], self.restored[..., 0])

    def preference_effects(self) -> tuple[float, float, np.ndarray]:
        """The same of the target's share P(target) / (P(target) + P(foil)): what is left of it is agreement alone."""
        return _effects(*(array[..., 0] / array.sum(-1) for array in (self.clean, self.corrupted, self.restored)))


def _effects(clean: float, corrupted: np.ndarray, restored: np.ndarray) -> tuple[float, float, np.ndarray]:
    return float(clean), float(corrupted.mean()), (restored - corrupted).mean(axis=-1)


def room_of(model: Model, settings: Settings) -> Room:
    """What may be in memory at once; prompts that are traced one after the other share it."""
    return Room(model, "tracing", settings.batch_tokens)


def trace_prompt(
    model: Model,
    words: Sequence[Encoded],
    cue: tuple[int, int],
    name: str,
    settings: Settings,
    room: Room | None = None,
    deviation: float | None = None,
) -> Probabilities:
    """Trace one prompt; `words` are its target and, where there is one, its foil, in the same place.

    cue: first token that is corrupted and one past the last. The noise depends on `name`, the seed and the cue's length
    alone. room: None: one of its own. deviation: see `cue_noise`. Raises UserError for a prompt that is longer than the
    model can read, does not fit in memory, or has no finite answer.
    """
    adapter, room = model.adapter, room or room_of(model, settings)
    tokens = len(words[0].input_ids)
    asked: dict[tuple[tuple[int, ...], int], list[tuple[int, int]]] = {}
    for number, word in enumerate(words):
        for step in steps(word, adapter.objective):
            asked.setdefault((step.input_ids, step.gap), []).append((number, step.token))
    if too_long(model, words):
        needed = max(len(ids) for ids, _ in asked)
        raise UserError(f"a prompt of {needed} tokens is longer than the model's {model.positions}; leave it out")
    total = [np.zeros(1)] * 3
    for (ids, gap), wanted in asked.items():
        asked_tokens = [token for _, token in wanted]
        found = _trace(model, ids, gap, asked_tokens, cue, tokens, name, settings, room, deviation)
        share = np.zeros((len(wanted), len(words)))
        share[range(len(wanted)), [number for number, _ in wanted]] = 1  # a word is the sum of its tokens
        total = [sum_ + part @ share for sum_, part in zip(total, found, strict=True)]
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
    room: Room,
    deviation: float | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities of tokens at one gap: as the arrays of `Probabilities`."""
    adapter, layers = model.adapter, model.adapter.layers
    noise = cue_noise(adapter, len(ids), cue, settings.draws, settings.noise, settings.seed, name, deviation)
    input_ids = torch.tensor(ids, device=model.device)
    window = scaled_window(layers, settings.window)
    cells = [cell for kind in settings.kinds for cell in cells_of(kind, layers, window)]

    def size(draws: Sequence[int], most: int) -> int:
        rows = len(draws) * len(ids)
        return rows * (1 + min(len(cells), max(1, most // rows)))

    def under(draws: Sequence[int], most: int) -> list[np.ndarray]:
        """Clean, corrupted and restored (tokens, draws, cells, targets) under some draws of the noise."""
        clean, corrupted = run_layers(adapter, input_ids), run_layers(adapter, input_ids, noise[list(draws)])
        before = log_probabilities(adapter, clean.last[0, gap], targets)
        after = log_probabilities(adapter, corrupted.last[:, gap], targets)
        restored = after[:, None].expand(-1, len(cells), -1).repeat(tokens, 1, 1, 1)
        for token in range(cue[0] if adapter.objective == "causal" else 0, tokens):
            restored[token] = restored_log_probabilities(adapter, clean, corrupted, token, cells, gap, targets, most)
        return [x.double().cpu().numpy() for x in (before, after, restored)]

    found = [result for _, result in worked([range(settings.draws)], under, room, size)]
    if not all(np.isfinite(x).all() for result in found for x in result):
        raise not_finite(model, ids, f"tracing {name!r}")
    before, (after, restored) = found[0][0], (np.concatenate([x[n] for x in found], axis=n - 1) for n in (1, 2))
    shape = (tokens, settings.draws, len(settings.kinds), layers, len(targets))
    return before, after, restored.reshape(shape).transpose(2, 0, 3, 1, 4)
