"""What a model is asked after an edit of agreement, held against questions written out by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from kn_thesis.editing.tables import AGREEMENT_CRITERIA
from kn_thesis.models.cloze import GapTokenizer
from tests.helpers.edit_questions import asked, check_tokens, of, requests_of, said
from tests.helpers.editing_prompts import AGREEMENT, gap_tokenizers, pairs_table

TOKENIZERS = gap_tokenizers()


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> GapTokenizer:
    return TOKENIZERS[request.param]


def test_the_tables_of_these_tests_hold_all_pairs(tokenizer: GapTokenizer) -> None:
    assert len(pairs_table(tokenizer)) == len(AGREEMENT)


def agreement(cue: str, distractor: str, rest: str, tokenizer: GapTokenizer) -> str:
    return f"{cue} near {distractor} ___{rest if tokenizer.objective == 'masked' else ''}"


def test_agreement(tokenizer: GapTokenizer) -> None:
    prompts = pairs_table(tokenizer)
    request = requests_of(tokenizer, prompts)["agreement/1"]
    questions, counts = asked(request, tokenizer, prompts)
    assert questions[0].text == agreement("The king", "these women", " vases.", tokenizer) and not counts
    order = [one.criterion for one in questions]
    assert order[0] == "reliability" and set(order) == set(AGREEMENT_CRITERIA)
    form = ("admire", "admires")  # the edit's, then the grammatical one
    king, place = "The king", "these women"
    own = {
        "reliability": {(king, place, " vases.", *form)},
        "other_verb": {
            (king, place, " old.", "are", "is"),
            (king, place, " helped.", "have", "has"),
            (king, place, " men.", "help", "helps"),
        },
        "other_distractor": {(king, other, " vases.", *form) for other in ("the vases", "the kings", "those vases")},
        "other_subject": {(other, place, " vases.", *form) for other in ("A man", "This woman")},
        "other_both": {("A man", "the kings", " vases.", *form), ("This woman", "those vases", " vases.", *form)},
    }
    for criterion, expected in own.items():
        texts = {(agreement(*words[:3], tokenizer), *words[3:]) for words in expected}
        assert said(questions, criterion) == texts
    check_tokens(tokenizer, questions)
    for one in questions:
        assert one.rival_prompt is not None and one.rival_prompt.input_ids == one.expected_prompt.input_ids
    few, _ = asked(request, tokenizer, prompts, others=1)
    assert Counter(one.criterion for one in few) == dict.fromkeys(AGREEMENT_CRITERIA, 1)
    assert all(one in questions for one in few)


def test_what_is_no_other_verb_and_no_other_distractor(tokenizer: GapTokenizer) -> None:
    rows = [*AGREEMENT, ("A woman", "these women", "is", "are", " old.", "singular", "woman")]
    prompts = pairs_table(tokenizer, rows)
    request = requests_of(tokenizer, prompts)["agreement/1"]
    questions, _ = asked(request, tokenizer, prompts)
    assert not [one for one in of(questions, "other_distractor") if one.text == request.text]
    assert not [one for one in of(questions, "other_both") if "these women" in one.text]
    assert agreement("A woman", "these women", " vases.", tokenizer) in {
        one.text for one in of(questions, "other_subject")
    }
    # Another form of its own verb is none.
    same = prompts.assign(target=prompts["target"].replace({"has": "admire", "have": "admire"}))
    assert {one.expected for one in of(asked(request, tokenizer, same)[0], "other_verb")} == {"are", "help"}
    same = prompts.assign(foil=prompts["foil"].replace({"has": "admires", "have": "admires"}))
    assert {one.expected for one in of(asked(request, tokenizer, same)[0], "other_verb")} == {"are", "help"}


def test_a_plural_subject_is_asked_about_plural_ones(tokenizer: GapTokenizer) -> None:
    prompts = pairs_table(tokenizer)
    questions, _ = asked(requests_of(tokenizer, prompts)["agreement/5"], tokenizer, prompts)
    place, rest = "this man", " helped."
    cues = {agreement(cue, place, rest, tokenizer) for cue in ("The kings", "Old men")}
    assert said(questions, "other_subject") == {(text, "has", "have") for text in cues}
    assert {(one.expected, one.rival) for one in of(questions, "other_verb")} == {("is", "are"), ("admires", "admire")}


def test_capitals_go_with_the_place(tokenizer: GapTokenizer) -> None:
    prompts = pairs_table(tokenizer)
    inside = prompts.copy()
    row = inside.index[inside["prompt"] == "agreement/1"][0]
    inside.loc[row, "prefix"] = "In Italy, the king near these women"
    inside.loc[row, "cue"] = "the king"
    for column, at in (("cue_at", 10), ("distractor_at", 24)):
        inside.loc[row, column] = at
    encoded = tokenizer.encode(inside.loc[row, "prefix"], inside.loc[row, "suffix"], "admires")
    inside.at[row, "input_ids"], inside.loc[row, "gap"] = encoded.input_ids, encoded.gap
    requests = requests_of(tokenizer, inside)
    within = of(asked(requests["agreement/1"], tokenizer, inside)[0], "other_subject")
    assert {one.text.split(" near")[0] for one in within} == {"In Italy, a man", "In Italy, this woman"}
    first = of(asked(requests["agreement/2"], tokenizer, inside)[0], "other_subject")
    assert {one.text.split(" near")[0] for one in first} == {"The old king", "The king", "This woman"}


def test_agreement_needs_both_words_and_a_number() -> None:
    tokenizer = TOKENIZERS["metaspace"]
    prompts = pairs_table(tokenizer)
    request = requests_of(tokenizer, prompts)["agreement/1"]
    for column in ("target", "foil"):
        odd = prompts.assign(**{column: prompts[column].replace({"is": "žluť", "are": "žluť"})})
        questions, counts = asked(request, tokenizer, odd)
        assert {one.expected for one in of(questions, "other_verb")} == {"have", "help"}
        assert counts == {"unknown word": 1}
    odd = prompts.assign(foil=prompts["foil"].replace("have", "has old"))  # "has" begins it
    questions, counts = asked(request, tokenizer, odd)
    assert {one.expected for one in of(questions, "other_verb")} == {"are", "help"}
    assert counts == {"words cannot be compared": 1}
    questions, counts = asked(request, tokenizer, prompts.assign(number=""))
    assert [one.criterion for one in questions] == ["reliability"] and counts == {"number is not known": 1}


def test_draws_depend_on_nothing_but_names(tokenizer: GapTokenizer) -> None:
    pairs = pairs_table(tokenizer)
    pair = requests_of(tokenizer, pairs)["agreement/1"]
    every = asked(pair, tokenizer, pairs)[0]
    assert asked(pair, tokenizer, pairs[::-1])[0] == every
    without = asked(pair, tokenizer, pairs[pairs["prompt"] != "agreement/3"])[0]
    assert [one for one in every if one in without] == without
