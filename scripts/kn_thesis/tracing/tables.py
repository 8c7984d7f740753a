"""Tables of causal tracing of one model and task: statuses, measures, token roles, and the parquet files.

The roles are those of Meng et al. (2022, figure 1), with one more for distractors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from kn_thesis.files import read_task_tables

# The status of a prompt: traced, or why not.
TRACED = "traced"
WRONG = "the model does not answer right"
NO_CUE = "nothing is known of its cue"
NO_TOKEN = "the cue has no token of its own"
NOT_SAMPLED = "more than the study asks"
TOO_LONG = "longer than the model's positions"
# Roles of tokens, in the order in which they are drawn. "gap" is the blank: a causal model's last token, a masked
# model's first mask.
ROLES = ("before", "cue first", "cue middle", "cue last", "first after", "distractor", "further", "gap")
SITES = {"early": "cue last", "late": "gap"}  # the roles of the tokens at which the two sites are looked for


class Columns(NamedTuple):
    """The columns of `Tracing` that hold a measure: its indirect effect, and its value in clean and corrupted runs."""

    effect: str
    clean: str
    corrupted: str


# "preference" is P(target) / (P(target) + P(foil)), which ignores other words that might fill the blank.
MEASURES = {
    "probability": Columns("effect", "clean", "corrupted"),
    "preference": Columns("preference_effect", "clean_preference", "corrupted_preference"),
}


@dataclass(frozen=True)
class Tracing:
    """The tables of one model and task.

    Attributes:
        prompts: One row per prompt: prompt, cluster (a fact, or the noun of a pair) and status (`TRACED`, or why not).
            For traced prompts also tokens, gap, cue_first, cue_last, distractor_first, distractor_last (positions; -1
            if there is none), shared_site, clean and corrupted (P(target), the latter the mean over noise samples),
            clean_preference and corrupted_preference (P(target) / (P(target) + P(foil)); nan for facts).
        effects: One row per traced prompt, position, layer and restored kind: prompt, position, token, role, restored,
            layer, effect (P restored − P corrupted) and preference_effect (the same for the preference; nan for facts).
    """

    prompts: pd.DataFrame
    effects: pd.DataFrame


def measures_of(kind: str) -> list[str]:
    """Return the measures of a kind of task ("relation" or "paradigm"); the first is the one that is reported."""
    return ["preference", "probability"] if kind == "paradigm" else ["probability"]


def read_tracings(
    prompts: Sequence[str | Path], effects: Sequence[str | Path], tasks: Sequence[str] | None = None
) -> dict[str, Tracing]:
    """Read one model's tables by task.

    Args:
        prompts: The files of `Tracing.prompts`, one for each batch of tasks or shard of a task.
        effects: The files of `Tracing.effects`, in the same order.
        tasks: Tasks to read; None: all.
    """
    parts: dict[str, list[Tracing]] = {}
    for paths in zip(prompts, effects, strict=True):
        for (task, about), (_, table) in zip(*(read_task_tables(path, tasks) for path in paths), strict=True):
            parts.setdefault(task, []).append(Tracing(about, table))
    return {task: concat_tracing(shards) for task, shards in parts.items()}


def concat_tracing(parts: Sequence[Tracing]) -> Tracing:
    """Join the shards of a task. Each lists every prompt and has traced some of them."""
    if len(parts) == 1:
        return parts[0]
    prompts = parts[0].prompts.copy()
    for part in parts[1:]:
        traced = part.prompts["status"] == TRACED
        prompts.loc[traced] = part.prompts.loc[traced]
    return Tracing(prompts, pd.concat([part.effects for part in parts], ignore_index=True))


def roles(tokens: int, cue: tuple[int, int], gap: int, distractor: tuple[int, int] | None = None) -> list[str]:
    """Determine the role of each token of a prompt.

    The only token of a one-token cue is its last. A token with two roles gets the more important one: the cue comes
    before the blank, and the blank before the distractor. What follows the cue is "first after", then "further", on
    either side of the blank.

    Args:
        tokens: Number of tokens.
        cue: First token of the cue and one past the last.
        gap: Position of the blank.
        distractor: Span of the distractor, if there is one.

    Returns:
        A role (of `ROLES`) per token.
    """
    result = ["before" if token < cue[0] else "further" for token in range(tokens)]
    if cue[1] < tokens:
        result[cue[1]] = "first after"
    for token in range(*(distractor or (0, 0))):
        result[token] = "distractor"
    result[gap] = "gap"
    for token in range(*cue):
        result[token] = "cue last" if token == cue[1] - 1 else "cue first" if token == cue[0] else "cue middle"
    return result


def shared_site(cue: tuple[int, int], gap: int) -> bool:
    """Return whether the cue's last token is also the blank, so that early and late site are one token."""
    return cue[1] - 1 == gap
