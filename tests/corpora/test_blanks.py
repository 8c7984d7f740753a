"""Whether a space separates a word from the text before it."""

from __future__ import annotations

import pytest

from kn_thesis.corpora.blanks import inside_word, is_unspaced, space_follows

SPACE = [
    "",
    "The capital is",
    "A:",
    "Yes.",
    "In 1945",
    'the "best"',
    "the 'best'",
    "rock 'n'",
    "the kings'",
    "x =",
    "5 €",
    "C#",
    "«Paris»",
]
SPACE += ['"Yes!"', "(a)", "Paris -", "\n-", "캐나다의 수도는", "राजधानी", "столица –"]
NONE = [
    "A:\n",
    "a\t",
    "a\n\n",
    "a\u00a0",
    'called "',
    '"',
    '("',
    "called “",
    "called «",
    "called '",
    "is (",
    "[",
    "of l'",
    "L’",
    "qu'",
]
NONE += [
    "dell'",
    "costs $",
    "by @",
    "well-",
    "and/",
    "New York–",
    "加拿大的首都是",
    "カナダの首都は",
    "เมืองหลวงคือ",
    "是“",
    "答：",
    "名は「",
]
UNCLEAR = ["goin'", "北京3", "答:"]


@pytest.mark.parametrize(("texts", "follows"), [(SPACE, True), (NONE, False), (UNCLEAR, None)])
def test_what_follows_a_text(texts: list[str], follows: bool | None) -> None:
    assert {text: space_follows(text) for text in texts} == dict.fromkeys(texts, follows)


def test_scripts() -> None:
    assert all(map(is_unspaced, "加のカーไທကខ。「１"))
    assert not any(map(is_unspaced, "aß한कД1.\u3000"))


def test_words() -> None:
    text = "abc加d क्या x'y"
    assert [at for at in range(len(text) + 1) if inside_word(text, at)] == [1, 2, 7, 8, 9]
