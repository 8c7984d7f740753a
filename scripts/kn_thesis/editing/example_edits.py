"""Example edits in a model: each made by each editor, its prompts continued before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.corpora.gaps import GAP
from kn_thesis.editing.answers import answers
from kn_thesis.editing.continuations import continue_rows, end_token, readable
from kn_thesis.editing.examples import COLUMNS, Example, Examples, Further, answer_of
from kn_thesis.editing.names import EDITED
from kn_thesis.editing.one_request import Wanted, encoded, request_of
from kn_thesis.editing.update import Edit
from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from kn_thesis.editing.request import Request
    from kn_thesis.models.load import Model

PROBABILITIES = ("p_old_before", "p_old_after", "p_new_before", "p_new_after")

FindEdits = Callable[[Sequence["Request"]], list[Edit]]


@dataclass(frozen=True)
class _Plain:
    """A prompt that the model as it is continues: tokens and continuation, or why it cannot."""

    ids: tuple[int, ...] = ()
    written: str = ""
    reason: str = ""


def edit_examples(
    model: Model, examples: Examples, editors: Mapping[str, FindEdits], tokens: int, batch_tokens: int = 4096
) -> pd.DataFrame:
    """One row per editor, example and prompt that is continued, in this order (COLUMNS).

    editors: by name, what finds the edits of some requests. tokens: the most that are written, greedily.

    status: names.EDITED, or why there is no edit or no continuation. known: whether `old` is the model's first choice
    at the edited prompt; says_before: what is, for the first token. p_*: probabilities of old and new there, over all
    of their tokens (nan without an edit). before, after: continuations; answer_*: which answer they give
    (examples.answer_of; "" for what is not there). printed_*: the same of what the file quotes.
    Raises UserError for a masked model.
    """
    if model.adapter.objective != "causal":
        raise UserError(f"{model.adapter.family} is masked and does not continue a text: leave its examples out")
    requests: dict[str, Request] = {}
    refused: dict[str, str] = {}
    for example in examples.examples:
        wanted = Wanted(example.prompt, example.subject, example.new, example.old, require_new=False)
        try:
            requests[example.name] = replace(request_of(model, wanted), name=example.name)
        except UserError as error:
            refused[example.name] = str(error)
    plain = _plain(model, examples.examples, tokens, batch_tokens)
    tables = [
        pd.DataFrame(rows)
        for name, find in editors.items()
        if (rows := _rows(model, name, find, examples, requests, refused, plain, tokens, batch_tokens))
    ]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))
    return table[list(COLUMNS)].astype(COLUMNS)


def _plain(model: Model, examples: Sequence[Example], tokens: int, batch_tokens: int) -> dict[tuple[str, str], _Plain]:
    """By example and prompt."""
    found: dict[tuple[str, str], _Plain] = {}
    asked: dict[tuple[str, str], tuple[int, ...]] = {}
    for example in examples:
        for further in example.continued:
            key = (example.name, further.prompt)
            try:
                asked[key] = tuple(encoded(model, f"{further.prompt} {GAP}", example.old).input_ids)
            except UserError as error:
                found[key] = _Plain(reason=str(error))
    written = continue_rows(model, list(asked.values()), None, tokens, stop=end_token(model), batch_tokens=batch_tokens)
    texts = (readable(model.tokenizer, row) for row in written)
    return found | {key: _Plain(ids, text) for (key, ids), text in zip(asked.items(), texts, strict=True)}


def _rows(
    model: Model,
    editor: str,
    find: FindEdits,
    examples: Examples,
    requests: Mapping[str, Request],
    refused: Mapping[str, str],
    plain: Mapping[tuple[str, str], _Plain],
    tokens: int,
    batch_tokens: int,
) -> list[dict[str, object]]:
    """One editor's rows."""
    edits = {edit.request: edit for edit in find(list(requests.values()))} if requests else {}
    said = _said(model, requests, edits, batch_tokens)
    places = [
        (example, further, plain[example.name, further.prompt])
        for example in examples.examples
        for further in example.continued
    ]
    edited = {name for name, edit in edits.items() if not edit.failure}
    asked = [(example, further) for example, further, one in places if example.name in edited and one.ids]
    written = continue_rows(
        model,
        [plain[example.name, further.prompt].ids for example, further in asked],
        [edits[example.name].updates for example, _ in asked],
        tokens,
        stop=end_token(model),
        batch_tokens=batch_tokens,
    )
    after = {
        (example.name, further.prompt): readable(model.tokenizer, row)
        for (example, further), row in zip(asked, written, strict=True)
    }
    failures = refused | {name: edit.failure for name, edit in edits.items() if edit.failure}
    return [
        {"editor": editor, "status": failures.get(example.name) or one.reason or EDITED}
        | {"example": example.name, "shows": example.shows, "edited": example.prompt}
        | {name: getattr(example, name) for name in ("subject", "old", "new")}
        | said.get(example.name, {"known": False, "says_before": ""} | dict.fromkeys(PROBABILITIES, np.nan))
        | _continued(further, one, after.get((example.name, further.prompt)))
        | _printed(examples, further)
        for example, further, one in places
    ]


def _said(
    model: Model, requests: Mapping[str, Request], edits: Mapping[str, Edit], batch_tokens: int
) -> dict[str, dict[str, object]]:
    """What the model says at the edited prompts, by example."""
    targets = [[request.old_prompt, request.new_prompt] for request in requests.values()]
    before, after = answers(model, [edits[name].updates for name in requests], targets, batch_tokens)
    found: dict[str, dict[str, object]] = {}
    for name, first, then in zip(requests, before, after, strict=True):
        lasting = np.exp(then.log_probability) if not edits[name].failure else (np.nan, np.nan)
        found[name] = {
            "known": bool(first.first[0]),
            "says_before": readable(model.tokenizer, [int(first.says[0])]),
            **dict(zip(("p_old_before", "p_new_before"), np.exp(first.log_probability), strict=True)),
            **dict(zip(("p_old_after", "p_new_after"), lasting, strict=True)),
        }
    return found


def _continued(further: Further, plain: _Plain, after: str | None) -> dict[str, str]:
    """What was written before and after, and which answer that is; empty for what was not continued."""
    before = None if plain.reason else plain.written
    return {
        f"{column}{name}": "" if text is None else text if not column else answer_of(text, further.old, further.new)
        for name, text in (("before", before), ("after", after))
        for column in ("", "answer_")
    }


def _printed(examples: Examples, further: Further) -> dict[str, str]:
    """What the file quotes, and which answer that is."""
    source = examples.printed
    found = {"printed_model": "", "printed_editor": "", "printed_source": ""}
    if source is not None:
        found = {f"printed_{name}": getattr(source, name) for name in ("model", "editor", "source")}
    for name, text in (("before", further.before), ("after", further.after)):
        found[f"printed_{name}"] = text
        found[f"printed_answer_{name}"] = answer_of(text, further.old, further.new) if text else ""
    return found
