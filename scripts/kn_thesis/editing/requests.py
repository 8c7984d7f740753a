"""Which facts and agreement pairs of a table of prompts are edited, what into, and why not the others.

A fact gets another object of its relation (the counterfactuals of Meng et al. 2022, §3.3, drawn by names alone); the
verb of an agreement pair gets its ungrammatical form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from kn_thesis.corpora.gaps import CannotExpress, Encoded, GapTokenizer, encoded_from, is_glued
from kn_thesis.corpora.rank import rank
from kn_thesis.editing.names import EDITED, NO_OBJECT, NO_SUBJECT, NOT_SAMPLED, TOO_LONG, UNKNOWN
from kn_thesis.editing.request import Request
from kn_thesis.models.length import needed
from kn_thesis.tracing.spans import token_span

COLUMNS = ["edit", "cluster", "subject", "old", "new", "text", "status"]


def make_requests(
    tokenizer: GapTokenizer,
    prompts: pd.DataFrame,
    evaluation: pd.DataFrame,
    *,
    most: int | None,
    max_target_tokens: int,
    seed: int,
    longest: int,
) -> tuple[list[Request], pd.DataFrame]:
    """Requests of a task, by name, and a table of all that was considered: every fact, or every pair, in one row.

    prompts: the task's table of prompts (corpora.prompts.Prompt), in any order. evaluation: `correct` by `prompt`.
    most: requests, None for all; a sample ranks names alone. longest: the model's positions, 0 where they are unknown.
    The table has the columns of COLUMNS, all text; new is "" where nothing could be asked for, status is
    names.EDITED for the requests and a reason of editing.names for the others.

    Relations: one request per fact that the model knows, that is, gets right in a prompt that shows it the subject.
    Paradigms: one per pair that it gets right and whose cue and distractor stand before the gap, in this order; a
    sample has as many subjects as there can be.
    """
    rows = sorted(prompts.itertuples(index=False), key=lambda row: row.prompt)
    right = set(evaluation.loc[evaluation["correct"], "prompt"])
    chance = _Chance(tokenizer, max_target_tokens, seed, longest)
    paradigm = bool(rows) and rows[0].kind == "paradigm"
    considered = [_pair(row, right, chance) for row in rows] if paradigm else _facts(rows, right, chance)
    found = {item.request.name: item.request for item in considered if item.request is not None}
    chosen = set((_spread(found, seed) if paradigm else _ranked(found, seed))[:most])
    table = [
        replace(item, status=NOT_SAMPLED) if item.status == EDITED and item.edit not in chosen else item
        for item in sorted(considered, key=lambda item: item.edit)
    ]
    frame = pd.DataFrame([[getattr(item, name) for name in COLUMNS] for item in table], columns=COLUMNS, dtype="str")
    return [found[name] for name in sorted(chosen)], frame


def comparable(one: Encoded, other: Encoded) -> bool:
    """Whether two words' probabilities in one place say which is preferred: neither's tokens begin the other's.

    A masked model must see as many masks for both.
    """
    a, b = one.target_ids, other.target_ids
    return one.input_ids == other.input_ids and a[: len(b)] != b[: len(a)]


@dataclass(frozen=True)
class _Chance:
    """What decides whether a request can be made, and which; see make_requests."""

    tokenizer: GapTokenizer
    max_target_tokens: int
    seed: int
    longest: int

    def fits(self, encoded: Encoded) -> bool:
        """Whether the model has positions for the prompt and all tokens of the word but the last."""
        return not self.longest or needed(encoded, self.tokenizer.objective) <= self.longest


@dataclass(frozen=True)
class _Considered:
    """One row of the table, and its request where there is one."""

    edit: str
    cluster: str
    subject: str
    old: str
    text: str
    status: str
    request: Request | None = None

    @property
    def new(self) -> str:
        return self.request.new if self.request else ""


def _facts(rows: Iterable[Any], right: set[str], chance: _Chance) -> list[_Considered]:
    facts: dict[str, list[Any]] = {}
    objects: dict[str, set[str]] = {}
    for row in rows:
        facts.setdefault(row.group, []).append(row)
        objects.setdefault(row.subject, set()).add(row.target)
    every = sorted(set().union(*objects.values()))
    found = []
    for of_fact in facts.values():
        status, row, request = _fact(of_fact, right, objects, every, chance)
        name = f"{row.task}/{row.group}"
        found.append(_Considered(name, row.group, row.subject, row.target, row.text, status, request))
    return found


def _fact(
    rows: Sequence[Any], right: set[str], objects: Mapping[str, set[str]], every: Sequence[str], chance: _Chance
) -> tuple[str, Any, Request | None]:
    """Status of a fact, the prompt that is drawn for it, and its request where there is one."""
    last = {row.prompt: _last_token(chance.tokenizer, row) for row in rows}
    pool = list(rows)
    for reason, kept in (
        (NO_SUBJECT, {name for name, token in last.items() if token is not None}),
        (UNKNOWN, right),
        (TOO_LONG, {row.prompt for row in rows if chance.fits(_target(row))}),
    ):
        narrower = [row for row in pool if row.prompt in kept]
        if not narrower:
            return reason, _drawn(pool, chance.seed), None
        pool = narrower
    # Only a masked model sees a subject after the gap.
    row = _drawn([row for row in pool if row.cue_at < len(row.prefix)] or pool, chance.seed)
    found = _counterfactual(row, {*objects[row.subject], row.subject}, every, chance)
    if found is None:
        return NO_OBJECT, row, None
    others = [_target(other) for other in rows if other.prompt != row.prompt]
    request = Request(
        name=f"{row.task}/{row.group}",
        task=row.task,
        kind="relation",
        cluster=row.group,
        prefix=row.prefix,
        suffix=row.suffix,
        subject=row.subject,
        subject_at=int(row.cue_at),
        old=row.target,
        new=found[0],
        new_prompt=found[1],
        old_prompt=_target(row),
        subject_token=last[row.prompt],
        paraphrases=(_target(row), *filter(chance.fits, others)),
        glued=is_glued(row.prefix, row.text),
    )
    return EDITED, row, request


def _counterfactual(row: Any, right: set[str], every: Sequence[str], chance: _Chance) -> tuple[str, Encoded] | None:
    """The first object by rank that is not right and can stand in the prompt's gap, and the prompt with it."""
    old = _target(row)
    for new in sorted(set(every) - right, key=lambda name: rank("object", chance.seed, row.task, row.group, name)):
        try:
            encoded = chance.tokenizer.encode(row.prefix, row.suffix, new, is_glued(row.prefix, row.text))
        except CannotExpress:
            continue
        if len(encoded.target_ids) <= chance.max_target_tokens and comparable(encoded, old) and chance.fits(encoded):
            return new, encoded
    return None


def _pair(row: Any, right: set[str], chance: _Chance) -> _Considered:
    old, new = _target(row), encoded_from(row.input_ids, row.gap, row.foil_ids)
    last = _last_token(chance.tokenizer, row)
    if last is None or not 0 <= row.cue_at + len(row.cue) <= row.distractor_at < len(row.prefix):
        status = NO_SUBJECT
    elif row.prompt not in right:
        status = UNKNOWN
    else:
        status = EDITED if chance.fits(old) and chance.fits(new) else TOO_LONG
    found = _Considered(row.prompt, row.noun, row.cue, row.target, row.text, status)
    if status != EDITED:
        return found
    request = Request(
        name=row.prompt,
        task=row.task,
        kind="paradigm",
        cluster=row.noun,
        prefix=row.prefix,
        suffix=row.suffix,
        subject=row.cue,
        subject_at=int(row.cue_at),
        old=row.target,
        new=row.foil,
        new_prompt=new,
        old_prompt=old,
        subject_token=last,
        paraphrases=(old,),
        glued=is_glued(row.prefix, row.text),
    )
    return replace(found, request=request)


def _target(row: Any) -> Encoded:
    return encoded_from(row.input_ids, row.gap, row.target_ids)


def _last_token(tokenizer: GapTokenizer, row: Any) -> int | None:
    """Where the subject's last token stands, or None."""
    if row.cue_at < 0:
        return None
    place = row.cue_at, row.cue_at + len(row.cue)
    span = token_span(tokenizer, row.prefix, row.suffix, row.target, *place, is_glued(row.prefix, row.text))
    return None if span is None else span[1] - 1


def _drawn(rows: Iterable[Any], seed: int) -> Any:
    return min(rows, key=lambda row: rank("edit", seed, row.prompt))


def _ranked(names: Iterable[str], seed: int) -> list[str]:
    return sorted(names, key=lambda name: rank("request", seed, name))


def _spread(requests: Mapping[str, Request], seed: int) -> list[str]:
    """All names: no subject a second time with the same verb, and no noun a second time, before it must be."""
    names = _ranked(requests, seed)
    subjects = _turns({name: (requests[name].subject.lower(), requests[name].old) for name in names})
    nouns = _turns({name: (subjects[name], requests[name].cluster) for name in names})
    return sorted(names, key=lambda name: (subjects[name], nouns[name]))


def _turns(keys: Mapping[str, object]) -> dict[str, int]:
    """How many names before each one have the same key."""
    seen: dict[object, int] = {}
    turns = {}
    for name, key in keys.items():
        turns[name] = seen[key] = seen.get(key, -1) + 1
    return turns
