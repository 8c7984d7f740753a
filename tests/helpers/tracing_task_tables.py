"""Small hand-made tables such as those that tracing leaves, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kn_thesis.tracing.patching import KINDS
from kn_thesis.tracing.tables import ROLES, TRACED
from kn_thesis.tracing.task import EFFECT_TYPES, EFFECTS, NUMBERS, Tracing

Status = Mapping[str, int]


def tracing_of(
    effects: Sequence[np.ndarray],
    part: Sequence[Sequence[str]],
    clusters: Sequence[str],
    *,
    kinds: Sequence[str] = ("mlp", "attention"),
    preferences: Sequence[np.ndarray] | None = None,
    total: Sequence[tuple[float, float]] | None = None,
    others: Status | None = None,
) -> Tracing:
    """Prompts p0, p1, … traced, with effects (kinds, tokens, layers) and the roles of their tokens.

    preferences: the same of preferences, nan if None. total: clean and corrupted of each prompt (and, where there are
    preferences, half of each for them), 0.9 and 0.1 if None. others: how many prompts have which other status.
    """
    prompts, frames = [], []
    for number, (array, roles, cluster) in enumerate(zip(effects, part, clusters, strict=True)):
        clean, corrupted = total[number] if total else (0.9, 0.1)
        halves = (clean / 2, corrupted / 2) if preferences is not None else (np.nan, np.nan)
        cue = [n for n, role in enumerate(roles) if role.startswith("cue")]
        gap = roles.index("gap") if "gap" in roles else cue[-1]
        row = {"prompt": f"p{number}", "cluster": cluster, "status": TRACED, "tokens": len(roles), "gap": gap}
        row |= {"cue_first": cue[0], "cue_last": cue[-1], "distractor_first": -1, "distractor_last": -1}
        row |= {"shared_site": cue[-1] == gap, "clean": clean, "corrupted": corrupted}
        prompts.append(row | {"clean_preference": halves[0], "corrupted_preference": halves[1]})
        shape = array.shape
        kind, position, layer = (index.ravel() for index in np.indices(shape))
        frames.append(
            pd.DataFrame(
                {
                    "prompt": f"p{number}",
                    "position": position,
                    "token": [f"t{n}" for n in position],
                    "role": np.asarray(roles)[position],
                    "restored": np.asarray(kinds)[kind],
                    "layer": layer,
                    "effect": array.ravel(),
                    "preference_effect": np.nan if preferences is None else preferences[number].ravel(),
                }
            )
        )
    for status, count in (others or {}).items():
        prompts += [{"prompt": f"{status} {n}", "cluster": f"{status} {n}", "status": status} for n in range(count)]
    table = pd.DataFrame(prompts, columns=["prompt", "cluster", "status", *NUMBERS]).astype(NUMBERS)
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=EFFECTS)
    categories = {"role": ROLES, "restored": [kind for kind in KINDS if kind in kinds]}
    for name, values in categories.items():
        rows[name] = pd.Categorical(rows[name], list(values))
    return Tracing(table, rows.astype(EFFECT_TYPES))
