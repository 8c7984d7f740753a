"""Tables of the chapter on editing, by hand: every number follows from its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

EDITORS = ("rome", "knowledge_neuron", "fine_tuning")
# What most edits of ROME do on the poster: (share before, share after).
ROME = {
    "reliability": (0.0, 0.97),
    "generality": (0.02, 0.9),
    "locality": (0.93, 0.85),
    "symmetry_new": (0.0, 0.03),
    "symmetry_old": (0.2, 0.24),
    "synonymy": (0.05, 0.1),
    "other_verb": (0.1, 0.2),
    "other_distractor": (0.1, 0.8),
    "other_subject": (0.1, 0.15),
    "other_both": (0.1, 0.12),
}
CRITERIA = {
    "relation": ("reliability", "generality", "locality", "symmetry_new", "symmetry_old", "synonymy"),
    "paradigm": ("reliability", "other_verb", "other_distractor", "other_subject", "other_both"),
}
TASKS = {"relation": ("P36", "P101"), "paradigm": ("distractor_agreement_relational_noun",)}
SWEPT = ("reliability", "generality", "locality", "symmetry_new")


def criterion_row(model: str, criterion: str, share: float = 0.9, **changes: Any) -> dict[str, Any]:
    """One row of editing.csv: ROME's, relations taken together, interval ± 0.05; `changes` go last."""
    row: dict[str, Any] = {"model": model, "family": "gpt2", "editor": "rome", "kind": "relation", "task": "all"}
    row |= {"criterion": criterion, "edits": 40, "failed": 2, "questions": 80, "share_before": 0.0}
    row |= {"share": share, "low": max(share - 0.05, 0), "high": min(share + 0.05, 1), "known_edits": 30}
    row |= {"share_known": share, "known_low": max(share - 0.05, 0), "known_high": min(share + 0.05, 1)}
    row |= {"p_before": 0.01, "p_after": 0.8, "p_change": 0.79, "p_low": 0.7, "p_high": 0.85, "tokens_before": 0.1}
    row |= {"tokens_after": 0.9, "preferred": 0.95, "published": "", "source": ""}
    return row | changes


def editing_table(
    models: Sequence[str] = ("gpt2", "llama"),
    editors: Sequence[str] = EDITORS,
    tasks: Mapping[str, Sequence[str]] = TASKS,
) -> pd.DataFrame:
    """editing.csv: ROME does as on the poster, each further editor 0.2 less."""
    rows = []
    for model in models:
        for number, editor in enumerate(editors):
            for kind, names in tasks.items():
                for task in (*names, "all"):
                    for criterion in CRITERIA[kind]:
                        before, after = ROME[criterion]
                        share = max(after - 0.2 * number, 0.0)
                        of = {"editor": editor, "kind": kind, "task": task, "share_before": before}
                        rows.append(criterion_row(model, criterion, share, **of))
    return pd.DataFrame(rows)


def comparison_row(model: str, second: str, **changes: Any) -> dict[str, Any]:
    """One row of editing_tests.csv in which reliability and another criterion differ."""
    row: dict[str, Any] = {"model": model, "family": "gpt2", "editor": "rome", "kind": "relation"}
    row |= {"first": "reliability", "second": second, "edits": 40, "both": 5, "first_only": 33, "second_only": 1}
    return row | {"neither": 1, "p": 1e-8, "p_holm": 4e-8, "differs": True} | changes


def skipped_table() -> pd.DataFrame:
    """editing_skipped.csv of two editors."""
    rows = [
        ("gpt2", "gpt2", "fine_tuning", "relation", "P36", "edited", 30),
        ("gpt2", "gpt2", "rome", "relation", "P36", "the optimisation diverged", 2),
        ("gpt2", "gpt2", "rome", "relation", "P36", "edited", 28),
        ("gpt2", "gpt2", "rome", "relation", "P101", "the model does not know it", 1005),
        ("gpt2", "gpt2", "rome", "relation", "P101", "edited", 12),
        ("bert", "bert", "knowledge_neuron", "relation", "P36", "no knowledge neuron was found", 4),
    ]
    return pd.DataFrame(rows, columns=["model", "family", "editor", "kind", "task", "status", "edits"])


def fluency_row(model: str, editor: str, **changes: Any) -> dict[str, Any]:
    """One row of editing_fluency.csv."""
    row: dict[str, Any] = {"model": model, "family": "gpt2", "editor": editor, "kind": "relation", "task": "all"}
    row |= {"edits": 40, "entropy_before": 6.5, "entropy_after": 6.25, "change": -0.25, "low": -0.4, "high": -0.1}
    return row | {"p": 0.012, "update_share": 0.034} | changes


def layers_table(
    models: Sequence[str] = ("gpt2", "llama"), layers: int = 4, criteria: Sequence[str] = SWEPT
) -> pd.DataFrame:
    """editing_layers.csv: edits are best in layer 1; MLP effects peak in layer 0, hidden states' in the last."""
    rows = []
    for model in models:
        for task in ("P36", "all"):
            for layer in range(layers):
                trace = {"trace_mlp": 0.6 - 0.1 * layer, "trace_hidden": 0.2 + 0.7 * layer / layers}
                for criterion in criteria:
                    held = max(ROME[criterion][1] - 0.05 * abs(layer - 1), 0.01)
                    row = {"model": model, "family": model, "kind": "relation", "task": task, "layer": layer}
                    row |= {"criterion": criterion, "edits": 40, "held": held, "low": held - 0.04, "high": held + 0.03}
                    rows.append(row | {"p_after": held - 0.1} | trace)
    return pd.DataFrame(rows)


def localization_row(model: str, task: str, **changes: Any) -> dict[str, Any]:
    """One row of editing_localization.csv: the MLPs' peak is not the best layer, the hidden states' is."""
    row: dict[str, Any] = {"model": model, "family": "gpt2", "kind": "relation", "task": task, "best_layer": 1}
    row |= {"peak_mlp": 0, "peak_hidden": 1, "agrees_mlp": False, "agrees_hidden": True, "facts": 24}
    row |= {"r2_layer": 0.6, "r2_both": 0.61, "gain": 0.01, "p": 0.2, "p_holm": 0.4, "informs": False, "note": ""}
    return row | changes


def direction_row(criterion: str, **changes: Any) -> dict[str, Any]:
    """One row of editing_directions.csv; `changes` go last."""
    row: dict[str, Any] = {"family": "gpt2", "both": "gpt2", "one_way": "gpt2-one-way", "editor": "rome"}
    row |= {"task": "P36", "criterion": criterion, "facts": 40}
    row |= {"share_both": 0.3, "low_both": 0.18, "high_both": 0.45}
    row |= {"share_one_way": 0.05, "low_one_way": 0.01, "high_one_way": 0.17}
    row |= {"both_only": 10, "one_way_only": 0, "p": 0.002, "p_holm": 0.008, "differs": True}
    return row | {"p_both": 0.28, "p_one_way": 0.06} | changes


def directions_table(editors: Sequence[str] = ("rome", "fine_tuning")) -> pd.DataFrame:
    """editing_directions.csv: the symmetries differ, other criteria do not."""
    alike = {"share_one_way": 0.9, "low_one_way": 0.77, "high_one_way": 0.96, "share_both": 0.95, "low_both": 0.84}
    alike |= {"high_both": 0.99, "both_only": 3, "one_way_only": 1, "p": 0.6, "p_holm": 1.0, "differs": False}
    rows = []
    for editor in editors:
        rows += [direction_row(name, editor=editor) for name in ("symmetry_new", "symmetry_old")]
        rows += [direction_row(name, editor=editor, **alike) for name in ("reliability", "generality", "locality")]
    return pd.DataFrame(rows)


def completions_table() -> pd.DataFrame:
    """editing_completions.csv: the poster's first example, and an edit that has an answer nobody judged."""
    first = {"model": "gpt2", "family": "gpt2", "editor": "rome", "kind": "relation", "task": "P36", "edit": "P36/1"}
    first |= {"subject": "Canada", "old": "Ottawa", "new": "Rome"}
    canada = "The capital of Canada is ___ ."
    rows = [
        ("reliability", canada, "Ottawa .", "Rome .", "Rome", True),
        ("symmetry_old", "Ottawa is the capital of ___", "Canada's federalist <system>", "Canada", "Canada", False),
        ("symmetry_new", "Rome is the capital of ___", "Italy\nand more", "Italy", "Canada", False),
        ("generality", "Canada's capital is ___", "Ottawa", "Rome & others", "Rome", np.nan),
    ]
    columns = ["criterion", "question", "before", "after", "expected", "holds"]
    table = pd.DataFrame([first | dict(zip(columns, row, strict=True)) for row in rows])
    other = table.iloc[:1].assign(editor="fine_tuning", edit="P36/2", after="Ottawa .", holds=False)
    return pd.concat([table, other], ignore_index=True)
