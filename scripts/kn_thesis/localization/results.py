"""What attribution returns, and its file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file


@dataclass(frozen=True)
class Attribution:
    """Integrated gradients of the target's probability over the MLP neurons (DESIGN.md §4); all float32.

    scores (prompts, layers, width): Attr(l, i); for a target of several tokens, the mean over its tokens.
    residuals (prompts, layers): Σ_i Attr(l, i) − (P(w̄) − P(0)), what integration misses (completeness).
    probability (prompts,): P(w̄), the target's probability, untouched; for several tokens the mean over tokens.
    baseline (prompts, layers): P(0), the same with all of a layer's neurons at 0 at the gap.
    """

    scores: np.ndarray
    residuals: np.ndarray
    probability: np.ndarray
    baseline: np.ndarray

    def save(self, path: str | Path, prompt_ids: Sequence[str]) -> None:
        """Write to a safetensors file, whole or not at all; `prompt_ids` names the rows, in order."""
        from safetensors.numpy import save_file

        if len(prompt_ids) != len(self.scores):
            raise ValueError(f"{len(prompt_ids)} prompt ids for {len(self.scores)} rows of scores")
        names = np.frombuffer(json.dumps([str(name) for name in prompt_ids]).encode(), dtype=np.uint8)
        tensors = {field: np.ascontiguousarray(getattr(self, field), dtype=np.float32) for field in _FIELDS}
        with whole_file(path) as temporary:
            save_file(tensors | {"prompts": names}, temporary, metadata={"format": "kn-thesis attribution 1"})

    @staticmethod
    def load(path: str | Path) -> tuple[Attribution, list[str]]:
        """The attribution in a file written by `save`, and its prompt ids. Raises UserError for any other file."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(path)
            names = json.loads(tensors["prompts"].tobytes().decode())
            return Attribution(**{field: tensors[field] for field in _FIELDS}), names
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; attribute the prompts first") from None
        except (SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{path}: not a file of attributions ({error}); delete it and make it anew") from error


def load_shards(paths: Sequence[str | Path]) -> tuple[Attribution, list[str]]:
    """The attribution in the files of a task's shards, in their order, as if they were one. Raises UserError."""
    parts = [Attribution.load(path) for path in paths]
    if len(parts) == 1:
        return parts[0]
    fields = {name: np.concatenate([getattr(part, name) for part, _ in parts]) for name in _FIELDS}
    return Attribution(**fields), [prompt for _, names in parts for prompt in names]


_FIELDS = ("scores", "residuals", "probability", "baseline")
