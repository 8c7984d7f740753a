"""Sentences about where to edit and what training stated, whichever way it went."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kn_thesis.editing.labels import peak
from kn_thesis.editing.prose import MIN_FACTS, enough, say_directions, say_layers, say_localization
from tests.helpers.editing_csv_tables import (
    direction_row,
    directions_table,
    layers_table,
    localization_row,
)

FEW = {"rome": 4, "fine_tuning": 3}  # facts of a task that one model never learned


def test_the_peak_is_the_lowest_of_equals() -> None:
    rows = pd.DataFrame({"layer": [3, 2, 1, 0], "effect": [0.1, 0.3 + 1e-12, 0.3, np.nan]}, index=[0, 0, 1, 1])
    assert peak(rows, "effect") == 1
    assert peak(rows.assign(effect=np.nan), "effect") is None and peak(pd.DataFrame(), "effect") is None


def test_whether_traces_add_to_the_layer() -> None:
    table = pd.DataFrame(
        [
            localization_row("gpt2", "P36"),
            localization_row("gpt2", "P101", gain=0.123),
            localization_row("llama", "P36"),
        ]
    )
    nothing = say_localization(table)
    assert nothing.startswith("What a fact's own trace adds to the layer alone")
    assert "nowhere be told from chance (0 of 3 tasks of 2 models; at most 0.123 of R²), as Hase et al." in nothing
    table.loc[0, "informs"] = True
    found = say_localization(table)
    assert "tells of P(new) after its edit in 1 of 3 tasks of 2 models (Holm-corrected; at most 0.123 of R²)" in found
    assert found.endswith("Hase et al. (2023) reported that it adds next to nothing.")
    untested = table.assign(p_holm=np.nan, informs=False)
    assert say_localization(untested).startswith("Nothing could be tested")
    assert say_localization(untested) == say_localization(pd.DataFrame())


def test_the_best_layer_and_the_traced_one() -> None:
    table = pd.DataFrame(
        [
            localization_row("gpt2", "P36", r2_layer=0.4),
            localization_row("gpt2", "P101", agrees_mlp=True, peak_mlp=1, gain=0.2, informs=True),
            localization_row("gpt2", "P27", p_holm=np.nan, gain=9.0, agrees_hidden=False),
        ]
    )
    _, gpt2, llama = say_layers(layers_table(), table)
    first = (
        "Of layers 0 to 3, relations taken together, layer 1 is the best to edit (P(new) 0.87, reliability 97% [93%, "
        "100%]). Restored at the cue's last token, MLP outputs do most in layer 0 (another); hidden states do most in "
        "layer 3 (another)."
    )
    assert llama == f"**llama**: {first}"
    assert gpt2 == (
        f"**gpt2**: {first} Task by task, the best layer is where MLP outputs do most in 1 of 3 (any layer, picked "
        "blindly: 1 in 4) and where hidden states do most in 2 of 3. The layer alone explains 0.40 to 0.60 of the "
        "variance of P(new) (R² by task); the fact's own trace adds 0.010 to 0.200 and counts in 1 of 2 tasks."
    )
    same = layers_table(("gpt2",)).assign(trace_hidden=np.nan)
    same["trace_mlp"] = same["layer"].map({0: 0.1, 1: 0.4, 2: 0.2, 3: 0.1})
    assert say_layers(same, pd.DataFrame())[1].endswith("cue's last token, MLP outputs do most in layer 1 (the same).")
    assert say_layers(same.assign(trace_mlp=np.nan), pd.DataFrame())[1].endswith("100%]). It was not traced.")


def test_tasks_that_were_not_traced_have_no_peak() -> None:
    untraced = {"peak_mlp": np.nan, "peak_hidden": np.nan, "agrees_mlp": False, "agrees_hidden": False}
    untested = {"p_holm": np.nan, "informs": False}
    rows = [localization_row("gpt2", "P36", **untraced, **untested), localization_row("gpt2", "P101")]
    said = say_layers(pd.DataFrame(), pd.DataFrame(rows))[1]
    assert "MLP outputs do most in 0 of 1 and where hidden states do most in 1 of 1." in said
    assert "explains 0.60 of the variance" in said
    assert say_layers(pd.DataFrame(), pd.DataFrame(rows[:1]))[1:] == []


def test_directions_whichever_way_they_went() -> None:
    (said,) = say_directions(directions_table())
    both = "every editor 30% against 5% (they differ, p = 0.008)"
    assert said == (
        f"**gpt2** against **gpt2-one-way**, P36, 40 facts. symmetry (new side): {both}; symmetry (old side): {both}; "
        "reliability: every editor 95% against 90%. Where training states both directions, symmetry (new side): most "
        "edits fail it with every editor; symmetry (old side): most edits fail it with every editor."
    )
    met = {"share_both": 0.9, "low_both": 0.8, "high_both": 0.97}
    rows = [
        direction_row("symmetry_new", **met, p_holm=np.nan, differs=False),
        direction_row("symmetry_new", editor="rome-gap"),
        direction_row("symmetry_new", editor="fine_tuning", facts=38),
        direction_row("symmetry_old", low_both=0.4, high_both=0.6),
        direction_row("reliability", task="P101"),
    ]
    (said,) = say_directions(pd.DataFrame(rows))
    assert "P36, 38 to 40 facts. symmetry (new side): ROME 90% against 5%, ROME (gap) and fine-tuning 30%" in said
    assert said.endswith(
        "symmetry (new side): most edits fail it with ROME (gap) and fine-tuning and most edits meet it with ROME; "
        "symmetry (old side): it stays open with ROME."
    )


def test_tasks_with_few_facts_are_left_out() -> None:
    few = [direction_row("symmetry_new", task="P1376", facts=facts, editor=name) for name, facts in FEW.items()]
    table = pd.concat([directions_table(), pd.DataFrame(few)])
    _, left = say_directions(table)
    assert left == f"Left out, with fewer than {MIN_FACTS} facts to compare: P1376, 4 facts."
    assert set(enough(table)["task"]) == {"P36"} and set(enough(table, few=True)["task"]) == {"P1376"}
    alone = pd.DataFrame(few).assign(facts=1)
    assert say_directions(alone) == [f"Left out, with fewer than {MIN_FACTS} facts to compare: P1376, 1 fact."]
    assert "Left out" not in " ".join(say_directions(alone.assign(facts=MIN_FACTS)))
    assert enough(pd.DataFrame()).empty


def test_directions_that_nothing_was_asked_of() -> None:
    nothing = ["Nothing to compare: no two models of one family whose worlds state both directions and one."]
    empty = direction_row("symmetry_new", facts=0, share_both=np.nan, share_one_way=np.nan)
    assert say_directions(pd.DataFrame([empty, direction_row("reliability")])) == nothing
    (said,) = say_directions(pd.DataFrame([empty, direction_row("symmetry_old")]))
    assert "new side" not in said
