"""The miniature world: training text, minimal pairs, facts, and the exact counts of who keeps company with whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from kn_thesis.corpora.facts import Relation, fact_sentences, load_facts, read_statement
from kn_thesis.corpora.grammar import Grammar, load_grammar
from kn_thesis.corpora.pairs import make_pairs
from kn_thesis.corpora.sentences import Token, Writer
from kn_thesis.corpora.split import HELD_OUT, VALIDATION
from kn_thesis.errors import UserError

BIASES = ("baseline", "swapped", "flat")
DIRECTIONS = ("both", "one_way")
PAIRS = {HELD_OUT: 1000, VALIDATION: 300}  # per paradigm; BLiMP has 1000


@dataclass(frozen=True)
class WorldSettings:
    """What a variant of the world depends on.

    `bias` is the company of number-biased words: `baseline` as authored, `swapped` (shares of plural company
    exchanged for those of singular company) or `flat` (half and half); `directions` says whether facts with an
    inverse are stated in `both` directions or `one_way`, from the first relation's side only.
    """

    seed: int = 1
    sentences: int = 60_000
    fact_share: float = 0.6
    bias: str = "baseline"
    directions: str = "both"

    def __post_init__(self) -> None:
        """Raise `UserError` for a variant that is not known."""
        if self.bias not in BIASES:
            raise UserError(f"world, bias: {self.bias!r} is not allowed; allowed: {', '.join(BIASES)}")
        if self.directions not in DIRECTIONS:
            raise UserError(f"world, directions: {self.directions!r} is not allowed; allowed: {', '.join(DIRECTIONS)}")


@dataclass(frozen=True)
class World:
    """A variant of the world.

    `text` holds one sentence an entry; `company` counts (word, role, number) over the whole text: the number is that
    of the noun whose phrase a determiner, adjective or noun stands in, or of the subject of a verb or predicate.
    """

    text: list[str]
    company: Counter[tuple[str, str, str]]
    pairs: dict[str, list[dict[str, Any]]]
    relations: tuple[Relation, ...]


def make_world(folder: Path, settings: WorldSettings) -> World:
    """Write the world whose lexicon, grammar and facts are in `folder`; the same settings give the same world.

    Variants share everything that their settings do not change: each agreement sentence has its own seed, so the
    sentences without number-biased words are the same ones. Raises `UserError` for mistakes in the resources.
    """
    grammar = load_grammar(folder, settings.seed)
    facts = load_facts(folder, settings.seed)
    writer = Writer(grammar, _plural_shares(grammar, settings.bias))
    company: Counter[tuple[str, str, str]] = Counter()
    text = []
    stated = round(settings.sentences * settings.fact_share)
    rng = Random()
    for index in range(settings.sentences - stated):
        rng.seed((settings.seed << 32) + index)
        sentence = writer.sentence(rng)
        text.append(sentence.text())
        _count(company, sentence.tokens)
    determiners = {determiner.word: determiner.number for determiner in grammar.lexicon.determiners}
    for filled in fact_sentences(facts, stated, settings.directions == "one_way", settings.seed):
        statement, tokens = read_statement(filled, determiners)
        text.append(statement)
        _count(company, tokens)
    Random(f"order {settings.seed}").shuffle(text)
    # Pairs ask about agreement, not about bias: they are the same in every variant.
    asking = Writer(grammar, _plural_shares(grammar, "baseline"))
    pairs = {
        paradigm.name: [
            pair
            for split, number in PAIRS.items()
            for pair in make_pairs(asking, paradigm, number, settings.seed, split)
        ]
        for paradigm in grammar.paradigms
    }
    return World(text, company, pairs, facts.relations)


def company_rows(company: Mapping[tuple[str, str, str], int]) -> list[dict[str, Any]]:
    """Counts as rows: word, role, number ("singular" or "plural"), count; sorted, zero counts included."""
    words = sorted({(word, role) for word, role, _ in company})
    return [
        {"word": word, "role": role, "number": number, "count": company.get((word, role, number), 0)}
        for word, role in words
        for number in ("singular", "plural")
    ]


def _count(company: Counter[tuple[str, str, str]], tokens: Iterable[Token]) -> None:
    company.update(token for token in tokens if token.number and token.role)


def _plural_shares(grammar: Grammar, bias: str) -> dict[str, float]:
    change = {"baseline": lambda share: share, "swapped": lambda share: 1 - share, "flat": lambda share: 0.5}[bias]
    return {biased.word: change(biased.plural_share) for biased in grammar.lexicon.biased}
