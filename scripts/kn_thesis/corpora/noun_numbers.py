"""Nouns and their numbers, read off minimal pairs that state them; and what stands between a determiner and its noun.

"these old boys" against "these old boy" says that "boys" is plural, "boy" singular, and "old" a word that may come
between. Nothing is guessed from endings: English has too many nouns like "oases", "series" and "glasses".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import punctuation

from kn_thesis.corpora.blimp import Difference, Pair, difference
from kn_thesis.corpora.numbers import number_of

DEMONSTRATIVES = {"this": "singular", "that": "singular", "these": "plural", "those": "plural"}
OTHER = {"singular": "plural", "plural": "singular"}
# Determiners that take a noun of one number only.
STRICT = DEMONSTRATIVES | dict.fromkeys(("a", "an", "every", "each", "another"), "singular")
STRICT |= dict.fromkeys(("both", "many", "most", "several", "two", "three"), "plural")
# What begins a subject but is not its head: "a lot of boys", "the boys".
OPENING = {*STRICT, "the", "some", "all", "any", "no", "few", "lot", "of", "my", "our", "your", "his", "her", "their"}
# What ends the noun phrase of a subject: all else up to its verb belongs to a phrase or clause inside it.
CLOSING = {"of", "about", "that", "who", "which", "near", "by", "with", "in", "on", "from"}
# Words of a modifier that make it a phrase of its own: "these out in the open boys".
LINKING = CLOSING | {"the", "a", "an", "to", "at", "for"}

# Nouns of ParaRel's paraphrases ("the capital city of [Y]"); no minimal pair shows them.
PARAPHRASE_NOUNS = dict.fromkeys(
    (
        *("area", "border", "capital", "citizen", "citizenship", "city", "continent", "creation", "creator", "domain"),
        *("expertise", "field", "language", "law", "member", "occupation", "organization", "part", "person", "player"),
        *("position", "product", "profession", "religion", "specialization", "subclass", "term", "tongue", "type"),
    ),
    "singular",
)


@dataclass(frozen=True)
class Nouns:
    """Words in lower case: `numbers` of nouns; nouns met with both ("sheep"), which have none; and modifiers.

    `modifiers` stood between a demonstrative and its noun. A modifier of several words that has a preposition or
    article in it ("out in the open") is one string with spaces; of any other ("public grocery"), each word is one.
    """

    numbers: Mapping[str, str]
    ambiguous: frozenset[str] = frozenset()
    modifiers: frozenset[str] = frozenset()


def noun_numbers(paradigms: Mapping[str, Sequence[Pair]], stated: Mapping[str, str] | None = None) -> Nouns:
    """What the pairs say, whichever order they come in; `stated` are numbers that someone wrote down.

    Determiner-noun pairs say it outright: the noun has its demonstrative's number, its counterpart in the other
    sentence the other number. For nouns that neither they nor `stated` show, two signs in grammatical sentences: the
    last word, where a determiner of one number stands right before it ("ascend these hills."); and the head of a
    subject whose verb differs in number. They come second because some of BLiMP's "grammatical" verbs are wrong ("Some
    drivers annoys Derek."). A noun met with both numbers is ambiguous.
    """
    outright: dict[str, set[str]] = defaultdict(set)
    signs: dict[str, set[str]] = defaultdict(set)
    stretches: set[tuple[str, ...]] = set()
    for noun, number in (stated or {}).items():
        outright[noun].add(number)
    for task, pairs in paradigms.items():
        for pair in pairs:
            for noun, number in _last_noun(pair.good):
                signs[noun].add(number)
            change = difference(pair.good, pair.bad)
            if change is None:
                continue
            if pair.term == "determiner_noun_agreement":
                stretch, nouns = _determiner_noun(change)
                stretches.add(tuple(stretch))
                for noun, number in nouns:
                    outright[noun].add(number)
            elif pair.term == "subject_verb_agreement" and not task.endswith("agreement_2"):
                for noun, number in _subject(change, number_of(change, task, pair.term)):
                    signs[noun].add(number)
    met = signs | outright
    return Nouns(
        {noun: min(numbers) for noun, numbers in sorted(met.items()) if len(numbers) == 1},
        frozenset(noun for noun, numbers in met.items() if len(numbers) > 1),
        _modifiers(stretches),
    )


def _words(text: str) -> list[str]:
    return [stripped for word in text.lower().split() if (stripped := word.strip(punctuation))]


def _determiner_noun(change: Difference) -> tuple[list[str], list[tuple[str, str]]]:
    """The words between demonstrative and noun, and the nouns with their numbers: nothing where neither is clear."""
    good, bad = change.good.lower(), change.bad.lower()
    if good in DEMONSTRATIVES:  # the noun phrase ends the sentence
        after = _words(change.suffix)
        return (after[:-1], [(after[-1], DEMONSTRATIVES[good])]) if after else ([], [])
    before = _words(change.prefix)
    places = [place for place, word in enumerate(before) if word in DEMONSTRATIVES]
    if not places:
        return [], []
    number = DEMONSTRATIVES[before[places[-1]]]
    return before[places[-1] + 1 :], [(good, number), (bad, OTHER[number])]


def _modifiers(stretches: Collection[tuple[str, ...]]) -> frozenset[str]:
    """Modifiers in the stretches between demonstratives and nouns."""
    phrases: list[tuple[str, ...]] = []
    single: set[str] = set()
    for stretch in sorted(stretches, key=lambda words: (len(words), words)):
        # "out in the open", then "grocery".
        phrase = next((known for known in phrases if stretch[: len(known)] == known), ())
        if not phrase and LINKING & set(stretch):
            phrases.append(stretch)
        else:
            single.update(stretch[len(phrase) :])
    return frozenset(single | {" ".join(phrase) for phrase in phrases})


def _subject(change: Difference, number: str) -> list[tuple[str, str]]:
    """The head of the subject before the verb that differs; nothing for what may be a name, as any first word may."""
    words = _words(change.prefix)
    start = next((place for place, word in enumerate(words) if word not in OPENING), len(words))
    if not number or start == len(words):
        return []
    end = next((place for place in range(start, len(words)) if words[place] in CLOSING), len(words))
    head = words[end - 1]
    named = any(word != word.lower() for word in change.prefix.split()[start:end])
    return [] if end == start or named or "'" in head else [(head, number)]


def _last_noun(sentence: str) -> Iterator[tuple[str, str]]:
    words = sentence.split()
    if len(words) > 2 and words[-1].endswith("."):
        noun, determiner = words[-1].rstrip("."), words[-2].lower()
        if determiner in STRICT and noun.isalpha() and noun == noun.lower():
            yield noun, STRICT[determiner]
