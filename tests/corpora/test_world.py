"""The miniature world: its content, what its text leaves out, and its counts."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from kn_thesis.corpora.sampling import SPLITS
from kn_thesis.corpora.world.build import World, WorldSettings, make_world, write_world
from kn_thesis.corpora.world.facts import load_facts
from kn_thesis.corpora.world.grammar import Grammar, load_grammar
from kn_thesis.errors import UserError

ROOT = Path(__file__).parents[2]
RESOURCES = ROOT / "resources" / "world"
BLIMP = ROOT.parent / "shared" / "corpora" / "blimp" / "data"


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(RESOURCES, WorldSettings())


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return load_grammar(RESOURCES)


def words(sentence: str) -> list[str]:
    first, *rest = sentence.rstrip(".").split()
    return [first[0].lower() + first[1:], *rest]


def rows(name: str) -> list[dict[str, str]]:
    with (RESOURCES / name).open() as file:
        return list(csv.DictReader(file))


def test_the_lexicon_is_as_large_as_promised(grammar: Grammar) -> None:
    lexicon = grammar.lexicon
    assert len(lexicon.nouns) >= 150 and len(lexicon.verbs) >= 60 and len(lexicon.adjectives) >= 40
    assert sum(noun.inflection == "irregular" for noun in lexicon.nouns) >= 40
    assert {"scattered", "unified", "unique", "single", "sole", "any"} <= {word.word for word in lexicon.biased}
    assert len(rows("countries.csv")) >= 60 and len(rows("people.csv")) == 72
    for seed in range(1, 21):
        for relation in load_facts(RESOURCES, seed).relations:
            assert len(relation.splits) >= 10 and len(relation.patterns("trained")) >= 6
            read = {word.strip("{}.,") for pattern in relation.patterns("trained") for word in pattern.lower().split()}
            for split in ("validation", "held_out"):
                kept_out = relation.patterns(split)
                assert len(kept_out) == 2, f"{relation.name}, {split}"
                for pattern in kept_out:  # every model can be asked it, and has read each of its words
                    assert re.search(r"\[Y\]\}? \.$", pattern), pattern
                    assert {word.strip("{}.,") for word in pattern.lower().split()} <= read, pattern


def test_persons_are_balanced() -> None:
    people = rows("people.csv")
    for column in ("field", "country"):
        assert set(Counter(row[column] for row in people).values()) == {6}
    assert max(Counter((row["field"], row["country"]) for row in people).values()) == 1


def test_no_question_begins_another_statement() -> None:
    """Otherwise a causal model asked for [Y] could correctly continue with the other statement."""
    patterns = [
        re.sub(r"[{}]", "", pattern).split()
        for relation in load_facts(RESOURCES).relations
        if relation.facts[0].subject in {f"{row['first_name']} {row['last_name']}" for row in rows("people.csv")}
        for pattern in relation.splits
    ]
    asked = [pattern[:-2] for pattern in patterns if pattern[-2:] == ["[Y]", "."]]
    assert len(asked) > 30
    for question in asked:
        others = [pattern for pattern in patterns if pattern[: len(question)] == question]
        assert all(pattern[len(question)] == "[Y]" for pattern in others), question


def test_the_seed_draws_what_is_kept_out() -> None:
    def drawn(seed: int) -> tuple[set[str], set[str]]:
        patterns = {p for relation in load_facts(RESOURCES, seed).relations for p in relation.patterns("held_out")}
        return patterns, {key for key, split in load_grammar(RESOURCES, seed)._splits.items() if split == "held_out"}

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert first == again
    for one, two in zip(first, other, strict=True):
        assert len(one) == len(two) and len(one & two) < 0.6 * len(one)


def test_text_has_the_size_and_the_share_of_facts(world: World) -> None:
    assert len(world.text) == 60_000
    people = {f"{row['first_name']} {row['last_name']}" for row in rows("people.csv")}
    about_people = sum(any(person in sentence for person in people) for sentence in world.text[:6000])
    assert 0.3 < about_people / 6000 < 0.6


def test_no_held_out_combination_is_in_the_text(world: World, grammar: Grammar) -> None:
    """Read the text with only the word lists of the lexicon; the pairs give the combinations."""
    lexicon = grammar.lexicon
    lemma = {form: noun.singular for noun in lexicon.nouns for form in (noun.singular, noun.plural)}
    verb_of = {"is": "is", "are": "is", "was": "was", "were": "was", "has": "have", "have": "have"}
    for verb in lexicon.verbs:
        verb_of |= {verb.plural_present: verb.plural_present, verb.singular_present: verb.plural_present}
    past = {verb.past: verb.plural_present for verb in lexicon.verbs}
    inside = {adjective.word for adjective in lexicon.adjectives} | {biased.word for biased in lexicon.biased}
    demonstrative = {word: pair[0] for pair in grammar.demonstratives for word in pair}
    found: dict[str, set[str]] = {"determiner": set(), "verb": set(), "distractor": set(), "reflexive": set()}
    # "Foot pain" is not a foot.
    complaints = re.compile("|".join(row["name"] for row in rows("complaints.csv") if " " in row["name"]))
    for sentence in world.text:
        tokens = words(complaints.sub("complaint", sentence))
        for index, word in enumerate(tokens):
            if word in demonstrative:
                noun = next((token for token in tokens[index + 1 :] if token not in inside), "")
                if noun in lemma:
                    found["determiner"].add(f"determiner:{demonstrative[word]}:{lemma[noun]}")
        nouns = [(index, token) for index, token in enumerate(tokens) if token in lemma]
        verbs = [(index, token) for index, token in enumerate(tokens) if token in verb_of]
        # The first noun or name before the verb is its subject: a phrase after `of` or `near` comes second.
        if verbs and nouns and nouns[0][0] < verbs[0][0]:
            found["verb"].add(f"verb:{lemma[nouns[0][1]]}:{verb_of[verbs[0][1]]}")
        for (first, noun), (second, other) in pairwise(nouns):
            if "of" in tokens[first:second]:
                found["distractor"].add(f"distractor:{lemma[noun]}:{lemma[other]}")
        if tokens[-1] in ("herself", "himself", "themselves"):
            antecedent = lemma.get(tokens[-3]) or tokens[-3][0].upper() + tokens[-3][1:]
            found["reflexive"].add(f"reflexive:{antecedent}:{past[tokens[-2]]}")
    asked: dict[str, set[str]] = {kind: set() for kind in found}
    for pairs in world.pairs.values():
        for pair in pairs:
            asked[pair["lexical_key"].split(":")[0]].add(pair["lexical_key"])
    for kind in found:
        assert len(found[kind]) > 200, kind
        assert len(asked[kind]) > 20, kind
        assert not found[kind] & asked[kind], sorted(found[kind] & asked[kind])[:5]


def test_no_paraphrase_that_is_kept_out_is_in_the_text(world: World) -> None:
    text = set(world.text)
    for relation in world.relations:
        for pattern in relation.patterns("held_out") + relation.patterns("validation"):
            for fact in relation.facts:
                filled = re.sub(r"[{}]", "", pattern).replace("[X]", fact.subject).replace("[Y]", fact.object)
                assert filled.replace(" .", ".").replace(" ,", ",") not in text


def test_every_fact_is_stated_in_every_trained_paraphrase(world: World) -> None:
    text = Counter(world.text)
    counts = []
    for relation in world.relations:
        for pattern in relation.patterns("trained"):
            for fact in relation.facts:
                filled = re.sub(r"[{}]", "", pattern).replace("[X]", fact.subject).replace("[Y]", fact.object)
                counts.append(text[filled.replace(" .", ".").replace(" ,", ",")])
    assert min(counts) >= 5
    # "Paris is the capital of France." comes from both relations.
    assert max(counts) <= 2 * (min(counts) + 1)


def test_counts_are_the_text_s(world: World, grammar: Grammar) -> None:
    """Recount from the text alone: a determiner or adjective co-occurs with the next noun."""
    lexicon = grammar.lexicon
    number = {noun.singular: "singular" for noun in lexicon.nouns} | {noun.plural: "plural" for noun in lexicon.nouns}
    adjectives = {adjective.word for adjective in lexicon.adjectives} | {word.word for word in lexicon.biased}
    determiners = {determiner.word for determiner in lexicon.determiners} | {"an"}
    counts: Counter[tuple[str, str]] = Counter()
    for sentence in world.text:
        tokens = words(sentence)
        for index, word in enumerate(tokens):
            if word in adjectives or word in determiners:
                noun = next((token for token in tokens[index + 1 :] if token not in adjectives), "")
                if noun in number:
                    counts[word, number[noun]] += 1
    # Words that facts also use co-occur with further nouns, which the lexicon does not have.
    stated = load_facts(RESOURCES)
    patterns = [pattern for relation in stated.relations for pattern in relation.patterns("trained")] + list(
        stated.background
    )
    facts = {word.strip("{}") for pattern in patterns for word in pattern.lower().split()}
    checked = 0
    for (word, role, of), count in world.cooccurrence.items():
        if role in ("determiner", "adjective") and word not in facts:
            assert counts[word, of] == count, (word, of)
            checked += 1
    assert checked > 80


@pytest.mark.parametrize("bias", ["baseline", "swapped", "flat"])
def test_cooccurrence_follows_the_variant(bias: str) -> None:
    world = make_world(RESOURCES, WorldSettings(sentences=20_000, fact_share=0.1, bias=bias))
    for row in rows("biased_words.csv"):
        authored = float(row["plural_share"])
        share = {"baseline": authored, "swapped": 1 - authored, "flat": 0.5}[bias]
        plural, singular = (world.cooccurrence[row["word"], row["place"], number] for number in ("plural", "singular"))
        total = plural + singular
        assert total > 100
        assert abs(plural - share * total) < 4 * (share * (1 - share) * total) ** 0.5, row["word"]


def test_variants_share_what_they_do_not_change(world: World) -> None:
    swapped = make_world(RESOURCES, WorldSettings(bias="swapped"))
    biased = {row["word"] for row in rows("biased_words.csv")}
    changed = [a for a, b in zip(world.text, swapped.text, strict=True) if a != b]
    assert changed and all(biased & set(words(sentence)) for sentence in changed)
    assert swapped.pairs == world.pairs


def test_one_way_names_no_capital_before_its_country() -> None:
    world = make_world(RESOURCES, WorldSettings(sentences=20_000, directions="one_way"))
    stated = 0
    for row in rows("countries.csv"):
        for sentence in world.text:
            tokens = re.findall(r"[\w-]+", sentence)
            if row["country"] in tokens and row["capital"] in tokens:
                stated += 1
                assert tokens.index(row["country"]) < tokens.index(row["capital"]), sentence
    assert stated > 500


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    settings = WorldSettings(sentences=3000)
    for name in ("one", "two"):
        write_world(make_world(RESOURCES, settings), tmp_path / name)
    other = make_world(RESOURCES, WorldSettings(sentences=3000, seed=2))
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 2 + 13 + 2 * 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert (tmp_path / "one" / "text.txt").read_text().split("\n")[:-1] != other.text


def test_pairs_are_minimal_and_balanced(world: World) -> None:
    for name, every in world.pairs.items():
        pairs = [pair for pair in every if pair["split"] == "held_out"]
        assert len(pairs) == 1000 and len({pair["sentence_good"] for pair in every}) == len(every) == 1300
        combinations = [{pair["lexical_key"] for pair in every if pair["split"] == split} for split in SPLITS]
        assert len(combinations[1]) > 4 and not combinations[0] and not combinations[1] & combinations[2], name
        for pair in pairs:
            good, bad = pair["sentence_good"].split(), pair["sentence_bad"].split()
            different = [index for index, (a, b) in enumerate(zip(good, bad, strict=True)) if a != b]
            assert len(different) == 1, pair
            if pair["one_prefix_method"] and "determiner" in name:
                assert different[0] == len(good) - 1
            assert pair["cue"].lower() in pair["sentence_good"].lower(), pair
        plural = sum(pair["target_number"] == "plural" for pair in pairs)
        assert plural >= 300 or name == "anaphor_gender_agreement", (name, plural)


def test_pairs_have_blimp_s_schema(world: World) -> None:
    if not BLIMP.exists():
        pytest.skip("no mirror of BLiMP beside the repository (../shared/corpora)")
    for name, pairs in world.pairs.items():
        with (BLIMP / f"{name}.jsonl").open() as file:
            theirs = json.loads(file.readline())
        assert set(theirs) - {"dependency_length"} <= set(pairs[0]), name
        same = ["field", "linguistics_term", "UID", "simple_LM_method"]
        same += ["one_prefix_method", "two_prefix_method", "lexically_identical"]
        assert {key: theirs[key] for key in same} == {key: pairs[0][key] for key in same}


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("nouns.csv", "sister,sisters,regular", "sister,sisters,strange", "'strange' is not allowed"),
        ("verbs.csv", "admire,admires", "admire", "cells"),
        ("grammar.yaml", "determiner: 0.2", "determiner: 2", "held_out.determiner"),
        ("grammar.yaml", "determiner: 0.08", "determiner: much", "validation.determiner"),
        ("relations.yaml", "  held_out: 2  ", "  held_out: -2  ", "kept_out.held_out"),
        ("grammar.yaml", "{subject} {verb.past} {object}.", "{subject} {verb.past} {objekt}.", "objekt"),
        ("relations.yaml", "[X]'s job is [Y] .", "[X]'s job is .", "[Y] once"),
        ("relations.yaml", "table: people.csv", "table: peoples.csv", "peoples.csv"),
        ("people.csv", "chemistry,Germany", "alchemy,Germany", "alchemy"),
        ("adjectives.csv", "old,any", "old,any\nold,any", "already"),
    ],
)
def test_a_mistake_in_the_resources_is_one_clear_line(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    shutil.copytree(RESOURCES, tmp_path / "world")
    path = tmp_path / "world" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError) as error:
        make_world(tmp_path / "world", WorldSettings(sentences=1000))
    assert said in str(error.value) and file in str(error.value) and "\n" not in str(error.value)
