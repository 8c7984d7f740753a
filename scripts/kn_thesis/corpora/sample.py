"""Which of a task's prompts are asked, and which of them have their neurons localized.

Samples rank prompts by a hash of seed, task and name: adding a prompt changes little, and order nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

PER_GROUP = 5  # prompts that make a group worth refining neurons over (DESIGN.md §4), where a task has so many
PARAPHRASES = 4  # the same for a fact


def choose_pairs(
    groups: Mapping[str, Sequence[str]], evaluated: int, attributed: int, rank: Callable[[str], int]
) -> tuple[set[str], set[str]]:
    """Names of the prompts asked (at most `evaluated`) and of those localized (at most `attributed`, among them).

    `groups`: names of prompts by target word. Localized are as many words as leave each about PER_GROUP prompts,
    those with enough prompts first, in equal parts as far as they go; the others asked are a plain sample.
    """
    attributed = min(attributed, evaluated)
    words = sorted(groups, key=lambda word: (-min(len(groups[word]), PER_GROUP), rank(word)))
    enough = min(PER_GROUP, max(map(len, groups.values()), default=0))
    chosen: dict[str, list[str]] = {}
    for word in words[: max(1, attributed // PER_GROUP)]:
        if len(groups[word]) < enough and sum(map(len, chosen.values())) >= attributed:
            break  # words with too few prompts only where the others do not fill the sample
        chosen[word] = sorted(groups[word], key=rank)
    localized: list[str] = []
    for turn in range(max(map(len, chosen.values()), default=0)):
        localized += [names[turn] for names in chosen.values() if turn < len(names)]
    localized = localized[:attributed]
    asked = dict.fromkeys(localized)
    for name in sorted((name for names in groups.values() for name in names), key=rank):
        if len(asked) >= evaluated:
            break
        asked[name] = None
    return set(asked), set(localized)


def choose_facts(
    groups: Mapping[str, Sequence[str]], evaluated: int, attributed: int, rank: Callable[[str], int]
) -> tuple[set[str], set[str]]:
    """Names of the prompts asked and of those localized, facts with all their paraphrases (`groups`: by fact).

    Facts with at least PARAPHRASES prompts (or as many as any fact has) come first for localization. The limits are
    kept, but for one fact that is always in.
    """
    enough = min(PARAPHRASES, max(map(len, groups.values()), default=0))
    order = sorted(groups, key=lambda fact: (len(groups[fact]) < enough, rank(fact)))
    localized = _whole(order, groups, min(attributed, evaluated))
    asked = set(localized)
    room = evaluated - sum(len(groups[fact]) for fact in asked)
    for fact in sorted(groups.keys() - localized, key=rank):
        room -= len(groups[fact])
        if room < 0:
            break
        asked.add(fact)
    return ({name for fact in asked for name in groups[fact]}, {name for fact in localized for name in groups[fact]})


def _whole(order: Sequence[str], groups: Mapping[str, Sequence[str]], room: int) -> set[str]:
    """Groups from the front of `order` as long as they fit; the first one in any case."""
    chosen: set[str] = set()
    for group in order:
        room -= len(groups[group])
        if room < 0 and chosen:
            break
        chosen.add(group)
    return chosen
