"""The table of prompts: every item is kept or counted, samples are stable, held-out items stay out."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from kn_thesis.corpora.agreement import number_of
from kn_thesis.corpora.blimp import Difference, Pair, difference, load_pairs
from kn_thesis.corpora.pararel import Fact, Pattern, load_facts, load_patterns, tidy
from kn_thesis.corpora.prompts import (
    KEPT,
    Prompt,
    Settings,
    make_prompts,
    merge_counts,
    paradigm_prompts,
    relation_prompts,
    write_counts,
    write_prompts,
)
from kn_thesis.corpora.sampling import (
    choose_facts,
    choose_pairs,
    draw_paraphrases,
    hash_rank,
    pair_split,
    pattern_splits,
)
from kn_thesis.errors import UserError
from kn_thesis.models.cloze import GapTokenizer
from tests.helpers import tiny_tokenizers as tiny

MIRROR = Path(__file__).parents[3] / "shared" / "corpora"
BERT = tiny.wordpiece()
MASKED = GapTokenizer(BERT, "masked", BERT.token_to_id("[MASK]"))
CAUSAL = GapTokenizer(tiny.byte_level(), "causal")
ASK = Settings(evaluated=400, attributed=60, max_target_tokens=3, seed=1)
WORDS = ["The", "king", "kings", "admires", "admire", "this", "these", "vase", "vases", "žluť", "Paris", "Rome"]
needs_mirror = pytest.mark.skipif(
    not MIRROR.is_dir(), reason="no mirror of the public corpora beside the repository (../shared/corpora)"
)


def pair(good: str, bad: str, number: int = 0, **more) -> Pair:
    return Pair(str(number), good, bad, "determiner_noun_agreement", **({"one_prefix": True} | more))


def test_difference():
    assert difference("The men cure ladies.", "The men cure lady.") == Difference("The men cure", "ladies", "lady", ".")
    assert difference("These kings run", "This kings run") == Difference("", "These", "This", " kings run")
    assert difference('He said "this, now"', 'He said "these, now"') == Difference(
        'He said "', "this", "these", ', now"', glued=True
    )
    assert difference("They haven't left", "They hasn't left") == Difference("They", "haven't", "hasn't", " left")
    assert difference("a b c", "a b") is None and difference("a b", "c d") is None and difference("a", "a") is None


def test_pair_becomes_a_prompt():
    pairs = [pair("The old king admires this vase.", "The old king admires those vase.", one_prefix=False)]
    (prompt,), counts = paradigm_prompts(pairs, "task", MASKED, ASK)
    assert counts == {KEPT: 1}
    assert (prompt.text, prompt.target, prompt.foil) == ("The old king admires ___ vase.", "this", "those")
    assert (prompt.group, prompt.number, prompt.split, prompt.attributed) == ("this", "singular", "held_out", True)
    assert prompt.prefix + " " + prompt.target + prompt.suffix == pairs[0].good
    assert [BERT.id_to_token(i) for i in prompt.foil_ids] == ["those"]
    assert paradigm_prompts(pairs, "task", CAUSAL, ASK)[1] == {KEPT: 0, "what follows decides between the words": 1}


def test_causal_prompt_ends_at_the_gap():
    (prompt,), _ = paradigm_prompts(
        [pair("The king admires this vase.", "The king admires this vases.")], "t", CAUSAL, ASK
    )
    assert prompt.text == "The king admires this ___" and prompt.suffix == ""
    assert prompt.number == "singular"  # by its determiner


def test_reasons_of_pairs():
    pairs = [
        pair("The king admires this vase.", "The king admires those vase.", 0),
        pair("The king admires this vase.", "The king admires those vase.", 1),
        pair("The king admires this.", "The kings admire this.", 2),
        pair("The king admires žluť.", "The king admires this.", 3),
        pair("The old king haven't.", "The old king this.", 4),
        pair("The king admires kingvasevase.", "The king admires this.", 5),
    ]
    _, counts = paradigm_prompts(pairs, "task", MASKED, ASK)
    assert counts == {
        KEPT: 1,
        "pair given twice": 1,
        "sentences differ in more than one word": 1,
        "unknown word": 1,
        "words differ in number of tokens": 1,
        "word has too many tokens": 1,
    }


def test_a_word_that_begins_the_other_is_not_a_causal_question():
    pairs = [pair("The old king.", "The old kingvase.")]
    _, counts = paradigm_prompts(pairs, "task", CAUSAL, replace(ASK, max_target_tokens=9))
    assert counts == {KEPT: 0, "one word's tokens begin the other's": 1}


def test_number():
    by = {
        ("determiner_noun_agreement", "d_1", Difference("These two", "vases", "vase", ".")): "plural",
        ("determiner_noun_agreement", "d_1", Difference("He says that", "geese", "goose", ".")): "singular",
        (
            "subject_verb_agreement",
            "regular_plural_subject_verb_agreement_1",
            Difference("A", "carries", "carry", ""),
        ): ("singular"),
        (
            "subject_verb_agreement",
            "regular_plural_subject_verb_agreement_1",
            Difference("A", "do", "does", ""),
        ): "plural",
        ("subject_verb_agreement", "regular_plural_subject_verb_agreement_2", Difference("The", "cars", "car", "")): (
            "plural"
        ),
        (
            "subject_verb_agreement",
            "irregular_plural_subject_verb_agreement_2",
            Difference("The", "man", "men", ""),
        ): "",
        ("anaphor_agreement", "a", Difference("She hurt", "themselves", "herself", ".")): "plural",
        ("npi_licensing", "n", Difference("It", "this", "these", ".")): "",
    }
    for (term, task, change), number in by.items():
        assert number_of(change, task, term) == number, change


def test_world_states_its_numbers(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"sentence_good": "The king runs.", "sentence_bad": "The king run.", "one_prefix_method": true, '
        '"pairID": "7", "target_number": "plural", "cue": "king", "lexical_key": "x"}\n'
    )
    (pair,) = load_pairs(path)
    assert pair == Pair("7", "The king runs.", "The king run.", "", True, "plural", cue="king")


FACTS = [
    Fact("France", "Paris", "a"),
    Fact("Italy", "Rome", "b"),
    Fact("Italy", "Rome", "c"),
    Fact("Rome", "žluť", "d"),
]
PATTERNS = [
    Pattern("The capital of [X] is [Y]."),
    Pattern("[Y] is the capital of [X]."),
    Pattern("The capital of [X]."),
    Pattern("The king.[Y] [X]."),
]


def test_facts_become_prompts():
    prompts, counts = relation_prompts(FACTS, PATTERNS, "P36", MASKED, ASK)
    assert sum(counts.values()) == len(FACTS) * len(PATTERNS)
    assert counts == {
        KEPT: 6,
        "fact given twice": 4,
        "pattern without subject or object": 3,
        "unknown word": 3,
    }
    assert {p.text for p in prompts if p.pattern == PATTERNS[3].text} == {"The king.___ France.", "The king.___ Italy."}
    first = next(p for p in prompts if p.group == "a" and p.pattern == PATTERNS[0].text)
    assert (first.text, first.target, first.foil, first.subject) == (
        "The capital of France is ___.",
        "Paris",
        "",
        "France",
    )
    assert first.split == "" and first.kind == "relation"
    prompts, counts = relation_prompts(FACTS, PATTERNS, "P36", CAUSAL, replace(ASK, max_target_tokens=9))
    assert counts["object is not at the end"] == 6 and {p.text for p in prompts} >= {"The capital of France is ___"}


def test_the_pattern_says_its_split():
    patterns = [replace(PATTERNS[0], split="trained"), replace(PATTERNS[1], split="held_out")]
    prompts, _ = relation_prompts(FACTS[:1], patterns, "P36", MASKED, ASK)
    assert {p.pattern: p.split for p in prompts} == {p.text: p.split for p in patterns}


def test_spacing_of_patterns():
    assert tidy("[X],  a type of [Y] .") == "[X], a type of [Y]."
    assert tidy("[Y] player [X] ") == "[Y] player [X]"
    assert Pattern("[X] is [Y] !").object_last and not Pattern("[Y] is [X]").object_last


@pytest.mark.parametrize("tokenizer", [MASKED, CAUSAL], ids=["masked", "causal"])
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(WORDS), min_size=1, max_size=6),
            st.integers(0, 5),
            st.sampled_from(WORDS),
            st.booleans(),
        ),
        max_size=25,
    ),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([None, 0.0, 0.5]),
)
def test_counts_sum_to_the_pairs(tokenizer, made, evaluated, attributed, held_out):
    pairs = []
    for number, (words, place, other, one_prefix) in enumerate(made):
        bad = [*words]
        bad[place % len(words)] = other
        pairs.append(pair(" ".join(words) + ".", " ".join(bad) + ".", number, one_prefix=one_prefix))
    case_settings = replace(ASK, evaluated=evaluated, attributed=attributed, held_out=held_out)
    prompts, counts = paradigm_prompts(pairs, "task", tokenizer, case_settings)
    check(prompts, counts, len(pairs), case_settings)
    assert len(prompts) <= evaluated


@pytest.mark.parametrize("tokenizer", [MASKED, CAUSAL], ids=["masked", "causal"])
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)), max_size=12),
    st.lists(
        st.sampled_from(["[X] is [Y].", "[Y] is [X].", "is [X]", "the [X]'s [Y]", "[Y] [X] [Y]", "of [X] [Y] ."]),
        max_size=8,
    ),
    st.integers(1, 12),
    st.sampled_from([None, 0.5]),
)
def test_counts_sum_to_the_facts_times_patterns(tokenizer, made, patterns, evaluated, held_out):
    facts = [Fact(subject, object, f"u{number}") for number, (subject, object) in enumerate(made)]
    case_settings = replace(
        ASK, evaluated=evaluated, attributed=5, held_out=held_out, held_out_patterns=2, facts=6 if held_out else None
    )
    prompts, counts = relation_prompts(
        facts, [Pattern(tidy(text)) for text in patterns], "P1", tokenizer, case_settings
    )
    check(prompts, counts, len(facts) * len(patterns), case_settings)


def check(prompts: list[Prompt], counts: Counter[str], items: int, case_settings: Settings) -> None:
    assert sum(counts.values()) == items and counts[KEPT] == len(prompts)
    names = [prompt.prompt for prompt in prompts]
    assert names == sorted(set(names))
    assert all(1 <= len(prompt.target_ids) <= case_settings.max_target_tokens for prompt in prompts)
    assert all(prompt.foil_ids != prompt.target_ids for prompt in prompts)
    assert any(prompt.attributed for prompt in prompts) or not prompts


groups = st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(1, 9), max_size=12).map(
    lambda sizes: {word: [f"{word}{i}" for i in range(size)] for word, size in sizes.items()}
)


@settings(max_examples=200, deadline=None)
@given(groups, st.integers(1, 60), st.integers(1, 60))
def test_samples(by_group, evaluated, attributed):
    everything = {name for names in by_group.values() for name in names}
    sample, localized = choose_pairs(by_group, evaluated, attributed, hash_rank)
    assert localized <= sample <= everything
    assert len(sample) == min(evaluated, len(everything)) and len(localized) <= min(attributed, evaluated)
    sample, localized = choose_facts(by_group, evaluated, attributed, hash_rank)
    assert localized <= sample <= everything
    for names in by_group.values():  # whole facts
        assert sample >= set(names) or not sample & set(names)
        assert localized >= set(names) or not localized & set(names)
    largest = max(map(len, by_group.values()), default=0)
    assert len(sample) <= max(evaluated, largest) and len(localized) <= max(attributed, largest)


def test_localized_words_are_balanced():
    by_word = {
        word: [f"{word}{i}" for i in range(size)]
        for word, size in {"this": 90, "that": 80, "these": 100, "x": 2}.items()
    }
    _, localized = choose_pairs(by_word, 200, 60, hash_rank)
    shares = Counter(name.rstrip("0123456789") for name in localized)
    assert shares["this"] == shares["that"] == shares["these"] >= 19


def test_an_added_item_changes_little():
    by_word = {str(word): [f"{word}/{i}" for i in range(8)] for word in range(30)}
    for choose in (choose_pairs, choose_facts):
        before, _ = choose(by_word, 120, 24, hash_rank)
        after, _ = choose({"new": [f"new/{i}" for i in range(8)]} | by_word, 120, 24, hash_rank)
        assert len(before ^ after) <= 32
        shuffled = {word: by_word[word][::-1] for word in reversed(by_word)}
        assert choose(shuffled, 120, 24, hash_rank) == choose(by_word, 120, 24, hash_rank)


def of_split(splits, name):
    return [text for text, split in splits.items() if split == name]


def test_patterns_kept_out_take_turns():
    patterns = [Pattern(text) for text in ("a [X] [Y].", "b [X] [Y].", "c [X] [Y].", "[Y] a [X].", "[Y] b [X].")]
    for seed in range(20):
        out = of_split(pattern_splits(patterns, 2, 0, "P1", seed), "held_out")
        assert len(out) == 2 and sum(Pattern(text).object_last for text in out) == 1
        both = pattern_splits(patterns, 2, 2, "P1", seed)
        assert of_split(both, "held_out") == out and len(of_split(both, "validation")) == 2
        everything = of_split(pattern_splits(patterns, 99, 99, "P1", seed), "held_out")
        assert len(everything) == 4 and any(p.object_last for p in patterns if p.text not in everything)
    assert set(pattern_splits(patterns[:1], 3, 3, "P1", 1).values()) == {"trained"}
    assert set(pattern_splits(patterns, 0, 0, "P1", 1).values()) == {"trained"}


def test_shares_of_pairs():
    splits = [pair_split(f"Sentence {i}.", 0.2, 0.1, 1) for i in range(5000)]
    assert 900 < splits.count("held_out") < 1100 and 420 < splits.count("validation") < 580
    fewer = [pair_split(f"Sentence {i}.", 0.2, 0.0, 1) for i in range(5000)]
    assert all(one == other for one, other in zip(splits, fewer, strict=True) if one != "validation")
    assert pair_split("x", 1.0, 0.0, 1) == "held_out" and pair_split("x", 0.0, 0.0, 1) == "trained"


@pytest.mark.parametrize("split", ["held_out", "validation"])
def test_the_study_never_asks_what_ends_training(split):
    """Every prompt has the requested split, whether its item states a split or the rule assigns it."""
    pairs = [pair(f"The {word} admires Paris.", f"The {word} admires Rome.", n) for n, word in enumerate(WORDS)]
    owned = [replace(one, split=("held_out", "validation")[n % 2]) for n, one in enumerate(pairs)]
    patterns = [Pattern(f"{word} [X] [Y].") for word in WORDS]
    stated = [replace(one, split=("trained", "held_out", "validation")[n % 3]) for n, one in enumerate(patterns)]
    by_rule = replace(ASK, held_out=0.4, validation=0.4, held_out_patterns=2, validation_patterns=2)
    for settings_, some_pairs, some_patterns in ((ASK, owned, stated), (by_rule, pairs, patterns)):
        case_settings = replace(settings_, split=split)
        prompts, counts = paradigm_prompts(some_pairs, "task", MASKED, case_settings)
        assert prompts and {prompt.split for prompt in prompts} == {split}
        assert sum(counts.values()) == len(some_pairs)
        prompts, counts = relation_prompts(FACTS[:1], some_patterns, "P36", MASKED, case_settings)
        assert {prompt.split for prompt in prompts} == {"trained", split}
        assert sum(counts.values()) == len(some_patterns)


def test_a_world_s_paraphrases_are_drawn_by_the_seed():
    patterns = [
        "a b [Y] .",
        "a c [Y] .",
        "b c [Y] .",
        "a b c [Y] .",
        "a d [Y] .",
        "a e [Y] .",
        "e a [Y] .",
        "[Y] a b c .",
    ]
    drawn = set()
    for seed in range(30):
        splits = draw_paraphrases(patterns, {"held_out": 1, "validation": 1}, "P1", seed)
        kept_out = [pattern for pattern, split in splits.items() if split != "trained"]
        assert sorted(splits[pattern] for pattern in kept_out) == ["held_out", "validation"]
        # `d` would be gone from the text, and the last pattern is not for every model.
        assert not {"a d [Y] .", "[Y] a b c ."} & set(kept_out)
        for word, most in (("b", 1), ("c", 1), ("e", 1)):  # of three, three and two patterns
            assert sum(word in pattern for pattern in kept_out) <= most
        drawn.add(tuple(kept_out))
    assert len(drawn) > 3
    others = {pattern for pattern in patterns if "e" not in pattern}
    for seed in range(9):  # what another relation states is in the text
        splits = draw_paraphrases(patterns, {"held_out": 1}, "P1", seed, elsewhere=others)
        assert {pattern for pattern, split in splits.items() if split == "held_out"} < {"a e [Y] .", "e a [Y] ."}
    assert set(draw_paraphrases(["x [Y] .", "y [Y] ."], {"held_out": 1}, "P1", 1).values()) == {"trained"}


def test_at_most_half_of_a_turn_of_phrase_is_kept_out():
    """Counted by hand over the paraphrases of the world's capitals: each word, alone and with the first word."""
    frames = ["The {} of [X] is [Y] .", "[X]'s {} is [Y] .", "In [X] the {} is [Y] ."]
    patterns = [frame.format(noun) for frame in frames for noun in ("capital", "capital city", "seat", "seat here")]
    for seed in range(40):
        splits = draw_paraphrases(patterns, {"held_out": 2, "validation": 2}, "P1", seed)
        gone = [pattern.split() for pattern, split in splits.items() if split != "trained"]
        assert 3 <= len(gone) <= 4
        for first in ("The", "[X]'s", "In"):
            assert sum(words[0] == first for words in gone) <= 2
            for word in ("capital", "seat"):  # twice with each first word
                assert sum(words[0] == first and word in words for words in gone) <= 1
        for word in ("city", "here"):  # three times in all
            assert sum(word in words for words in gone) <= 1


def test_table_on_disk(tmp_path):
    pairs = [pair("The old king admires this vase.", "The old king admires those vase.")]
    prompts, counts = paradigm_prompts(pairs, "task", MASKED, ASK)
    for rows in (prompts, []):
        write_prompts({"task": rows}, tmp_path / "bert" / "task.parquet")
        table = parquet.read_table(tmp_path / "bert" / "task.parquet")
        assert table.column_names == [field.name for field in fields(Prompt)]
        assert str(table.schema.field("input_ids").type) == "list<element: int32>"
        assert str(table.schema.field("gap").type) == "int32"
        assert [tuple(row["input_ids"]) for row in table.to_pylist()] == [prompt.input_ids for prompt in rows]
    write_counts({"task": ("paradigm", counts | {"b": 2, "a": 1})}, tmp_path / "bert" / "task.counts.csv")
    write_counts({"P1": ("relation", {})}, tmp_path / "gpt2" / "P1.counts.csv")
    paths = [tmp_path / "bert" / "task.counts.csv", tmp_path / "gpt2" / "P1.counts.csv"]
    merge_counts(paths, {"bert": "bert", "gpt2": "gpt2"}, tmp_path / "corpora.csv")
    assert (tmp_path / "corpora.csv").read_text().splitlines() == [
        "model,family,task,kind,reason,count",
        "bert,bert,task,paradigm,kept,1",
        "bert,bert,task,paradigm,a,1",
        "bert,bert,task,paradigm,b,2",
        "gpt2,gpt2,P1,relation,kept,0",
    ]
    paths[0].write_text("x\n")
    with pytest.raises(UserError, match="columns"):
        merge_counts(paths, {"bert": "bert", "gpt2": "gpt2"}, tmp_path / "corpora.csv")


GOOD = '{"sentence_good": "a b", "sentence_bad": "a c", "one_prefix_method": true, "pairID": "%d"}\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (GOOD % 1 + "{broken\n", "line 2: not JSON"),
        (GOOD % 1 + "[1]\n", "line 2: not a JSON object"),
        (GOOD % 1 + '{"sentence_good": "a"}\n', "line 2: needs the key 'sentence_bad'"),
        (GOOD % 1 + (GOOD % 2).replace('"a b"', "5"), "line 2: needs the key 'sentence_good'"),
        (GOOD % 1 + GOOD % 1, "line 2: pairID 1 appears twice"),
        (None, "no such file"),
    ],
)
def test_broken_files(tmp_path, content, says):
    path = tmp_path / "x.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as caught:
        load_pairs(path)
    assert str(path) in str(caught.value) and says in str(caught.value) and "\n" not in str(caught.value)


def test_loading_leaves_nothing_behind(tmp_path, monkeypatch, capfd):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(GOOD % 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    assert load_pairs(tmp_path / "a.jsonl") == load_pairs(tmp_path / "b.jsonl")
    assert not list((tmp_path / "cache").iterdir())
    assert capfd.readouterr() == ("", "")


@needs_mirror
@pytest.mark.parametrize("tokenizer", [MASKED, CAUSAL], ids=["masked", "causal"])
@pytest.mark.parametrize(
    "task", ["determiner_noun_agreement_2", "animate_subject_passive", "distractor_agreement_relational_noun"]
)
def test_real_pairs(tokenizer, task):
    path = MIRROR / "blimp" / "data" / f"{task}.jsonl"
    case_settings = replace(ASK, max_target_tokens=9)
    kind, prompts, counts = make_prompts(task, tokenizer, case_settings, pairs=path)
    assert kind == "paradigm"
    check(prompts, counts, len(path.read_text().splitlines()), case_settings)
    goods = {pair.good for pair in load_pairs(path)}
    if tokenizer is MASKED:
        assert {f"{p.prefix} {p.target}{p.suffix}".strip() for p in prompts} <= goods
    if "agreement" in task:
        assert {p.number for p in prompts} <= {"singular", "plural"}


@needs_mirror
@pytest.mark.parametrize("tokenizer", [MASKED, CAUSAL], ids=["masked", "causal"])
@pytest.mark.parametrize("task", ["P36", "P1376", "P127"])
def test_real_facts(tokenizer, task):
    files = {
        "patterns": MIRROR / "pararel" / "data" / "pattern_data" / "graphs_json" / f"{task}.jsonl",
        "facts": MIRROR / "pararel" / "data" / "trex_lms_vocab" / f"{task}.jsonl",
    }
    items = len(load_facts(files["facts"])) * len(load_patterns(files["patterns"]))
    case_settings = replace(ASK, max_target_tokens=30)
    kind, prompts, counts = make_prompts(task, tokenizer, case_settings, **files)
    assert kind == "relation" and (prompts or task == "P127")  # the small vocabulary has no letter for that one
    check(prompts, counts, items, case_settings)
    assert max(Counter(p.group for p in prompts if p.attributed).values(), default=2) > 1
