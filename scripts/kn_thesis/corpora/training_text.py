"""Write training text from the fetched corpora: grammatical sentences, and facts stated as sentences.

Anything that models are asked, during training or later, is kept out of it: both sentences of a held-out pair, and the
held-out paraphrases of a fact. Sentences are compared as texts, so it does not matter which task they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kn_thesis.corpora.blimp import Pair
from kn_thesis.corpora.pararel import Fact, Pattern, fill
from kn_thesis.corpora.sampling import TRAINED, facts_in_text, hash_rank, pair_split, pattern_splits
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
    """Build the sentences of the training text.

    Every grammatical sentence of a trained pair appears once. Every stated fact appears `repeats` times in every
    trained paraphrase.

    Args:
        paradigms: Pairs by name of paradigm.
        relations: Patterns and facts by name of relation.
        held_out: Share of pairs held out for the study.
        held_out_patterns_count: Number of paraphrases per relation held out for the study.
        validation: Share of pairs held out for the checks that end training.
        validation_patterns_count: Number of paraphrases per relation held out for these checks.
        facts: Maximum number of facts per relation; None for all.
        repeats: Copies of every stated fact.
        seed: Seed of splits and order.

    Returns:
        The sentences, ordered by a hash of seed and sentence.

    Raises:
        UserError: Every paraphrase of a fact is kept out.
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
        for fact in facts_in_text(all_facts, facts, task, seed):
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
    # A sentence that states facts of two relations (a country's capital, a capital's country) appears once.
    stated = dict.fromkeys(sentence for sentences in statements.values() for sentence in sentences)
    copies = [(sentence, 0) for sentence in pairs if sentence not in unseen and sentence not in stated]
    copies += [(sentence, copy) for sentence in stated if sentence not in unseen for copy in range(repeats)]
    copies.sort(key=lambda entry: (hash_rank("order", seed, *entry), entry))
    return [sentence for sentence, _ in copies]


def write_text(sentences: Sequence[str], path: str | Path) -> None:
    """Write one sentence per line.

    Raises:
        UserError: There is no sentence.
    """
    if not sentences:
        raise UserError(f"{path}: no sentence is left to train on: lower corpora.fetched.held_out or name more tasks")
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(sentences) + "\n", encoding="utf-8")
