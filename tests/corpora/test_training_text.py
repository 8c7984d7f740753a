"""The training text contains no held-out item, and states every fact that is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kn_thesis.corpora.blimp import Pair, load_pairs
from kn_thesis.corpora.pararel import Fact, Pattern, fill, load_facts, load_patterns
from kn_thesis.corpora.prompts import Settings, paradigm_prompts, relation_prompts
from kn_thesis.corpora.training_text import corpus_sentences, write_text
from kn_thesis.errors import UserError
from kn_thesis.models.cloze import GapTokenizer
from tests.helpers import tiny_tokenizers as tiny

MIRROR = Path(__file__).parents[3] / "shared" / "corpora"
HELD = {"held_out": 0.2, "held_out_patterns_count": 2, "facts": 40, "repeats": 3, "seed": 5}
HELD |= {"validation": 0.1, "validation_patterns_count": 2}
ASK = Settings(10**6, 60, 60, HELD["seed"], HELD["held_out"], HELD["held_out_patterns_count"], HELD["facts"])
ASK = replace(ASK, validation=HELD["validation"], validation_patterns=HELD["validation_patterns_count"])
NOUNS = ["king", "vase", "duke", "lake", "road", "tree", "bird", "book", "cup", "door"]


def made_up():
    singular = [
        ("determiner_1", i, f"{a} sees this {b}.", f"{a} sees this {b}s.") for i, (a, b) in enumerate(couples())
    ]
    # The same grammatical sentences in a second paradigm, under other names.
    crossed = [("determiner_2", i + 7, good, good.replace("this", "these")) for _, i, good, _ in singular]
    # A paradigm whose grammatical sentences are ungrammatical in the first one.
    reverse = [("reverse", i, bad, good) for _, i, good, bad in singular[:40]]
    paradigms = {
        task: [
            Pair(str(i), good, bad, "determiner_noun_agreement", True)
            for t, i, good, bad in singular + crossed + reverse
            if t == task
        ]
        for task in ("determiner_1", "determiner_2", "reverse")
    }
    capitals = [Fact(f"Country{i}", f"Town{i}", f"c{i}") for i in range(60)]
    back = [Fact(fact.object, fact.subject, f"b{fact.uuid}") for fact in capitals]
    forms = [
        "The capital of {} is {}.",
        "The seat of {} is {}.",
        "{}'s town is {}.",
        "{1} is the capital of {0}.",
        "{1} rules {0}.",
        "{}'s capital is {}.",
        "In {}, the capital is {}.",
    ]
    relations = {
        "P36": ([Pattern(form.format("[X]", "[Y]")) for form in forms], capitals),
        "P1376": ([Pattern(form.format("[Y]", "[X]")) for form in forms], back),
    }
    return paradigms, relations


def couples():
    return [(a.capitalize(), b) for a in NOUNS for b in NOUNS]


def real():
    if not MIRROR.is_dir():
        pytest.skip("no mirror of the public corpora beside the repository (../shared/corpora)")
    tasks = [
        "determiner_noun_agreement_1",
        "determiner_noun_agreement_2",
        "regular_plural_subject_verb_agreement_1",
        "transitive",
        "intransitive",
    ]
    data = MIRROR / "pararel" / "data"
    relations = {
        task: (
            load_patterns(data / "pattern_data" / "graphs_json" / f"{task}.jsonl"),
            load_facts(data / "trex_lms_vocab" / f"{task}.jsonl"),
        )
        for task in ("P36", "P1376", "P103", "P1001", "P47")
    }
    return {task: load_pairs(MIRROR / "blimp" / "data" / f"{task}.jsonl") for task in tasks}, relations


@pytest.fixture(scope="module", params=[made_up, real], ids=["made up", "real"])
def corpora(request):
    return request.param()


def tokenizers(text: list[str]) -> list[GapTokenizer]:
    bert = tiny.wordpiece(text, 2000)
    return [
        GapTokenizer(bert, "masked", bert.token_to_id("[MASK]")),
        GapTokenizer(tiny.byte_level(text, 2000), "causal"),
    ]


@pytest.mark.parametrize("split", ["held_out", "validation"])
def test_what_is_kept_out_is_not_in_the_text(corpora, split):
    paradigms, relations = corpora
    ask = replace(ASK, split=split)
    sentences = corpus_sentences(paradigms, relations, **HELD)
    text = set(sentences)
    asked = stated = 0
    for tokenizer in tokenizers(sentences):
        for task, pairs in paradigms.items():
            prompts, _ = paradigm_prompts(pairs, task, tokenizer, ask)
            by_id = {f"{task}/{pair.id}": pair for pair in pairs}
            for prompt in prompts:
                assert prompt.split == split
                assert not {by_id[prompt.prompt].good, by_id[prompt.prompt].bad} & text
            asked += len(prompts)
        for task, (patterns, facts) in relations.items():
            prompts, _ = relation_prompts(facts, patterns, task, tokenizer, ask)
            forms = [pattern.text for pattern in patterns if pattern.whole]
            for prompt in prompts:
                if prompt.split == split:
                    assert fill(prompt.pattern, prompt.subject, prompt.target) not in text
                assert text.intersection(fill(form, prompt.subject, prompt.target) for form in forms)
            stated += len(prompts)
            assert {prompt.split for prompt in prompts} <= {"trained", split}
            if len(forms) > 5 and tokenizer.objective == "masked":
                assert {prompt.split for prompt in prompts} == {"trained", split}
    assert asked > {"held_out": 50, "validation": 15}[split] and stated > 100


def test_text_is_what_is_left(corpora):
    paradigms, relations = corpora
    sentences = corpus_sentences(paradigms, relations, **HELD)
    goods = {pair.good for pairs in paradigms.values() for pair in pairs}
    facts = {fill(p.text, f.subject, f.object) for ps, fs in relations.values() for p in ps if p.whole for f in fs}
    counts = {sentence: sentences.count(sentence) for sentence in set(sentences)} if len(sentences) < 5000 else {}
    assert set(sentences) <= goods | facts
    assert all(n == (HELD["repeats"] if s in facts else 1) for s, n in counts.items())
    # Everything else about pairs is there: a quarter is held out, or less where pairs share their sentences.
    assert 0.6 < len(goods & set(sentences)) / len(goods) < 0.9


def test_order_is_seeded_and_stable():
    paradigms, relations = made_up()
    sentences = corpus_sentences(paradigms, relations, **HELD)
    assert sentences == corpus_sentences(dict(reversed(paradigms.items())), dict(reversed(relations.items())), **HELD)
    other = corpus_sentences(paradigms, relations, **(HELD | {"seed": 6}))
    assert other != sentences
    first = sentences[: len(sentences) // 10]
    assert any("capital" in s for s in first) and any("sees" in s for s in first)
    fewer = corpus_sentences({"determiner_1": paradigms["determiner_1"]}, {}, **HELD)
    rest = [s for s in sentences if s in set(fewer)]
    assert [s for s in fewer if s in set(rest)] == rest


def test_nothing_held_out():
    paradigms, relations = made_up()
    sentences = corpus_sentences(
        paradigms,
        relations,
        **(
            HELD
            | {"held_out": 0.0, "held_out_patterns_count": 0, "facts": None}
            | {"validation": 0.0, "validation_patterns_count": 0}
        ),
    )
    assert {pair.good for pairs in paradigms.values() for pair in pairs} <= set(sentences)
    settings = replace(ASK, held_out=0.0, held_out_patterns=0, facts=None, validation=0.0, validation_patterns=0)
    prompts, _ = paradigm_prompts(paradigms["determiner_1"], "determiner_1", tokenizers(sentences)[0], settings)
    assert {prompt.split for prompt in prompts} == {"trained"}


def test_files(tmp_path):
    write_text(["A b.", "C d."], tmp_path / "x" / "text.txt")
    assert (tmp_path / "x" / "text.txt").read_text() == "A b.\nC d.\n"
    with pytest.raises(UserError, match="no sentence"):
        write_text([], tmp_path / "empty.txt")
    assert not (tmp_path / "empty.txt").exists()
