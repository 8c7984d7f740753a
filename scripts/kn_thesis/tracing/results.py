"""What causal tracing of a task leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kn_thesis.tracing.names import TRACED


@dataclass(frozen=True)
class Tracing:
    """The tables of one model and task.

    prompts: one row per prompt asked: prompt, cluster (a fact, or the noun that a pair is about), status (TRACED or why
        not), and for traced ones tokens, gap, cue_first, cue_last, distractor_first, distractor_last (positions, -1:
        none), shared_site, clean, corrupted (P(target), the latter the mean over draws), and clean_preference,
        corrupted_preference (P(target) / (P(target) + P(foil)), nan for facts).
    effects: one row per traced prompt, position, layer and restored kind: prompt, position, token, role, restored,
        layer, effect (P restored − P corrupted), preference_effect (the same of the preference, nan for facts).
    """

    prompts: pd.DataFrame
    effects: pd.DataFrame


def read_tracing(folder: str | Path, task: str) -> Tracing:
    """The tables of one model and task from the files {task}.prompts.parquet and {task}.effects.parquet."""
    return Tracing(*(pd.read_parquet(Path(folder) / f"{task}.{name}.parquet") for name in ("prompts", "effects")))


def gathered(parts: Sequence[Tracing]) -> Tracing:
    """The shards of a task as one: each has every prompt, and has traced some of them."""
    prompts = parts[0].prompts.copy()
    for part in parts[1:]:
        traced = part.prompts["status"] == TRACED
        prompts.loc[traced] = part.prompts.loc[traced]
    return Tracing(prompts, pd.concat([part.effects for part in parts], ignore_index=True))
