"""Which pairs, paraphrases and facts a model trains on, which decide when its training ends, and which the study asks.

Every item belongs to one split. `trained` items are in the training text. `validation` items are not, and decide when
training ends; the study never asks them. `held_out` items decide nothing before the study asks them. One rule serves
the training text and the prompts. Each choice is a hash of the seed and the item's own text, so that a new item
changes nothing for the others, and one text has one split in every paradigm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from kn_thesis.corpora.rank import rank

if TYPE_CHECKING:
    from kn_thesis.corpora.pararel import Fact, Pattern


TRAINED, VALIDATION, HELD_OUT = "trained", "validation", "held_out"
SPLITS = (TRAINED, VALIDATION, HELD_OUT)


def pair_split(good: str, held_out: float, validation: float, seed: int) -> str:
    """The split of the pair with this grammatical sentence; `held_out` and `validation` are shares of all pairs."""
    place = rank("pair", seed, good) / 2**64
    return HELD_OUT if place < held_out else VALIDATION if place < held_out + validation else TRAINED


def pattern_splits(patterns: Sequence[Pattern], held_out: int, validation: int, task: str, seed: int) -> dict[str, str]:
    """The split of each paraphrase of a relation, by its text: so many kept out for each use, at least one trained.

    Patterns that end with their object and the others take turns, so that masked and causal models both have
    paraphrases that are kept out; one that ends with its object stays trained, where there is one.
    """
    texts = {p.text: p.object_last for p in patterns if p.whole}
    order = sorted(texts, key=lambda text: rank("pattern", seed, task, text))
    last = [text for text in order if texts[text]][1:]  # the first one stays
    other = [text for text in order if not texts[text]]
    if not any(texts.values()):
        other = other[1:]
    turns = [text for i in range(max(len(last), len(other))) for text in (*last[i : i + 1], *other[i : i + 1])]
    splits = dict.fromkeys(turns[:held_out], HELD_OUT) | dict.fromkeys(turns[held_out:][:validation], VALIDATION)
    return {pattern.text: splits.get(pattern.text, TRAINED) for pattern in patterns}


def draw_paraphrases(
    patterns: Sequence[str], kept_out: Mapping[str, int], task: str, seed: int, elsewhere: Collection[str] = ()
) -> dict[str, str]:
    """The split of each of a world's paraphrases: `kept_out` says how many belong to each split but the trained one.

    Only paraphrases that end with their object are kept out, since every model can be asked those, and only those
    whose every word stays in a trained one of the same relation: a model cannot know a word it never read. At
    most half of those with one first word are, and none of those in `elsewhere`, whose sentences another relation
    states. The seed decides among the others. Fewer are kept out where no other paraphrase qualifies.
    """
    splits = dict.fromkeys(patterns, TRAINED)
    last = [pattern for pattern in patterns if pattern.strip("} .").endswith("[Y]")]
    begun = Counter(pattern.split()[0] for pattern in patterns)
    may_go = {first: count // 2 for first, count in begun.items()}
    wanted = [split for split, count in kept_out.items() for _ in range(count)]
    for pattern in sorted(patterns, key=lambda pattern: rank("paraphrase", seed, task, pattern)):
        if not wanted:
            break
        first, free = pattern.split()[0], pattern in last and pattern not in elsewhere
        rest = {word for other in last if other != pattern and splits[other] == TRAINED for word in words_of(other)}
        if free and may_go[first] and words_of(pattern) <= rest:
            splits[pattern] = wanted.pop(0)
            may_go[first] -= 1
    return splits


def words_of(pattern: str) -> set[str]:
    """The words of a pattern, without its braces and punctuation, in lower case."""
    return {word for token in pattern.lower().split() if (word := token.strip("{}.,"))}


def stated_facts(facts: Sequence[Fact], most: int | None, task: str, seed: int) -> list[Fact]:
    """The facts of a relation that the training text states, at most `most` (None: all), each once."""
    unique = {(fact.subject, fact.object): fact for fact in reversed(facts)}
    order = sorted(unique.values(), key=lambda fact: rank("fact", seed, task, fact.subject, fact.object))
    return order[:most]
