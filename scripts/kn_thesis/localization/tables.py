"""Result of attribution, its safetensors file, and the names of the measures of localization."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file

MEASURES = ("KN", "tau", "R2_1")  # columns of localization.csv: |KN|, τ, R²₁
_FIELDS = ("scores", "residuals", "probability", "baseline")


@dataclass(frozen=True)
class Attribution:
    """Integrated gradients of the target's probability over the MLP neurons; all float32.

    For a target of several tokens, every field is the mean over its tokens.

    Attributes:
        scores: Attr(l, i), (prompts, layers, width); see `attribution`.
        residuals: Integration error Σ_i Attr(l, i) − (P(w̄) − P(0)), (prompts, layers).
        probability: P(w̄), the target's probability in the unpatched run, (prompts,).
        baseline: P(0), the same with all neurons of one layer set to 0 at the mask position, (prompts, layers).
    """

    scores: np.ndarray
    residuals: np.ndarray
    probability: np.ndarray
    baseline: np.ndarray

    def save(self, path: str | Path, prompt_ids: Sequence[str]) -> None:
        """Write a safetensors file, completely or not at all; `prompt_ids` names the rows, in order."""
        from safetensors.numpy import save_file

        if len(prompt_ids) != len(self.scores):
            raise ValueError(f"{len(prompt_ids)} prompt ids for {len(self.scores)} rows of scores")
        names = np.frombuffer(json.dumps([str(name) for name in prompt_ids]).encode(), dtype=np.uint8)
        tensors = {field: np.ascontiguousarray(getattr(self, field), dtype=np.float32) for field in _FIELDS}
        with whole_file(path) as temporary:
            save_file(tensors | {"prompts": names}, temporary, metadata={"format": "kn-thesis attribution 1"})

    @staticmethod
    def load(path: str | Path) -> tuple[Attribution, list[str]]:
        """Read a file that `save` wrote.

        Returns:
            The attribution and its prompt ids.

        Raises:
            UserError: The file does not exist, or is not one of these.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(path)
            names = json.loads(tensors["prompts"].tobytes().decode())
            return Attribution(**{field: tensors[field] for field in _FIELDS}), names
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; attribute the prompts first") from None
        except (SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{path}: not an attribution file ({error}); delete it and make it again") from error


def load_shards(paths: Sequence[str | Path]) -> tuple[Attribution, list[str]]:
    """Read the files of a task's shards as one attribution, in their order; see `Attribution.load`."""
    parts = [Attribution.load(path) for path in paths]
    if len(parts) == 1:
        return parts[0]
    fields = {name: np.concatenate([getattr(part, name) for part, _ in parts]) for name in _FIELDS}
    return Attribution(**fields), [prompt for _, names in parts for prompt in names]
