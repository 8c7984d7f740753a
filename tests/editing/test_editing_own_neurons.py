"""Which knowledge neurons are a fact's own, counted by hand."""

from __future__ import annotations

import pandas as pd

from kn_thesis.editing import knowledge_neuron


def test_own_neurons_by_hand() -> None:
    having = {"0": [(0, 3), (1, 3), (2, 2)], "1": [(0, 3), (2, 2)], "2": [(0, 3)], "3": [(0, 3), (1, 4)]}
    rows = [(group, layer, i) for group, neurons in having.items() for layer, i in neurons]
    selected = pd.DataFrame(rows, columns=["group", "layer", "neuron"])

    def own(shared: float, requests: int = 4) -> list[tuple[str, int, int]]:
        return list(knowledge_neuron.own_neurons(selected, requests, shared).itertuples(index=False, name=None))

    assert own(0.0) == [("0", 1, 3), ("3", 1, 4)]
    assert own(0.33) == own(0.0)
    assert own(0.34) == [("0", 1, 3), ("0", 2, 2), ("1", 2, 2), ("3", 1, 4)]
    assert own(0.99) == own(0.34) and own(1.0) == rows
    # Of requests that have none the others are more.
    assert own(0.3, 11) == rows and own(0.29, 11) == own(0.34)


def test_a_share_of_other_facts_does_not_hang_on_a_last_bit() -> None:
    selected = pd.DataFrame({"group": map(str, range(30)), "layer": 0, "neuron": 5})
    assert len(knowledge_neuron.own_neurons(selected, 101, 0.29)) == 30
    assert not len(knowledge_neuron.own_neurons(selected, 101, 0.28))
