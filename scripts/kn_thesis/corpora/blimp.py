"""Minimal pairs in BLiMP's schema (Warstadt et al. 2020), from the public corpus or the miniature world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import punctuation

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

    The suffix begins with its own space, if any. `glued`: no space parts the prefix from the word.
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
            good=" ".join(row["sentence_good"].split()),
            bad=" ".join(row["sentence_bad"].split()),
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


def difference(good: str, bad: str) -> Difference | None:
    """The one word in which two sentences differ, without the punctuation that both attach to it; else None.

    "The men cure ladies." and "The men cure lady." differ in "ladies" and "lady", between "The men cure" and ".".
    """
    left, right = good.split(), bad.split()
    places = [i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b]
    if len(left) != len(right) or len(places) != 1:
        return None
    place = places[0]
    a, b = left[place], right[place]
    before = after = ""
    while len(a) > 1 and len(b) > 1 and a[-1] == b[-1] and a[-1] in punctuation:
        a, b, after = a[:-1], b[:-1], a[-1] + after
    while len(a) > 1 and len(b) > 1 and a[0] == b[0] and a[0] in punctuation:
        a, b, before = a[1:], b[1:], before + a[0]
    prefix = " ".join([*left[:place], before] if before else left[:place])
    suffix = " ".join([after, *left[place + 1 :]])
    return Difference(prefix, a, b, suffix, glued=bool(before))
