"""Read minimal pairs in BLiMP's schema (Warstadt et al. 2020), from the public corpus or the miniature world."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import punctuation

from kn_thesis.corpora.blanks import ELIDED, inside_word, is_unspaced
from kn_thesis.corpora.sampling import SPLITS
from kn_thesis.errors import UserError
from kn_thesis.inputs import read_rows

REQUIRED = {"sentence_good": str, "sentence_bad": str, "one_prefix_method": bool}
OPTIONAL = {
    "pairID": str | int,
    "linguistics_term": str,
    "target_number": str,
    "noun": str,
    "cue": str,
    "distractor": str,
    "split": str,
}
NUMBERS = ("singular", "plural", "")


@dataclass(frozen=True)
class Pair:
    """A minimal pair and what the corpus states about it.

    Attributes:
        id: `pairID`, or the line number from 0.
        good: Grammatical sentence.
        bad: Ungrammatical sentence.
        term: BLiMP's `linguistics_term`; "" if not stated.
        one_prefix: Whether the sentences differ in one word and the text before it decides which one is right.
        number: Number of the differing word, "singular" or "plural"; "" if not stated.
        noun: Noun that the differing word agrees with; "" if not stated.
        cue: All words that decide the differing word; "" if not stated.
        distractor: Words of another number between cue and differing word; "" if not stated.
        split: See `kn_thesis.corpora.sampling`; "" if not stated.
    """

    id: str
    good: str
    bad: str
    term: str
    one_prefix: bool
    number: str = ""
    noun: str = ""
    cue: str = ""
    distractor: str = ""
    split: str = ""


@dataclass(frozen=True)
class Difference:
    """The one word in which two sentences differ.

    Attributes:
        prefix: Text before the word, without a trailing space.
        good: Word of the grammatical sentence.
        bad: Word of the ungrammatical sentence.
        suffix: Text after the word, with its leading space if it has one.
        glued: Whether no space separates prefix and word: after an opening mark or an elision, or in a script without
            spaces.
    """

    prefix: str
    good: str
    bad: str
    suffix: str
    glued: bool = False


def load_pairs(path: str | Path) -> list[Pair]:
    """Read the pairs of one paradigm.

    Args:
        path: JSON-lines file in BLiMP's format.

    Returns:
        The pairs in the file's order, with regular spacing.

    Raises:
        UserError: The file is broken, a pairID appears twice, a number or split is unknown, or a cue or distractor does
            not occur in the grammatical sentence.
    """
    pairs = [
        Pair(
            id=str(number if row.get("pairID") in (None, "") else row["pairID"]),
            good=tidy_spaces(row["sentence_good"]),
            bad=tidy_spaces(row["sentence_bad"]),
            term=str(row.get("linguistics_term") or ""),
            one_prefix=row["one_prefix_method"],
            number=str(row.get("target_number") or ""),
            **{key: str(row.get(key) or "") for key in ("noun", "cue", "distractor", "split")},
        )
        for number, row in enumerate(read_rows(path, REQUIRED, OPTIONAL))
    ]
    seen: set[str] = set()
    for line, pair in enumerate(pairs, 1):
        if pair.id in seen:
            raise UserError(f"{path}, line {line}: pairID {pair.id} appears twice: give each pair its own")
        seen.add(pair.id)
        if pair.number not in NUMBERS:
            raise UserError(
                f"{path}, pair {pair.id}: target_number {pair.number!r} is not allowed; it is singular or plural"
            )
        if pair.split not in (*SPLITS, ""):
            raise UserError(
                f"{path}, pair {pair.id}: split {pair.split[:60]!r} is not allowed; it is {', '.join(SPLITS)}"
            )
        for part, words in (("cue", pair.cue), ("distractor", pair.distractor)):
            if words.lower() not in pair.good.lower():
                raise UserError(
                    f"{path}, pair {pair.id}: the {part} {words!r} does not occur in sentence_good: correct one of them"
                )
    return pairs


def tidy_spaces(text: str) -> str:
    """Reduce ASCII white space to one space between words and none at the ends; other spaces (no-break) stay."""
    return re.sub(r"[ \t\n\r\f\v]+", " ", text).strip(" ")


def difference(good: str, bad: str) -> Difference | None:
    """Find the one word in which two sentences differ.

    "The men cure ladies." and "The men cure lady." differ in "ladies" and "lady", between "The men cure" and ".". In a
    script without spaces the word is the one stretch of characters in which the sentences differ.

    Args:
        good: Grammatical sentence.
        bad: Ungrammatical sentence.

    Returns:
        The words without the punctuation that both attach to them; None if the sentences differ in more than one word.
    """
    left, right = good.split(" "), bad.split(" ")
    places = [i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b]
    if len(left) != len(right) or len(places) != 1:
        return None
    place = places[0]
    words = left[place], right[place]
    parts = _stretch(*words) if any(map(is_unspaced, "".join(words))) else _bare(*words)
    if parts is None:
        return None
    before, a, b, after = parts
    prefix = " ".join([*left[:place], before] if before else left[:place])
    suffix = " ".join([after, *left[place + 1 :]])
    return Difference(prefix, a, b, suffix, glued=bool(before))


def _bare(a: str, b: str) -> tuple[str, str, str, str]:
    """Strip the marks and the elision that two words share: marks before them, both words, marks after them."""
    before = after = ""
    while len(a) > 1 and len(b) > 1 and a[-1] == b[-1] and a[-1] in punctuation:
        a, b, after = a[:-1], b[:-1], a[-1] + after
    while len(a) > 1 and len(b) > 1 and a[0] == b[0] and a[0] in punctuation:
        a, b, before = a[1:], b[1:], before + a[0]
    elided = re.match(ELIDED, a, re.IGNORECASE)
    if elided and b.startswith(elided[0]) and min(len(a), len(b)) > elided.end():
        a, b, before = a[elided.end() :], b[elided.end() :], before + elided[0]
    return before, a, b, after


def _stretch(a: str, b: str) -> tuple[str, str, str, str] | None:
    """Do the same for texts without spaces: shared beginning, the two differing stretches, shared end.

    Words of scripts with spaces stay whole. None if one stretch is empty, or if the stretches share a character,
    because then the texts differ in more than one place.
    """
    shortest = min(len(a), len(b))
    start = next((n for n in range(shortest) if a[n] != b[n]), shortest)
    end = next((n for n in range(shortest - start) if a[-1 - n] != b[-1 - n]), shortest - start)
    while start and (inside_word(a, start) or inside_word(b, start)):
        start -= 1
    while end and (inside_word(a, len(a) - end) or inside_word(b, len(b) - end)):
        end -= 1
    one, other = a[start : len(a) - end], b[start : len(b) - end]
    if not one or not other:
        return None
    shared = {character for character in one if is_unspaced(character)} & set(other)
    return None if shared else (a[:start], one, other, a[len(a) - end :])
