"""Knowledge neurons by layer."""

from __future__ import annotations

import pandas as pd
import pytest

from kn_thesis.localization.summary import layer_table, overlap


def test_neurons_are_counted_by_layer_and_kind() -> None:
    neurons = pd.DataFrame(
        [
            ("m", "syntax", 0, True),
            ("m", "syntax", 2, True),
            ("m", "syntax", 2, True),
            ("m", "syntax", 1, False),
            ("m", "facts", 2, True),
            ("other", "facts", 0, True),
        ],
        columns=["model", "task", "layer", "selected"],
    )
    table = layer_table(neurons, {"syntax": "paradigm", "facts": "relation"}, {"m": 3, "other": 1})
    found = table.set_index(["model", "kind", "layer"])
    assert found.loc[("m", "paradigm"), "neurons"].tolist() == [1, 0, 2]
    assert found.loc[("m", "relation"), "share"].tolist() == [0, 0, 1]
    assert found.loc[("other", "paradigm"), "share"].isna().all()
    shared = overlap(table)
    assert shared["m"] == pytest.approx(2 / 3)
    assert pd.isna(shared["other"])
