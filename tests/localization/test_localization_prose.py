"""Sentences about localization, from tables by hand."""

from __future__ import annotations

import pandas as pd

from kn_thesis.localization.prose import say_layers, say_medians


def test_medians_in_words() -> None:
    rows = [
        ("bert", "paradigm", 1.0, 0.7, 0.5),
        ("bert", "paradigm", 2.0, 0.8, 0.6),
        ("bert", "paradigm", 9.0, 0.9, 0.9),
        ("bert", "relation", 4.0, 0.6, 0.25),
        ("gpt2", "relation", 4.0, 0.6, 0.25),
    ]
    table = pd.DataFrame(rows, columns=["model", "kind", "KN", "tau", "R2_1"])
    assert say_medians(table) == [
        "**bert**: median |KN| 2.00 for paradigms against 4.00 for relations; τ 0.80 against 0.60; "
        "R²₁ 0.60 against 0.25."
    ]
    assert say_medians(table[:0]) == []


def test_layers_in_words() -> None:
    rows = [
        *(("bert", "paradigm", layer, share) for layer, share in enumerate((0.2, 0.8))),
        *(("bert", "relation", layer, share) for layer, share in enumerate((0.4, 0.6))),
        *(("gpt2", "paradigm", layer, share) for layer, share in enumerate((0.1, 0.9))),
        *(("gpt2", "relation", layer, share) for layer, share in enumerate((0.9, 0.1))),
        *(("llama", "relation", layer, share) for layer, share in enumerate((0.9, 0.1))),
    ]
    table = pd.DataFrame(rows, columns=["model", "kind", "layer", "share"])
    assert say_layers(table) == [
        "**bert**: 80% of the two distributions over layers overlap; most syntactic neurons are in layer 1, most "
        "factual ones in layer 1: the same, as claimed.",
        "**gpt2**: 20% of the two distributions over layers overlap; most syntactic neurons are in layer 1, most "
        "factual ones in layer 0: not the same, against the claim.",
    ]
