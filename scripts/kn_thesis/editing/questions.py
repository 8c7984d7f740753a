"""What an edited model is asked: the edited prompt, and what should, or should not, change with it (names.CRITERIA)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from kn_thesis.corpora.gaps import GAP, CannotExpress, GapTokenizer, before_gap, filled, is_glued
from kn_thesis.corpora.nouns import BEFORE_HEAD
from kn_thesis.corpora.pararel import around_gap
from kn_thesis.corpora.rank import rank
from kn_thesis.editing.request import Question, Request
from kn_thesis.editing.requests import comparable


@dataclass(frozen=True)
class Related:
    """What else says something of a relation's facts.

    inverse, synonym: tables of prompts of the inverse and of the synonymous relation, for the same model.
    synonym_objects: an object's counterpart in the synonymous relation. concepts: what each subject is a name of.
    """

    inverse: pd.DataFrame | None = None
    synonym: pd.DataFrame | None = None
    synonym_objects: Mapping[str, str] = field(default_factory=dict)
    concepts: Mapping[str, str] = field(default_factory=dict)


def questions_of(
    request: Request,
    tokenizer: GapTokenizer,
    prompts: pd.DataFrame,
    related: Related,
    *,
    others: int,
    each: int,
    seed: int,
) -> tuple[list[Question], Counter[str]]:
    """A request's questions, reliability first, and the number that could not be put, by reason.

    prompts: the table of prompts that the request is from. each: most questions on generality, synonymy and either
    side of symmetry. others: most on locality, and on each criterion of an agreement edit. Which questions are taken
    is drawn by names and the seed; one that cannot be put gives way to the next. A question on agreement needs both of
    its words, any other question the expected one alone.
    """
    asked = _Asked(request, tokenizer, seed)
    rows = sorted(prompts.itertuples(index=False), key=lambda row: row.prompt)
    if request.kind == "paradigm":
        _agreement(asked, rows, others)
    else:
        _fact(asked, rows, related, others, each)
    return asked.questions, asked.counts


class _Words(NamedTuple):
    """A question before it is put in tokens; see Question, and `GapTokenizer.encode`."""

    prefix: str
    suffix: str
    glued: bool
    expected: str
    rival: str
    near: bool = False


class _Asked:
    """The questions of one request so far, and the number that could not be put, by reason."""

    def __init__(self, request: Request, tokenizer: GapTokenizer, seed: int) -> None:
        self.request, self.tokenizer, self.seed = request, tokenizer, seed
        own = Question("reliability", request.text, request.new, request.old, request.new_prompt, request.old_prompt)
        self.questions = [own]
        self.counts: Counter[str] = Counter()

    def order(self, what: str, items: Iterable[Any], name: Callable[[Any], object] = str) -> list[Any]:
        """Items in an order drawn by their names."""
        return sorted(items, key=lambda item: rank(what, self.seed, self.request.name, name(item)))

    def put(self, criterion: str, candidates: Iterator[_Words], most: int, both: bool = False) -> None:
        """Put candidates until the criterion has `most` questions; with `both`, only where the two words compare."""
        known = {(one.text, one.expected) for one in self.questions if one.criterion in (criterion, "reliability")}
        number = sum(one.criterion == criterion for one in self.questions)
        while number < most and (words := next(candidates, None)) is not None:
            try:
                question = self._question(criterion, words, both)
            except CannotExpress as error:
                self.counts[error.reason] += 1
                continue
            if (question.text, question.expected) not in known:
                known.add((question.text, question.expected))
                self.questions.append(question)
                number += 1

    def _question(self, criterion: str, words: _Words, both: bool) -> Question:
        prefix, suffix, glued, expected, rival, near = words
        expected_prompt = self.tokenizer.encode(prefix, suffix, expected, glued)
        try:
            rival_prompt = self.tokenizer.encode(prefix, suffix, rival, glued)
        except CannotExpress:
            if both:
                raise
            rival_prompt = None
        if both and not comparable(expected_prompt, rival_prompt):
            raise CannotExpress("words cannot be compared")
        text = f"{filled(prefix, GAP, glued)}{suffix}"
        return Question(criterion, text, expected, rival, expected_prompt, rival_prompt, near)


def _fact(asked: _Asked, rows: Sequence[Any], related: Related, others: int, each: int) -> None:
    request = asked.request
    own = [row for row in rows if row.group == request.cluster]
    names = _other_names(request.subject, related.concepts)
    paraphrases = asked.order("generality", own, _name)
    asked.put("generality", (_Words(*_text(row), request.new, request.old) for row in paraphrases), each)
    _locality(asked, rows, {request.subject, *names}, others)
    if related.inverse is not None:
        _symmetry(asked, rows, related.inverse, each)
    if related.synonym is not None:
        asked.put("synonymy", _synonymous(asked, related.synonym, related.synonym_objects), each)
    renamed = _one_each(asked.order("synonymy", (row for row in rows if row.subject in names), _name))
    asked.put("synonymy", (_Words(*_text(row), request.new, request.old) for row in renamed), each)


def _locality(asked: _Asked, rows: Sequence[Any], without: set[str], others: int) -> None:
    """One prompt for each other subject; half of them, where it can be, about one with the object that is replaced."""
    request = asked.request
    # Who has the new object in any case answers it for a reason of their own.
    without = without | {row.subject for row in rows if row.target == request.new}
    alike = asked.order("locality", (row for row in rows if row.subject not in without), _name)
    words: dict[str, _Words] = {}
    for row in alike:
        near = row.target == request.old
        words.setdefault(row.subject, _Words(*_text(row), row.target, request.new, near))
    near, far = (iter([one for one in words.values() if one.near == side]) for side in (True, False))
    asked.put("locality", near, (others + 1) // 2)
    asked.put("locality", far, others)
    asked.put("locality", near, others)


def _symmetry(asked: _Asked, rows: Sequence[Any], inverse: pd.DataFrame, each: int) -> None:
    """The inverse's patterns about the new and about the old object; the same ones for both."""
    request = asked.request
    true = min((row.subject for row in rows if row.target == request.new), default="")
    patterns = asked.order("symmetry", set(inverse["pattern"]))
    for criterion, named in (("symmetry_new", request.new), ("symmetry_old", request.old)):
        filled = (_around(asked, pattern, named) for pattern in patterns)
        asked.put(criterion, (_Words(*around, request.subject, true) for around in filled), each)


def _synonymous(asked: _Asked, synonym: pd.DataFrame, objects: Mapping[str, str]) -> Iterator[_Words]:
    """The synonymous relation's patterns about the subject; articles must fit both objects' counterparts."""
    expected, rival = (objects.get(name, "") for name in (asked.request.new, asked.request.old))
    if not expected or expected == rival:
        asked.counts["no synonym of the new object" if not expected else "one synonym for both objects"] += 1
        return
    for pattern in asked.order("synonymy", set(synonym["pattern"])):
        around = _around(asked, pattern, asked.request.subject)
        if all(_article_fits(around[0], word) for word in (expected, rival) if word):
            yield _Words(*around, expected, rival)
        else:
            asked.counts["article does not fit"] += 1


def _agreement(asked: _Asked, rows: Sequence[Any], others: int) -> None:
    request = asked.request
    own = next(row for row in rows if row.prompt == request.name)
    if not own.number:
        asked.counts["number is not known"] += 1
        return
    alike = [row for row in rows if row.number == own.number]
    verbs: dict[tuple[str, str], Any] = {}
    for row in asked.order("other_verb", alike, _name):
        if {row.target, row.foil}.isdisjoint({own.target, own.foil}):
            verbs.setdefault((row.target, row.foil), row)
    glued = is_glued(own.prefix, own.text)
    # The suffix goes with its verb.
    put = (_Words(own.prefix, verbs[key].suffix, glued, key[1], key[0]) for key in asked.order("other_verb", verbs))
    asked.put("other_verb", put, others, both=True)
    whole = [row for row in alike if row.cue_at >= 0 and row.distractor_at >= 0]
    distractors = {row.distractor for row in whole if row.distractor.lower() != own.distractor.lower()}
    strangers = [row for row in whole if row.noun and row.noun != own.noun]
    swaps = {
        "other_distractor": {(own.cue, words) for words in distractors},
        "other_subject": {(_placed(row, own), own.distractor) for row in strangers},
        "other_both": {(_placed(row, own), row.distractor) for row in strangers if row.distractor in distractors},
    }
    for criterion, swap in swaps.items():
        prefixes = [_swapped(own, *words) for words in asked.order(criterion, swap)]
        put = (_Words(prefix, own.suffix, glued, request.new, request.old) for prefix in prefixes)
        asked.put(criterion, put, others, both=True)


def _swapped(row: Any, cue: str, distractor: str) -> str:
    """A pair's prefix with another cue and another distractor; the cue stands first."""
    cue_end, end = row.cue_at + len(row.cue), row.distractor_at + len(row.distractor)
    return "".join(
        (row.prefix[: row.cue_at], cue, row.prefix[cue_end : row.distractor_at], distractor, row.prefix[end:])
    )


def _placed(row: Any, own: Any) -> str:
    """Another pair's cue with the capital that its new place asks for; a name keeps its own."""
    if own.cue_at == 0:
        return row.cue[0].upper() + row.cue[1:]
    begins = row.cue_at == 0 and row.cue.split()[0].lower() in BEFORE_HEAD
    return row.cue[0].lower() + row.cue[1:] if begins else row.cue


def _name(row: Any) -> str:
    return str(row.prompt)


def _text(row: Any) -> tuple[str, str, bool]:
    """Prefix and suffix of a row of a table of prompts, and whether the target is glued to the prefix."""
    return row.prefix, row.suffix, is_glued(row.prefix, row.text)


def _around(asked: _Asked, pattern: str, subject: str) -> tuple[str, str, bool]:
    """The same of a pattern about a subject."""
    before, after = around_gap(pattern, subject)
    prefix, glued = before_gap(before)
    return prefix, "" if asked.tokenizer.objective == "causal" else after, glued


def _other_names(subject: str, concepts: Mapping[str, str]) -> set[str]:
    """Other subjects that are names of the same concept."""
    concept = concepts.get(subject)
    return {name for name, other in concepts.items() if other == concept} - {subject}


def _one_each(rows: Iterable[Any]) -> list[Any]:
    """Rows with one of each subject before a second of any."""
    turns: Counter[str] = Counter()
    order = []
    for place, row in enumerate(rows):
        order.append((turns[row.subject], place, row))
        turns[row.subject] += 1
    return [row for _, _, row in sorted(order, key=lambda item: item[:2])]


def _article_fits(prefix: str, word: str) -> bool:
    """Whether "a" or "an" right before the gap, if there is one, goes with a word's first letter."""
    article = prefix.split()[-1].lower() if prefix else ""
    return article not in ("a", "an") or (article == "an") == (word[0].lower() in "aeiou")
