"""Answers at a task's prompts before and after neurons are changed: what suppression leaves, and its file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file


class Said(NamedTuple):
    """Log-probabilities (nats) before (prompts, words), float64, and after (prompts, words, changes), float32.

    Words that cannot be asked are nan. correct_before (prompts,), correct_after (prompts, changes): does the target
    beat its foil.
    """

    before: np.ndarray
    after: np.ndarray
    correct_before: np.ndarray
    correct_after: np.ndarray


@dataclass(frozen=True)
class Answers:
    """Answers at some of a task's prompts.

    prompts: their names. sampled: bool (prompts,), those that random sets are tried on. labels: words to their groups;
    the last two stand for each prompt's own. sets: every set of neurons (set, kind, draw, neurons, members,
    refined_over, mean_activation), draw 0 for those selected, from 1 on for random ones in their place.
    selected: under each selected set that has a neuron, and each operation. random: of the sampled prompts, under each
    random set and operation. reasons: why a word cannot be asked, by the places of prompt and word.
    """

    prompts: list[str]
    sampled: np.ndarray
    labels: dict[str, str]
    operations: list[str]
    sets: pd.DataFrame
    selected: Said
    random: Said
    reasons: dict[tuple[int, int], str]

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, whole or not at all."""
        from safetensors.numpy import save_file

        about = {"prompts": self.prompts, "labels": self.labels, "operations": self.operations}
        about |= {"sets": self.sets.to_dict("list"), "reasons": [[*place, why] for place, why in self.reasons.items()]}
        tensors = {"sampled": self.sampled, "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
        for name, said in (("selected", self.selected), ("random", self.random)):
            tensors |= {f"{name}.{field}": np.ascontiguousarray(x) for field, x in said._asdict().items()}
        with whole_file(path) as temporary:
            save_file(tensors, temporary)

    @staticmethod
    def load(path: str | Path) -> Answers:
        """The answers in a file written by `save`. Raises UserError for any other file."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(path)
            about = json.loads(tensors["about"].tobytes().decode())
            sets = pd.DataFrame(about["sets"])
            reasons = {(prompt, word): why for prompt, word, why in about["reasons"]}
            said = [Said(*(tensors[f"{name}.{field}"] for field in Said._fields)) for name in ("selected", "random")]
            named = (about["prompts"], tensors["sampled"], about["labels"], about["operations"])
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; suppress the neurons first") from None
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path}: not a file of answers ({error}); delete it and make it anew") from error
        return Answers(*named, sets, *said, reasons)


def joined(parts: Sequence[Answers]) -> Answers:
    """All shards of a task as one."""
    starts = np.cumsum([0, *(len(part.prompts) for part in parts)])
    said = [
        Said(*(np.concatenate(arrays) for arrays in zip(*(getattr(part, name) for part in parts), strict=True)))
        for name in ("selected", "random")
    ]
    reasons = {
        (int(start) + prompt, word): why
        for start, part in zip(starts, parts, strict=False)
        for (prompt, word), why in part.reasons.items()
    }
    first = parts[0]
    return Answers(
        [name for part in parts for name in part.prompts],
        np.concatenate([part.sampled for part in parts]),
        *(first.labels, first.operations, first.sets),
        *said,
        reasons,
    )
