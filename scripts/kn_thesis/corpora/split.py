"""Which pairs, paraphrases and facts of the fetched corpora a model is trained on, and which it is only asked.

One rule for the training text and for the prompts. Each choice is a hash of the seed and the item's own text, so that
adding an item changes nothing for the others, and one text has one fate in whatever paradigm it stands.
"""

from __future__ import annotations

from collections.abc import Sequence

from kn_thesis.corpora.pararel import Fact, Pattern
from kn_thesis.corpora.rank import rank


def pair_held_out(good: str, share: float, seed: int) -> bool:
    """Whether the pair with this grammatical sentence is kept out of the training text: a `share` of all are."""
    return rank("pair", seed, good) < share * 2**64


def held_out_patterns(patterns: Sequence[Pattern], count: int, task: str, seed: int) -> frozenset[str]:
    """Texts of the `count` paraphrases of a relation that are kept out; one at least stays in the training text.

    Patterns that end with their object and the others take turns, so that masked and causal models both have
    paraphrases that are held out; and one that ends with its object stays in, when there is one.
    """
    texts = {p.text: p.object_last for p in patterns if p.whole}
    order = sorted(texts, key=lambda text: rank("pattern", seed, task, text))
    last = [text for text in order if texts[text]][1:]  # the first one stays
    other = [text for text in order if not texts[text]]
    if not any(texts.values()):
        other = other[1:]
    turns = [text for i in range(max(len(last), len(other))) for text in (*last[i : i + 1], *other[i : i + 1])]
    return frozenset(turns[:count])


def stated_facts(facts: Sequence[Fact], most: int | None, task: str, seed: int) -> list[Fact]:
    """The facts of a relation that the training text states, at most `most` (None: all), each once."""
    unique = {(fact.subject, fact.object): fact for fact in reversed(facts)}
    order = sorted(unique.values(), key=lambda fact: rank("fact", seed, task, fact.subject, fact.object))
    return order[:most]
