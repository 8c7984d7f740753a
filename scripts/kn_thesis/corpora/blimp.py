"""Minimal pairs in BLiMP's schema (Warstadt et al. 2020), from the public corpus or the miniature world."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import punctuation

from kn_thesis.corpora.joints import ELIDED, inside_word, is_unspaced
from kn_thesis.corpora.rows import read_rows
from kn_thesis.corpora.split import SPLITS
from kn_thesis.errors import UserError

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
    """A grammatical sentence, its ungrammatical counterpart, and what the corpus says of them.

    `one_prefix`: the sentences differ in one word, and what comes before it decides which one is right.
    Where the corpus states them, else "": `number` of the word that differs ("singular", "plural"), the `noun` that
    decides it, the `cue` (all words that decide it), the `distractor` (words of another number in between) and the
    `split` (see corpora.split).
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
    """Where two sentences differ in one word: text before it (right-stripped), the two words, text after it.

    The suffix begins with its own space, if any. `glued`: no space parts the prefix from the word, which stands behind
    an opening mark or an elision, or in a script without spaces.
    """

    prefix: str
    good: str
    bad: str
    suffix: str
    glued: bool = False


def load_pairs(path: str | Path) -> list[Pair]:
    """The pairs of one paradigm, in the file's order.

    Raises UserError when the file is broken, a pairID comes twice, or a number or cue is none.
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
            raise UserError(f"{path}, line {line}: pairID {pair.id} comes twice: give each pair its own")
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
                    f"{path}, pair {pair.id}: the {part} {words!r} does not stand in sentence_good: correct one of them"
                )
    return pairs


def tidy_spaces(text: str) -> str:
    """One plain space between words and none at the ends; spaces of other kinds, as a no-break space, stay."""
    return re.sub(r"[ \t\n\r\f\v]+", " ", text).strip(" ")


def difference(good: str, bad: str) -> Difference | None:
    """The one word in which two sentences differ, without the punctuation that both attach to it; else None.

    "The men cure ladies." and "The men cure lady." differ in "ladies" and "lady", between "The men cure" and ".". In a
    script without spaces the word is the one stretch of characters in which they differ.
    """
    left, right = good.split(" "), bad.split(" ")
    places = [i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b]
    if len(left) != len(right) or len(places) != 1:
        return None
    place = places[0]
    words = left[place], right[place]
    found = _stretch(*words) if any(map(is_unspaced, "".join(words))) else _bare(*words)
    if found is None:
        return None
    before, a, b, after = found
    prefix = " ".join([*left[:place], before] if before else left[:place])
    suffix = " ".join([after, *left[place + 1 :]])
    return Difference(prefix, a, b, suffix, glued=bool(before))


def _bare(a: str, b: str) -> tuple[str, str, str, str]:
    """Two words without the marks and the elision that both have: these before them, the words, the marks behind."""
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
    """The same of texts without spaces: what they share at the beginning, the stretch in either, the shared end.

    None where one has nothing to set against the other's stretch, or where the stretches share a character: then the
    texts differ in more than one place. Words of scripts with spaces are left whole.
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
