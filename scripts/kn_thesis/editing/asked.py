"""What one task's edits are made of: requests, and the questions that follow them, from the study's files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from kn_thesis.corpora.rows import read_rows
from kn_thesis.editing.questions import Related, questions_of
from kn_thesis.editing.requests import make_requests
from kn_thesis.models.evaluate import evaluate_prompts

if TYPE_CHECKING:
    from kn_thesis.editing.request import Question, Request
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Asked:
    """requests: to be edited. statuses: a row per fact or pair considered (requests.make_requests). questions: of each
    request, by its name. left_out: how many questions could not be put, by reason.
    """

    requests: list[Request]
    statuses: pd.DataFrame
    questions: dict[str, list[Question]]
    left_out: Counter[str]


def read_asked(
    model: Model,
    files: Mapping[str, str],
    synonyms: Mapping[str, str],
    *,
    requests: int | None,
    questions: Mapping[str, int],
    max_target_tokens: int,
    seed: int,
    batch_tokens: int,
    **_: Any,
) -> Asked:
    """Requests and questions of one task.

    files: prompts, and where there are any facts, inverse and synonym (prompts of linked relations). synonyms: object
    of the relation → object of its synonym. requests: most. questions: each and others, see questions_of.
    """
    prompts = pd.read_parquet(files["prompts"])
    # Asked here and not read from the model's evaluation, which changes whenever any task is added.
    evaluation = evaluate_prompts(model, prompts, batch_tokens)
    found, statuses = make_requests(
        model.tokenizer,
        prompts,
        evaluation,
        most=requests,
        max_target_tokens=max_target_tokens,
        seed=seed,
        longest=model.positions,
    )
    tables = {link: pd.read_parquet(files[link]) for link in ("inverse", "synonym") if link in files}
    related = Related(
        inverse=tables.get("inverse"),
        synonym=tables.get("synonym"),
        synonym_objects=synonyms,
        concepts=_concepts(files["facts"]) if "facts" in files else {},
    )
    asked, left_out = {}, Counter()
    for request in found:
        asked[request.name], reasons = questions_of(request, model.tokenizer, prompts, related, seed=seed, **questions)
        left_out += reasons
    return Asked(found, statuses, asked, left_out)


def _concepts(path: str) -> dict[str, str]:
    """Subject → what it is another name of, for relations whose facts say so."""
    rows = read_rows(path, {"sub_label": str}, {"concept": str})
    return {row["sub_label"]: row["concept"] for row in rows if row.get("concept")}
