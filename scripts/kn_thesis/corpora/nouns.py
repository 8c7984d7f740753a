"""The noun that an English minimal pair is about, where the corpus states its term alone: prompts about one noun are no
independent observations, so statistics gather them."""

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


# Plurals that no ending tells; the others end in "s".
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


def noun_of(change: Difference, term: str, number: str) -> str:
    """The noun of a pair by BLiMP's own patterns: lower case, in the singular where its number is known to be plural.

    Determiner-noun paradigms end in the noun phrase: the noun is the word that differs, or the last one where the
    determiner differs. Elsewhere it is the subject's head: the sentence's first word that can be one. `number` is that
    of the pair: "singular", "plural" or "".
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
    """The singular of an English plural; what has no plural's form stays as it is."""
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
    words = [word.strip(punctuation) for word in text.lower().split()]
    return next((word for word in reversed(words) if word), "")
