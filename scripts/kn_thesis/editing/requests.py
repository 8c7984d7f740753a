"""Edit requests: which facts and agreement pairs are edited, into what, and why not the others.

A fact gets another object of its relation, as in the counterfactuals of Meng et al. (2022, §3.3). The verb of an
agreement pair gets its ungrammatical form. What is sampled depends on names and the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from kn_thesis.corpora.blanks import GAP, CannotExpress, fill_blank, is_glued
from kn_thesis.corpora.sampling import hash_rank
from kn_thesis.editing.tables import EDITED, NO_OBJECT, NO_SUBJECT, NOT_SAMPLED, TOO_LONG, UNKNOWN
from kn_thesis.models.cloze import Encoded, GapTokenizer, encoded_from, positions_needed, token_span


@dataclass(frozen=True)
class Question:
    """A prompt that the model answers before and after an edit.

    Attributes:
        criterion: one of tables.CRITERIA.
        text: the prompt, its blank written "___".
        expected: the right word after a successful edit; for symmetry_old the word that the model must no longer say.
        rival: the right word before the edit; for locality, where that is `expected`, the edit's new answer.
        expected_prompt: the prompt in tokens, with `expected` in its blank.
        rival_prompt: the same with `rival`; None where the tokenizer cannot put it there.
        near: for locality, whether the other subject has the object that the edit replaces.
    """

    criterion: str
    text: str
    expected: str
    rival: str
    expected_prompt: Encoded
    rival_prompt: Encoded | None = None
    near: bool = False


@dataclass(frozen=True)
class Request:
    """One edit: the prompt `prefix` + blank + `suffix` must be answered by `new` instead of `old`.

    Attributes:
        name: unique within a task.
        kind: "relation" or "paradigm".
        cluster: the fact, or the noun that a pair is about.
        subject_at: character at which the subject begins in the prompt with an answer.
        new_prompt: the prompt in tokens, with `new` in its blank.
        old_prompt: the same with `old`.
        subject_token: place of the subject's last token in both.
        paraphrases: prompts of the same fact with `old` as target, the edited one first, in which knowledge neurons are
            looked for.
        glued: whether the answer follows `prefix` without a space.
    """

    name: str
    task: str
    kind: str
    cluster: str
    prefix: str
    suffix: str
    subject: str
    subject_at: int
    old: str
    new: str
    new_prompt: Encoded
    old_prompt: Encoded
    subject_token: int
    paraphrases: tuple[Encoded, ...] = field(default=())
    glued: bool = False

    @property
    def text(self) -> str:
        """The prompt, its blank written "___"."""
        return f"{fill_blank(self.prefix, GAP, self.glued)}{self.suffix}"


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
    """Make the requests of a task.

    Relations have one request per fact that the model knows, that is, gets right in a prompt that shows it the subject.
    Paradigms have one per pair that it gets right and whose cue and distractor stand before the blank, in this order.
    A sample of pairs has as many subjects as possible.

    Args:
        tokenizer: of the model.
        prompts: the task's table of prompts (corpora.prompts.Prompt), in any order.
        evaluation: columns prompt and correct.
        most: most requests; None: all.
        max_target_tokens: most tokens of a new object.
        seed: of the samples.
        longest: positions of the model; 0: not known.

    Returns:
        The requests, in the order of their names, and a table with one row for every fact or pair, columns COLUMNS. Its
        status is EDITED for the requests and the reason for the others; new is "" where there is no request.
    """
    rows = sorted(prompts.itertuples(index=False), key=lambda row: row.prompt)
    right = set(evaluation.loc[evaluation["correct"], "prompt"])
    chance = _Chance(tokenizer, max_target_tokens, seed, longest)
    paradigm = bool(rows) and rows[0].kind == "paradigm"
    considered = [_pair(row, right, chance) for row in rows] if paradigm else _facts(rows, right, chance)
    requests = {item.request.name: item.request for item in considered if item.request is not None}
    sample = set((_spread(requests, seed) if paradigm else _ranked(requests, seed))[:most])
    table = [
        replace(item, status=NOT_SAMPLED) if item.status == EDITED and item.edit not in sample else item
        for item in sorted(considered, key=lambda item: item.edit)
    ]
    frame = pd.DataFrame([[getattr(item, name) for name in COLUMNS] for item in table], columns=COLUMNS, dtype="str")
    return [requests[name] for name in sorted(sample)], frame


def comparable(one: Encoded, other: Encoded) -> bool:
    """Whether the probabilities of two words in one blank show which is preferred.

    That is so where neither word's tokens begin the other's and a masked model sees the same number of masks.
    """
    a, b = one.target_ids, other.target_ids
    return one.input_ids == other.input_ids and a[: len(b)] != b[: len(a)]


@dataclass(frozen=True)
class _Chance:
    """Arguments of `make_requests` that decide whether a request can be made, and which."""

    tokenizer: GapTokenizer
    max_target_tokens: int
    seed: int
    longest: int

    def fits(self, encoded: Encoded) -> bool:
        """Whether the model has positions for the prompt and all tokens of the word but the last."""
        return not self.longest or positions_needed(encoded, self.tokenizer.objective) <= self.longest


@dataclass(frozen=True)
class _Considered:
    """A row of the table, with its request where there is one."""

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
    considered = []
    for fact_rows in facts.values():
        status, row, request = _fact(fact_rows, right, objects, every, chance)
        name = f"{row.task}/{row.group}"
        considered.append(_Considered(name, row.group, row.subject, row.target, row.text, status, request))
    return considered


def _fact(
    rows: Sequence[Any], right: set[str], objects: Mapping[str, set[str]], every: Sequence[str], chance: _Chance
) -> tuple[str, Any, Request | None]:
    """Status of a fact, the prompt that is sampled for it, and its request where there is one."""
    last = {row.prompt: _last_token(chance.tokenizer, row) for row in rows}
    pool = list(rows)
    for reason, usable in (
        (NO_SUBJECT, {name for name, token in last.items() if token is not None}),
        (UNKNOWN, right),
        (TOO_LONG, {row.prompt for row in rows if chance.fits(_target(row))}),
    ):
        narrower = [row for row in pool if row.prompt in usable]
        if not narrower:
            return reason, _sampled(pool, chance.seed), None
        pool = narrower
    # Only a masked model sees a subject after the blank.
    row = _sampled([row for row in pool if row.cue_at < len(row.prefix)] or pool, chance.seed)
    counterfactual = _counterfactual(row, {*objects[row.subject], row.subject}, every, chance)
    if counterfactual is None:
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
        new=counterfactual[0],
        new_prompt=counterfactual[1],
        old_prompt=_target(row),
        subject_token=last[row.prompt],
        paraphrases=(_target(row), *filter(chance.fits, others)),
        glued=is_glued(row.prefix, row.text),
    )
    return EDITED, row, request


def _counterfactual(row: Any, right: set[str], every: Sequence[str], chance: _Chance) -> tuple[str, Encoded] | None:
    """The first object by rank that is not right and fits the prompt's blank, and the prompt with it."""
    old = _target(row)
    for new in sorted(set(every) - right, key=lambda name: hash_rank("object", chance.seed, row.task, row.group, name)):
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
    considered = _Considered(row.prompt, row.noun, row.cue, row.target, row.text, status)
    if status != EDITED:
        return considered
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
    return replace(considered, request=request)


def _target(row: Any) -> Encoded:
    return encoded_from(row.input_ids, row.gap, row.target_ids)


def _last_token(tokenizer: GapTokenizer, row: Any) -> int | None:
    """Place of the subject's last token, or None."""
    if row.cue_at < 0:
        return None
    place = row.cue_at, row.cue_at + len(row.cue)
    span = token_span(tokenizer, row.prefix, row.suffix, row.target, *place, is_glued(row.prefix, row.text))
    return None if span is None else span[1] - 1


def _sampled(rows: Iterable[Any], seed: int) -> Any:
    return min(rows, key=lambda row: hash_rank("edit", seed, row.prompt))


def _ranked(names: Iterable[str], seed: int) -> list[str]:
    return sorted(names, key=lambda name: hash_rank("request", seed, name))


def _spread(requests: Mapping[str, Request], seed: int) -> list[str]:
    """All names in an order that repeats a subject with the same verb, and then a noun, as late as possible."""
    names = _ranked(requests, seed)
    subjects = _turns({name: (requests[name].subject.lower(), requests[name].old) for name in names})
    nouns = _turns({name: (subjects[name], requests[name].cluster) for name in names})
    return sorted(names, key=lambda name: (subjects[name], nouns[name]))


def _turns(keys: Mapping[str, object]) -> dict[str, int]:
    """The number of names before each one that have the same key."""
    seen: dict[object, int] = {}
    turns = {}
    for name, key in keys.items():
        turns[name] = seen[key] = seen.get(key, -1) + 1
    return turns
