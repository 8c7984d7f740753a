"""Turn minimal pairs and facts into one table of prompts, as one model's tokenizer sees them.

Every item of a task either becomes a prompt or is counted under the one reason why it does not. Prompts are written to
Parquet, counts to CSV. docs/prompts.md describes how prompts are read.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from kn_thesis.corpora.agreement import NO_SPAN, fact_cue, noun_of, number_of, pair_cue
from kn_thesis.corpora.blanks import GAP, CannotExpress, before_gap, fill_blank
from kn_thesis.corpora.blimp import Pair, difference, load_pairs
from kn_thesis.corpora.pararel import Fact, Pattern, around_gap, load_facts, load_patterns
from kn_thesis.corpora.sampling import (
    HELD_OUT,
    TRAINED,
    VALIDATION,
    choose_facts,
    choose_pairs,
    facts_in_text,
    hash_rank,
    pair_split,
    pattern_splits,
)
from kn_thesis.errors import UserError
from kn_thesis.files import whole_file, write_task_tables
from kn_thesis.models.cloze import Encoded, GapTokenizer

KEPT = "kept"
NOT_SAMPLED = "more than the study asks"
KEPT_FOR = {VALIDATION: "kept for the checks that end training", HELD_OUT: "kept for the study"}
COUNT_COLUMNS = ["task", "kind", "reason", "count"]


@dataclass(frozen=True)
class Settings:
    """How many prompts to make, and what a model trained on fetched text has never seen.

    Attributes:
        evaluated: Maximum number of prompts per task that are asked.
        attributed: Maximum number of prompts per task whose neurons are localized.
        max_target_tokens: Words with more tokens are left out.
        seed: Seed of every sample.
        held_out: Share of pairs held out of the training text for the study; None for a model not trained on such text.
        held_out_patterns: Number of paraphrases of a relation held out for the study.
        facts: Maximum number of facts per relation in the training text; None for all.
        validation: Share of pairs kept out for the checks that end training.
        validation_patterns: Number of paraphrases of a relation kept out for these checks.
        split: Items of this split become prompts; the other items that are kept out do not.
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
    """A row of the table of prompts; the fields are its columns.

    Attributes:
        prompt: Unique name.
        task: Name of the paradigm or relation.
        kind: "paradigm" or "relation".
        group: Target word of a paradigm, uuid of a fact.
        number: Number of the target: "singular", "plural" or "".
        noun: Noun that a pair is about; the prompt's own name if it is unknown, "" for facts.
        split: See `kn_thesis.corpora.sampling`; "" for a relation asked of a model that was not trained here.
        text: The prompt with its blank as "___".
        prefix: Text before the blank, without the space that separates them. There is no such space if the blank
            directly follows the prefix in `text`.
        suffix: Text after the blank.
        target: Grammatical word, or object of the fact.
        foil: Ungrammatical word; "" for facts.
        subject: Subject of the fact; "" for pairs.
        pattern: Pattern of the fact; "" for pairs.
        cue: Words that decide the blank; "" if unknown.
        cue_at: Where they begin, see `kn_thesis.corpora.agreement.Span`.
        distractor: Words between cue and blank that do not decide it; "" if unknown.
        distractor_at: Where they begin.
        input_ids: Input tokens, see `kn_thesis.models.cloze.Encoded`.
        gap: Index of the blank's first token, see `kn_thesis.models.cloze.Encoded`.
        target_ids: Tokens of the target.
        foil_ids: Tokens of the foil in the same place.
        attributed: Whether its neurons are localized.
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
    """Make the prompts of a task from its files, and print what was found for the log.

    Args:
        task: Name of the task.
        tokenizer: Tokenizer of the model that is asked.
        settings: Numbers, seed and splits.
        pairs: File of minimal pairs, for a paradigm.
        patterns: File of patterns, for a relation.
        facts: File of facts, for a relation.

    Returns:
        Kind of the task, its prompts ordered by name, and the number of items per reason, `KEPT` among them.

    Raises:
        UserError: A file is broken.
    """
    if pairs is not None:
        kind, (prompts, counts) = "paradigm", paradigm_prompts(load_pairs(pairs), task, tokenizer, settings)
    elif patterns is not None and facts is not None:
        known = load_facts(facts)
        kind = "relation"
        prompts, counts = relation_prompts(known, load_patterns(patterns), task, tokenizer, settings)
        print(f"{several_objects(known)} of {len(known)} facts share their subject with a fact that has another object")
    else:
        raise ValueError("give either pairs, or patterns and facts")
    for reason, count in counts.items():
        print(f"{count:7} {reason}")
    print(f"{sum(prompt.attributed for prompt in prompts):7} of these prompts are for attribution")
    if alone := sum(prompt.noun == prompt.prompt for prompt in prompts):
        print(f"{alone:7} of these prompts have neither noun nor linguistics_term: each is a cluster of its own")
    if not prompts:
        print(f"{task}: no prompt is kept, so this model has no result for it: {_mostly(counts)}")
    return kind, prompts, counts


def _mostly(counts: Mapping[str, int]) -> str:
    """Give the most frequent reason and its count; a file without items has none."""
    return "; ".join(f"{reason} ({count})" for reason, count in Counter(counts).most_common(1)) or "it has no item"


def paradigm_prompts(
    pairs: Sequence[Pair], task: str, tokenizer: GapTokenizer, settings: Settings
) -> tuple[list[Prompt], Counter[str]]:
    """Make the prompts of a paradigm.

    A masked model takes pairs that differ in one word with the same number of tokens. A causal model takes pairs whose
    shared prefix decides between the words, if neither word's tokens begin the other's. A model trained on fetched text
    is asked only pairs that were kept out of it. Pairs of a corpus that a model has never seen count as held out.

    Args:
        pairs: Pairs in the file's order.
        task: Name of the paradigm.
        tokenizer: Tokenizer of the model that is asked.
        settings: Numbers, seed and splits.

    Returns:
        Prompts ordered by name, and the number of pairs per reason, `KEPT` among them.
    """
    counts: Counter[str] = Counter()
    prompts: dict[str, Prompt] = {}
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        try:
            if (pair.good, pair.bad) in seen:
                raise CannotExpress("pair given twice")
            seen.add((pair.good, pair.bad))
            split = _split_of(pair, settings)
            # If no pair is held out, the study asks those of the training text.
            if split == TRAINED and (settings.held_out or settings.split == VALIDATION):
                raise CannotExpress("pair is in the training text")
            if split not in (TRAINED, settings.split):
                raise CannotExpress(KEPT_FOR[split])
            prompt = _pair_prompt(pair, task, split, tokenizer, settings)
        except CannotExpress as error:
            counts[error.reason] += 1
        else:
            prompts[prompt.prompt] = prompt
    return _sampled(prompts, choose_pairs, settings, task, counts)


def _split_of(pair: Pair, settings: Settings) -> str:
    """Return the split that a pair states, or the one that the rule gives it."""
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
        cue = NO_SPAN
    return Prompt(
        prompt=name,
        task=task,
        kind="paradigm",
        group=change.good,
        number=number,
        noun=pair.noun or (noun_of(change, pair.term, number) if pair.term else name),
        split=split,
        text=f"{fill_blank(change.prefix, GAP, change.glued)}{suffix}",
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


def relation_prompts(
    facts: Sequence[Fact], patterns: Sequence[Pattern], task: str, tokenizer: GapTokenizer, settings: Settings
) -> tuple[list[Prompt], Counter[str]]:
    """Make the prompts of a relation.

    A masked model takes any pattern with one place for the object, a causal model only those that end with it. The
    split of a prompt is the pattern's own or follows the rule of the fetched training text; it is "" for a model whose
    training text is unknown. A subject with several correct objects is asked once for each.

    Args:
        facts: Facts in the file's order.
        patterns: Patterns in the file's order.
        task: Name of the relation.
        tokenizer: Tokenizer of the model that is asked.
        settings: Numbers, seed and splits.

    Returns:
        Prompts ordered by name, and the number of items (fact × pattern) per reason, `KEPT` among them.
    """
    counts: Counter[str] = Counter()
    prompts: dict[str, Prompt] = {}
    trained = settings.held_out is not None
    numbers = (settings.held_out_patterns, settings.validation_patterns) if trained else (0, 0)
    by_rule = pattern_splits(patterns, *numbers, task, settings.seed)
    stated = {fact.uuid for fact in facts_in_text(facts, settings.facts if trained else None, task, settings.seed)}
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
                prompts[prompt.prompt] = prompt
    return _sampled(prompts, choose_facts, settings, task, counts)


def several_objects(facts: Iterable[Fact]) -> int:
    """Count the facts whose subject has another correct object in the same relation."""
    objects: dict[str, set[str]] = {}
    for fact in facts:
        objects.setdefault(fact.subject, set()).add(fact.object)
    return sum(len(several) for several in objects.values() if len(several) > 1)


def _unusable_patterns(patterns: Sequence[Pattern], objective: str) -> list[str]:
    """Say for each pattern why it cannot be asked; "" if it can."""
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
        prompt=f"{task}/{fact.uuid}/{hash_rank(pattern.text):016x}",
        task=task,
        kind="relation",
        group=fact.uuid,
        number="",
        noun="",
        split=split,
        text=f"{fill_blank(prefix, GAP, glued)}{suffix}",
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


def _encode(tokenizer: GapTokenizer, prefix: str, suffix: str, word: str, glued: bool, max_tokens: int) -> Encoded:
    """Encode a prompt with a word of at most `max_tokens` tokens."""
    encoded = tokenizer.encode(prefix, suffix, word, glued)
    if len(encoded.target_ids) > max_tokens:
        raise CannotExpress("word has too many tokens")
    return encoded


def _sampled(
    prompts: Mapping[str, Prompt], choose: Callable[..., Any], settings: Settings, task: str, counts: Counter[str]
) -> tuple[list[Prompt], Counter[str]]:
    """Choose the prompts to ask and those to localize, and complete the counts."""
    groups: dict[str, list[str]] = {}
    for prompt in prompts.values():
        groups.setdefault(prompt.group, []).append(prompt.prompt)
    names, localized = choose(
        groups, settings.evaluated, settings.attributed, lambda name: hash_rank("sample", settings.seed, task, name)
    )
    rows = [replace(prompts[name], attributed=name in localized) for name in sorted(names)]
    counts[KEPT] = len(rows)
    if len(prompts) > len(rows):
        counts[NOT_SAMPLED] = len(prompts) - len(rows)
    return rows, counts


def write_prompts(prompts: Mapping[str, Sequence[Prompt]], path: str | Path) -> None:
    """Write prompts to a Parquet file; see `files.write_task_tables`.

    Args:
        prompts: The rows by task.
        path: Target file. Its columns are the fields of `Prompt`; token ids are list<int32>, indices int32.
    """
    import pyarrow as pa

    kinds = {"str": pa.string(), "bool": pa.bool_(), "int": pa.int32(), "tuple[int, ...]": pa.list_(pa.int32())}
    schema = pa.schema([(field.name, kinds[str(field.type)]) for field in fields(Prompt)])
    tables = {}
    for task, rows in prompts.items():
        columns = {name: [getattr(prompt, name) for prompt in rows] for name in schema.names}
        tables[task] = pa.table(columns, schema=schema)
    write_task_tables(tables, path)


def write_counts(counts: Mapping[str, tuple[str, Mapping[str, int]]], path: str | Path) -> None:
    """Write the number of items per reason to a CSV file.

    Args:
        counts: Each task's kind ("paradigm" or "relation") and its number of items per reason, which add up to all
            items of the task.
        path: Target file with the columns `COUNT_COLUMNS`; "kept" is a task's first row, also when it is 0.
    """
    rows = [
        [task, kind, reason, number.get(reason, 0)]
        for task, (kind, number) in counts.items()
        for reason in [KEPT, *sorted(set(number) - {KEPT})]
    ]
    _write_csv(path, COUNT_COLUMNS, rows)


def merge_counts(paths: Iterable[str | Path], families: Mapping[str, str], path: str | Path) -> None:
    """Merge the counts of all models and tasks into one CSV file.

    Args:
        paths: Files {model}/{batch}.counts.csv.
        families: Family by model.
        path: Target file; the columns model and family come first.

    Raises:
        UserError: A file has other columns than `write_counts` gives it, or no prompt is kept at all.
    """
    rows: list[list[str]] = []
    for source in map(Path, paths):
        model = source.parent.name
        with source.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames != COUNT_COLUMNS:
                raise UserError(f"{source}: its columns are not {', '.join(COUNT_COLUMNS)}: delete it and run again")
            rows += [[model, families[model], *(row[column] for column in COUNT_COLUMNS)] for row in reader]
    if not any(reason == KEPT and int(count) for *_, reason, count in rows):
        reason = next((reason for *_, reason, _ in rows if reason != KEPT), "the files have no item")
        raise UserError(f"no task has a prompt for any model ({reason}): name other tasks or other models")
    _write_csv(path, ["model", "family", *COUNT_COLUMNS], rows)


def _write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
