"""What an edited model is asked, criterion by criterion, held against questions written out by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from kn_thesis.editing.questions import LinkedTables
from kn_thesis.editing.requests import Question, Request
from kn_thesis.editing.tables import RELATION_CRITERIA
from kn_thesis.models.cloze import GapTokenizer
from tests.helpers.edit_questions import asked, changed, check_tokens, of, requests_of, said
from tests.helpers.editing_prompts import (
    CAPITAL,
    CAPITAL_OF,
    FIELD,
    JOBS,
    LANDS,
    OCCUPATION,
    PEOPLE,
    facts_table,
    gap_tokenizers,
)

TOKENIZERS = gap_tokenizers()
CITIES = [(b, a) for a, b in LANDS]


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> GapTokenizer:
    return TOKENIZERS[request.param]


def gap(tokenizer: GapTokenizer, patterns: list[str], subject: str) -> set[str]:
    """Prompts by hand: a causal model's end at the gap, and it takes no pattern in which more follows."""
    causal = tokenizer.objective == "causal"
    return {
        (text.removesuffix(".") if causal else text).replace("[Y]", "___").replace("[X]", subject)
        for text in patterns
        if text.endswith("[Y].") or not causal
    }


@pytest.fixture
def capitals(tokenizer: GapTokenizer) -> tuple[Request, pd.DataFrame, LinkedTables]:
    """Italy's capital becomes Paris."""
    prompts = facts_table(tokenizer, CAPITAL, LANDS)
    request = changed(tokenizer, requests_of(tokenizer, prompts)["P36/Italy-Rome"], "Paris")
    return request, prompts, LinkedTables(inverse=facts_table(tokenizer, CAPITAL_OF, CITIES, "P1376"))


def test_the_edited_prompt_comes_first(
    tokenizer: GapTokenizer, capitals: tuple[Request, pd.DataFrame, LinkedTables]
) -> None:
    request, prompts, related = capitals
    questions, counts = asked(request, tokenizer, prompts, related)
    first = Question("reliability", request.text, "Paris", "Rome", request.new_prompt, request.old_prompt)
    assert questions[0] == first and len(of(questions, "reliability")) == 1
    order = [one.criterion for one in questions]
    assert order == sorted(order, key=RELATION_CRITERIA.index) and set(order) == set(RELATION_CRITERIA) - {"synonymy"}
    assert not counts
    check_tokens(tokenizer, questions)
    assert all(one.rival_prompt is not None for one in questions)


def test_generality(tokenizer: GapTokenizer, capitals: tuple[Request, pd.DataFrame, LinkedTables]) -> None:
    request, prompts, related = capitals
    questions, _ = asked(request, tokenizer, prompts, related)
    expected = {(text, "Paris", "Rome") for text in gap(tokenizer, CAPITAL, "Italy") - {request.text}}
    assert said(questions, "generality") == expected and len(expected) > 1
    few, _ = asked(request, tokenizer, prompts, related, each=1)
    assert of(few, "generality") == of(questions, "generality")[:1]


def test_locality(tokenizer: GapTokenizer, capitals: tuple[Request, pd.DataFrame, LinkedTables]) -> None:
    request, prompts, related = capitals
    found = of(asked(request, tokenizer, prompts, related)[0], "locality")
    # Not Italy, and not those whose capital is Paris in any case.
    others = {a: b for a, b in LANDS if a != "Italy" and b != "Paris"}
    about = {}
    for one in found:
        [subject] = [name for name in others if one.text in gap(tokenizer, CAPITAL, name)]
        about[subject] = one
        assert (one.expected, one.rival, one.near) == (others[subject], "Paris", others[subject] == "Rome")
    assert set(about) == set(others) and len(found) == len(others) == 5
    few = of(asked(request, tokenizer, prompts, related, others=2)[0], "locality")
    assert [one.near for one in few] == [True, False] and all(one in found for one in few)
    assert not of(asked(request, tokenizer, prompts, related, others=0)[0], "locality")


def test_half_of_locality_is_near_where_it_can_be(tokenizer: GapTokenizer) -> None:
    facts = [(subject, "Rome") for subject in ("Italy", "Sardinia", "Spain", "Japan", "Musashi")]
    facts += [("France", "Paris"), ("New Castile", "Madrid"), ("Great Norland", "Madrid")]
    prompts = facts_table(tokenizer, CAPITAL, facts)
    request = changed(tokenizer, requests_of(tokenizer, prompts)["P36/Italy-Rome"], "Paris")
    near = {
        most: [one.near for one in of(asked(request, tokenizer, prompts, others=most)[0], "locality")]
        for most in (1, 4, 6, 9)
    }
    # Two others are not near; those that are near fill what is left.
    assert {most: (sum(side), len(side)) for most, side in near.items()} == {1: (1, 1), 4: (2, 4), 6: (4, 6), 9: (4, 6)}


def test_symmetry(tokenizer: GapTokenizer, capitals: tuple[Request, pd.DataFrame, LinkedTables]) -> None:
    request, prompts, related = capitals
    questions, _ = asked(request, tokenizer, prompts, related)
    # Of the two that have Paris, the first by name.
    for criterion, city in (("symmetry_new", "Paris"), ("symmetry_old", "Rome")):
        assert said(questions, criterion) == {(text, "Italy", "France") for text in gap(tokenizer, CAPITAL_OF, city)}
    few, _ = asked(request, tokenizer, prompts, related, each=1)
    [new], [old] = of(few, "symmetry_new"), of(few, "symmetry_old")
    assert new.text == old.text.replace("Rome", "Paris")
    assert not {"symmetry_new", "symmetry_old"} & {one.criterion for one in asked(request, tokenizer, prompts)[0]}


def test_symmetry_without_a_true_subject(
    tokenizer: GapTokenizer, capitals: tuple[Request, pd.DataFrame, LinkedTables]
) -> None:
    request, prompts, related = capitals
    questions, _ = asked(request, tokenizer, prompts[prompts["target"] != "Paris"], related)
    for criterion in ("symmetry_new", "symmetry_old"):
        found = of(questions, criterion)
        assert found and {(one.rival, one.rival_prompt) for one in found} == {("", None)}


def people(tokenizer: GapTokenizer, name: str, new: str) -> tuple[Request, pd.DataFrame, pd.DataFrame]:
    fields = facts_table(tokenizer, FIELD, PEOPLE, "P101")
    jobs = facts_table(tokenizer, OCCUPATION, [(person, JOBS[field]) for person, field in PEOPLE], "P106")
    return changed(tokenizer, requests_of(tokenizer, fields)[f"P101/{name}"], new), fields, jobs


def test_the_synonymous_relation(tokenizer: GapTokenizer) -> None:
    request, fields, jobs = people(tokenizer, "Emma Brook-music", "physics")
    questions, counts = asked(request, tokenizer, fields, LinkedTables(synonym=jobs, synonym_objects=JOBS))
    # "an" goes with neither a physicist nor a musician.
    fitting = [pattern for pattern in OCCUPATION if " an " not in pattern]
    expected = {(text, "physicist", "musician") for text in gap(tokenizer, fitting, "Emma Brook")}
    assert said(questions, "synonymy") == expected and counts == {"article does not fit": 1}
    check_tokens(tokenizer, questions)
    few, _ = asked(request, tokenizer, fields, LinkedTables(synonym=jobs, synonym_objects=JOBS), each=1)
    assert of(few, "synonymy") == of(questions, "synonymy")[:1]
    # Neither article goes with an artist and a physicist.
    request, *_ = people(tokenizer, "David Adler-art", "physics")
    questions, counts = asked(request, tokenizer, fields, LinkedTables(synonym=jobs, synonym_objects=JOBS))
    assert counts == {"article does not fit": 2}
    without = [pattern for pattern in fitting if " a " not in pattern]
    assert said(questions, "synonymy") == {
        (text, "physicist", "artist") for text in gap(tokenizer, without, "David Adler")
    }


def test_objects_without_a_synonym(tokenizer: GapTokenizer) -> None:
    request, fields, jobs = people(tokenizer, "Emma Brook-music", "physics")
    for objects, reason in (
        ({"music": "musician"}, "no synonym of the new object"),
        ({"music": "musician", "physics": "musician"}, "one synonym for both objects"),
    ):
        questions, counts = asked(request, tokenizer, fields, LinkedTables(synonym=jobs, synonym_objects=objects))
        assert counts == {reason: 1} and not of(questions, "synonymy")
    questions, counts = asked(
        request, tokenizer, fields, LinkedTables(synonym=jobs, synonym_objects={"physics": "physicist"})
    )
    assert {(one.rival, one.rival_prompt) for one in of(questions, "synonymy")} == {("", None)}


def test_other_names_of_one_concept(tokenizer: GapTokenizer) -> None:
    prompts = facts_table(tokenizer, CAPITAL, LANDS)
    request = changed(tokenizer, requests_of(tokenizer, prompts)["P36/Italy-Rome"], "Paris")
    concepts = {"Italy": "peninsula", "Sardinia": "peninsula", "Spain": "peninsula", "Japan": "island"}
    questions, counts = asked(request, tokenizer, prompts, LinkedTables(concepts=concepts))
    expected = gap(tokenizer, CAPITAL, "Sardinia") | gap(tokenizer, CAPITAL, "Spain")
    assert said(questions, "synonymy") == {(text, "Paris", "Rome") for text in expected} and not counts
    local = [one.text for one in of(questions, "locality")]
    assert len(local) == 3 and not set(local) & expected
    two = [
        one.text
        for one in of(asked(request, tokenizer, prompts, LinkedTables(concepts=concepts), each=2)[0], "synonymy")
    ]
    assert {"Sardinia" in text for text in two} == {True, False}  # one of each name before a second of any
    # A subject without a concept has no other name.
    questions, _ = asked(request, tokenizer, prompts, LinkedTables(concepts={"Sardinia": "", "Spain": ""}))
    assert not of(questions, "synonymy") and len(of(questions, "locality")) == 5


@pytest.mark.parametrize("name", ["wordpiece", "metaspace"])
def test_what_cannot_be_put_is_counted(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    request, fields, jobs = people(tokenizer, "Emma Brook-music", "physics")
    usable = len(gap(tokenizer, [pattern for pattern in OCCUPATION if " an " not in pattern], "Emma Brook"))
    odd = LinkedTables(synonym=jobs, synonym_objects=JOBS | {"physics": "žluť"})
    questions, counts = asked(request, tokenizer, fields, odd)
    assert not of(questions, "synonymy") and counts == {"unknown word": usable, "article does not fit": 1}
    odd = LinkedTables(synonym=jobs, synonym_objects=JOBS | {"music": "žluť"})
    questions, counts = asked(request, tokenizer, fields, odd)
    found = of(questions, "synonymy")
    assert len(found) == usable and {(one.rival, one.rival_prompt) for one in found} == {("žluť", None)}
    assert counts == {"article does not fit": 1}
    # A question that cannot be put gives way to the next.
    strange = fields.assign(target=fields["target"].replace("art", "žluť"))
    questions, counts = asked(request, tokenizer, strange, others=2)
    assert sorted(one.expected for one in of(questions, "locality")) == ["music"] and counts == {"unknown word": 1}


def test_draws_depend_on_nothing_but_names(
    tokenizer: GapTokenizer, capitals: tuple[Request, pd.DataFrame, LinkedTables]
) -> None:
    request, prompts, related = capitals
    questions, _ = asked(request, tokenizer, prompts, related)
    shuffled = LinkedTables(inverse=related.inverse.sample(frac=1, random_state=1))
    assert asked(request, tokenizer, prompts.sample(frac=1, random_state=1), shuffled)[0] == questions
    # Without half of the other facts, the questions are those that are left, in the same order.
    fewer = prompts[~prompts["subject"].isin(["Sardinia", "Spain", "Great Norland"])]
    gone = [name for name in ("Sardinia", "Spain")]
    left = [one for one in questions if one.criterion != "locality" or not any(name in one.text for name in gone)]
    assert asked(request, tokenizer, fewer, related)[0] == left and len(left) == len(questions) - 2
    other = asked(request, tokenizer, prompts, related, seed=2)[0]
    assert other != questions and {one.text for one in of(other, "generality")} == {
        one.text for one in of(questions, "generality")
    }


def test_each_request_has_draws_of_its_own() -> None:
    tokenizer = TOKENIZERS["wordpiece"]
    prompts = facts_table(tokenizer, CAPITAL, LANDS)
    related = LinkedTables(inverse=facts_table(tokenizer, CAPITAL_OF, CITIES, "P1376"))
    first = set()
    for request in requests_of(tokenizer, prompts).values():
        [one] = of(asked(request, tokenizer, prompts, related, each=1)[0], "symmetry_old")
        first.add(one.text.replace(request.old, "[X]"))
    assert len(first) > 1
