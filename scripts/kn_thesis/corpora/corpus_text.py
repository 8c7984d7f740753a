"""Training text from the fetched corpora: grammatical sentences, and facts put in words.

What models are asked, in training or later, is not in it: neither sentence of a pair, no paraphrase of a fact, that is
kept out; by their text, wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kn_thesis.corpora.blimp import Pair
from kn_thesis.corpora.pararel import Fact, Pattern, fill
from kn_thesis.corpora.rank import rank
from kn_thesis.corpora.split import TRAINED, pair_split, pattern_splits, stated_facts
from kn_thesis.errors import UserError
from kn_thesis.files import whole_file


def corpus_sentences(
    paradigms: Mapping[str, Sequence[Pair]],
    relations: Mapping[str, tuple[Sequence[Pattern], Sequence[Fact]]],
    *,
    held_out: float,
    held_out_patterns_count: int,
    validation: float,
    validation_patterns_count: int,
    facts: int | None,
    repeats: int,
    seed: int,
) -> list[str]:
    """The sentences of the text in their order.

    Each grammatical sentence of a pair that is not kept out stands once; each stated fact stands `repeats` times in
    each paraphrase that is not kept out. Order is by a hash of seed and sentence.
    Raises UserError when a fact could be stated in no paraphrase.
    """
    unseen: set[str] = set()
    pairs: dict[str, None] = {}
    for pair in (pair for task in paradigms.values() for pair in task):
        if pair_split(pair.good, held_out, validation, seed) != TRAINED:
            unseen |= {pair.good, pair.bad}
        else:
            pairs[pair.good] = None
    statements: dict[tuple[str, str], list[str]] = {}
    for task, (patterns, all_facts) in relations.items():
        splits = pattern_splits(patterns, held_out_patterns_count, validation_patterns_count, task, seed)
        usable = dict.fromkeys(pattern.text for pattern in patterns if pattern.whole)
        for fact in stated_facts(all_facts, facts, task, seed):
            for text in usable:
                sentence = fill(text, fact.subject, fact.object)
                if splits[text] != TRAINED:
                    unseen.add(sentence)
                else:
                    statements.setdefault((task, fact.uuid), []).append(sentence)
    for (task, uuid), sentences in statements.items():
        if unseen.issuperset(sentences):
            raise UserError(
                f"{task}: every paraphrase of the fact {uuid} is kept out of the training text: "
                "lower corpora.fetched.held_out_patterns"
            )
    # The same sentence may state facts of two relations (a country's capital, a capital's country): it stands once.
    stated = dict.fromkeys(sentence for sentences in statements.values() for sentence in sentences)
    copies = [(sentence, 0) for sentence in pairs if sentence not in unseen and sentence not in stated]
    copies += [(sentence, copy) for sentence in stated if sentence not in unseen for copy in range(repeats)]
    copies.sort(key=lambda entry: (rank("order", seed, *entry), entry))
    return [sentence for sentence, _ in copies]


def write_text(sentences: Sequence[str], path: str | Path) -> None:
    """One sentence a line; UserError when there is none."""
    if not sentences:
        raise UserError(f"{path}: no sentence is left to train on: lower corpora.fetched.held_out or name more tasks")
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(sentences) + "\n", encoding="utf-8")
