"""Sentences about edits and the paper's claims, whichever way it went."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kn_thesis.editing.labels import (
    CRITERION_WORDS,
    editor_words,
    editors_of,
    list_words,
    method_of,
    value_span,
    with_interval,
    without_one_way,
)
from kn_thesis.editing.prose import by_task, poster_table, say_fluency, say_kept, say_reach, say_skipped, say_tests
from kn_thesis.editing.tables import AGREEMENT_CRITERIA, CRITERIA
from tests.helpers.editing_csv_tables import (
    comparison_row,
    criterion_row,
    directions_table,
    editing_table,
    fluency_row,
    skipped_table,
)


def test_words() -> None:
    assert with_interval(0.97, 0.925, 1.0) == "97% [92%, 100%]" and with_interval(0.5, np.nan, np.nan) == "50%"
    assert with_interval(-0.25, -0.4, 0.1, "+.1f") == "-0.2 [-0.4, +0.1]"
    assert [list_words(parts) for parts in (["a"], ["a", "b"], ["a", "b", "c"], [])] == [
        "a",
        "a and b",
        "a, b and c",
        "",
    ]
    assert value_span([0.6, 0.714, 0.65], ".2f") == "0.60 to 0.71" and value_span([0.601, 0.599], ".2f") == "0.60"
    assert set(CRITERION_WORDS) == set(CRITERIA) and len(set(CRITERION_WORDS.values())) == len(CRITERIA)


def test_editors_are_named_by_their_method() -> None:
    names = {
        "rome": "ROME",
        "rome-gap": "ROME (gap)",
        "knowledge_neuron-a-b": "knowledge neurons (a-b)",
        "memit": "memit",
    }
    assert {name: editor_words(name) for name in names} == names
    assert [method_of(name) for name in names] == ["rome", "rome", "knowledge_neuron", "memit"]


def test_editors_come_in_their_own_order() -> None:
    names = ["memit", "rome-b", "fine_tuning", "rome-a", "rome", "rome"]
    table = pd.DataFrame({"editor": names})
    assert editors_of(table) == ["rome", "rome-b", "rome-a", "fine_tuning", "memit"]
    assert editors_of(table, "rome") == ["rome", "rome-b", "rome-a"]
    assert editors_of(pd.DataFrame()) == editors_of(table, "knowledge_neuron") == []


def test_models_that_read_one_direction_are_left_out() -> None:
    table = editing_table(("gpt2", "gpt2-one-way"))
    assert set(without_one_way(table, directions_table())["model"]) == {"gpt2"}
    assert len(without_one_way(table, pd.DataFrame())) == len(table)
    assert without_one_way(pd.DataFrame(), directions_table()).empty


def test_other_subjects_keep_their_answer() -> None:
    table = editing_table(("gpt2", "bert"))
    table.loc[table["task"] != "all", "share_known"] = 0.5  # a single task is not what is said
    table.loc[table["model"] == "bert", "share_known"] = np.nan
    assert say_kept(table) == [
        "**gpt2**, other subjects keep the answer that the model knew: ROME 85%, knowledge neurons 65% and fine-tuning "
        "45%."
    ]
    assert say_kept(table[table["kind"] == "paradigm"]) == []


def reach(editor: str = "rome-covariance", **changes: float) -> list[str]:
    """What is said of a variant beside ROME, whose edits reach another subject in 60% [50%, 70%]."""
    plain = {"kind": "paradigm", "share": 0.6, "low": 0.5, "high": 0.7}
    rows = [criterion_row("gpt2", "other_subject", **plain), criterion_row("gpt2", "reliability", kind="paradigm")]
    rows += [criterion_row("gpt2", "other_subject", **(plain | changes | {"editor": editor}))]
    rows += [criterion_row("gpt2", "reliability", 0.8, kind="paradigm", editor=editor)]
    return say_reach(pd.DataFrame(rows))


def test_how_far_a_variant_reaches() -> None:
    assert reach(share=0.3, low=0.2, high=0.49) == [
        "**gpt2**: ROME (covariance) stays closer to its own subject than ROME (another subject 30% [20%, 49%] against "
        "60% [50%, 70%]; the edited prompt 80% against 90%)."
    ]
    assert "ROME (covariance) reaches further beyond its own subject than ROME (" in reach(low=0.71, high=0.9)[0]
    for changes in ({"low": 0.2, "high": 0.5}, {"low": 0.7, "high": 0.9}, {"low": np.nan, "high": np.nan}):
        assert "ROME (covariance) cannot be told from ROME (" in reach(**changes)[0]
    assert reach(share=np.nan) == reach("fine_tuning") == reach("fine_tuning-long") == say_reach(pd.DataFrame()) == []


def test_the_poster_s_rows_are_a_table() -> None:
    table = editing_table(tasks={"paradigm": ("distractor",), "relation": ("P36",)})
    at = (table["task"] == "distractor") & (table["criterion"] == "other_subject") & (table["model"] == "gpt2")
    table.loc[at & (table["editor"] == "rome"), "published"] = "unchanged: The pilots"
    table.loc[(table["model"] == "llama") & (table["criterion"] == "other_verb"), "share"] = np.nan
    found = poster_table(table).set_index("criterion")
    assert list(found.index) == [CRITERION_WORDS[name] for name in AGREEMENT_CRITERIA]
    assert list(found.columns)[:3] == ["gpt2, ROME", "gpt2, knowledge neurons", "gpt2, fine-tuning"]
    assert found.loc["another distractor", "gpt2, knowledge neurons"] == "60% [55%, 65%]"
    assert found.loc["another verb", "llama, ROME"] == ""
    assert list(found["published"]) == ["", "", "", "unchanged: The pilots", ""]


def test_shares_by_task() -> None:
    table = editing_table(("llama", "gpt2"), ("rome",))
    table.loc[(table["task"] == "P101") & (table["criterion"] == "reliability"), ["share", "edits"]] = [0.25, 44]
    table = table[~((table["task"] == "P36") & (table["criterion"] == "synonymy"))]
    found = by_task(table, "relation", ("synonymy", "reliability"))
    assert list(found.columns) == ["model", "editor", "task", "edits", "synonymy", "reliability"]
    assert list(found["model"]) == ["llama", "llama", "gpt2", "gpt2"] and list(found["task"]) == ["P36", "P101"] * 2
    np.testing.assert_allclose(found[["edits", "synonymy", "reliability"]][:2], [[40, np.nan, 0.97], [44, 0.1, 0.25]])


def test_tests_are_counted() -> None:
    rows = [
        comparison_row("gpt2", "symmetry_new"),
        comparison_row("gpt2", "generality", p_holm=0.7, differs=False),
        comparison_row("gpt2", "synonymy", p_holm=np.nan, differs=False),
        comparison_row("gpt2", "symmetry_new", editor="fine_tuning-long", first_only=2, second_only=30),
        comparison_row("gpt2", "synonymy", editor="fine_tuning-long", first="generality"),
        comparison_row("gpt2", "other_verb", editor="fine_tuning", kind="paradigm"),
        comparison_row("llama", "generality", p_holm=1.0, differs=False),
        comparison_row("bert", "generality", p_holm=np.nan, differs=False),
    ]
    assert say_tests(pd.DataFrame(rows)) == [
        "**gpt2**: 4 of 5 comparisons differ after Holm's correction (1 could not be tested).\n"
        "    - reliability without symmetry (new side): ROME 33 of 40 against 1; fine-tuning (long) 2 of 40 against "
        "30\n"
        "    - generality without synonymy: fine-tuning (long) 33 of 40 against 1",
        "**llama**: 0 of 1 comparisons differ after Holm's correction.",
        "**bert**: no comparison could be tested (1 could not be tested).",
    ]


def test_what_was_edited() -> None:
    assert say_skipped(skipped_table()) == [
        "**gpt2**, ROME: 40 of 1,047 requests are edited (the model does not know it: 1,005, the optimisation "
        "diverged: 2); fine-tuning: 30 of 30 requests are edited.",
        "**bert**, knowledge neurons: 0 of 4 requests are edited (no knowledge neuron was found: 4).",
    ]


def test_editors_whose_counts_agree_are_named_together() -> None:
    table = skipped_table()
    rome = table[table["editor"] == "rome"]
    variant = rome.iloc[::-1].assign(editor="rome-gap")  # the order of the reasons does not count
    assert say_skipped(pd.concat([rome, variant]))[0].startswith("**gpt2**, every editor: 40 of 1,047 requests")
    three = say_skipped(pd.concat([table, variant]))[0]
    assert three.startswith("**gpt2**, ROME and ROME (gap): 40 of 1,047") and "; fine-tuning: 30 of 30" in three


def test_fluency() -> None:
    rows = [
        fluency_row("gpt2", "fine_tuning", p=np.nan, low=np.nan, high=np.nan, update_share=np.nan),
        fluency_row("gpt2", "rome"),
        fluency_row("gpt2", "rome", task="P36", change=9.0),
        fluency_row("bert", "knowledge_neuron", change=np.nan),
    ]
    assert say_fluency(pd.DataFrame(rows)) == [
        "**gpt2**, facts: ROME takes the entropy from 6.50 to 6.25 bits (change -0.25 bits [-0.40, -0.10], p = 0.012, "
        "changing weights by 3.4% of their norm); fine-tuning takes the entropy from 6.50 to 6.25 bits (change -0.25 "
        "bits, no test)."
    ]
    assert say_fluency(pd.DataFrame(rows[-1:])) == ["No continuation was sampled."]
