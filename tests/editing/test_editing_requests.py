"""Requests for edits: which facts and pairs, what into, where the subject stands, and why not the others."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pandas as pd
import pytest

from kn_thesis.corpora.sampling import hash_rank
from kn_thesis.editing.requests import COLUMNS, Request, make_requests
from kn_thesis.editing.tables import EDITED, NO_OBJECT, NO_SUBJECT, NOT_SAMPLED, TOO_LONG, UNKNOWN
from kn_thesis.models.cloze import GapTokenizer
from tests.helpers.editing_prompts import (
    AGREEMENT,
    CAPITAL,
    LANDS,
    evaluated,
    facts_table,
    gap_tokenizers,
    pairs_table,
    splitting_tokenizers,
)

TOKENIZERS = gap_tokenizers()
SPLITTING = splitting_tokenizers()
BERT = TOKENIZERS["wordpiece"]
CAUSAL = [name for name in TOKENIZERS if name != "wordpiece"]


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> GapTokenizer:
    return TOKENIZERS[request.param]


def made(
    tokenizer: GapTokenizer,
    prompts: pd.DataFrame,
    wrong: Sequence[str] = (),
    most: int | None = None,
    max_target_tokens: int = 9,
    longest: int = 0,
    seed: int = 1,
) -> tuple[list[Request], pd.DataFrame]:
    limits = {"most": most, "max_target_tokens": max_target_tokens, "seed": seed, "longest": longest}
    return make_requests(tokenizer, prompts, evaluated(prompts, wrong), **limits)


def statuses(table: pd.DataFrame) -> dict[str, str]:
    assert table["edit"].is_unique
    return dict(zip(table["edit"], table["status"], strict=True))


def without_cue(prompts: pd.DataFrame, part: str) -> pd.DataFrame:
    return prompts.assign(cue_at=prompts["cue_at"].where(~prompts["prompt"].str.contains(part), -1))


def read(tokenizer: GapTokenizer, ids: Sequence[int]) -> str:
    return "".join(tokenizer.tokenizer.decode(list(ids)).split())


def same_request(one: Request, other: Request) -> bool:
    return one == other and all(type(i) is int for i in (one.subject_at, one.subject_token, *one.new_prompt.input_ids))


def test_no_torch_is_needed() -> None:
    import subprocess

    code = "import sys; import kn_thesis.editing.questions; assert 'torch' not in sys.modules"
    path = [part for part in sys.path if part]
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"], check=True)


def test_every_known_fact_becomes_a_request(tokenizer: GapTokenizer) -> None:
    prompts = facts_table(tokenizer, CAPITAL, LANDS)
    requests, table = made(tokenizer, prompts)
    assert list(table.columns) == COLUMNS and set(table["status"]) == {EDITED}
    assert [request.name for request in requests] == sorted(f"P36/{a}-{b}" for a, b in LANDS) == list(table["edit"])
    assert [request.cluster for request in requests] == list(table["cluster"]) == sorted(set(prompts["group"]))
    objects = {b for _, b in LANDS}
    for request, row in zip(requests, table.itertuples(), strict=True):
        assert (request.subject, request.old) in LANDS and request.new in objects - {request.old}
        assert (row.subject, row.old, row.new, row.text) == (request.subject, request.old, request.new, request.text)
        assert request.kind == "relation" and request.task == "P36"
        own = prompts[prompts["text"] == request.text].iloc[0]
        assert own["group"] == request.cluster and (request.prefix, request.suffix) == (own["prefix"], own["suffix"])
        assert request.old_prompt == tokenizer.encode(request.prefix, request.suffix, request.old)
        assert request.new_prompt == tokenizer.encode(request.prefix, request.suffix, request.new)
        assert request.new_prompt.input_ids == request.old_prompt.input_ids


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_subjects_last_token_is_found(name: str) -> None:
    """The first token with which the text is read to the subject's end."""
    split = 0
    for tokenizer in (TOKENIZERS[name], SPLITTING[name]):
        facts, pairs = facts_table(tokenizer, CAPITAL, LANDS), pairs_table(tokenizer)
        for seed in range(5):  # other prompts of each fact
            for request in made(tokenizer, facts, seed=seed)[0] + made(tokenizer, pairs, seed=seed)[0]:
                filled = f"{request.prefix} {request.old}{request.suffix}".strip()
                assert filled[request.subject_at :].startswith(request.subject)
                whole = "".join(filled[: request.subject_at + len(request.subject)].split())
                ids, last = request.old_prompt.input_ids, request.subject_token
                assert whole.startswith(read(tokenizer, ids[:last])) and read(tokenizer, ids[:last]) != whole
                assert read(tokenizer, ids[: last + 1]).startswith(whole)
                split += not request.subject.startswith(read(tokenizer, ids[last : last + 1]).removeprefix("##"))
    assert split > 9


def test_each_reason(tokenizer: GapTokenizer) -> None:
    prompts = without_cue(facts_table(tokenizer, CAPITAL, LANDS), "Spain")
    _, table = made(tokenizer, prompts, wrong=("France", "Italy's", "The capital of Italy"))
    expected = {f"P36/{a}-{b}": EDITED for a, b in LANDS}
    assert statuses(table) == expected | {"P36/France-Paris": UNKNOWN, "P36/Spain-Madrid": NO_SUBJECT}
    skipped = table[table["status"] != EDITED].set_index("subject")
    assert set(skipped["new"]) == {""} and list(skipped["old"]) == ["Paris", "Madrid"]
    assert "France" in skipped.loc["France", "text"] and "Spain" in skipped.loc["Spain", "text"]
    # What is right only where the subject is not seen is not known.
    hidden = without_cue(prompts, f"Italy-Rome/{hash_rank(CAPITAL[2]):016x}")
    wrong = [pattern.replace("[X]", "Italy").split("[Y]")[0] for pattern in CAPITAL[:2]] + ["Italy's capital"]
    assert statuses(made(tokenizer, hidden, wrong=wrong)[1])["P36/Italy-Rome"] == UNKNOWN
    assert statuses(made(tokenizer, prompts, wrong=wrong)[1])["P36/Italy-Rome"] == EDITED


def test_too_long_a_prompt_is_left_out(tokenizer: GapTokenizer) -> None:
    prompts = facts_table(tokenizer, CAPITAL, LANDS)
    needed = {
        row.text: len(row.input_ids) + (len(row.target_ids) - 1 if tokenizer.objective == "causal" else 0)
        for row in prompts.itertuples()
    }
    shortest = prompts.assign(needed=prompts["text"].map(needed)).groupby("group")["needed"].min()
    longest = int(shortest.max()) - 1
    requests, table = made(tokenizer, prompts, longest=longest)
    long = {f"P36/{group}" for group in shortest[shortest > longest].index}
    assert {name for name, status in statuses(table).items() if status == TOO_LONG} == long
    assert long and requests
    for request in requests:
        assert needed[request.text] <= longest
        more = len(request.new_prompt.target_ids) - 1 if tokenizer.objective == "causal" else 0
        assert len(request.new_prompt.input_ids) + more <= longest
        fitting = prompts[(prompts["group"] == request.cluster) & (prompts["text"].map(needed) <= longest)]
        assert len(request.paraphrases) == len(fitting)


@pytest.mark.parametrize("name", CAUSAL)
def test_words_of_several_tokens_need_positions(name: str) -> None:
    """All of a word's tokens but the last are read, too."""
    tokenizer = TOKENIZERS[name]
    prompts = facts_table(tokenizer, CAPITAL[:1], [("Italy", "Rome"), ("Spain", "New Castile Madrid")])
    read = {row.subject: len(row.input_ids) for row in prompts.itertuples()}
    assert read["Italy"] == read["Spain"] and {len(ids) for ids in prompts["target_ids"]} == {1, 3}
    for more, expected in ((0, [NO_OBJECT, TOO_LONG]), (1, [NO_OBJECT, TOO_LONG]), (2, [EDITED, EDITED])):
        assert list(made(tokenizer, prompts, longest=read["Italy"] + more)[1]["status"]) == expected
    pairs = pairs_table(tokenizer).iloc[:1]
    length = len(pairs["input_ids"].iloc[0])
    pairs = pairs.assign(foil_ids=[(1, 2, 3)])
    for more, status in ((1, TOO_LONG), (2, EDITED)):
        assert list(made(tokenizer, pairs, longest=length + more)[1]["status"]) == [status]


def test_a_sample_is_drawn_by_names(tokenizer: GapTokenizer) -> None:
    prompts = facts_table(tokenizer, CAPITAL, LANDS)
    every, _ = made(tokenizer, prompts)
    some, table = made(tokenizer, prompts, most=3)
    first = sorted((request.name for request in every), key=lambda name: hash_rank("request", 1, name))[:3]
    assert [request.name for request in some] == sorted(first)
    assert all(same_request(request, other) for request in some for other in every if request.name == other.name)
    assert sorted(table["status"]) == sorted([EDITED] * 3 + [NOT_SAMPLED] * (len(LANDS) - 3))
    assert (table["new"] != "").all()
    nothing, table = made(tokenizer, prompts, most=0)
    assert nothing == [] and set(table["status"]) == {NOT_SAMPLED}


def test_draws_depend_on_nothing_but_names(tokenizer: GapTokenizer) -> None:
    prompts = facts_table(tokenizer, CAPITAL, LANDS)
    every, table = made(tokenizer, prompts)
    shuffled = prompts.sample(frac=1, random_state=1)
    again, same = made(tokenizer, shuffled)
    assert again == every
    pd.testing.assert_frame_equal(same, table)
    # Half of the facts have the same objects.
    half, _ = made(tokenizer, facts_table(tokenizer, CAPITAL, LANDS[1::2] + LANDS[:1]))
    assert len(half) == 5 and all(request in every for request in half)
    other, _ = made(tokenizer, prompts, seed=2)
    assert [one.text for one in other] != [one.text for one in every]
    assert [one.new for one in other] != [one.new for one in every]


def test_the_first_object_by_rank_is_taken(tokenizer: GapTokenizer) -> None:
    """Held against a plain search; words' tokens are those of the filled text after the prompt's own."""
    prompts = facts_table(tokenizer, CAPITAL[:1], LANDS)
    for seed in range(4):
        for request in made(tokenizer, prompts, seed=seed, max_target_tokens=3)[0]:
            allowed = []
            for other in sorted({b for _, b in LANDS} - {request.old}):
                ids = tokenizer.encode(request.prefix, request.suffix, other).target_ids
                if len(ids) > 3 or (tokenizer.objective == "masked" and len(ids) != len(request.old_prompt.target_ids)):
                    continue
                allowed.append(other)
            best = min(allowed, key=lambda name: hash_rank("object", seed, "P36", request.cluster, name))
            assert request.new == best


def test_no_right_object_and_not_the_subject_itself(tokenizer: GapTokenizer) -> None:
    facts = [("France", "Paris"), ("France", "Rome"), ("Italy", "Rome"), ("Italy", "France")]
    requests, table = made(tokenizer, facts_table(tokenizer, CAPITAL, facts))
    found = {(request.subject, request.old): request.new for request in requests}
    assert found == {("Italy", "Rome"): "Paris", ("Italy", "France"): "Paris"}
    # Of France's, two are right, and the third is its own name.
    assert [statuses(table)[f"P36/France-{city}"] for city in ("Paris", "Rome")] == [NO_OBJECT, NO_OBJECT]


def test_words_that_cannot_be_told_apart_or_are_too_long(tokenizer: GapTokenizer) -> None:
    # "Rome" begins "Rome Castile"; a masked model would see another number of masks.
    prompts = facts_table(tokenizer, CAPITAL, [("Italy", "Rome"), ("Spain", "Rome Castile")])
    assert set(made(tokenizer, prompts)[1]["status"]) == {NO_OBJECT}
    prompts = facts_table(tokenizer, CAPITAL, [("Italy", "Rome"), ("Spain", "New Castile Madrid")])
    expected = NO_OBJECT if tokenizer.objective == "masked" else EDITED
    assert statuses(made(tokenizer, prompts)[1])["P36/Italy-Rome"] == expected
    assert statuses(made(tokenizer, prompts, max_target_tokens=2)[1])["P36/Italy-Rome"] == NO_OBJECT


def test_an_unknown_word_gives_way_to_the_next() -> None:
    tokenizer = TOKENIZERS["metaspace"]
    prompts = facts_table(tokenizer, CAPITAL, LANDS)
    strange = prompts.assign(target=prompts["target"].replace("Madrid", "Žluť"))
    requests, table = made(tokenizer, strange)
    assert set(table["status"]) == {EDITED} and "Žluť" not in {request.new for request in requests}
    assert "Madrid" in {request.new for request in made(tokenizer, prompts)[0]}


def test_paraphrases_begin_with_the_edited_prompt(tokenizer: GapTokenizer) -> None:
    prompts = facts_table(tokenizer, CAPITAL, LANDS)
    for request in made(tokenizer, prompts, wrong=("In ",))[0]:
        own = prompts[prompts["group"] == request.cluster]
        expected = [tokenizer.encode(row.prefix, row.suffix, request.old) for row in own.itertuples()]
        assert request.paraphrases[0] == request.old_prompt
        assert sorted(request.paraphrases, key=str) == sorted(expected, key=str)
        assert not request.text.startswith("In ")  # wrong ones are paraphrases, and never edited


def test_a_masked_model_takes_a_subject_behind_the_gap_when_it_must() -> None:
    prompts = facts_table(BERT, CAPITAL, LANDS)
    for seed in range(4):
        assert all(not request.text.startswith("___") for request in made(BERT, prompts, seed=seed)[0])
    requests, table = made(BERT, prompts, wrong=("The capital", " capital is", "the capital"))
    assert set(table["status"]) == {EDITED} and len(requests) == len(LANDS)
    for request in requests:
        assert request.text == f"___ is {request.subject}'s capital."
        assert request.subject_token > request.new_prompt.gap
        last = BERT.tokenizer.id_to_token(request.new_prompt.input_ids[request.subject_token])
        assert request.subject.endswith(last.removeprefix("##"))


def test_pairs(tokenizer: GapTokenizer) -> None:
    prompts = pairs_table(tokenizer)
    requests, table = made(tokenizer, prompts, wrong=("A man", "the vase "))
    expected = {f"agreement/{place}": EDITED for place in range(len(AGREEMENT))}
    assert statuses(table) == expected | {"agreement/2": UNKNOWN, "agreement/4": UNKNOWN}
    assert [request.name for request in requests] == [name for name in expected if name[-1] not in "24"]
    for request, row in zip(requests, table[table["status"] == EDITED].itertuples(), strict=True):
        cue, distractor, one, many, rest, number, noun = AGREEMENT[int(request.name[-1])]
        assert (request.kind, request.cluster, row.cluster, request.subject) == ("paradigm", noun, noun, cue)
        assert request.prefix == f"{cue} near {distractor}" and request.subject_at == 0
        assert request.suffix == (rest if tokenizer.objective == "masked" else "")
        assert (request.old, request.new) == ((one, many) if number == "singular" else (many, one))
        assert request.new_prompt == tokenizer.encode(request.prefix, request.suffix, request.new)
        assert request.paraphrases == (request.old_prompt,)
        assert request.old_prompt == tokenizer.encode(request.prefix, request.suffix, request.old)
        assert read(tokenizer, request.new_prompt.input_ids[: request.subject_token + 1]) == "".join(cue.split())


def test_pairs_that_cannot_be_edited(tokenizer: GapTokenizer) -> None:
    prompts = pairs_table(tokenizer)
    changed = without_cue(prompts, "agreement/0")
    changed.loc[1, "distractor_at"] = -1
    changed.loc[2, ["cue", "cue_at", "distractor", "distractor_at"]] = ["the kings", 11, "A man", 0]
    changed.loc[3, "distractor_at"] = len(changed.loc[3, "prefix"]) + 1
    _, table = made(tokenizer, changed)
    assert list(table["status"]) == [NO_SUBJECT] * 4 + [EDITED] * 3
    longest = min(len(ids) for ids in prompts["input_ids"])
    found = statuses(made(tokenizer, prompts, longest=longest)[1])
    assert set(found.values()) == {EDITED, TOO_LONG}
    for row in prompts.itertuples():
        assert (found[row.prompt] == TOO_LONG) == (len(row.input_ids) > longest)


def test_a_sample_of_pairs_has_many_subjects() -> None:
    tokenizer = TOKENIZERS["bytes"]
    subjects = ["The king", "the king", "The old king", "A man", "The woman"]
    nouns = ["king", "king", "king", "man", "woman"]
    places = ["the vases", "those vases", "these women"]
    rows = [
        (cue, place, verb, "have", " old.", "singular", noun)
        for cue, noun in zip(subjects, nouns, strict=True)
        for place in places
        for verb in ("is", "has")
    ]
    prompts = pairs_table(tokenizer, rows)
    assert len(prompts) == 30
    for seed in range(4):
        three, _ = made(tokenizer, prompts, most=3, seed=seed)
        assert sorted(request.cluster for request in three) == ["king", "man", "woman"]
        six, _ = made(tokenizer, prompts, most=6, seed=seed)
        assert sorted(request.cluster for request in six) == ["king"] * 2 + ["man"] * 2 + ["woman"] * 2
        eight, _ = made(tokenizer, prompts, most=8, seed=seed)
        assert len({(request.subject.lower(), request.old) for request in eight}) == 8  # "the king" counts once
        assert {request.name for request in three} <= {request.name for request in eight}
        nine, table = made(tokenizer, prompts, most=9, seed=seed)
        assert len(nine) == 9 and sorted(table["status"].value_counts()) == [9, 21]
    names = [{request.name for request in made(tokenizer, prompts, most=3, seed=seed)[0]} for seed in range(4)]
    assert len({tuple(sorted(found)) for found in names}) > 1


def test_a_table_of_nothing() -> None:
    prompts = facts_table(BERT, CAPITAL, LANDS).iloc[:0]
    requests, table = made(BERT, prompts)
    assert requests == [] and list(table.columns) == COLUMNS and table.empty
