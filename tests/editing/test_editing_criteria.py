"""Whether each criterion is met, and what is known, judged by hand from answers that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from kn_thesis.editing import task
from kn_thesis.editing.evaluation import Prediction
from kn_thesis.editing.requests import Question
from kn_thesis.editing.tables import AGREEMENT_CRITERIA, QUESTIONS, RELATION_CRITERIA
from kn_thesis.editing.task import evaluate_edits
from kn_thesis.editing.weight_update import Edit
from kn_thesis.models.cloze import Encoded


class Word(NamedTuple):
    """What a model says of a word before and after: log P, first choice, share of its tokens, first choice's id."""

    log: tuple[float, float]
    first: tuple[bool, bool] = (False, False)
    share: tuple[float, float] = (0.0, 0.0)
    says: tuple[int, int] = (3, 4)


class Case(NamedTuple):
    """A question, the answers to it, and what follows: met before, met after, known."""

    criterion: str
    expected: Word
    rival: Word | None
    before: bool
    after: bool
    known: bool


LOW, MIDDLE, HIGH, TINY = -5.0, -2.0, -0.5, -900.0
GAINED, LOST, NEVER, ALWAYS = (False, True), (True, False), (False, False), (True, True)
RISING, FALLING = (LOW, HIGH), (HIGH, LOW)
OLD = Word(FALLING, LOST)
RELATION = [
    Case("reliability", Word(RISING, GAINED), OLD, False, True, True),
    Case("generality", Word(RISING, GAINED), Word(FALLING, NEVER), False, True, False),
    Case("generality", Word(RISING, NEVER, (0.5, 0.5)), Word((MIDDLE, LOW), LOST), False, False, True),
    Case("generality", Word(RISING, GAINED), None, False, True, False),
    Case("locality", Word(FALLING, LOST), Word(RISING, GAINED), True, False, True),
    Case("locality", Word((HIGH, HIGH), ALWAYS), None, True, True, True),
    Case("locality", Word((LOW, LOW), NEVER), Word((HIGH, HIGH), ALWAYS), False, False, False),
    Case("symmetry_new", Word(RISING, GAINED), OLD, False, True, True),
    Case("symmetry_new", Word((LOW, LOW), NEVER), Word((HIGH, HIGH), ALWAYS), False, False, True),
    Case("symmetry_old", Word(FALLING, LOST), None, False, True, True),
    Case("symmetry_old", Word((HIGH, HIGH), ALWAYS), None, False, False, True),
    Case("symmetry_old", Word((LOW, LOW), NEVER), Word((HIGH, HIGH), ALWAYS), True, True, False),
    Case("symmetry_old", Word(RISING, GAINED), Word(FALLING, LOST), True, False, False),
    Case("synonymy", Word(RISING, GAINED), OLD, False, True, True),
]
AGREEMENT = [
    Case("reliability", Word((LOW, MIDDLE)), Word((MIDDLE, LOW)), False, True, True),
    Case("other_verb", Word((LOW, HIGH), GAINED), Word((LOW - 1, LOW)), True, True, False),
    Case("other_verb", Word((HIGH, LOW), LOST), Word((MIDDLE, MIDDLE), GAINED), True, False, False),
    Case("other_distractor", Word((LOW, LOW), ALWAYS), Word((LOW, LOW)), False, False, False),
    # Both are nothing as probabilities.
    Case("other_subject", Word((TINY, TINY + 9)), Word((TINY + 3, TINY)), False, True, True),
    Case("other_both", Word((MIDDLE, MIDDLE)), Word((LOW, HIGH), GAINED), True, False, False),
]


def encoded(number: int) -> Encoded:
    return Encoded((1, 2), 1, (number,))


def columns(words: Sequence[Word], numbers: Sequence[int], when: int) -> list[np.ndarray]:
    return [np.array([getattr(words[n], name)[when] for n in numbers]) for name in ("log", "first", "share", "says")]


def asked_of(monkeypatch: pytest.MonkeyPatch, kind: str, edits: Sequence[Sequence[Case]]) -> tuple[pd.DataFrame, list]:
    """The table for edits with such answers, and what `answers` was given."""
    words: list[Word] = []
    questions, given = [], []
    for cases in edits:
        part = []
        for n, case in enumerate(cases):
            words += [case.expected, case.rival or Word((0.0, 0.0), ALWAYS)]
            rival = encoded(len(words) - 1) if case.rival else None
            part.append(Question(case.criterion, f"{n} ___", f"e{n}", f"r{n}", encoded(len(words) - 2), rival, n == 4))
        questions.append(part)

    def answers(_: Any, updates: Any, targets: Any, batch_tokens: int) -> tuple[list[Prediction], list[Prediction]]:
        given.append((updates, [[one.target_ids[0] for one in part] for part in targets], batch_tokens))
        before, after = (
            [Prediction(*columns(words, [one.target_ids[0] for one in part], when)) for part in targets]
            for when in (0, 1)
        )
        return before, after

    monkeypatch.setattr(task, "predict", answers)
    model: Any = SimpleNamespace(
        tokenizer=SimpleNamespace(tokenizer=SimpleNamespace(decode=lambda ids, **_: f" word {ids[0]}"))
    )
    requests: Any = [SimpleNamespace(name=f"edit {n}", kind=kind) for n in range(len(edits))]
    found = [Edit(one.name, (n,)) for n, one in enumerate(requests)]  # type: ignore[arg-type]
    return evaluate_edits(model, requests, found, questions, 77), given


def check(table: pd.DataFrame, cases: Sequence[Case]) -> None:
    assert dict(table.dtypes) == {name: pd.Series(dtype=kind).dtype for name, kind in QUESTIONS.items()}
    for n, (row, case) in enumerate(zip(table.itertuples(), cases, strict=True)):
        assert (row.criterion, row.question, row.expected, row.rival) == (case.criterion, f"{n} ___", f"e{n}", f"r{n}")
        assert row.near is (n == 4)
        assert (row.holds_before, row.holds_after, row.known) == (case.before, case.after, case.known), row
        rival = case.rival or Word((np.nan, np.nan))
        assert (row.first_before, row.first_after) == case.expected.first
        assert (row.rival_first_before, row.rival_first_after) == rival.first
        assert (row.tokens_before, row.tokens_after) == case.expected.share
        assert (row.says_before, row.says_after) == ("word 3", "word 4")
        assert [row.p_before, row.p_after] == pytest.approx(list(np.exp(case.expected.log)))
        assert [row.rival_before, row.rival_after] == pytest.approx(list(np.exp(rival.log)), nan_ok=True)


@pytest.mark.parametrize(("kind", "cases"), [("relation", RELATION), ("paradigm", AGREEMENT)])
def test_each_criterion_by_hand(monkeypatch: pytest.MonkeyPatch, kind: str, cases: list[Case]) -> None:
    assert {case.criterion for case in cases} == set(RELATION_CRITERIA if kind == "relation" else AGREEMENT_CRITERIA)
    table, [(updates, targets, batch)] = asked_of(monkeypatch, kind, [cases])
    check(table, cases)
    assert batch == 77 and updates == [(0,)]
    assert sorted(targets[0]) == sorted({2 * n for n in range(len(cases))} | {
        2 * n + 1 for n, case in enumerate(cases) if case.rival
    })  # fmt: skip


@pytest.mark.parametrize(("kind", "cases"), [("relation", RELATION), ("paradigm", AGREEMENT)])
def test_edits_side_by_side(monkeypatch: pytest.MonkeyPatch, kind: str, cases: list[Case]) -> None:
    edits = [cases[:3], [], cases, cases[3:4]]
    table, _ = asked_of(monkeypatch, kind, edits)
    assert list(dict.fromkeys(table["edit"])) == ["edit 0", "edit 2", "edit 3"]
    for n, part in enumerate(edits):
        check(table[table["edit"] == f"edit {n}"], part)
    for nothing in ([], [[]]):
        table, _ = asked_of(monkeypatch, kind, nothing)
        check(table, [])


@pytest.mark.parametrize("kind", ["relation", "paradigm"])
def test_the_edited_prompt_alone_is_judged_by_its_kind(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A pair that no other pair says anything of is asked nothing else, and no verb need be the first choice."""
    pair = kind == "paradigm"
    preferred = Case("reliability", Word((LOW, MIDDLE)), Word((MIDDLE, LOW)), False, pair, pair)
    first = Case("reliability", Word((LOW, MIDDLE), GAINED), Word((LOW - 1, MIDDLE)), pair, not pair, False)
    check(asked_of(monkeypatch, kind, [[preferred]])[0], [preferred])
    check(asked_of(monkeypatch, kind, [[first]])[0], [first])
