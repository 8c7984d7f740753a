"""Count how often words occur in the noun phrase of a singular or a plural noun.

The miniature world knows its counts exactly. In text made from public corpora they are found by rule:
`cooccurrence_in_text` describes the rule and its limits. The numbers of nouns come from minimal pairs that state them:
"these old boys" against "these old boy" shows that "boys" is plural, "boy" singular, and "old" a modifier that may
stand between them. No number is guessed from an ending, because English has many nouns like "oases", "series" and
"glasses".
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import punctuation

from kn_thesis.corpora.agreement import number_of
from kn_thesis.corpora.blimp import Difference, Pair, difference
from kn_thesis.corpora.world.build import cooccurrence_rows
from kn_thesis.files import whole_file

ROLE = "text"  # role of every word, because the rule does not distinguish roles
REACH = 3  # maximum distance from a word to its noun, in words without "of"
# Never pronouns, so a word between one of them and a noun is a modifier.
ARTICLES = frozenset({"the", "a", "an", "every", "my", "your", "our", "their", "its"})
DETERMINERS = ARTICLES | {"this", "that", "these", "those", "his", "her", "no", "each", "some", "any", "another"}
NUMERALS = frozenset({"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"})
# Words before a noun that may follow a determiner: "these two boys".
QUANTITIES = NUMERALS | {"all", "both", "half", "many", "few", "several", "various", "multiple", "most", "more"}
QUANTITIES |= {"other", "such"}
# Words that may also precede a determiner: "all the boys".
BEFORE_DETERMINERS = frozenset({"all", "both", "half", "such"})
# Words after which "of" continues the noun phrase: "all of the boys", "a lot of boys".
WITH_OF = NUMERALS | {"all", "any", "both", "each", "few", "half", "lot", "many", "more", "most", "none", "several"}
WITH_OF |= {"some"}
# Words after which a noun phrase may begin with its adjective. "to" is missing because a verb follows it more often.
BEFORE_PHRASES = frozenset(
    {"about", "and", "around", "at", "behind", "by", "for", "from", "in", "like", "near", "of", "on", "or"}
    | {"over", "through", "under", "with"}
)
TOKEN = re.compile(r"[\w'’-]+|[^\w\s]")
DEMONSTRATIVES = {"this": "singular", "that": "singular", "these": "plural", "those": "plural"}
OTHER = {"singular": "plural", "plural": "singular"}
# Determiners that take nouns of one number only.
STRICT = DEMONSTRATIVES | dict.fromkeys(("a", "an", "every", "each", "another"), "singular")
STRICT |= dict.fromkeys(("both", "many", "most", "several", "two", "three"), "plural")
# Words that begin a subject without being its head: "a lot of boys", "the boys".
OPENING = {*STRICT, "the", "some", "all", "any", "no", "few", "lot", "of", "my", "our", "your", "his", "her", "their"}
# Words that end the noun phrase of a subject; everything after them up to the verb is a phrase or clause inside it.
CLOSING = {"of", "about", "that", "who", "which", "near", "by", "with", "in", "on", "from"}
# Words that make a modifier a phrase of its own: "these out in the open boys".
LINKING = CLOSING | {"the", "a", "an", "to", "at", "for"}
# Nouns of ParaRel's paraphrases ("the capital city of [Y]"), which no minimal pair shows.
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
    """Nouns and modifiers in lower case.

    Attributes:
        numbers: "singular" or "plural" by noun.
        ambiguous: Nouns seen with both numbers, such as "sheep"; they have none.
        modifiers: Words seen between a demonstrative and its noun. A modifier of several words with a preposition or
            article in it ("out in the open") is one string with spaces; every word of another one ("public grocery") is
            a modifier of its own.
    """

    numbers: Mapping[str, str]
    ambiguous: frozenset[str] = frozenset()
    modifiers: frozenset[str] = frozenset()


def noun_numbers(paradigms: Mapping[str, Sequence[Pair]], stated: Mapping[str, str] | None = None) -> Nouns:
    """Collect nouns, their numbers and modifiers from minimal pairs.

    Determiner-noun pairs state numbers outright: the noun has the number of its demonstrative, its counterpart in the
    other sentence the other number. For all other nouns two signs in grammatical sentences count: a determiner of one
    number directly before the last word ("ascend these hills."), and the verb after the head of a subject. These signs
    come second because some of BLiMP's "grammatical" verbs are wrong ("Some drivers annoys Derek."). The order of the
    pairs does not matter.

    Args:
        paradigms: Pairs by name of paradigm.
        stated: Known numbers by noun, such as `PARAPHRASE_NOUNS`.

    Returns:
        Nouns with their numbers; a noun seen with both numbers is ambiguous.
    """
    outright: dict[str, set[str]] = defaultdict(set)
    signs: dict[str, set[str]] = defaultdict(set)
    sequences: set[tuple[str, ...]] = set()
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
                sequence, nouns = _determiner_noun(change)
                sequences.add(tuple(sequence))
                for noun, number in nouns:
                    outright[noun].add(number)
            elif pair.term == "subject_verb_agreement" and not task.endswith("agreement_2"):
                for noun, number in _subject(change, number_of(change, task, pair.term)):
                    signs[noun].add(number)
    met = signs | outright
    return Nouns(
        {noun: min(numbers) for noun, numbers in sorted(met.items()) if len(numbers) == 1},
        frozenset(noun for noun, numbers in met.items() if len(numbers) > 1),
        _modifiers(sequences),
    )


def cooccurrence_in_text(
    sentences: Iterable[str], nouns: Nouns, words: Collection[str] | None = None
) -> Counter[tuple[str, str, str]]:
    """Count the co-occurrence of words with singular and plural nouns in a text.

    A determiner, quantity or modifier co-occurs with the next known noun of its own noun phrase: at most `REACH` words
    later, with only modifiers and quantities in between. Punctuation, verbs, prepositions, unknown nouns and other
    determiners end the search, with two exceptions: "of" after a quantity and a determiner after that "of" ("all of the
    boys", "a lot of boys", but not "the picture of boys"), and a determiner after "all", "both", "half" or "such" ("all
    the boys"). What counts is the noun that a reader sees beside the word, so "each" in "each of the boys" co-occurs
    with a plural noun. Of two adjacent nouns the second one counts if the first is a known modifier: "this movie
    theater".

    Modifiers are those of the pairs and every word that the text shows between an article and a known noun ("the unique
    book"), except names. A modifier itself is counted only where a noun phrase must stand: after a determiner,
    quantity, modifier, possessive or preposition, or at the beginning of a sentence or clause. "has hidden books" is a
    verb and its object. "that" directly after a noun is a relative pronoun and is not counted.

    Limits: nouns that neither pairs nor paraphrases show are unknown, and ambiguous ones ("sheep") are left out, so
    words beside them are not counted there. Adjectives that never follow an article, and those in "hate scattered
    leaves", are missed. A demonstrative pronoun ("those hidden books reveal") looks like a determiner.

    Args:
        sentences: The text.
        nouns: Nouns with their numbers, and modifiers.
        words: Words to count, in lower case; None for all.

    Returns:
        Counts by (word in lower case, `ROLE`, "singular" or "plural").
    """
    phrases = sorted(modifier.split() for modifier in nouns.modifiers if " " in modifier)
    split = [_tokens(sentence, phrases) for sentence in sentences]
    modifiers = nouns.modifiers | _shown_modifiers(split, nouns)
    adjectives = modifiers - nouns.numbers.keys()
    counts: Counter[tuple[str, str, str]] = Counter()
    for cased in split:
        tokens = [token.lower() for token in cased]
        for place, word in enumerate(tokens):
            if (words is None or word in words) and _may_cooccur(tokens, place, nouns, adjectives):
                number = _number(tokens, place, nouns, modifiers)
                if number:
                    counts[word, ROLE, number] += 1
    return counts


def summary(sentences: int, nouns: Nouns, cooccurrence: Counter[tuple[str, str, str]]) -> str:
    """Describe the counts in one line for the log.

    Args:
        sentences: Number of sentences of the text.
        nouns: Nouns that the counts are based on.
        cooccurrence: Counts by (word, role, number).
    """
    return (
        f"{sentences:,} sentences; {len(nouns.numbers):,} nouns with a number, {len(nouns.ambiguous):,} ambiguous ones "
        f"left out; {len({word for word, _, _ in cooccurrence}):,} words with counts, {cooccurrence.total():,} times"
    )


def write_cooccurrence(cooccurrence: Counter[tuple[str, str, str]], path: str | Path) -> None:
    """Write counts to a Parquet file in the format of the miniature world.

    Args:
        cooccurrence: Counts by (word, role, number).
        path: Target file. Its columns are word, role, number and count (int64); rows are sorted by word, with singular
            before plural.
    """
    import pandas as pd

    table = pd.DataFrame(cooccurrence_rows(cooccurrence), columns=["word", "role", "number", "count"])
    with whole_file(path) as temporary:
        table.astype({"word": "str", "role": "str", "number": "str", "count": "int64"}).to_parquet(
            temporary, index=False
        )


def _determiner_noun(change: Difference) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the words between demonstrative and noun, and the nouns with their numbers; empty if unclear."""
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


def _modifiers(sequences: Collection[tuple[str, ...]]) -> frozenset[str]:
    """Find the modifiers in the word sequences between demonstratives and nouns."""
    phrases: list[tuple[str, ...]] = []
    single: set[str] = set()
    for sequence in sorted(sequences, key=lambda words: (len(words), words)):
        # "out in the open", then "grocery".
        phrase = next((known for known in phrases if sequence[: len(known)] == known), ())
        if not phrase and LINKING & set(sequence):
            phrases.append(sequence)
        else:
            single.update(sequence[len(phrase) :])
    return frozenset(single | {" ".join(phrase) for phrase in phrases})


def _subject(change: Difference, number: str) -> list[tuple[str, str]]:
    """Return the head of the subject before the differing verb, with its number.

    The list is empty if the head may be a name; any first word may be one.
    """
    words = _words(change.prefix)
    start = next((place for place, word in enumerate(words) if word not in OPENING), len(words))
    if not number or start == len(words):
        return []
    end = next((place for place in range(start, len(words)) if words[place] in CLOSING), len(words))
    head = words[end - 1]
    named = any(word != word.lower() for word in change.prefix.split()[start:end])
    return [] if end == start or named or "'" in head else [(head, number)]


def _last_noun(sentence: str) -> Iterator[tuple[str, str]]:
    """Yield the last word of a sentence with the number of the determiner directly before it."""
    words = sentence.split()
    if len(words) > 2 and words[-1].endswith("."):
        noun, determiner = words[-1].rstrip("."), words[-2].lower()
        if determiner in STRICT and noun.isalpha() and noun == noun.lower():
            yield noun, STRICT[determiner]


def _words(text: str) -> list[str]:
    return [stripped for word in text.lower().split() if (stripped := word.strip(punctuation))]


def _tokens(sentence: str, phrases: Sequence[list[str]]) -> list[str]:
    """Split a sentence into words and punctuation marks; a modifier of several words is one token."""
    tokens = TOKEN.findall(sentence)
    for phrase in phrases:
        for place in range(len(tokens) - len(phrase), -1, -1):
            if [token.lower() for token in tokens[place : place + len(phrase)]] == phrase:
                tokens[place : place + len(phrase)] = [" ".join(phrase)]
    return tokens


def _shown_modifiers(split: Iterable[Sequence[str]], nouns: Nouns) -> set[str]:
    """Find the words between an article and a noun, except nouns and names ("the boys play", "the Borgias bike")."""
    closed = DETERMINERS | QUANTITIES | WITH_OF | BEFORE_PHRASES | nouns.numbers.keys() | nouns.ambiguous
    between: set[str] = set()
    for tokens in split:
        for before, word, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
            if before.lower() in ARTICLES and after in nouns.numbers and word.lower() not in closed:
                parts = word.split("-")  # "Paris-born" is not a name
                if all(part.isalpha() for part in parts) and parts[-1].islower():
                    between.add(word.lower())
    return between


def _may_cooccur(tokens: Sequence[str], place: int, nouns: Nouns, adjectives: Collection[str]) -> bool:
    """Tell whether the word at `place` may belong to a noun phrase that follows it."""
    word = tokens[place]
    before = tokens[place - 1] if place else "."
    if word == "that":
        return before not in nouns.numbers and before not in nouns.ambiguous
    if word in DETERMINERS or word in QUANTITIES or word in WITH_OF:
        return True
    inside = before in DETERMINERS or before in QUANTITIES or before in BEFORE_PHRASES or before in adjectives
    begins = before.endswith(("'s", "s'", "’s", "s’")) or not before[0].isalnum()
    return word in adjectives and (inside or begins)


def _number(tokens: Sequence[str], place: int, nouns: Nouns, modifiers: Collection[str]) -> str:
    """Return the number of the noun whose phrase contains the word at `place`; "" if it is unknown."""
    steps, before = 0, tokens[place]
    for here in range(place + 1, len(tokens)):
        word = tokens[here]
        if word == "of":
            if before not in WITH_OF:
                return ""
        else:
            steps += 1
            if steps > REACH:
                return ""
            if word in nouns.numbers:
                following = tokens[here + 1] if here + 1 < len(tokens) else ""
                return nouns.numbers[following if word in modifiers and following in nouns.numbers else word]
            if word in DETERMINERS:
                if before != "of" and before not in BEFORE_DETERMINERS:
                    return ""
            elif word not in modifiers and word not in QUANTITIES:
                return ""
        before = word
    return ""
