"""Result of attribution, its safetensors file, and the names of the measures of localization."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
        _write(path, _tensors(self, prompt_ids))

    @staticmethod
    def load(path: str | Path, task: str | None = None) -> tuple[Attribution, list[str]]:
        """Read a file that `save` or `save_attributions` wrote.

        Args:
            path: The file.
            task: The task to read from a file of `save_attributions`; None for a file of `save`.

        Returns:
            The attribution and its prompt ids.

        Raises:
            UserError: The file does not exist, is not one of these, or does not have the task.
        """
        from safetensors import SafetensorError, safe_open

        start = f"{task}/" if task else ""
        try:
            with safe_open(path, "np") as file:
                names = json.loads(file.get_tensor(f"{start}prompts").tobytes().decode())
                return Attribution(**{field: file.get_tensor(start + field) for field in _FIELDS}), names
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; attribute the prompts first") from None
        except (SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{path}: not an attribution file ({error}); delete it and make it again") from error


def save_attributions(path: str | Path, attributions: Mapping[str, tuple[Attribution, Sequence[str]]]) -> None:
    """Write the attributions of several tasks, each with its prompt ids, to one file; see `Attribution.save`."""
    parts = [_tensors(*part, start=f"{task}/") for task, part in attributions.items()]
    _write(path, {name: tensor for part in parts for name, tensor in part.items()})


def _tensors(attribution: Attribution, prompt_ids: Sequence[str], start: str = "") -> dict[str, np.ndarray]:
    if len(prompt_ids) != len(attribution.scores):
        raise ValueError(f"{len(prompt_ids)} prompt ids for {len(attribution.scores)} rows of scores")
    names = np.frombuffer(json.dumps([str(name) for name in prompt_ids]).encode(), dtype=np.uint8)
    fields = {field: np.ascontiguousarray(getattr(attribution, field), dtype=np.float32) for field in _FIELDS}
    return {start + name: tensor for name, tensor in (fields | {"prompts": names}).items()}


def _write(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    with whole_file(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"format": "kn-thesis attribution 1"})


def load_shards(paths: Sequence[str | Path], task: str) -> tuple[Attribution, list[str]]:
    """Read a task from the files of its shards, in their order, as one attribution; see `Attribution.load`."""
    parts = [Attribution.load(path, task) for path in paths]
    if len(parts) == 1:
        return parts[0]
    fields = {name: np.concatenate([getattr(part, name) for part, _ in parts]) for name in _FIELDS}
    return Attribution(**fields), [prompt for _, names in parts for prompt in names]
