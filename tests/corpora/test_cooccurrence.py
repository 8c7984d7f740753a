"""Co-occurrence in a text made from public corpora: nouns and their numbers, the rule, and its counts."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from kn_thesis.corpora.blimp import Pair, load_pairs
from kn_thesis.corpora.cooccurrence import (
    PARAPHRASE_NOUNS,
    Nouns,
    cooccurrence_in_text,
    noun_numbers,
    summary,
    write_cooccurrence,
)
from kn_thesis.corpora.pararel import load_facts, load_patterns
from kn_thesis.corpora.training_text import corpus_sentences

ROOT = Path(__file__).parents[2]
MIRROR = ROOT.parent / "shared" / "corpora"
NOUNS = Nouns(
    {"boy": "singular", "boys": "plural", "oases": "plural", "movie": "singular", "theaters": "plural"},
    frozenset({"sheep"}),
    frozenset({"old", "clever", "movie", "out in the open"}),
)


def pairs(*sentences: tuple[str, str], term: str = "determiner_noun_agreement") -> list[Pair]:
    return [Pair(str(i), good, bad, term, True) for i, (good, bad) in enumerate(sentences)]


def cooccurrence(*sentences: str, nouns: Nouns = NOUNS) -> dict[str, tuple[int, int]]:
    """Counts of each word with singular and with plural nouns."""
    counts = cooccurrence_in_text(sentences, nouns)
    assert {role for _, role, _ in counts} <= {"text"}
    return {word: (counts[word, "text", "singular"], counts[word, "text", "plural"]) for word, _, _ in counts}


@pytest.mark.parametrize(
    "sentence, expected",
    [
        ("Anna sees these boys.", {"these": (0, 1)}),
        ("THESE BOYS run.", {"these": (0, 1)}),
        ("This clever old boy runs.", {"this": (1, 0), "clever": (1, 0), "old": (1, 0)}),
        ("This clever old clever old boy runs.", {"clever": (1, 0), "old": (2, 0)}),  # the others are too far
        ("All boys like a boy.", {"all": (0, 1), "a": (1, 0)}),
        ("All the boys run.", {"all": (0, 1), "the": (0, 1)}),
        ("All of the old boys run.", {"all": (0, 1), "the": (0, 1), "old": (0, 1)}),
        ("Each of the boys runs.", {"each": (0, 1), "the": (0, 1)}),
        ("A lot of boys run.", {"lot": (0, 1)}),
        ("The picture of boys fell.", {}),
        ("These two boys run.", {"these": (0, 1), "two": (0, 1)}),
        ("The boy near these oases runs.", {"the": (1, 0), "these": (0, 1)}),
        ("The man near old boys runs.", {"old": (0, 1)}),
        ("These, boys, run.", {}),
        ("Those sheep run, the old sheep too.", {}),
        ("This the boy knows.", {"the": (1, 0)}),
        ("The boy that oases scare runs.", {"the": (1, 0)}),
        ("Anna thinks that boy runs.", {"that": (1, 0)}),
        ("That has scared boys.", {}),
        ("The boy's oases are here.", {}),
        ("Anna's old boys run.", {"old": (0, 1)}),
        ("Anna had old boys.", {}),
        ("These movie theaters burn.", {"these": (0, 1)}),
        ("The boys movie ends.", {"the": (0, 1)}),
        ("Those out in the open boys run.", {"those": (0, 1), "out in the open": (0, 1)}),
        ("The unknown of these.", {}),
        ("", {}),
    ],
)
def test_hand_made_sentences(sentence: str, expected: dict[str, tuple[int, int]]) -> None:
    assert cooccurrence(sentence) == expected


def test_modifiers_that_only_the_text_shows() -> None:
    assert cooccurrence("Anna sees the unique boy.", "These unique boys run.") == {
        "the": (1, 0),
        "these": (0, 1),
        "unique": (1, 1),
    }
    assert cooccurrence("These unique boys run.") == {}
    assert cooccurrence("The Borgias visit oases.", "The Borgias oases.", "The Borgias boys run.") == {}
    assert cooccurrence("A Paris-born boy runs.") == {"a": (1, 0), "paris-born": (1, 0)}


def test_only_the_words_asked_for() -> None:
    counts = cooccurrence_in_text(["These old boys see this boy."], NOUNS, {"this", "old", "unique"})
    assert counts == {("this", "text", "singular"): 1, ("old", "text", "plural"): 1}


def test_nouns_of_pairs() -> None:
    nouns = noun_numbers(
        {
            "determiner_noun_agreement_1": pairs(
                ("Anna sees these oases.", "Anna sees these oasis."),
                ("Anna sees this sheep.", "Anna sees this sheeps."),
                ("That boy sees those sheep.", "That boy sees those sheepes."),
            ),
            "determiner_noun_agreement_with_adj_2": pairs(
                ("Anna sees those old ladies.", "Anna sees that old ladies."),
                ("Anna sees this out in the open movie theater.", "Anna sees these out in the open movie theater."),
                ("Anna sees this out in the open boy.", "Anna sees these out in the open boy."),
            ),
            "regular_plural_subject_verb_agreement_1": pairs(
                ("A lot of rivers haven't moved.", "A lot of rivers hasn't moved."),
                ("The sketch of rivers annoys Anna.", "The sketch of rivers annoy Anna."),
                ("Anna annoys Bob.", "Anna annoy Bob."),
                ("The Borgias annoy Bob.", "The Borgias annoys Bob."),
                ("Some ladies annoys Bob.", "Some ladies annoy Bob."),  # wrong in the corpus: pairs know better
                ("The fish annoys Bob.", "The fish annoy Bob."),
                ("Some fish annoy Bob.", "Some fish annoys Bob."),
                ("The river annoys these lakes.", "The river annoy these lakes."),
                term="subject_verb_agreement",
            ),
            "other": pairs(("Anna climbs a hill.", "Anna climb a hill."), term="island"),
        },
        {"capital": "singular"},
    )
    singular = ("oasis", "boy", "sheepes", "theater", "sketch", "river", "hill", "capital")
    plural = ("oases", "ladies", "rivers", "lakes", "sheeps")
    assert nouns.numbers == dict.fromkeys(singular, "singular") | dict.fromkeys(plural, "plural")
    assert nouns.ambiguous == {"sheep", "fish"}
    assert nouns.modifiers == {"old", "movie", "out in the open"}


def test_table_is_like_a_world_s(tmp_path: Path) -> None:
    counts = cooccurrence_in_text(["These old boys see this boy."] * 2, NOUNS)
    write_cooccurrence(counts, tmp_path / "new" / "cooccurrence.parquet")
    table = pd.read_parquet(tmp_path / "new" / "cooccurrence.parquet")
    assert table.to_dict("list") == {
        "word": ["old", "old", "these", "these", "this", "this"],
        "role": ["text"] * 6,
        "number": ["singular", "plural"] * 3,
        "count": [0, 2, 0, 2, 2, 0],
    }
    write_cooccurrence(Counter(), tmp_path / "empty.parquet")
    empty = pd.read_parquet(tmp_path / "empty.parquet")
    assert empty.empty and list(empty.dtypes) == list(table.dtypes)
    assert summary(2, NOUNS, counts) == (
        "2 sentences; 5 nouns with a number, 1 ambiguous ones left out; 3 words with counts, 6 times"
    )


# One letter per word: the rule is then a pattern of letters.
LETTERS = {
    **dict.fromkeys(("the", "a", "these", "this", "my"), "d"),
    **{"that": "t", "some": "e", "any": "e", "all": "A", "both": "A", "such": "s", "many": "w", "two": "w"},
    **{"various": "q", "other": "q", "lot": "l", "of": "o", "near": "r", "old": "m", "clever": "m"},
    **{"boy": "n", "boys": "N", "oases": "N", "movie": "x", "sheep": "z", ",": ",", "Anna": "_", "hadn't": "_"},
}
START = re.compile(r"[deAswql]|(?<![nNxz])t|(?:^|(?<=[dteAswqmor,]))m")
PHRASE = re.compile(r"((?:(?<=[eAwl])o|(?<=[oAs])[dte]|[Aswqm])*)(x?)([nNx]?)")


def recount(sentence: list[str]) -> Counter[tuple[str, str, str]]:
    letters = "".join(LETTERS[word] for word in sentence)
    counts: Counter[tuple[str, str, str]] = Counter()
    for start in START.finditer(letters):
        between, compound, noun = PHRASE.match(letters, start.end()).groups()  # type: ignore[union-attr]
        if (compound or noun) and len(between.replace("o", "")) < 3:
            number = "plural" if noun == "N" else "singular"
            counts[sentence[start.start()].lower(), "text", number] += 1
    return counts


def test_counts_hold_against_patterns_of_letters() -> None:
    rng = random.Random(5)
    words = sorted(LETTERS)
    met: Counter[tuple[str, str, str]] = Counter()
    for _ in range(20_000):
        sentence = rng.choices(words, k=rng.randint(1, 9))
        expected = recount(sentence)
        assert cooccurrence_in_text([" ".join(sentence)], NOUNS) == expected, sentence
        met += expected
    assert min(met.values()) > 50 and len({word for word, _, _ in met}) == 18


def real_paradigms() -> tuple[dict[str, list[Pair]], dict[str, Any]]:
    if not MIRROR.is_dir():
        pytest.skip("no mirror of the public corpora beside the repository (../shared/corpora)")
    study = yaml.safe_load((ROOT / "resources" / "studies" / "corpus.yaml").read_text())
    settings = study["corpora"]["fetched"] | {"seed": study["seed"]}
    return {task: load_pairs(MIRROR / "blimp" / "data" / f"{task}.jsonl") for task in settings["paradigms"]}, settings


def real_text(paradigms: Mapping[str, list[Pair]], settings: Mapping[str, Any]) -> list[str]:
    data = MIRROR / "pararel" / "data"
    return corpus_sentences(
        paradigms,
        {
            task: (
                load_patterns(data / "pattern_data" / "graphs_json" / f"{task}.jsonl"),
                load_facts(data / "trex_lms_vocab" / f"{task}.jsonl"),
            )
            for task in settings["relations"]
        },
        held_out=settings["held_out"],
        held_out_patterns_count=settings["held_out_patterns"],
        validation=settings["validation"],
        validation_patterns_count=settings["validation_patterns"],
        facts=settings["facts"],
        repeats=settings["repeats"],
        seed=settings["seed"],
    )


def test_nouns_of_blimp() -> None:
    paradigms, _ = real_paradigms()
    nouns = noun_numbers(paradigms)
    singular = ("boy", "oasis", "analysis", "foot", "medium", "hill", "niece", "store", "radius")
    plural = ("boys", "oases", "analyses", "feet", "media", "hills", "nieces", "stores", "people", "pants", "men")
    assert {word: nouns.numbers.get(word) for word in (*singular, *plural)} == {
        **dict.fromkeys(singular, "singular"),
        **dict.fromkeys(plural, "plural"),
    }
    assert nouns.ambiguous == {"fish"}
    assert {"old", "grocery", "out in the open"} <= nouns.modifiers
    assert not nouns.modifiers & {"the", "in", "open"}
    assert noun_numbers(dict(reversed(paradigms.items()))) == nouns


def test_cooccurrence_in_the_study_s_text() -> None:
    paradigms, settings = real_paradigms()
    text = real_text(paradigms, settings)
    nouns = noun_numbers(paradigms, PARAPHRASE_NOUNS)
    counts = cooccurrence_in_text(text, nouns)
    whole = Counter(word for sentence in text for word in re.findall(r"[\w'-]+", sentence.lower()))
    # The corpus is grammatical, so these words co-occur with nouns of one number, and nearly always with some noun.
    for number, other, words in (
        ("singular", "plural", ("this", "every")),
        ("plural", "singular", ("these", "those", "all", "many", "most", "lot")),
    ):
        for word in words:
            assert counts[word, "text", other] == 0, word
            assert 0.95 * whole[word] < counts[word, "text", number] <= whole[word], word
    # Another reading of the raw text, with one regular expression for each word.
    known = "|".join(sorted(nouns.numbers, key=len, reverse=True))
    between = "|".join(sorted(nouns.modifiers, key=len, reverse=True))
    for word in ("these", "those", "this", "every", "some", "all", "most", "many"):
        phrase = re.compile(rf"(?<![\w'-]){word} ((?:{between}) ){{0,2}}({known})( (?:{known}))?(?![\w'-])", re.I)
        by_number: Counter[str] = Counter()
        for sentence in text:
            for match in phrase.finditer(sentence):
                first, second = match[2].lower(), (match[3] or "").strip().lower()
                by_number[nouns.numbers[second if second and first in nouns.modifiers else first]] += 1
        assert {number: counts[word, "text", number] for number in ("singular", "plural")} == {
            number: by_number[number] for number in ("singular", "plural")
        }, word
