"""Sentences about edits and the paper's claims, whichever way it went."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from kn_thesis.editing.expected import AGREES, CLAIMS, CONTRADICTS, NOT_ASKED, OPEN, judged, verdict
from kn_thesis.editing.findings import (
    by_task,
    first_page_sentence,
    poster_table,
    say_agreement,
    say_criteria,
    say_fluency,
    say_skipped,
    say_tests,
)
from kn_thesis.editing.names import AGREEMENT_CRITERIA, CRITERIA, RELATION_CRITERIA
from kn_thesis.editing.rows import editors_of, without_one_way
from kn_thesis.editing.words import CRITERION_WORDS, editor_words, listed, method_of, span, within
from tests.edited_tables import (
    comparison_row,
    criterion_row,
    directions_table,
    editing_table,
    fluency_row,
    skipped_table,
)


def test_words() -> None:
    assert within(0.97, 0.925, 1.0) == "97% [92%, 100%]" and within(0.5, np.nan, np.nan) == "50%"
    assert within(-0.25, -0.4, 0.1, "+.1f") == "-0.2 [-0.4, +0.1]"
    assert [listed(parts) for parts in (["a"], ["a", "b"], ["a", "b", "c"], [])] == ["a", "a and b", "a, b and c", ""]
    assert span([0.6, 0.714, 0.65], ".2f") == "0.60 to 0.71" and span([0.601, 0.599], ".2f") == "0.60"
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


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.51, 0.9, True, AGREES),
        (0.51, 0.9, False, CONTRADICTS),
        (0.1, 0.49, True, CONTRADICTS),
        (0.1, 0.49, False, AGREES),
        (0.5, 0.9, True, OPEN),
        (0.1, 0.5, False, OPEN),
        (0.3, 0.7, True, OPEN),
        (np.nan, np.nan, True, OPEN),
    ],
)
def test_an_interval_takes_a_side_or_none(low: float, high: float, most: bool, expected: str) -> None:
    assert verdict(0.6, low, high, most) == expected


def test_verdicts_without_a_share() -> None:
    assert verdict(np.nan, np.nan, np.nan, True) == NOT_ASKED
    known = {"share_known": 0.2, "known_low": 0.1, "known_high": 0.3}
    for criterion in RELATION_CRITERIA:
        expected = (0.2, 0.1, 0.3) if criterion in ("symmetry_old", "locality") else (0.9, 0.85, 0.95)
        assert judged(criterion_row("gpt2", criterion, **known)) == pytest.approx(expected)


def test_claims_are_about_criteria_that_are_asked() -> None:
    assert [claim.number for claim in CLAIMS] == [8, 9, 10, 11]
    for claim in CLAIMS:
        asked = RELATION_CRITERIA if claim.kind == "relation" else AGREEMENT_CRITERIA
        assert set(claim.most) <= set(asked)


def test_criteria_as_the_paper_has_them() -> None:
    table = editing_table(("gpt2",))
    table.loc[table["task"] != "all", ["share", "low", "high"]] = 0.5  # a single task is not what is said
    assert say_criteria(table) == [
        "**gpt2**, claim 8 (editing knowledge neurons is unreliable). Against the paper: reliability 77% [72%, 82%].",
        "**gpt2**, claim 9 (ROME is reliable and general, but fails symmetry). As the paper has it: reliability 97% "
        "[92%, 100%]; generality 90% [85%, 95%]; symmetry (new side) 3% [0%, 8%]; symmetry (old side) 24% [19%, 29%] of "
        "what the model knew.",
        "**gpt2**, claim 10 (ROME fails synonymy). As the paper has it: synonymy 10% [5%, 15%].",
        "**gpt2**, other subjects keep the answer that the model knew: ROME 85% [80%, 90%], knowledge neurons 65% "
        "[60%, 70%] and fine-tuning 45% [40%, 50%].",
    ]


def claim_nine(**rows: dict[str, Any]) -> str:
    """What is said of ROME when some criteria are met otherwise; the rest as the paper has it."""
    shares = {"reliability": 0.9, "generality": 0.9, "symmetry_new": 0.1, "symmetry_old": 0.1}
    table = pd.DataFrame(
        [criterion_row("gpt2", name, **({"share": share} | rows.get(name, {}))) for name, share in shares.items()]
    )
    (said,) = (line for line in say_criteria(table) if "claim 9" in line)
    return said.split("symmetry). ")[1]


def test_what_contradicts_the_paper_is_said() -> None:
    assert claim_nine(symmetry_new={"share": 0.8}) == (
        "As the paper has it: reliability 90% [85%, 95%]; generality 90% [85%, 95%]; symmetry (old side) 10% [5%, 15%] "
        "of what the model knew. Against the paper: symmetry (new side) 80% [75%, 85%]."
    )
    unreliable = claim_nine(reliability={"share": 0.2}, generality={"share": 0.48})
    assert "Against the paper: reliability 20% [15%, 25%]. Open" in unreliable
    assert unreliable.endswith("Open (no interval, or it includes 50%): generality 48% [43%, 53%].")
    nothing = dict.fromkeys(["share", "low", "high", "share_known", "known_low", "known_high"], np.nan)
    assert claim_nine(symmetry_new=nothing, symmetry_old=nothing).endswith(
        "Nothing to judge by: symmetry (new side); symmetry (old side)."
    )
    # A model that knew nothing of the old side meets it without an edit: that is no success.
    ignorant = claim_nine(symmetry_old={"share": 1.0, "share_known": np.nan})
    assert ignorant.endswith("Nothing to judge by: symmetry (old side).")
    few = claim_nine(reliability={"low": np.nan, "high": np.nan})
    assert few.endswith("Open (no interval, or it includes 50%): reliability 90%.")


def test_models_and_editors_that_are_not_there_are_not_spoken_of() -> None:
    table = editing_table(("bert",), ("knowledge_neuron",), {"relation": ("P36",)})
    table.loc[table["criterion"] == "locality", "share_known"] = np.nan
    assert say_criteria(table) == [
        "**bert**, claim 8 (editing knowledge neurons is unreliable). Against the paper: reliability 97% [92%, 100%]."
    ]
    assert say_agreement(table) == []


def test_agreement_as_on_the_poster() -> None:
    table = editing_table(("gpt2",), tasks={"paradigm": ("distractor",)})
    first = "**gpt2**, claim 11 (an agreement edit changes one pair of subject and verb only). "
    assert say_agreement(table) == [
        f"{first}As the paper has it: reliability 97% [92%, 100%]; another distractor 80% [75%, 85%]; another subject "
        "15% [10%, 20%]; another of both 12% [7%, 17%]; another verb 20% [15%, 25%]."
    ]
    assert say_criteria(table) == []
    wide = table["criterion"].isin(["other_subject", "other_both"])
    table.loc[wide, ["share", "low", "high"]] = [0.9, 0.8, 0.95]
    (said,) = say_agreement(table)
    assert said.endswith("Against the paper: another subject 90% [80%, 95%]; another of both 90% [80%, 95%].")


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
        comparison_row("gpt2", "other_verb", editor="fine_tuning", kind="paradigm", first_only=2, second_only=30),
        comparison_row("llama", "generality", p_holm=1.0, differs=False),
        comparison_row("bert", "generality", p_holm=np.nan, differs=False),
    ]
    assert say_tests(pd.DataFrame(rows)) == [
        "**gpt2**: 2 of 3 comparisons differ after Holm's correction (1 could not be tested): ROME, facts: reliability "
        "without symmetry (new side) in 33 of 40 edits, the reverse in 1 (p = 4e-08); fine-tuning, syntax: reliability "
        "without another verb in 2 of 40 edits, the reverse in 30 (p = 4e-08).",
        "**llama**: 0 of 1 comparisons differ after Holm's correction.",
        "**bert**: no comparison could be tested (1 could not be tested).",
    ]


def test_what_was_edited() -> None:
    assert say_skipped(skipped_table()) == [
        "**gpt2**, ROME: 40 of 1,047 requests are edited (of the others, the model does not know it: 1,005; the "
        "optimisation diverged: 2).",
        "**gpt2**, fine-tuning: 30 of 30 requests are edited.",
        "**bert**, knowledge neurons: 0 of 4 requests are edited (of the others, no knowledge neuron was found: 4).",
    ]


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


def test_the_first_page_has_one_sentence() -> None:
    table = editing_table()
    table.loc[(table["model"] == "llama") & (table["criterion"] == "synonymy"), "share"] = np.nan
    tests = pd.DataFrame(
        [
            comparison_row("gpt2", "symmetry_new"),
            comparison_row("gpt2", "generality", differs=False),
            comparison_row("gpt2", "synonymy", p_holm=np.nan, differs=False),
        ]
    )
    assert first_page_sentence(table, tests) == (
        "Edits of facts with ROME show reliability in 97% [92%, 100%] (gpt2) and 97% [92%, 100%] (llama); generality "
        "in 90% [85%, 95%] (gpt2) and 90% [85%, 95%] (llama); symmetry (new side) in 3% [0%, 8%] (gpt2) and 3% [0%, 8%] "
        "(llama); synonymy in 10% [5%, 15%] (gpt2); over all editors, 1 of 2 comparisons of two criteria differ after "
        "Holm's correction."
    )
    assert first_page_sentence(table[table["kind"] == "paradigm"], tests) == "No fact was edited with ROME."
    assert first_page_sentence(table, tests.iloc[:0]).endswith("synonymy in 10% [5%, 15%] (gpt2).")
