"""Small synthetic tables such as those that edits leave, of which the truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kn_thesis.editing.tables import COMPLETIONS, EDITED, EDITS, QUESTIONS, Editing
from kn_thesis.files import write_batch, write_task_tables
from kn_thesis.tracing.tables import Tracing
from tests.helpers.tracing_task_tables import tracing_of


def edit_row(edit: str, **changes: Any) -> dict[str, Any]:
    """An edit that was made; `changes` go last."""
    row = {"edit": edit, "cluster": f"fact {edit}", "subject": f"subject {edit}", "old": "old", "new": "new"}
    row |= {"text": f"{edit} is ___", "status": EDITED, "layers": "1", "steps": 20, "loss": 0.1}
    row |= {"update_norm": 1.0, "weight_norm": 4.0, "entropy_before": 6.0, "entropy_after": 5.0}
    return row | changes


def question_row(edit: str, criterion: str, holds: bool, number: int = 0, **changes: Any) -> dict[str, Any]:
    """A question that did not hold before; P(expected) goes from 0.1 to 0.8 where it does now, else to 0.2."""
    after = 0.8 if holds else 0.2
    row = {"edit": edit, "criterion": criterion, "question": f"{criterion} {number} of {edit} ___"}
    row |= {"expected": "new", "rival": "old", "near": False, "p_before": 0.1, "p_after": after}
    row |= {"rival_before": 0.6, "rival_after": 1 - after - 0.1, "tokens_before": 0.0, "tokens_after": float(holds)}
    row |= {"first_before": False, "first_after": holds, "rival_first_before": True, "rival_first_after": not holds}
    row |= {"says_before": "old", "says_after": "new" if holds else "old"}
    return row | {"holds_before": False, "holds_after": holds, "known": True} | changes


def editing_of(
    edits: Sequence[Mapping[str, Any]],
    questions: Sequence[Mapping[str, Any]],
    completions: Sequence[Mapping[str, Any]] = (),
) -> Editing:
    """The tables with these rows, typed as results.py says."""
    parts = ((edits, EDITS), (questions, QUESTIONS), (completions, COMPLETIONS))
    return Editing(*(pd.DataFrame(list(rows), columns=list(types)).astype(types) for rows, types in parts))


def world(
    edits: int,
    met: Mapping[str, float],
    *,
    questions: int = 3,
    seed: int = 0,
    prefix: str = "e",
    statuses: Mapping[int, str] | None = None,
    shown: Sequence[str] = (),
) -> Editing:
    """Edits e00, e01, … of a fact each, and `questions` for each criterion.

    met: the chance that an edit meets a criterion: all of its questions hold, or none. statuses: of edits by number,
    that were not made. shown: criteria of which the first question is continued.
    """
    random = np.random.default_rng(seed)
    rows, asked, continued = [], [], []
    for number in range(edits):
        name = f"{prefix}{number:02}"
        change = random.normal(0, 0.2)
        status = (statuses or {}).get(number, EDITED)
        rows.append(edit_row(name, entropy_after=5.0 + change, status=status))
        for criterion, chance in met.items():
            holds = bool(random.random() < chance)
            asked += [question_row(name, criterion, holds, place) for place in range(questions)]
            if criterion in shown:
                words = {"before": "old.", "after": "new." if holds else "old."}
                continued.append(
                    {"edit": name, "criterion": criterion, "question": asked[-questions]["question"]} | words
                )
    return editing_of(rows, asked, continued)


def sweep_of(
    p_after: np.ndarray, clusters: Sequence[str], *, held: np.ndarray | None = None, criterion: str = "reliability"
) -> pd.DataFrame:
    """A sweep over layers: P(new) after (edits, layers); held: where P(new) is above a half if None."""
    held = p_after > 0.5 if held is None else held
    number, layer = (index.ravel() for index in np.indices(p_after.shape))
    return pd.DataFrame(
        {
            "edit": [f"e{n:02}" for n in number],
            "cluster": np.asarray(list(clusters))[number],
            "layer": layer.astype(np.int64),
            "criterion": criterion,
            "held": held.ravel().astype(float),
            "p_before": 0.1,
            "p_after": p_after.ravel(),
        }
    )


def traces_of(mlp: np.ndarray, clusters: Sequence[str], hidden: np.ndarray | None = None) -> Tracing:
    """Traced prompts with these effects (prompts, layers) at the cue's last token; others elsewhere."""
    hidden = np.zeros_like(mlp) if hidden is None else hidden
    elsewhere = np.full_like(mlp, 7.0)  # attention, and the gap: nothing may look at them
    effects = [
        np.stack([np.stack([at, np.full_like(at, 9.0)]) for at in row])
        for row in zip(hidden, mlp, elsewhere, strict=True)
    ]
    part = [("cue last", "gap")] * len(mlp)
    return tracing_of(effects, part, clusters, kinds=("hidden", "mlp", "attention"), preferences=[-e for e in effects])


def write_editing(folder: Path, task: str, editing: Editing) -> None:
    names = ("edits", "questions", "completions")
    write_batch({task: editing}, {name: folder / f"{task}.{name}.parquet" for name in names})


def write_tracing(folder: Path, task: str, tracing: Tracing) -> None:
    write_batch({task: tracing}, {name: folder / f"{task}.{name}.parquet" for name in ("prompts", "effects")})


def write_sweep(folder: Path, task: str, sweep: pd.DataFrame) -> None:
    write_task_tables({task: sweep}, folder / "layers" / f"{task}.parquet")
