"""The noun that a minimal pair is about, where the corpus does not state it: prompts about one noun are no independent
observations, so statistics gather them."""

from __future__ import annotations

from string import punctuation

from kn_thesis.corpora.blimp import Difference
from kn_thesis.corpora.numbers import NUMBER

# What may stand before the head of a subject.
BEFORE_HEAD = {
    *("the", "a", "an", "this", "that", "these", "those", "some", "any", "all", "every", "each", "no", "many", "most"),
    *("few", "several", "both", "two", "three", "four", "five", "ten", "other", "lot", "of", "my", "our", "your"),
    *("his", "her", "their", "there", "it"),
}


def noun_of(change: Difference, term: str) -> str:
    """The noun of a pair by BLiMP's own patterns, lower case.

    Determiner-noun paradigms end in the noun phrase: the noun is the word that differs (singular and plural are one
    noun), or the last one where the determiner differs. Elsewhere it is the subject's head: the sentence's first word
    that can be one.
    """
    if term == "determiner_noun_agreement":
        if change.good.lower() not in NUMBER:
            return min(change.good.lower(), change.bad.lower())
        return _last(change.suffix)
    words = f"{change.prefix} {change.good}{change.suffix}".lower().split()
    return next((word for word in (w.strip(punctuation) for w in words) if word and word not in BEFORE_HEAD), "")


def _last(text: str) -> str:
    words = [word.strip(punctuation) for word in text.lower().split()]
    return next((word for word in reversed(words) if word), "")
