"""Tables of the chapter on tracing, by hand: every number follows from its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

KINDS = ("hidden", "mlp", "attention", "severed_mlp", "severed_attention")
ROLES = ("before", "cue last", "gap")
TASKS = {"relation": ("P36", "P101"), "paradigm": ("anaphor_number_agreement", "determiner_noun_agreement_1")}
MEASURES = {"relation": ("probability",), "paradigm": ("preference", "probability")}


def effect_of(restored: str, role: str, layer: int, layers: int) -> float:
    """MLPs do most at the cue in the first layer, attention at the gap in the last one; no two effects are alike."""
    depth = layer / max(layers - 1, 1)
    falling = {"cue last": 1 - depth, "gap": depth, "before": 0.0}[role]
    strength = {
        ("mlp", "cue last"): 0.6,
        ("mlp", "gap"): 0.1,
        ("attention", "cue last"): 0.05,
        ("attention", "gap"): 0.5,
    }
    return falling * strength.get((restored, role), 0.8) - 0.01


def roles_table(
    models: Sequence[str] = ("bert", "gpt2"),
    tasks: Mapping[str, Sequence[str]] = TASKS,
    layers: int = 4,
    kinds: Sequence[str] = KINDS,
) -> pd.DataFrame:
    """As averages.role_averages has it, with the columns model and family; "all" where there are two tasks or more."""
    rows = []
    for model in models:
        for kind, names in tasks.items():
            for measure in MEASURES[kind]:
                for task in (*names, *(["all"] if len(names) > 1 else [])):
                    for restored, role, layer in ((k, r, n) for k in kinds for r in ROLES for n in range(layers)):
                        effect = effect_of(restored, role, layer, layers) * (1 if task == "all" else 0.5)
                        row = {"model": model, "family": model, "kind": kind, "task": task, "measure": measure}
                        row |= {"restored": restored, "role": role, "layer": layer, "prompts": 8, "clusters": 8}
                        row |= {"upper": layer >= layers / 2}
                        rows.append(row | {"effect": effect, "low": effect - 0.02, "high": effect + 0.02})
    return pd.DataFrame(rows)


def examples_table(
    tokens: Sequence[str] = ("[CLS]", "Ġthe", "▁Ann", "##ika", "is", "[MASK]"),
    layers: int = 4,
    kinds: Sequence[str] = KINDS,
    tasks: Mapping[str, str] = {"P36": "relation", "anaphor_number_agreement": "paradigm"},
    models: Sequence[str] = ("bert",),
) -> pd.DataFrame:
    """One prompt for each model and task; the cue is the third and the fourth token."""
    rows = []
    for model in models:
        for task, kind in tasks.items():
            first = {"model": model, "family": model, "kind": kind, "task": task, "prompt": f"{task}/1"}
            last = {"measure": MEASURES[kind][0], "clean": 0.912, "corrupted": 0.134}
            for restored in kinds:
                for place, token in enumerate(tokens):
                    role = "cue last" if place == 3 else "gap" if place == len(tokens) - 1 else "before"
                    cue = place in (2, 3)
                    for layer in range(layers):
                        of = {"position": place, "token": token, "role": role, "restored": restored, "layer": layer}
                        of["effect"] = effect_of(restored, role, layer, layers)
                        rows.append(first | of | {"cue": cue} | last)
    return pd.DataFrame(rows)


def site_row(model: str, kind: str, task: str, **changes: Any) -> dict[str, Any]:
    """A task in which two sites can be told apart, in the columns of tracing.csv that are read; `changes` go last."""
    row: dict[str, Any] = {"model": model, "family": model, "kind": kind, "task": task, "measure": MEASURES[kind][0]}
    row |= {"headline": True, "prompts": 40, "right": 30, "with_cue": 30, "traced": 8, "apart": 8, "clusters": 8}
    row |= {"clean": 0.9, "corrupted": 0.2, "total_effect": 0.7}
    for name, value in (("early_contrast", 0.2), ("late_contrast", 0.1), ("early_share", 0.4), ("late_share", 0.6)):
        row |= {name: value, f"{name}_low": value - 0.05, f"{name}_high": value + 0.05}
    row |= {"p_early": 0.001, "p_late": 0.002, "p_sites": 0.002, "p_holm": 0.008, "two_sites": True, "note": ""}
    return row | changes


def untested(note: str, **changes: Any) -> dict[str, Any]:
    """What changes in the row of a task without a test."""
    nothing = {"p_early": np.nan, "p_late": np.nan, "p_sites": np.nan, "p_holm": np.nan, "two_sites": False}
    return nothing | {"note": note} | changes


def without_values(note: str) -> dict[str, Any]:
    """What changes in the row of a task without any prompt of which the sites are two tokens."""
    names = ("early_contrast", "late_contrast", "early_share", "late_share")
    values = {f"{name}{end}": np.nan for name in names for end in ("", "_low", "_high")}
    return untested(note, apart=0, clusters=0, **values)
