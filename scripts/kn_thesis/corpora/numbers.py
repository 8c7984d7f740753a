"""Number of the word in which a pair differs, where the corpus does not state it."""

from __future__ import annotations

from kn_thesis.corpora.blimp import Difference

TERMS = ("determiner_noun_agreement", "subject_verb_agreement", "anaphor_agreement")
SINGULAR = ["this", "that", "is", "was", "has", "does", "isn't", "wasn't", "hasn't", "doesn't"]
PLURAL = ["these", "those", "are", "were", "have", "do", "aren't", "weren't", "haven't", "don't"]
SINGULAR += ["himself", "herself", "itself"]
PLURAL += ["themselves", "ourselves", "yourselves"]
NUMBER = dict.fromkeys(SINGULAR, "singular") | dict.fromkeys(PLURAL, "plural")


def number_of(change: Difference, task: str, term: str) -> str:
    """ "singular", "plural", or "" where neither is certain: only agreement paradigms have a number.

    By the word itself when it is a determiner, an auxiliary or an anaphor; by the last demonstrative before it in the
    determiner-noun paradigms; else by a regular ending, which marks a plural noun but a singular verb: the verb
    differs in the paradigms of subject-verb agreement whose pairs share their prefix, the noun in the others.
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
    forms = {word + "s", word + "es"}
    if word.endswith("y"):
        forms.add(word[:-1] + "ies")
    return forms
