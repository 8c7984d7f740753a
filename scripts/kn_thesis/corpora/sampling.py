"""Choose prompts and split items deterministically, by a hash of the seed and the item's own text.

Adding an item therefore changes the split of no other item and few choices of prompts, and order does not matter. Two
things are chosen:

- the prompts of a task that are asked, and those whose neurons are localized (`choose_pairs`, `choose_facts`);
- the split of every item: `trained` items are in the training text. `validation` items are not, and decide when
  training ends, but the study never asks them. `held_out` items decide nothing before the study asks them. The same
  rule serves the training text and the prompts, and a text has the same split in every paradigm.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kn_thesis.corpora.pararel import Fact, Pattern


ATTEMPTS = 20  # orders in which paraphrases are drawn until enough qualify
PER_GROUP = 5  # prompts of a target word over which neurons are refined, if a task has that many (docs/method.md §4)
PARAPHRASES = 4  # prompts of a fact over which neurons are refined, if a relation has that many
TRAINED, VALIDATION, HELD_OUT = "trained", "validation", "held_out"
SPLITS = (TRAINED, VALIDATION, HELD_OUT)


def hash_rank(*key: object) -> int:
    """Return a pseudo-random number from 0 to 2⁶⁴ − 1 that depends on the key alone."""
    text = "\x1f".join(map(str, key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def choose_pairs(
    groups: Mapping[str, Sequence[str]], evaluated: int, attributed: int, rank: Callable[[str], int]
) -> tuple[set[str], set[str]]:
    """Choose the prompts of a paradigm.

    The localized prompts come from so many target words that each has about PER_GROUP of them, in equal parts as far as
    possible. Words with enough prompts come first. The other prompts asked are a plain sample.

    Args:
        groups: Names of prompts by target word.
        evaluated: Maximum number of prompts asked.
        attributed: Maximum number of prompts localized.
        rank: Pseudo-random rank of a name.

    Returns:
        Names of the prompts asked, and of those localized among them.
    """
    attributed = min(attributed, evaluated)
    words = sorted(groups, key=lambda word: (-min(len(groups[word]), PER_GROUP), rank(word)))
    enough = min(PER_GROUP, max(map(len, groups.values()), default=0))
    ranked: dict[str, list[str]] = {}
    for word in words[: max(1, attributed // PER_GROUP)]:
        if len(groups[word]) < enough and sum(map(len, ranked.values())) >= attributed:
            break  # words with too few prompts only fill up the sample
        ranked[word] = sorted(groups[word], key=rank)
    localized: list[str] = []
    for turn in range(max(map(len, ranked.values()), default=0)):
        localized += [names[turn] for names in ranked.values() if turn < len(names)]
    localized = localized[:attributed]
    questions = dict.fromkeys(localized)
    for name in sorted((name for names in groups.values() for name in names), key=rank):
        if len(questions) >= evaluated:
            break
        questions[name] = None
    return set(questions), set(localized)


def choose_facts(
    groups: Mapping[str, Sequence[str]], evaluated: int, attributed: int, rank: Callable[[str], int]
) -> tuple[set[str], set[str]]:
    """Choose the prompts of a relation, as whole facts with all their paraphrases.

    Facts with at least PARAPHRASES prompts (or as many as any fact has) are localized first. One fact is always chosen,
    even if it exceeds the limits.

    Args:
        groups: Names of prompts by fact.
        evaluated: Maximum number of prompts asked.
        attributed: Maximum number of prompts localized.
        rank: Pseudo-random rank of a name.

    Returns:
        Names of the prompts asked, and of those localized among them.
    """
    enough = min(PARAPHRASES, max(map(len, groups.values()), default=0))
    order = sorted(groups, key=lambda fact: (len(groups[fact]) < enough, rank(fact)))
    localized = _whole(order, groups, min(attributed, evaluated))
    facts = set(localized)
    free = evaluated - sum(len(groups[fact]) for fact in facts)
    for fact in sorted(groups.keys() - localized, key=rank):
        free -= len(groups[fact])
        if free < 0:
            break
        facts.add(fact)
    return ({name for fact in facts for name in groups[fact]}, {name for fact in localized for name in groups[fact]})


def _whole(order: Sequence[str], groups: Mapping[str, Sequence[str]], limit: int) -> set[str]:
    """Take groups from the front of `order` while they fit; the first one is always taken."""
    selection: set[str] = set()
    for group in order:
        limit -= len(groups[group])
        if limit < 0 and selection:
            break
        selection.add(group)
    return selection


def pair_split(good: str, held_out: float, validation: float, seed: int) -> str:
    """Return the split of a pair.

    Args:
        good: Its grammatical sentence.
        held_out: Share of all pairs that is held out.
        validation: Share of all pairs that is used for validation.
        seed: Seed of the split.
    """
    place = hash_rank("pair", seed, good) / 2**64
    return HELD_OUT if place < held_out else VALIDATION if place < held_out + validation else TRAINED


def pattern_splits(patterns: Sequence[Pattern], held_out: int, validation: int, task: str, seed: int) -> dict[str, str]:
    """Split the paraphrases of a relation; at least one stays trained.

    Patterns that end with their object and the others take turns, so that both masked and causal models have
    paraphrases that are kept out. If there are patterns that end with their object, one of them stays trained.

    Args:
        patterns: All patterns of the relation.
        held_out: Number of paraphrases to hold out.
        validation: Number of paraphrases for validation.
        task: Name of the relation.
        seed: Seed of the split.

    Returns:
        Split by text of the pattern.
    """
    texts = {p.text: p.object_last for p in patterns if p.whole}
    order = sorted(texts, key=lambda text: hash_rank("pattern", seed, task, text))
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
    """Split the paraphrases of a relation of the miniature world.

    Only paraphrases that end with their object are kept out, because every model can be asked those. At most half of
    the paraphrases that share a word, or a word and their first word, are kept out: a model cannot know a word that it
    has never read, nor a turn of phrase that it has hardly read. The seed decides among the rest. Fewer are kept out
    if no other paraphrase qualifies in any of ATTEMPTS orders.

    Args:
        patterns: All paraphrases of the relation.
        kept_out: Number of paraphrases for each split other than the trained one.
        task: Name of the relation.
        seed: Seed of the split.
        elsewhere: Paraphrases whose sentences another relation states; they stay trained.

    Returns:
        Split by paraphrase.
    """
    last = [pattern for pattern in patterns if pattern.strip("} .").endswith("[Y]")]
    turns = {pattern: _turns_of_phrase(pattern) for pattern in last}
    counts = Counter(turn for some in turns.values() for turn in some)
    spare = {turn: count // 2 for turn, count in counts.items() if count > 1 or len(turn) == 1}
    free = {pattern: turns[pattern] & spare.keys() for pattern in last if pattern not in elsewhere}
    wanted = [split for split, count in kept_out.items() for _ in range(count)]

    def rank(pattern: str, attempt: int) -> int:
        return hash_rank("paraphrase", seed, task, pattern, *((attempt,) if attempt else ()))

    drawn: list[str] = []
    for attempt in range(ATTEMPTS):
        order = sorted(free, key=lambda pattern, attempt=attempt: rank(pattern, attempt))
        drawn = max(drawn, _spared(order, free, spare)[: len(wanted)], key=len)
        if len(drawn) == len(wanted):
            break
    return dict.fromkeys(patterns, TRAINED) | dict(zip(drawn, wanted, strict=False))


def _spared(order: Sequence[str], turns: Mapping[str, Collection[Any]], spare: Mapping[Any, int]) -> list[str]:
    """The patterns that can be taken in this order without taking a turn of phrase more often than it can be spared."""
    left, taken = dict(spare), []
    for pattern in order:
        if all(left[turn] for turn in turns[pattern]):
            taken.append(pattern)
            left |= {turn: left[turn] - 1 for turn in turns[pattern]}
    return taken


def _turns_of_phrase(pattern: str) -> set[tuple[str, ...]]:
    """The words of a pattern, each alone and with the first one."""
    first = pattern.split()[0]
    return {(word,) for word in words_of(pattern)} | {(first, word) for word in words_of(pattern)}


def words_of(pattern: str) -> set[str]:
    """Return the words of a pattern in lower case, without braces and punctuation."""
    return {word for token in pattern.lower().split() if (word := token.strip("{}.,"))}


def facts_in_text(facts: Sequence[Fact], limit: int | None, task: str, seed: int) -> list[Fact]:
    """Choose the facts of a relation that the training text states.

    Args:
        facts: All facts of the relation.
        limit: Maximum number of facts; None for all.
        task: Name of the relation.
        seed: Seed of the choice.

    Returns:
        Different facts in pseudo-random order.
    """
    unique = {(fact.subject, fact.object): fact for fact in reversed(facts)}
    order = sorted(unique.values(), key=lambda fact: hash_rank("fact", seed, task, fact.subject, fact.object))
    return order[:limit]
