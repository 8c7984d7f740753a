"""The words that decide a gap: the cue that causal tracing corrupts, and the distractor that stands in between.

A fact's cue is its subject. A minimal pair's are the words that its word must agree with: stated by the world, or
found by the patterns that BLiMP writes its sentences in (Warstadt et al. 2020, §3). Where neither says, there is none.
"""

from __future__ import annotations

import re
from string import punctuation
from typing import NamedTuple

from kn_thesis.corpora.blimp import Difference, Pair
from kn_thesis.corpora.gaps import filled
from kn_thesis.corpora.joints import inside_word
from kn_thesis.corpora.nouns import BEFORE_HEAD, noun_of
from kn_thesis.corpora.numbers import NUMBER
from kn_thesis.corpora.pararel import OBJECT, SUBJECT

DEMONSTRATIVES = ("this", "that", "these", "those")
MODALS = {"can", "could", "might", "must", "should", "will", "would", "did", "does", "do", "had"}
AUXILIARIES = MODALS | {word for word in NUMBER if word not in DEMONSTRATIVES}
CONNECTORS = {"of", "about", "by", "for", "from", "in", "near", "to", "with"}
RELATIVES = {"who", "that", "which"}


class Stretch(NamedTuple):
    """Words of a prompt and the character at which they begin, in the text with its gap filled by the target.

    That text is prefix, space, target, suffix; without a prefix, or behind one that it is glued to, the target follows
    at once. No words: ("", -1).
    """

    words: str
    at: int


NOTHING = Stretch("", -1)


def fact_cue(pattern: str, subject: str, target: str) -> Stretch:
    """The subject in a pattern that names it once or more: the first place before the object, else the first after."""
    before, after = pattern.split(OBJECT)
    if SUBJECT in before:
        return Stretch(subject, before.index(SUBJECT))
    if SUBJECT in after:
        return Stretch(subject, len(before) + len(target) + after.index(SUBJECT))
    return NOTHING


def pair_cue(pair: Pair, change: Difference, task: str) -> tuple[Stretch, Stretch]:
    """Cue and distractor of a minimal pair of a paradigm `task`, which differs as `change` says."""
    cue, distractor = (pair.cue, pair.distractor) if pair.cue else _by_pattern(change, pair.term, task)
    at_noun = pair.term == "determiner_noun_agreement" and change.good.lower() in NUMBER
    nearest = pair.term == "determiner_noun_agreement" and not at_noun
    return _place(change, cue, behind=at_noun, nearest=nearest), _place(change, distractor, nearest=True)


def _place(change: Difference, words: str, behind: bool = False, nearest: bool = False) -> Stretch:
    """Where words stand, whatever their capitals: before the gap (the last place if `nearest`) or `behind` it."""
    if not words:
        return NOTHING
    parts = [(change.prefix, 0), (change.suffix, len(filled(change.prefix, change.good, change.glued)))]
    for text, offset in reversed(parts) if behind else parts:
        found = [
            match
            for match in re.finditer(re.escape(words), text, re.IGNORECASE)
            if not (inside_word(text, match.start()) or inside_word(text, match.end()))
        ]
        if found:
            match = found[-1 if nearest and not offset else 0]
            return Stretch(match[0], offset + match.start())
    return NOTHING


def _by_pattern(change: Difference, term: str, task: str) -> tuple[str, str]:
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
    """Number of words of the subject that a sentence begins with: up to an auxiliary, or through its noun."""
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
    """Where the last noun phrase begins: at the last determiner (and those right before it), or at the last name."""
    for place in range(len(words) - 1, start - 1, -1):
        if words[place].lower() in BEFORE_HEAD - {"of"}:
            while place > start and words[place - 1].lower() in BEFORE_HEAD:
                place -= 1
            return place
    place = len(words) - 1
    while place > start and words[place][0].isupper() and words[place - 1][0].isupper():
        place -= 1
    return place
