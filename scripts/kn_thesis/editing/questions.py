"""Questions to edited models: the edited prompt, and what must or must not change with it (tables.CRITERIA).

`make_edit_inputs` makes the requests and questions of a task from tables of prompts, `questions_of` the questions of
one request. `load_synonyms` reads which answers of two synonymous relations correspond, such as physics and physicist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from kn_thesis.corpora.agreement import BEFORE_HEAD
from kn_thesis.corpora.blanks import GAP, CannotExpress, before_gap, fill_blank, is_glued
from kn_thesis.corpora.pararel import around_gap
from kn_thesis.corpora.sampling import hash_rank
from kn_thesis.editing.requests import Question, Request, comparable, make_requests
from kn_thesis.errors import UserError
from kn_thesis.inputs import read_rows, read_table
from kn_thesis.models.cloze import GapTokenizer
from kn_thesis.models.evaluate import evaluate_prompts

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


SYNONYM_COLUMNS = ("relation", "object", "synonym", "synonym_object")


@dataclass(frozen=True)
class EditInputs:
    """Requests and questions of one task.

    Attributes:
        requests: what is edited.
        statuses: one row per fact or pair (requests.make_requests).
        questions: of each request, by its name.
        left_out: number of questions that could not be put, by reason.
    """

    requests: list[Request]
    statuses: pd.DataFrame
    questions: dict[str, list[Question]]
    left_out: Counter[str]


def make_edit_inputs(
    model: Model,
    task: str,
    prompts_by_task: Mapping[str, pd.DataFrame],
    links: Mapping[str, str],
    synonyms: Mapping[str, str],
    *,
    requests: int | None,
    questions: Mapping[str, int],
    max_target_tokens: int,
    seed: int,
    batch_tokens: int,
    **_: Any,
) -> EditInputs:
    """Make the requests and questions of one task.

    Args:
        model: the model that is edited.
        task: the task.
        prompts_by_task: tables of prompts, of this task and of linked relations.
        links: the names of linked relations as "inverse" and "synonym", and the path of the task's "facts", if any.
        synonyms: counterpart of each object in the synonymous relation.
        requests: most requests; None: all.
        questions: `each` and `others` of `questions_of`.
        max_target_tokens: most tokens of a new object.
        seed: of the samples.
        batch_tokens: most rows × tokens in memory at once.
        **_: further settings of the job, which are not used here.
    """
    prompts = prompts_by_task[task]
    # Evaluated here and not read from the model's evaluation, which changes whenever any task is added.
    evaluation = evaluate_prompts(model, prompts, batch_tokens)
    made, statuses = make_requests(
        model.tokenizer,
        prompts,
        evaluation,
        most=requests,
        max_target_tokens=max_target_tokens,
        seed=seed,
        longest=model.positions,
    )
    related = LinkedTables(
        inverse=prompts_by_task[links["inverse"]] if "inverse" in links else None,
        synonym=prompts_by_task[links["synonym"]] if "synonym" in links else None,
        synonym_objects=synonyms,
        concepts=_concepts(links["facts"]) if "facts" in links else {},
    )
    questions_by_request, left_out = {}, Counter()
    for request in made:
        questions_by_request[request.name], reasons = questions_of(
            request, model.tokenizer, prompts, related, seed=seed, **questions
        )
        left_out += reasons
    return EditInputs(made, statuses, questions_by_request, left_out)


def load_synonyms(path: str | Path) -> Mapping[str, Mapping[str, str]]:
    """Read resources/synonyms.csv.

    Returns:
        An object's counterpart in the synonymous relation, by relation and object.

    Raises:
        UserError: for a file that is missing or broken, an empty cell, an object that a relation has twice, and a
            relation with more than one synonym.
    """
    path = Path(path)
    counterparts: dict[str, dict[str, str]] = {}
    synonyms: dict[str, str] = {}
    for line, row in enumerate(read_table(path, SYNONYM_COLUMNS, key=("relation", "object")), start=2):
        where = f"{path}, line {line}"
        empty = next((name for name in SYNONYM_COLUMNS if not row[name]), None)
        if empty:
            raise UserError(f"{where}: {empty!r} is empty: fill it in, or remove the line")
        relation, synonym = row["relation"], row["synonym"]
        if synonyms.setdefault(relation, synonym) != synonym:
            raise UserError(f"{where}: {relation} is {synonyms[relation]}'s synonym above, not {synonym}'s: keep one")
        counterparts.setdefault(relation, {})[row["object"]] = row["synonym_object"]
    return counterparts


@dataclass(frozen=True)
class LinkedTables:
    """What other files say about a relation's facts.

    Attributes:
        inverse: the inverse relation's table of prompts, for the same model.
        synonym: the synonymous relation's.
        synonym_objects: an object's counterpart in the synonymous relation.
        concepts: the concept that each subject is a name of.
    """

    inverse: pd.DataFrame | None = None
    synonym: pd.DataFrame | None = None
    synonym_objects: Mapping[str, str] = field(default_factory=dict)
    concepts: Mapping[str, str] = field(default_factory=dict)


def questions_of(
    request: Request,
    tokenizer: GapTokenizer,
    prompts: pd.DataFrame,
    related: LinkedTables,
    *,
    others: int,
    each: int,
    seed: int,
) -> tuple[list[Question], Counter[str]]:
    """Make the questions of a request.

    Names and the seed decide which questions are taken. Where one cannot be put in tokens, the next one is taken. A
    question about agreement needs both of its words, any other question only the expected one.

    Args:
        request: what is edited.
        tokenizer: of the model.
        prompts: the table of prompts that the request is from.
        related: what other files say about the relation.
        others: most questions about locality, and about each criterion of an agreement edit.
        each: most questions about generality, synonymy and each side of symmetry.
        seed: of the order of candidates.

    Returns:
        The questions, reliability first, and the number of those that could not be put, by reason.
    """
    listed = _QuestionList(request, tokenizer, seed)
    rows = sorted(prompts.itertuples(index=False), key=lambda row: row.prompt)
    if request.kind == "paradigm":
        _agreement(listed, rows, others)
    else:
        _fact(listed, rows, related, others, each)
    return listed.questions, listed.counts


class _Words(NamedTuple):
    """A question before it is put in tokens; see `Question` and `GapTokenizer.encode`."""

    prefix: str
    suffix: str
    glued: bool
    expected: str
    rival: str
    near: bool = False


class _QuestionList:
    """The questions of one request so far, and the number of those that could not be put, by reason."""

    def __init__(self, request: Request, tokenizer: GapTokenizer, seed: int) -> None:
        self.request, self.tokenizer, self.seed = request, tokenizer, seed
        own = Question("reliability", request.text, request.new, request.old, request.new_prompt, request.old_prompt)
        self.questions = [own]
        self.counts: Counter[str] = Counter()

    def order(self, what: str, items: Iterable[Any], name: Callable[[Any], object] = str) -> list[Any]:
        """Items in a random order that depends on their names and the seed."""
        return sorted(items, key=lambda item: hash_rank(what, self.seed, self.request.name, name(item)))

    def put(self, criterion: str, candidates: Iterator[_Words], most: int, both: bool = False) -> None:
        """Add candidates until the criterion has `most` questions; `both`: only where its two words are comparable."""
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
        text = f"{fill_blank(prefix, GAP, glued)}{suffix}"
        return Question(criterion, text, expected, rival, expected_prompt, rival_prompt, near)


def _fact(listed: _QuestionList, rows: Sequence[Any], related: LinkedTables, others: int, each: int) -> None:
    request = listed.request
    own = [row for row in rows if row.group == request.cluster]
    names = _other_names(request.subject, related.concepts)
    paraphrases = listed.order("generality", own, _name)
    listed.put("generality", (_Words(*_text(row), request.new, request.old) for row in paraphrases), each)
    _locality(listed, rows, {request.subject, *names}, others)
    if related.inverse is not None:
        _symmetry(listed, rows, related.inverse, each)
    if related.synonym is not None:
        listed.put("synonymy", _synonymous(listed, related.synonym, related.synonym_objects), each)
    renamed = _one_each(listed.order("synonymy", (row for row in rows if row.subject in names), _name))
    listed.put("synonymy", (_Words(*_text(row), request.new, request.old) for row in renamed), each)


def _locality(listed: _QuestionList, rows: Sequence[Any], without: set[str], others: int) -> None:
    """One prompt for each other subject; half of them, if possible, about subjects with the object that is replaced."""
    request = listed.request
    # Subjects that have the new object anyway would answer it for a reason of their own.
    without = without | {row.subject for row in rows if row.target == request.new}
    candidates = listed.order("locality", (row for row in rows if row.subject not in without), _name)
    words: dict[str, _Words] = {}
    for row in candidates:
        near = row.target == request.old
        words.setdefault(row.subject, _Words(*_text(row), row.target, request.new, near))
    near, far = (iter([one for one in words.values() if one.near == side]) for side in (True, False))
    listed.put("locality", near, (others + 1) // 2)
    listed.put("locality", far, others)
    listed.put("locality", near, others)


def _symmetry(listed: _QuestionList, rows: Sequence[Any], inverse: pd.DataFrame, each: int) -> None:
    """The inverse relation's patterns about the new and about the old object, the same ones for both."""
    request = listed.request
    true = min((row.subject for row in rows if row.target == request.new), default="")
    patterns = listed.order("symmetry", set(inverse["pattern"]))
    for criterion, named in (("symmetry_new", request.new), ("symmetry_old", request.old)):
        filled = (_around(listed, pattern, named) for pattern in patterns)
        listed.put(criterion, (_Words(*around, request.subject, true) for around in filled), each)


def _synonymous(listed: _QuestionList, synonym: pd.DataFrame, objects: Mapping[str, str]) -> Iterator[_Words]:
    """The synonymous relation's patterns about the subject; articles must fit the counterparts of both objects."""
    expected, rival = (objects.get(name, "") for name in (listed.request.new, listed.request.old))
    if not expected or expected == rival:
        listed.counts["no synonym of the new object" if not expected else "one synonym for both objects"] += 1
        return
    for pattern in listed.order("synonymy", set(synonym["pattern"])):
        around = _around(listed, pattern, listed.request.subject)
        if all(_article_fits(around[0], word) for word in (expected, rival) if word):
            yield _Words(*around, expected, rival)
        else:
            listed.counts["article does not fit"] += 1


def _agreement(listed: _QuestionList, rows: Sequence[Any], others: int) -> None:
    request = listed.request
    own = next(row for row in rows if row.prompt == request.name)
    if not own.number:
        listed.counts["number is not known"] += 1
        return
    alike = [row for row in rows if row.number == own.number]
    verbs: dict[tuple[str, str], Any] = {}
    for row in listed.order("other_verb", alike, _name):
        if {row.target, row.foil}.isdisjoint({own.target, own.foil}):
            verbs.setdefault((row.target, row.foil), row)
    glued = is_glued(own.prefix, own.text)
    # The suffix belongs to its verb.
    candidates = (
        _Words(own.prefix, verbs[key].suffix, glued, key[1], key[0]) for key in listed.order("other_verb", verbs)
    )
    listed.put("other_verb", candidates, others, both=True)
    whole = [row for row in alike if row.cue_at >= 0 and row.distractor_at >= 0]
    distractors = {row.distractor for row in whole if row.distractor.lower() != own.distractor.lower()}
    strangers = [row for row in whole if row.noun and row.noun != own.noun]
    swaps = {
        "other_distractor": {(own.cue, words) for words in distractors},
        "other_subject": {(_placed(row, own), own.distractor) for row in strangers},
        "other_both": {(_placed(row, own), row.distractor) for row in strangers if row.distractor in distractors},
    }
    for criterion, swap in swaps.items():
        prefixes = [_swapped(own, *words) for words in listed.order(criterion, swap)]
        candidates = (_Words(prefix, own.suffix, glued, request.new, request.old) for prefix in prefixes)
        listed.put(criterion, candidates, others, both=True)


def _swapped(row: Any, cue: str, distractor: str) -> str:
    """A pair's prefix with another cue and another distractor; the cue comes first."""
    cue_end, end = row.cue_at + len(row.cue), row.distractor_at + len(row.distractor)
    return "".join(
        (row.prefix[: row.cue_at], cue, row.prefix[cue_end : row.distractor_at], distractor, row.prefix[end:])
    )


def _placed(row: Any, own: Any) -> str:
    """Another pair's cue, capitalised as its new place requires; a name keeps its capital."""
    if own.cue_at == 0:
        return row.cue[0].upper() + row.cue[1:]
    begins = row.cue_at == 0 and row.cue.split()[0].lower() in BEFORE_HEAD
    return row.cue[0].lower() + row.cue[1:] if begins else row.cue


def _name(row: Any) -> str:
    return str(row.prompt)


def _text(row: Any) -> tuple[str, str, bool]:
    """Prefix and suffix of a row of a table of prompts, and whether the target is glued to the prefix."""
    return row.prefix, row.suffix, is_glued(row.prefix, row.text)


def _around(listed: _QuestionList, pattern: str, subject: str) -> tuple[str, str, bool]:
    """Prefix, suffix and whether the answer is glued, of a pattern about a subject."""
    before, after = around_gap(pattern, subject)
    prefix, glued = before_gap(before)
    return prefix, "" if listed.tokenizer.objective == "causal" else after, glued


def _other_names(subject: str, concepts: Mapping[str, str]) -> set[str]:
    """Other subjects that are names of the same concept."""
    concept = concepts.get(subject)
    return {name for name, other in concepts.items() if other == concept} - {subject}


def _one_each(rows: Iterable[Any]) -> list[Any]:
    """Rows in an order that takes one of each subject before a second of any."""
    turns: Counter[str] = Counter()
    order = []
    for place, row in enumerate(rows):
        order.append((turns[row.subject], place, row))
        turns[row.subject] += 1
    return [row for _, _, row in sorted(order, key=lambda item: item[:2])]


def _article_fits(prefix: str, word: str) -> bool:
    """Whether "a" or "an" right before the blank, if any, fits a word's first letter."""
    article = prefix.split()[-1].lower() if prefix else ""
    return article not in ("a", "an") or (article == "an") == (word[0].lower() in "aeiou")


def _concepts(path: str) -> dict[str, str]:
    """The concept that each subject is a name of, for relations whose facts name one."""
    rows = read_rows(path, {"sub_label": str}, {"concept": str})
    return {row["sub_label"]: row["concept"] for row in rows if row.get("concept")}
