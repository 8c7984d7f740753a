"""The noun that a pair is about, by BLiMP's patterns: both forms give the same noun."""

from __future__ import annotations

from pathlib import Path

import pytest

from kn_thesis.corpora.agreement import noun_of, number_of, singular_of
from kn_thesis.corpora.blimp import difference, load_pairs

BLIMP = Path(__file__).parents[3] / "shared" / "corpora" / "blimp" / "data"
DETERMINER, SUBJECT, ANAPHOR = "determiner_noun_agreement", "subject_verb_agreement", "anaphor_agreement"


@pytest.mark.parametrize(
    ("good", "bad", "term", "number", "noun"),
    [
        ("Craig explored that grocery store.", "Craig explored those grocery store.", DETERMINER, "singular", "store"),
        ("Cynthia scans these hard books.", "Cynthia scans this hard books.", DETERMINER, "plural", "book"),
        ("Raymond is selling this sketch.", "Raymond is selling this sketches.", DETERMINER, "singular", "sketch"),
        ("Carla had cured those women.", "Carla had cured those woman.", DETERMINER, "plural", "woman"),
        ("A sketch of lights doesn't appear.", "A sketch of lights don't appear.", SUBJECT, "singular", "sketch"),
        ("The sisters of Dan haven't left.", "The sisters of Dan hasn't left.", SUBJECT, "plural", "sister"),
        ("Katherine can't help herself.", "Katherine can't help himself.", ANAPHOR, "singular", "katherine"),
        ("Many girls insulted themselves.", "Many girls insulted herself.", ANAPHOR, "plural", "girl"),
        ("A lot of actresses help themselves.", "A lot of actresses help herself.", ANAPHOR, "plural", "actress"),
        ("Boys run.", "Boys runs.", SUBJECT, "", "boys"),
    ],
)
def test_the_noun_of_a_pair(good: str, bad: str, term: str, number: str, noun: str) -> None:
    assert noun_of(difference(good, bad), term, number) == noun


def test_singulars() -> None:
    pairs = {"ladies": "lady", "churches": "church", "boxes": "box", "houses": "house", "glasses": "glass"}
    pairs |= {
        "oases": "oasis",
        "analyses": "analysis",
        "mice": "mouse",
        "sheep": "sheep",
        "glass": "glass",
        "pies": "pie",
    }
    assert {word: singular_of(word) for word in pairs} == pairs


@pytest.mark.skipif(not BLIMP.is_dir(), reason=f"no mirror of BLiMP at {BLIMP}")
@pytest.mark.parametrize("ending", ["", "_irregular", "_with_adjective", "_with_adj_irregular"])
def test_both_forms_of_every_noun_of_blimp_are_one(ending: str) -> None:
    task = f"determiner_noun_agreement{ending}_1"
    for pair in load_pairs(BLIMP / f"{task}.jsonl"):
        change = difference(pair.good, pair.bad)
        number = number_of(change, task, pair.term)
        forms = (change.good, change.bad) if number == "plural" else (change.bad, change.good)
        assert (singular_of(forms[0].lower()), number != "") == (forms[1].lower(), True), pair.good
