"""Find the number, the noun, the cue and the distractor of a minimal pair that does not state them.

The rules follow the patterns in which BLiMP writes its sentences (Warstadt et al. 2020, §3). The cue is what causal
tracing corrupts: the subject of a fact, or the words that a pair's differing word must agree with. The distractor
stands between the two. The noun tells which prompts belong together in statistics, because prompts about one noun are
not independent. Anything that neither the corpus nor a pattern determines is "".
"""

from __future__ import annotations

import re
from string import punctuation
from typing import NamedTuple

from kn_thesis.corpora.blanks import fill_blank, inside_word
from kn_thesis.corpora.blimp import Difference, Pair
from kn_thesis.corpora.pararel import OBJECT, SUBJECT

TERMS = ("determiner_noun_agreement", "subject_verb_agreement", "anaphor_agreement")
SINGULAR = ["this", "that", "is", "was", "has", "does", "isn't", "wasn't", "hasn't", "doesn't"]
PLURAL = ["these", "those", "are", "were", "have", "do", "aren't", "weren't", "haven't", "don't"]
SINGULAR += ["himself", "herself", "itself"]
PLURAL += ["themselves", "ourselves", "yourselves"]
NUMBER = dict.fromkeys(SINGULAR, "singular") | dict.fromkeys(PLURAL, "plural")
# Words that may stand before the head of a subject.
BEFORE_HEAD = {
    *("the", "a", "an", "this", "that", "these", "those", "some", "any", "all", "every", "each", "no", "many", "most"),
    *("few", "several", "both", "two", "three", "four", "five", "ten", "other", "lot", "of", "my", "our", "your"),
    *("his", "her", "their", "there", "it"),
}
# Plurals without a regular ending.
IRREGULAR = {
    **{"children": "child", "men": "man", "women": "woman", "people": "person", "feet": "foot", "teeth": "tooth"},
    **{"geese": "goose", "mice": "mouse", "lice": "louse", "alumni": "alumnus", "cacti": "cactus", "fungi": "fungus"},
    **{"nuclei": "nucleus", "octopi": "octopus", "stimuli": "stimulus", "radii": "radius", "media": "medium"},
    **{"bacteria": "bacterium", "phenomena": "phenomenon", "criteria": "criterion", "knives": "knife"},
    **{"movies": "movie", "campuses": "campus", "scarves": "scarf", "oxen": "ox", "axes": "axis", "bases": "basis"},
    **{
        "ellipses": "ellipsis",
        "wives": "wife",
        "lives": "life",
        "wolves": "wolf",
        "calves": "calf",
        "leaves": "leaf",
        "thieves": "thief",
    },
}
GREEK = ("oases", "theses", "crises", "lyses", "gnoses", "nopses")  # oasis, thesis, analysis, diagnosis, …
SIBILANTS = ("ss", "sh", "ch", "x", "z")
DEMONSTRATIVES = ("this", "that", "these", "those")
MODALS = {"can", "could", "might", "must", "should", "will", "would", "did", "does", "do", "had"}
AUXILIARIES = MODALS | {word for word in NUMBER if word not in DEMONSTRATIVES}
CONNECTORS = {"of", "about", "by", "for", "from", "in", "near", "to", "with"}
RELATIVES = {"who", "that", "which"}


class Span(NamedTuple):
    """Words of a prompt and where they begin.

    Attributes:
        words: The words; "" if there are none.
        at: Index of their first character in the text with its blank filled by the target; -1 if there are none. That
            text is prefix, space, target and suffix, without the space if the prefix is empty or glued to the target.
    """

    words: str
    at: int


NO_SPAN = Span("", -1)


def number_of(change: Difference, task: str, term: str) -> str:
    """Find the grammatical number of the word in which a pair differs.

    The rules, in this order: the word itself if it is a determiner, an auxiliary or an anaphor; the last demonstrative
    before it in determiner-noun paradigms; a regular ending in subject-verb paradigms. An "s" marks a plural noun but a
    singular verb: the noun differs in the paradigms named `…_subject_verb_agreement_2`, the verb in all others.

    Args:
        change: Where the sentences differ.
        task: Name of the paradigm.
        term: BLiMP's `linguistics_term`; only agreement paradigms have a number.

    Returns:
        "singular", "plural", or "" if neither is certain.
    """
    if term not in TERMS:
        return ""
    good = change.good.lower()
    if good in NUMBER:
        return NUMBER[good]
    if term == "determiner_noun_agreement":
        determiners = [word for word in change.prefix.lower().split() if word in ("this", "that", "these", "those")]
        return NUMBER[determiners[-1]] if determiners else ""
    if term == "subject_verb_agreement":
        noun = task.endswith("subject_verb_agreement_2")
        with_s, without = ("plural", "singular") if noun else ("singular", "plural")
        bad = change.bad.lower()
        if good in _with_s(bad):
            return with_s
        if bad in _with_s(good):
            return without
    return ""


def _with_s(word: str) -> set[str]:
    """Return the regular forms of a word with "s"."""
    forms = {word + "s", word + "es"}
    if word.endswith("y"):
        forms.add(word[:-1] + "ies")
    return forms


def noun_of(change: Difference, term: str, number: str) -> str:
    """Find the noun that a pair is about.

    In determiner-noun paradigms it is the differing word, or the sentence's last word if the determiner differs.
    Elsewhere it is the head of the subject: the first word that can be a head.

    Args:
        change: Where the sentences differ.
        term: BLiMP's `linguistics_term`.
        number: Number of the differing word: "singular", "plural" or "".

    Returns:
        The noun in lower case, in the singular if `number` is "plural".
    """
    good, bad = change.good.lower(), change.bad.lower()
    if term == "determiner_noun_agreement" and good not in NUMBER:
        return bad if number == "plural" else good
    if term == "determiner_noun_agreement":
        noun = _last(change.suffix)
    else:
        words = [word.strip(punctuation) for word in f"{change.prefix} {good}{change.suffix}".lower().split()]
        noun = next((word for word in words if word and word not in BEFORE_HEAD), "")
    return singular_of(noun) if number == "plural" else noun


def singular_of(plural: str) -> str:
    """Return the singular of an English plural; words without a plural form stay unchanged."""
    if plural in IRREGULAR:
        return IRREGULAR[plural]
    if plural.endswith("ies") and len(plural) > 4:
        return f"{plural[:-3]}y"
    if plural.endswith(GREEK):
        return f"{plural[:-2]}is"
    if plural.endswith("es") and plural[:-2].endswith(SIBILANTS):
        return plural[:-2]
    return plural[:-1] if plural.endswith("s") and not plural.endswith("ss") else plural


def _last(text: str) -> str:
    """Return the last word of a text without punctuation."""
    words = [word.strip(punctuation) for word in text.lower().split()]
    return next((word for word in reversed(words) if word), "")


def fact_cue(pattern: str, subject: str, target: str) -> Span:
    """Find the subject in a relation's pattern.

    Args:
        pattern: Pattern with [X] at least once and [Y] once.
        subject: The fact's subject.
        target: The fact's object, which fills the blank.

    Returns:
        The first occurrence of the subject before the object, or else the first one after it.
    """
    before, after = pattern.split(OBJECT)
    if SUBJECT in before:
        return Span(subject, before.index(SUBJECT))
    if SUBJECT in after:
        return Span(subject, len(before) + len(target) + after.index(SUBJECT))
    return NO_SPAN


def pair_cue(pair: Pair, change: Difference, task: str) -> tuple[Span, Span]:
    """Find the cue and the distractor of a minimal pair.

    Args:
        pair: The pair; a cue that it states takes precedence over the patterns.
        change: Where its sentences differ.
        task: Name of the paradigm.

    Returns:
        Cue and distractor; `NO_SPAN` for what is unknown.
    """
    cue, distractor = (pair.cue, pair.distractor) if pair.cue else _by_pattern(change, pair.term, task)
    at_noun = pair.term == "determiner_noun_agreement" and change.good.lower() in NUMBER
    nearest = pair.term == "determiner_noun_agreement" and not at_noun
    return _place(change, cue, behind=at_noun, nearest=nearest), _place(change, distractor, nearest=True)


def _place(change: Difference, words: str, behind: bool = False, nearest: bool = False) -> Span:
    """Locate words, ignoring case, before or after the blank.

    Before the blank the first occurrence counts, or the last one if `nearest`. With `behind` the text after it comes
    first.
    """
    if not words:
        return NO_SPAN
    parts = [(change.prefix, 0), (change.suffix, len(fill_blank(change.prefix, change.good, change.glued)))]
    for text, offset in reversed(parts) if behind else parts:
        matches = [
            match
            for match in re.finditer(re.escape(words), text, re.IGNORECASE)
            if not (inside_word(text, match.start()) or inside_word(text, match.end()))
        ]
        if matches:
            match = matches[-1 if nearest and not offset else 0]
            return Span(match[0], offset + match.start())
    return NO_SPAN


def _by_pattern(change: Difference, term: str, task: str) -> tuple[str, str]:
    """Return the words of cue and distractor by BLiMP's sentence patterns."""
    before, after = change.prefix.split(), [word.strip(punctuation) for word in change.suffix.split()]
    if term == "determiner_noun_agreement":
        if change.good.lower() in NUMBER:
            return next((word for word in reversed(after) if word), ""), ""
        return next((word for word in reversed(before) if word.lower() in DEMONSTRATIVES), ""), ""
    if term == "anaphor_agreement":
        return " ".join(before[: _subject_ends(before, change, term)]), ""
    if term == "subject_verb_agreement" and task.endswith("_2"):  # the noun differs, and its verb follows it
        return next((word for word in after if word), ""), ""
    if term == "subject_verb_agreement" and not task.startswith("distractor"):
        return change.prefix, ""
    if term == "subject_verb_agreement":
        return _head_and_distractor(before)
    return "", ""


def _subject_ends(words: list[str], change: Difference, term: str) -> int:
    """Count the words of the subject that begins a sentence: up to an auxiliary, or through its noun."""
    for place, word in enumerate(words):
        if place and (word.lower() in AUXILIARIES or word.lower().endswith("n't")):
            return place
    noun = noun_of(change, term, "")
    end = next((n + 1 for n, word in enumerate(words) if word.strip(punctuation).lower() == noun), 0)
    while 0 < end < len(words) and words[end - 1][0].isupper() and words[end][0].isupper():  # "Winston Churchill"
        end += 1
    return end


def _head_and_distractor(words: list[str]) -> tuple[str, str]:
    """ "A niece" and "most men" in "A niece of most men"; "Some men" and "Kendra" in "Some men who like Kendra"."""
    start = 3 if [word.lower() for word in words[:3]] == ["a", "lot", "of"] else 1
    for place in range(start, len(words)):
        word = words[place].lower()
        if word in RELATIVES:
            return " ".join(words[:place]), " ".join(words[_last_phrase(words, place + 1) :])
        if word in CONNECTORS:
            return " ".join(words[:place]), " ".join(words[place + 1 :])
    return "", ""


def _last_phrase(words: list[str], start: int) -> int:
    """Find where the last noun phrase begins: at its first determiner, or at a name."""
    for place in range(len(words) - 1, start - 1, -1):
        if words[place].lower() in BEFORE_HEAD - {"of"}:
            while place > start and words[place - 1].lower() in BEFORE_HEAD:
                place -= 1
            return place
    place = len(words) - 1
    while place > start and words[place][0].isupper() and words[place - 1][0].isupper():
        place -= 1
    return place
