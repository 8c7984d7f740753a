"""Put the tables of localization into sentences, whichever way the results went."""

from __future__ import annotations

import pandas as pd

from kn_thesis.localization.summary import overlap


def say_medians(localization: pd.DataFrame) -> list[str]:
    """State claims 1 and 2: a line per model with both kinds of task, from localization.csv."""
    lines = []
    for model, rows in localization.groupby("model", sort=False):
        medians = rows.groupby("kind")[["KN", "tau", "R2_1"]].median()
        if {"paradigm", "relation"} <= set(medians.index):
            syntax, facts = medians.loc["paradigm"], medians.loc["relation"]
            lines.append(
                f"**{model}**: median |KN| {syntax['KN']:.2f} for paradigms against {facts['KN']:.2f} for relations; "
                f"τ {syntax['tau']:.2f} against {facts['tau']:.2f}; R²₁ {syntax['R2_1']:.2f} against "
                f"{facts['R2_1']:.2f}."
            )
    return lines


def say_layers(layers: pd.DataFrame) -> list[str]:
    """State claim 3: a line per model with both kinds of task, from layers.csv."""
    lines = []
    for model, shared in overlap(layers).dropna().items():
        rows = layers[layers["model"] == model]
        peaks = rows.loc[rows.groupby("kind")["share"].idxmax()].set_index("kind")["layer"]
        verdict = (
            "the same, as claimed" if peaks["paradigm"] == peaks["relation"] else "not the same, against the claim"
        )
        lines.append(
            f"**{model}**: {shared:.0%} of the two distributions over layers overlap; most syntactic neurons are in "
            f"layer {peaks['paradigm']}, most factual ones in layer {peaks['relation']}: {verdict}."
        )
    return lines
