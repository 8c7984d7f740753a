"""Make the miniature world: training text, minimal pairs, facts, and exact co-occurrence counts.

The pairs are written in BLiMP's format and the facts in ParaRel's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from kn_thesis.corpora.sampling import HELD_OUT, VALIDATION
from kn_thesis.corpora.world.facts import Relation, fact_sentences, load_facts, read_statement
from kn_thesis.corpora.world.grammar import Grammar, load_grammar
from kn_thesis.corpora.world.pairs import make_pairs
from kn_thesis.corpora.world.sentences import Token, Writer
from kn_thesis.errors import UserError
from kn_thesis.files import whole_file

BIASES = ("baseline", "swapped", "flat")
DIRECTIONS = ("both", "one_way")
PAIRS = {HELD_OUT: 1000, VALIDATION: 300}  # per paradigm; BLiMP has 1000


@dataclass(frozen=True)
class WorldSettings:
    """What a variant of the world depends on.

    Attributes:
        seed: Seed of the text and of what is kept out of it.
        sentences: Number of sentences of training text.
        fact_share: Share of the sentences that state facts; the others are about agreement.
        bias: Co-occurrence of the number-biased words with singular and plural nouns: "baseline" as authored, "swapped"
            with the shares of both numbers exchanged, or "flat" with one half each.
        directions: Whether facts with an inverse are stated in "both" directions or "one_way", from the first
            relation's side only.
    """

    seed: int = 1
    sentences: int = 60_000
    fact_share: float = 0.6
    bias: str = "baseline"
    directions: str = "both"

    def __post_init__(self) -> None:
        """Raise `UserError` for an unknown variant."""
        if self.bias not in BIASES:
            raise UserError(f"world, bias: {self.bias!r} is not allowed; allowed: {', '.join(BIASES)}")
        if self.directions not in DIRECTIONS:
            raise UserError(f"world, directions: {self.directions!r} is not allowed; allowed: {', '.join(DIRECTIONS)}")


@dataclass(frozen=True)
class World:
    """A variant of the world.

    Attributes:
        text: Sentences of the training text.
        cooccurrence: Counts by (word, role, number) over the whole text. The number is that of the noun whose phrase a
            determiner, adjective or noun stands in, or of the subject of a verb or predicate.
        pairs: Minimal pairs by paradigm, with BLiMP's keys.
        relations: Relations with their facts and paraphrases.
    """

    text: list[str]
    cooccurrence: Counter[tuple[str, str, str]]
    pairs: dict[str, list[dict[str, Any]]]
    relations: tuple[Relation, ...]


def make_world(folder: Path, settings: WorldSettings) -> World:
    """Make a variant of the world; the same settings give the same world.

    Variants share everything that their settings do not change. Every agreement sentence has a seed of its own, so the
    sentences without number-biased words are the same in all variants.

    Args:
        folder: Folder with the lexicon, the grammar and the facts.
        settings: The variant.

    Raises:
        UserError: A resource is wrong.
    """
    grammar = load_grammar(folder, settings.seed)
    facts = load_facts(folder, settings.seed)
    writer = Writer(grammar, _plural_shares(grammar, settings.bias))
    cooccurrence: Counter[tuple[str, str, str]] = Counter()
    text = []
    stated = round(settings.sentences * settings.fact_share)
    rng = Random()
    for index in range(settings.sentences - stated):
        rng.seed((settings.seed << 32) + index)
        sentence = writer.sentence(rng)
        text.append(sentence.text())
        _count(cooccurrence, sentence.tokens)
    determiners = {determiner.word: determiner.number for determiner in grammar.lexicon.determiners}
    for filled in fact_sentences(facts, stated, settings.directions == "one_way", settings.seed):
        statement, tokens = read_statement(filled, determiners)
        text.append(statement)
        _count(cooccurrence, tokens)
    Random(f"order {settings.seed}").shuffle(text)
    # Pairs are about agreement and not about bias, so they are the same in every variant.
    asking = Writer(grammar, _plural_shares(grammar, "baseline"))
    pairs = {
        paradigm.name: [
            pair
            for split, number in PAIRS.items()
            for pair in make_pairs(asking, paradigm, number, settings.seed, split)
        ]
        for paradigm in grammar.paradigms
    }
    return World(text, cooccurrence, pairs, facts.relations)


def _plural_shares(grammar: Grammar, bias: str) -> dict[str, float]:
    change = {"baseline": lambda share: share, "swapped": lambda share: 1 - share, "flat": lambda share: 0.5}[bias]
    return {biased.word: change(biased.plural_share) for biased in grammar.lexicon.biased}


def _count(cooccurrence: Counter[tuple[str, str, str]], tokens: Iterable[Token]) -> None:
    cooccurrence.update(token for token in tokens if token.number and token.role)


def cooccurrence_rows(cooccurrence: Mapping[tuple[str, str, str], int]) -> list[dict[str, Any]]:
    """List counts as rows.

    Args:
        cooccurrence: Counts by (word, role, number).

    Returns:
        Rows with word, role, number ("singular" or "plural") and count, sorted, with zero counts.
    """
    words = sorted({(word, role) for word, role, _ in cooccurrence})
    return [
        {"word": word, "role": role, "number": number, "count": cooccurrence.get((word, role, number), 0)}
        for word, role in words
        for number in ("singular", "plural")
    ]


def write_world(world: World, folder: Path) -> None:
    """Write `text.txt`, `cooccurrence.parquet`, `paradigms/*.jsonl` and `relations/*.{patterns,facts}.jsonl`."""
    import pandas as pd

    with whole_file(folder / "text.txt") as path:
        path.write_text("\n".join(world.text) + "\n", encoding="utf-8")
    with whole_file(folder / "cooccurrence.parquet") as path:
        pd.DataFrame(cooccurrence_rows(world.cooccurrence)).to_parquet(path, index=False)
    for name, pairs in world.pairs.items():
        _write_lines(folder / "paradigms" / f"{name}.jsonl", pairs)
    for relation in world.relations:
        _write_lines(folder / "relations" / f"{relation.name}.patterns.jsonl", relation.pattern_rows())
        _write_lines(folder / "relations" / f"{relation.name}.facts.jsonl", relation.fact_rows())


def _write_lines(target: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with whole_file(target) as path:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
