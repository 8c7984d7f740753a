"""Company of words in a text whose grammar nobody wrote down: the number of the noun whose phrase a word stands in.

The miniature world knows its counts; a text made from public corpora is read by rule, see `company_in_text`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from kn_thesis.corpora.noun_numbers import Nouns
from kn_thesis.corpora.world import company_rows
from kn_thesis.files import whole_file

ROLE = "text"  # of every word: the rule tells no roles apart
REACH = 3  # words from a word to its noun, "of" not counted

# Never pronouns: what stands between one of them and a noun is a modifier.
ARTICLES = frozenset({"the", "a", "an", "every", "my", "your", "our", "their", "its"})
DETERMINERS = ARTICLES | {"this", "that", "these", "those", "his", "her", "no", "each", "some", "any", "another"}
NUMERALS = frozenset({"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"})
# They stand before a noun, and after a determiner: "these two boys".
QUANTITIES = NUMERALS | {"all", "both", "half", "many", "few", "several", "various", "multiple", "most", "more"}
QUANTITIES |= {"other", "such"}
# They stand before a determiner, too: "all the boys".
BEFORE_DETERMINERS = frozenset({"all", "both", "half", "such"})
# After them "of" parts no noun phrases: "all of the boys", "a lot of boys".
WITH_OF = NUMERALS | {"all", "any", "both", "each", "few", "half", "lot", "many", "more", "most", "none", "several"}
WITH_OF |= {"some"}
# After them a noun phrase may begin with its adjective. "to" is none: a verb comes after it more often.
BEFORE_PHRASES = frozenset(
    {"about", "and", "around", "at", "behind", "by", "for", "from", "in", "like", "near", "of", "on", "or"}
    | {"over", "through", "under", "with"}
)

TOKEN = re.compile(r"[\w'’-]+|[^\w\s]")


def company_in_text(
    sentences: Iterable[str], nouns: Nouns, words: Collection[str] | None = None
) -> Counter[tuple[str, str, str]]:
    """Counts of (word in lower case, `ROLE`, number) over the text: of every word that has company, or of `words`.

    A determiner, quantity or modifier keeps company with the next known noun of its own noun phrase: at most `REACH`
    words on, with nothing but modifiers and quantities between. So neither punctuation, a verb, a preposition, an
    unknown noun nor another determiner is passed, but for these:
    "of" after a quantity ("all of the boys", "a lot of boys", not "the picture of boys"), and the determiner after it;
    the determiner after "all", "both", "half", "such" ("all the boys").
    Company is what a reader sees beside the word, so that of "each" in "each of the boys" is plural.
    Of two nouns in a row, the second one counts if the first is known as a modifier: "this movie theater".

    Modifiers are those of the pairs, and each word that the text shows between an article and a known noun ("the
    unique book"), names excepted. A modifier counts itself only where a noun phrase must be (after a determiner,
    quantity, modifier, possessive or preposition, or where a sentence or clause begins): "has hidden books" is a verb
    and its object. "that" right after a noun is a relative pronoun and has no company.

    Limits. Nouns that neither pairs nor paraphrases show are unknown, ambiguous ones ("sheep") are left out: words
    beside them have no company there. Adjectives that never follow an article, and those in "hate scattered leaves",
    are missed. A demonstrative used as a pronoun ("those hidden books reveal") looks like a determiner.
    """
    phrases = sorted(modifier.split() for modifier in nouns.modifiers if " " in modifier)
    split = [_tokens(sentence, phrases) for sentence in sentences]
    modifiers = nouns.modifiers | _shown_modifiers(split, nouns)
    adjectives = modifiers - nouns.numbers.keys()
    counts: Counter[tuple[str, str, str]] = Counter()
    for cased in split:
        tokens = [token.lower() for token in cased]
        for place, word in enumerate(tokens):
            if (words is None or word in words) and _may_have_company(tokens, place, nouns, adjectives):
                number = _number(tokens, place, nouns, modifiers)
                if number:
                    counts[word, ROLE, number] += 1
    return counts


def summary(sentences: int, nouns: Nouns, company: Counter[tuple[str, str, str]]) -> str:
    """One line for the log."""
    return (
        f"{sentences:,} sentences; {len(nouns.numbers):,} nouns with a number, {len(nouns.ambiguous):,} ambiguous ones "
        f"left out; {len({word for word, _, _ in company}):,} words with company, {company.total():,} times"
    )


def write_company(company: Counter[tuple[str, str, str]], path: str | Path) -> None:
    """Write a world's table of counts: word, role, number, count; sorted by word, singular before plural."""
    import pandas as pd

    table = pd.DataFrame(company_rows(company), columns=["word", "role", "number", "count"])
    with whole_file(path) as temporary:
        table.astype({"word": "str", "role": "str", "number": "str", "count": "int64"}).to_parquet(
            temporary, index=False
        )


def _tokens(sentence: str, phrases: Sequence[list[str]]) -> list[str]:
    """Words and punctuation marks; a modifier of several words is one of them."""
    tokens = TOKEN.findall(sentence)
    for phrase in phrases:
        for place in range(len(tokens) - len(phrase), -1, -1):
            if [token.lower() for token in tokens[place : place + len(phrase)]] == phrase:
                tokens[place : place + len(phrase)] = [" ".join(phrase)]
    return tokens


def _shown_modifiers(split: Iterable[Sequence[str]], nouns: Nouns) -> set[str]:
    """Words between an article and a noun, but for nouns and names: "the boys play", "the Borgias bike" show none."""
    closed = DETERMINERS | QUANTITIES | WITH_OF | BEFORE_PHRASES | nouns.numbers.keys() | nouns.ambiguous
    shown: set[str] = set()
    for tokens in split:
        for before, word, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
            if before.lower() in ARTICLES and after in nouns.numbers and word.lower() not in closed:
                parts = word.split("-")  # "Paris-born" is no name
                if all(part.isalpha() for part in parts) and parts[-1].islower():
                    shown.add(word.lower())
    return shown


def _may_have_company(tokens: Sequence[str], place: int, nouns: Nouns, adjectives: Collection[str]) -> bool:
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
    """Number of the noun whose phrase the word at `place` stands in, or ""."""
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
