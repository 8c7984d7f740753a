"""Cues and distractors: the words that decide a blank, those in between that do not, and their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from kn_thesis.corpora.agreement import fact_cue, pair_cue
from kn_thesis.corpora.blimp import Pair, difference, load_pairs
from kn_thesis.corpora.pararel import around_gap

MIRROR = Path(__file__).parents[3] / "shared" / "corpora"
DETERMINER, VERB, ANAPHOR = "determiner_noun_agreement", "subject_verb_agreement", "anaphor_agreement"
RELATIONAL, RELATIVE = "distractor_agreement_relational_noun", "distractor_agreement_relative_clause"

# good, bad, term, task, the cue with the place it has among its like, the distractor
CASES = [
    ("This man hurt this girl.", "This man hurt this girls.", DETERMINER, "determiner_noun_agreement_1", "this", ""),
    ("Men hurt those sad girls.", "Men hurt that sad girls.", DETERMINER, "determiner_noun_agreement_2", "girls", ""),
    ("A lot of cats like themselves.", "A lot of cats like himself.", ANAPHOR, "anaphor", "A lot of cats", ""),
    ("Ann Lee fled from herself.", "Ann Lee fled from himself.", ANAPHOR, "a", "Ann Lee", ""),
    ("The old nun hasn't hurt herself.", "The old nun hasn't hurt himself.", ANAPHOR, "a", "The old nun", ""),
    ("The men meet.", "The man meet.", VERB, "irregular_plural_subject_verb_agreement_2", "meet", ""),
    ("Most cats have run.", "Most cats has run.", VERB, "regular_plural_subject_verb_agreement_1", "Most cats", ""),
    ("A niece of most men hasn't run.", "A niece of most men haven't run.", VERB, RELATIONAL, "A niece", "most men"),
    ("Two men that see Ann Lee run.", "Two men that see Ann Lee runs.", VERB, RELATIVE, "Two men", "Ann Lee"),
    ("Cats who saw all the men run.", "Cats who saw all the men runs.", VERB, RELATIVE, "Cats", "all the men"),
    ("Cats have ever run.", "Cats have often run.", "npi_licensing", "npi_present_1", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad", "term", "task", "cue", "distractor"), CASES)
def test_cues_by_the_corpus_own_patterns(good: str, bad: str, term: str, task: str, cue: str, distractor: str) -> None:
    found = pair_cue(Pair("1", good, bad, term, True), difference(good, bad), task)
    assert [stretch.words for stretch in found] == [cue, distractor]
    for stretch in found:
        assert stretch.words == (good[stretch.at : stretch.at + len(stretch.words)] if stretch.words else "")


def test_the_determiner_is_the_one_beside_the_noun() -> None:
    good, bad, *rest = CASES[0]
    cue, _ = pair_cue(Pair("1", good, bad, DETERMINER, True), difference(good, bad), rest[1])
    assert cue.at == good.rindex("this")


def test_what_the_world_states_is_found_whatever_its_capitals() -> None:
    good, bad = "The friend of the cats is quiet.", "The friend of the cats are quiet."
    pair = Pair("1", good, bad, VERB, True, cue="the friend", distractor="the cats")
    cue, distractor = pair_cue(pair, difference(good, bad), RELATIONAL)
    assert (cue, distractor) == (("The friend", 0), ("the cats", good.index("the cats")))


@pytest.mark.parametrize(
    ("pattern", "at"), [("The capital of [X] is [Y].", 15), ("[Y] is the capital of [X].", 23), ("[X]: [Y], in [X]", 0)]
)
def test_a_fact_is_cued_by_its_subject(pattern: str, at: int) -> None:
    cue = fact_cue(pattern, "Italy", "Rome")
    before, after = around_gap(pattern, "Italy")
    assert cue == ("Italy", at)
    assert (before + "Rome" + after)[at : at + 5] == "Italy"


def test_a_pattern_without_a_subject_has_no_cue() -> None:
    assert fact_cue("It is [Y].", "Italy", "Rome") == ("", -1)


@pytest.mark.parametrize(
    "task", ["anaphor_number_agreement", "determiner_noun_agreement_with_adj_irregular_2", RELATIONAL, RELATIVE]
)
def test_every_pair_of_the_public_corpus_has_its_cue(task: str) -> None:
    if not MIRROR.is_dir():
        pytest.skip("no mirror of the public corpora beside the repository (../shared/corpora)")
    path = next(MIRROR.rglob(f"{task}.jsonl"))
    for pair in load_pairs(path):
        cue, distractor = pair_cue(pair, difference(pair.good, pair.bad), task)
        assert cue.words, pair.good
        assert pair.good[cue.at : cue.at + len(cue.words)] == cue.words
        assert bool(distractor.words) == task.startswith("distractor"), pair.good
