"""Requests and their questions, asked for and read, for tests of edits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pandas as pd

from kn_thesis.editing.questions import LinkedTables, questions_of
from kn_thesis.editing.requests import Question, Request, make_requests
from kn_thesis.models.cloze import Encoded, GapTokenizer
from tests.helpers.editing_prompts import evaluated


def requests_of(tokenizer: GapTokenizer, prompts: pd.DataFrame, seed: int = 1) -> dict[str, Request]:
    limits = {"most": None, "max_target_tokens": 9, "seed": seed, "longest": 0}
    return {request.name: request for request in make_requests(tokenizer, prompts, evaluated(prompts), **limits)[0]}


def changed(tokenizer: GapTokenizer, request: Request, new: str) -> Request:
    return replace(request, new=new, new_prompt=tokenizer.encode(request.prefix, request.suffix, new))


def asked(
    request: Request,
    tokenizer: GapTokenizer,
    prompts: pd.DataFrame,
    related: LinkedTables | None = None,
    others: int = 99,
    each: int = 99,
    seed: int = 1,
) -> tuple[list[Question], Counter[str]]:
    related = LinkedTables() if related is None else related
    return questions_of(request, tokenizer, prompts, related, others=others, each=each, seed=seed)


def of(questions: list[Question], criterion: str) -> list[Question]:
    return [question for question in questions if question.criterion == criterion]


def said(questions: list[Question], criterion: str) -> set[tuple[str, str, str]]:
    found = [(one.text, one.expected, one.rival) for one in of(questions, criterion)]
    assert len(set(found)) == len(found)
    return set(found)


def check_tokens(tokenizer: GapTokenizer, questions: list[Question]) -> None:
    """Every encoded question reads as its text with its word."""
    for one in questions:
        for word, encoded in ((one.expected, one.expected_prompt), (one.rival, one.rival_prompt)):
            if encoded is not None:
                assert filled(tokenizer, encoded) == "".join(one.text.replace("___", word).split())


def filled(tokenizer: GapTokenizer, encoded: Encoded) -> str:
    ids, target = list(encoded.input_ids), list(encoded.target_ids)
    if tokenizer.objective == "masked":
        ids[encoded.gap : encoded.gap + len(target)] = target
    else:
        assert encoded.gap == len(ids) - 1
        ids += target
    return "".join(tokenizer.tokenizer.decode(ids, skip_special_tokens=True).split())
