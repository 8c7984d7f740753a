"""The table of prompts: minimal pairs and facts in one form, as one model's tokenizer sees them (DESIGN.md §3).

Every item of a task is either kept or counted under the one reason why it is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kn_thesis.corpora.blimp import Pair, difference, load_pairs
from kn_thesis.corpora.cues import NOTHING, fact_cue, pair_cue
from kn_thesis.corpora.gaps import GAP, CannotExpress, Encoded, GapTokenizer, before_gap, filled
from kn_thesis.corpora.nouns import noun_of
from kn_thesis.corpora.numbers import number_of
from kn_thesis.corpora.pararel import Fact, Pattern, around_gap, load_facts, load_patterns
from kn_thesis.corpora.rank import rank
from kn_thesis.corpora.sample import choose_facts, choose_pairs
from kn_thesis.corpora.split import HELD_OUT, TRAINED, VALIDATION, pair_split, pattern_splits, stated_facts

KEPT = "kept"
NOT_SAMPLED = "more than the study asks"
KEPT_FOR = {VALIDATION: "kept for the checks that end training", HELD_OUT: "kept for the study"}


@dataclass(frozen=True)
class Settings:
    """How many prompts, and what a model trained on fetched text has never seen.

    evaluated, attributed: most prompts per task that are asked, and whose neurons are localized.
    max_target_tokens: longer words are left out. seed: of every sample.
    held_out, validation: shares of pairs kept out of the training text for the study, and for the checks that end
    training; `held_out` is None for a model that was not trained on such text.
    held_out_patterns, validation_patterns: paraphrases of a relation kept out for either. facts: most facts per
    relation (None: all). split: of the items kept out, those of this one become prompts.
    """

    evaluated: int
    attributed: int
    max_target_tokens: int
    seed: int
    held_out: float | None = None
    held_out_patterns: int = 0
    facts: int | None = None
    validation: float = 0.0
    validation_patterns: int = 0
    split: str = HELD_OUT


@dataclass(frozen=True)
class Prompt:
    """One row of the table; the columns are these fields.

    prompt: unique name. kind: "paradigm" or "relation". group: target word of a paradigm, uuid of a fact.
    number: of the target, "singular", "plural" or "". noun: what a pair is about (its own name where nobody says), ""
    for facts. split: see corpora.split; "" for a relation asked of a model that was not trained here. text: the gap is
    "___"; prefix, suffix: text before it, without the space that parts them (there is none where the gap follows the
    prefix at once in `text`), and after it. foil: the ungrammatical word, "" for facts. cue, distractor: the words
    that decide the gap and those in between that do not, "" where nothing is known of them; cue_at, distractor_at: see
    cues.Stretch. input_ids, gap, target_ids: see gaps.Encoded; foil_ids: the foil's tokens in the same place.
    attributed: whether its neurons are localized.
    """

    prompt: str
    task: str
    kind: str
    group: str
    number: str
    noun: str
    split: str
    text: str
    prefix: str
    suffix: str
    target: str
    foil: str
    subject: str
    pattern: str
    cue: str
    cue_at: int
    distractor: str
    distractor_at: int
    input_ids: tuple[int, ...]
    gap: int
    target_ids: tuple[int, ...]
    foil_ids: tuple[int, ...]
    attributed: bool = False


def make_prompts(
    task: str,
    tokenizer: GapTokenizer,
    settings: Settings,
    *,
    pairs: str | Path | None = None,
    patterns: str | Path | None = None,
    facts: str | Path | None = None,
) -> tuple[str, list[Prompt], Counter[str]]:
    """Kind, prompts and counts of a task from its files: `pairs` of a paradigm, or a relation's `patterns` and `facts`.

    Prints what was found, for the log. Raises UserError for a broken file.
    """
    if pairs is not None:
        kind, (prompts, counts) = "paradigm", paradigm_prompts(load_pairs(pairs), task, tokenizer, settings)
    elif patterns is not None and facts is not None:
        stated = load_facts(facts)
        kind, (prompts, counts) = (
            "relation",
            relation_prompts(stated, load_patterns(patterns), task, tokenizer, settings),
        )
        print(f"{several_objects(stated)} of {len(stated)} facts share their subject with a fact of another object")
    else:
        raise ValueError("either pairs, or patterns and facts")
    for reason, count in counts.items():
        print(f"{count:7} {reason}")
    print(f"{sum(prompt.attributed for prompt in prompts):7} of those kept are for attribution")
    if alone := sum(prompt.noun == prompt.prompt for prompt in prompts):
        print(
            f"{alone:7} of those kept state neither noun nor linguistics_term: each is a unit of its own in statistics"
        )
    if not prompts:
        print(f"{task}: nothing is kept of it, so that this model has no result for it: {_mostly(counts)}")
    return kind, prompts, counts


def _mostly(counts: Mapping[str, int]) -> str:
    """The most frequent reason and its number; a file without any item has none."""
    return "; ".join(f"{reason} ({count})" for reason, count in Counter(counts).most_common(1)) or "it has no item"


def paradigm_prompts(
    pairs: Sequence[Pair], task: str, tokenizer: GapTokenizer, settings: Settings
) -> tuple[list[Prompt], Counter[str]]:
    """Prompts of a paradigm, ordered by name, and the number of pairs per reason (`kept` among them).

    A masked model takes pairs that differ in one word, in as many tokens; a causal one those that share what decides
    between the words, where neither word's tokens are the other's beginning. A model trained on fetched text is asked
    only pairs kept out of it, those of `settings.split`. Pairs of a corpus that a model never saw count as held out.
    """
    counts: Counter[str] = Counter()
    found: dict[str, Prompt] = {}
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        try:
            if (pair.good, pair.bad) in seen:
                raise CannotExpress("pair given twice")
            seen.add((pair.good, pair.bad))
            split = _split_of(pair, settings)
            # Where no pair is held out, the study asks those of the text.
            if split == TRAINED and (settings.held_out or settings.split == VALIDATION):
                raise CannotExpress("pair is in the training text")
            if split not in (TRAINED, settings.split):
                raise CannotExpress(KEPT_FOR[split])
            prompt = _pair_prompt(pair, task, split, tokenizer, settings)
        except CannotExpress as error:
            counts[error.reason] += 1
        else:
            found[prompt.prompt] = prompt
    return _sampled(found, choose_pairs, settings, task, counts)


def relation_prompts(
    facts: Sequence[Fact], patterns: Sequence[Pattern], task: str, tokenizer: GapTokenizer, settings: Settings
) -> tuple[list[Prompt], Counter[str]]:
    """Prompts of a relation, ordered by name, and the number of items (fact × pattern) per reason (`kept` among them).

    A masked model takes any pattern with one place for the object, a causal one those that end with it. `split` is
    the pattern's own, or, for a model trained on fetched text, by the rule of that text; it is "" for other models,
    of which nobody can say what they have seen. Subjects with several right objects are kept, one fact each.
    """
    counts: Counter[str] = Counter()
    found: dict[str, Prompt] = {}
    trained = settings.held_out is not None
    counts_of = (settings.held_out_patterns, settings.validation_patterns) if trained else (0, 0)
    by_rule = pattern_splits(patterns, *counts_of, task, settings.seed)
    stated = {fact.uuid for fact in stated_facts(facts, settings.facts if trained else None, task, settings.seed)}
    splits = {pattern.text: pattern.split or (by_rule[pattern.text] if trained else "") for pattern in patterns}
    unusable = _unusable_patterns(patterns, tokenizer.objective)
    known: set[tuple[str, str]] = set()
    for fact in facts:
        twice = (fact.subject, fact.object) in known
        known.add((fact.subject, fact.object))
        for pattern, reason in zip(patterns, unusable, strict=True):
            try:
                if twice:
                    raise CannotExpress("fact given twice")
                if fact.uuid not in stated:
                    raise CannotExpress("fact is not in the training text")
                if reason:
                    raise CannotExpress(reason)
                if splits[pattern.text] not in (TRAINED, settings.split, ""):
                    raise CannotExpress(KEPT_FOR[splits[pattern.text]])
                prompt = _fact_prompt(fact, pattern, task, splits[pattern.text], tokenizer, settings)
            except CannotExpress as error:
                counts[error.reason] += 1
            else:
                found[prompt.prompt] = prompt
    return _sampled(found, choose_facts, settings, task, counts)


def several_objects(facts: Iterable[Fact]) -> int:
    """Number of facts whose subject has another right object in the same relation."""
    objects: dict[str, set[str]] = {}
    for fact in facts:
        objects.setdefault(fact.subject, set()).add(fact.object)
    return sum(len(found) for found in objects.values() if len(found) > 1)


def _unusable_patterns(patterns: Sequence[Pattern], objective: str) -> list[str]:
    """For each pattern why it cannot be asked, or ""."""
    reasons, seen = [], set()
    for pattern in patterns:
        if pattern.text in seen:
            reasons.append("pattern given twice")
        elif not pattern.whole:
            reasons.append("pattern without subject or object")
        elif objective == "causal" and not pattern.object_last:
            reasons.append("object is not at the end")
        else:
            reasons.append("")
        seen.add(pattern.text)
    return reasons


def _split_of(pair: Pair, settings: Settings) -> str:
    """A pair's own split, or the one that the rule gives it."""
    if pair.split:
        return pair.split
    if settings.held_out is None:
        return HELD_OUT
    return pair_split(pair.good, settings.held_out, settings.validation, settings.seed)


def _pair_prompt(pair: Pair, task: str, split: str, tokenizer: GapTokenizer, settings: Settings) -> Prompt:
    causal = tokenizer.objective == "causal"
    change = difference(pair.good, pair.bad)
    if pair.good == pair.bad:
        raise CannotExpress("sentences are the same")
    if change is None:
        raise CannotExpress("sentences differ in more than one word")
    if causal and not pair.one_prefix:
        raise CannotExpress("what follows decides between the words")
    target, foil = (
        _encode(tokenizer, change.prefix, change.suffix, word, change.glued, settings.max_target_tokens)
        for word in (change.good, change.bad)
    )
    suffix = "" if causal else change.suffix
    a, b = target.target_ids, foil.target_ids
    if causal and a[: len(b)] == b[: len(a)]:
        raise CannotExpress("one word's tokens begin the other's")
    if not causal and len(a) != len(b):
        raise CannotExpress("words differ in number of tokens")
    if a == b:
        raise CannotExpress("words have the same tokens")
    name = f"{task}/{pair.id}"
    number = pair.number or number_of(change, task, pair.term)
    cue, distractor = pair_cue(pair, change, task)
    if causal and cue.at >= len(change.prefix):
        cue = NOTHING
    return Prompt(
        prompt=name,
        task=task,
        kind="paradigm",
        group=change.good,
        number=number,
        noun=pair.noun or (noun_of(change, pair.term, number) if pair.term else name),
        split=split,
        text=f"{filled(change.prefix, GAP, change.glued)}{suffix}",
        prefix=change.prefix,
        suffix=suffix,
        target=change.good,
        foil=change.bad,
        subject="",
        pattern="",
        cue=cue.words,
        cue_at=cue.at,
        distractor=distractor.words,
        distractor_at=distractor.at,
        input_ids=target.input_ids,
        gap=target.gap,
        target_ids=a,
        foil_ids=b,
    )


def _fact_prompt(
    fact: Fact, pattern: Pattern, task: str, split: str, tokenizer: GapTokenizer, settings: Settings
) -> Prompt:
    if not fact.object or not fact.subject:
        raise CannotExpress("fact without subject or object")
    before, after = around_gap(pattern.text, fact.subject)
    prefix, glued = before_gap(before)
    encoded = _encode(tokenizer, prefix, after, fact.object, glued, settings.max_target_tokens)
    suffix = "" if tokenizer.objective == "causal" else after
    cue = fact_cue(pattern.text, fact.subject, fact.object)
    return Prompt(
        prompt=f"{task}/{fact.uuid}/{rank(pattern.text):016x}",
        task=task,
        kind="relation",
        group=fact.uuid,
        number="",
        noun="",
        split=split,
        text=f"{filled(prefix, GAP, glued)}{suffix}",
        prefix=prefix,
        suffix=suffix,
        target=fact.object,
        foil="",
        subject=fact.subject,
        pattern=pattern.text,
        cue=cue.words,
        cue_at=cue.at,
        distractor="",
        distractor_at=-1,
        input_ids=encoded.input_ids,
        gap=encoded.gap,
        target_ids=encoded.target_ids,
        foil_ids=(),
    )


def _encode(tokenizer: GapTokenizer, prefix: str, suffix: str, word: str, glued: bool, most: int) -> Encoded:
    encoded = tokenizer.encode(prefix, suffix, word, glued)
    if len(encoded.target_ids) > most:
        raise CannotExpress("word has too many tokens")
    return encoded


def _sampled(
    found: Mapping[str, Prompt], choose: Callable[..., Any], settings: Settings, task: str, counts: Counter[str]
) -> tuple[list[Prompt], Counter[str]]:
    groups: dict[str, list[str]] = {}
    for prompt in found.values():
        groups.setdefault(prompt.group, []).append(prompt.prompt)
    asked, localized = choose(
        groups, settings.evaluated, settings.attributed, lambda name: rank("sample", settings.seed, task, name)
    )
    rows = [replace(found[name], attributed=name in localized) for name in sorted(asked)]
    counts[KEPT] = len(rows)
    if len(found) > len(rows):
        counts[NOT_SAMPLED] = len(found) - len(rows)
    return rows, counts
