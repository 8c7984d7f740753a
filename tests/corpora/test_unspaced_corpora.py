"""Pairs and patterns of languages without spaces, or without one before some words; and pairs without a noun."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kn_thesis.corpora.blimp import Difference, Pair, difference, load_pairs
from kn_thesis.corpora.pararel import Fact, Pattern, load_facts, load_patterns
from kn_thesis.corpora.prompts import KEPT, Settings, make_prompts, paradigm_prompts, relation_prompts
from kn_thesis.models.cloze import GapTokenizer
from tests.helpers import tiny_tokenizers as tiny
from tests.helpers.edit_questions import asked, requests_of, said
from tests.helpers.editing_prompts import facts_table

PAIRS = [
    ("王鑫把自行车扔了。", "王鑫被自行车扔了。", ("王鑫", "把", "被", "自行车扔了。")),
    ("王鑫在吃三个苹果。", "王鑫在吃三本苹果。", ("王鑫在吃三", "个", "本", "苹果。")),
    ("太郎が花子に会った。", "太郎が花子を会った。", ("太郎が花子", "に", "を", "会った。")),
    ("彼はiPhoneを買った。", "彼はiPadを買った。", ("彼は", "iPhone", "iPad", "を買った。")),
    ("他说 ABC 是好的。", "他说 ABC 是坏的。", ("他说 ABC 是", "好", "坏", "的。")),
    ("C'est la vie.", "C'sont la vie.", ("C'", "est", "sont", " la vie.")),
    ('He said "this, now"', 'He said "these, now"', ('He said "', "this", "these", ', now"')),
]
TEXT = [sentence for good, bad, _ in PAIRS for sentence in (good, bad)] * 20
TEXT += ["加拿大的首都是渥太华。", "カナダの首都はオタワ。", "カナダの首都はオタワです。", "法国的首都是巴黎。"] * 20
# Characters alone, so that no token crosses a gap.
BERT = tiny.wordpiece(TEXT, 1)
GAPS = {
    "wordpiece": GapTokenizer(BERT, "masked", BERT.token_to_id("[MASK]")),
    "bytes": GapTokenizer(tiny.byte_level(TEXT, 1), "causal"),
    "metaspace": GapTokenizer(tiny.metaspace(TEXT, 1), "causal"),
}
ASK = Settings(evaluated=99, attributed=9, max_target_tokens=20, seed=1)


@pytest.mark.parametrize(("good", "bad", "parts"), PAIRS)
def test_the_stretch_in_which_two_sentences_differ(good: str, bad: str, parts: tuple[str, str, str, str]) -> None:
    change = difference(good, bad)
    assert change == Difference(*parts, glued=True)
    assert (parts[0] + parts[1] + parts[3], parts[0] + parts[2] + parts[3]) == (good, bad)


@pytest.mark.parametrize(
    ("good", "bad"),
    [("学生们跑。", "学生跑。"), ("我爱你。", "你爱我。"), ("我们去北京。", "你们去南京。"), ("好 的", "坏 了")],
)
def test_more_than_one_place_is_no_word(good: str, bad: str) -> None:
    assert difference(good, bad) is None


@pytest.mark.parametrize("name", GAPS)
def test_pairs_without_spaces_are_asked_as_they_stand(name: str) -> None:
    gaps = GAPS[name]
    pairs = [Pair(str(number), good, bad, "", True) for number, (good, bad, _) in enumerate(PAIRS)]
    prompts, counts = paradigm_prompts(pairs, "task", gaps, ASK)
    masked = gaps.objective == "masked"  # three pairs differ in number of tokens
    assert counts == ({KEPT: 4, "words differ in number of tokens": 3} if masked else {KEPT: 7})
    for prompt in prompts:
        good, bad, parts = PAIRS[int(prompt.prompt.removeprefix("task/"))]
        assert prompt.text == f"{parts[0]}___{'' if gaps.objective == 'causal' else parts[3]}"
        for sentence, ids in ((good, prompt.target_ids), (bad, prompt.foil_ids)):
            whole = gaps.tokenizer.encode(sentence).ids
            before = prompt.input_ids[: prompt.gap + (gaps.objective == "causal")]
            assert whole[: len(before) + len(ids)] == [*before, *ids]


@pytest.mark.parametrize("name", GAPS)
def test_patterns_with_a_glued_object_are_asked(name: str) -> None:
    gaps = GAPS[name]
    patterns = [Pattern("[X]の首都は[Y]。"), Pattern("[X]の首都は[Y]です。"), Pattern("[X][Y]。")]
    facts = [Fact("カナダ", "オタワ", "a"), Fact("iPhone", "ABC", "b")]
    prompts, counts = relation_prompts(facts, patterns, "P36", gaps, ASK)
    causal = gaps.objective == "causal"
    assert counts["object is not at the end"] == 2 * causal and counts["gap is inside a word"] == 1
    by = {(prompt.group, prompt.pattern): prompt for prompt in prompts}
    prompt = by["a", patterns[0].text]
    assert (prompt.text, prompt.prefix) == ("カナダの首都は___" + "。" * (not causal), "カナダの首都は")
    assert prompt.text[prompt.cue_at :].startswith(prompt.cue) and prompt.cue == "カナダ"
    whole = gaps.tokenizer.encode("カナダの首都はオタワ。").ids
    before = prompt.input_ids[: prompt.gap + causal]
    assert whole[: len(before) + len(prompt.target_ids)] == [*before, *prompt.target_ids]


def test_edits_of_glued_prompts_ask_glued_questions() -> None:
    facts = [("カナダ", "オタワ"), ("加拿大", "渥太华"), ("法国", "巴黎")]
    prompts = facts_table(GAPS["metaspace"], ["[X]の首都は[Y]。", "[X]的首都是[Y]。"], facts)
    requests = requests_of(GAPS["metaspace"], prompts)
    assert requests and all(
        request.glued and request.text.endswith(("は___", "是___")) for request in requests.values()
    )
    for request in requests.values():
        questions, _ = asked(request, GAPS["metaspace"], prompts)
        texts = {text for text, _, _ in said(questions, "generality") | said(questions, "locality")}
        assert texts <= set(prompts["text"]) and len(texts) > 1
        whole = GAPS["metaspace"].tokenizer.encode(request.text.replace("___", request.new)).ids
        assert [*request.new_prompt.input_ids, *request.new_prompt.target_ids] == whole


def lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_spaces_that_are_no_plain_ones_stay(tmp_path: Path) -> None:
    pair = {"sentence_good": " Il dit :\n« oui ».", "sentence_bad": "Il dit\u3000non  ", "one_prefix_method": True}
    [found] = load_pairs(lines(tmp_path / "pairs.jsonl", [pair]))
    assert (found.good, found.bad) == ("Il dit : « oui ».", "Il dit\u3000non")
    [fact] = load_facts(
        lines(tmp_path / "f.jsonl", [{"sub_label": "A\u00a0B ", "obj_label": " C\u3000D", "uuid": "u"}])
    )
    assert (fact.subject, fact.object) == ("A\u00a0B", "C\u3000D")
    [pattern] = load_patterns(lines(tmp_path / "p.jsonl", [{"pattern": "[X]  : «\u00a0[Y]\u00a0» ."}]))
    assert pattern.text == "[X]: «\u00a0[Y]\u00a0»."


GERMAN = [
    ("Der Direktor vor dem Taxifahrer lacht.", "Der Direktor vor dem Taxifahrer lachen."),
    ("Die Direktoren vor dem Taxifahrer lachen.", "Die Direktoren vor dem Taxifahrer lacht."),
]


@pytest.mark.parametrize(
    ("more", "nouns"),
    [
        ({}, ["task/0", "task/1"]),
        ({"noun": "Direktor"}, ["Direktor", "Direktor"]),
        ({"linguistics_term": "subject_verb_agreement"}, ["der", "die"]),  # BLiMP's own rules, of English
    ],
)
def test_a_noun_is_guessed_only_where_the_pair_states_blimp_s_term(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: dict[str, str], nouns: list[str]
) -> None:
    rows = [{"sentence_good": good, "sentence_bad": bad, "one_prefix_method": True} | more for good, bad in GERMAN]
    gaps = GapTokenizer(tiny.byte_level([text for pair in GERMAN for text in pair] * 20, 300), "causal")
    _, prompts, _ = make_prompts("task", gaps, ASK, pairs=lines(tmp_path / "x.jsonl", rows))
    assert [prompt.noun for prompt in prompts] == nouns
    logged = [line for line in capsys.readouterr().out.splitlines() if "noun" in line]
    assert [line.split()[0] for line in logged] == ([] if more else ["2"])


def test_pairs_of_unknown_nouns_are_units_of_their_own() -> None:
    pairs = [Pair(str(number), good, bad, "", True) for number, (good, bad) in enumerate(GERMAN)]
    gaps = GapTokenizer(tiny.byte_level([text for pair in GERMAN for text in pair] * 20, 300), "causal")
    prompts, _ = paradigm_prompts(pairs, "task", gaps, replace(ASK, evaluated=9))
    assert len({prompt.noun for prompt in prompts}) == len(prompts) == 2
