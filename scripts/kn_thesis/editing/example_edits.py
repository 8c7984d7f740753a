"""Example edits in a model: each made by each editor, its prompts continued before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.corpora.gaps import GAP
from kn_thesis.editing.answers import answers
from kn_thesis.editing.continuations import continue_rows, end_token, readable
from kn_thesis.editing.examples import Examples, Further, answer_of
from kn_thesis.editing.names import EDITED
from kn_thesis.editing.one_request import Wanted, encoded, request_of
from kn_thesis.editing.results import EXAMPLES
from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from kn_thesis.editing.configured import FindEdits
    from kn_thesis.editing.request import Request
    from kn_thesis.editing.update import Edit, Update
    from kn_thesis.models.load import Model

PROBABILITIES = ("p_old_before", "p_old_after", "p_new_before", "p_new_after")


@dataclass(frozen=True)
class _Plain:
    """A prompt that the model as it is continues: tokens and continuation, or why it cannot."""

    ids: tuple[int, ...] = ()
    written: str = ""
    reason: str = ""


@dataclass(frozen=True)
class _Asked:
    """The examples, and of them by name: requests, or why one cannot be made; by name and prompt what is continued."""

    examples: Examples
    requests: dict[str, Request]
    refused: dict[str, str]
    plain: dict[tuple[str, str], _Plain]


def edit_examples(
    model: Model, examples: Examples, editors: Mapping[str, FindEdits], tokens: int, batch_tokens: int = 4096
) -> pd.DataFrame:
    """One row per editor, example and prompt that is continued, in this order (EXAMPLES).

    editors: by name, what finds the edits of some requests. tokens: the most that are written, greedily.

    status: names.EDITED, or why there is no edit or no continuation. known: whether `old` is the model's first choice
    at the edited prompt; says_before: what is, for the first token. p_*: probabilities of old and new there, over all
    of their tokens (nan without an edit). before, after: continuations; answer_*: which answer they give
    (examples.answer_of; "" for what is not there). printed_*: the same of what the file quotes.
    Raises UserError for a masked model.
    """
    if model.adapter.objective != "causal":
        raise UserError(f"{model.adapter.family} is masked and does not continue a text: leave its examples out")
    asked = _ask(model, examples, tokens, batch_tokens)
    rows = [row for name, find in editors.items() for row in _rows(model, name, find, asked, tokens, batch_tokens)]
    return pd.DataFrame(rows, columns=list(EXAMPLES)).astype(EXAMPLES)


def _ask(model: Model, examples: Examples, tokens: int, batch_tokens: int) -> _Asked:
    """The examples in this model's tokens, and what it writes unedited."""
    requests: dict[str, Request] = {}
    refused: dict[str, str] = {}
    plain: dict[tuple[str, str], _Plain] = {}
    for example in examples.examples:
        wanted = Wanted(example.prompt, example.subject, example.new, example.old, require_new=False)
        try:
            requests[example.name] = replace(request_of(model, wanted), name=example.name)
        except UserError as error:
            refused[example.name] = str(error)
        for further in example.continued:
            try:  # in the tokens that it has where a word follows
                ids = tuple(encoded(model, f"{further.prompt} {GAP}", example.old).input_ids)
                plain[example.name, further.prompt] = _Plain(ids)
            except UserError as error:
                plain[example.name, further.prompt] = _Plain(reason=str(error))
    known = [key for key, one in plain.items() if one.ids]
    written = _written(model, [plain[key].ids for key in known], None, tokens, batch_tokens)
    plain |= {key: replace(plain[key], written=text) for key, text in zip(known, written, strict=True)}
    return _Asked(examples, requests, refused, plain)


def _rows(
    model: Model, editor: str, find: FindEdits, asked: _Asked, tokens: int, batch_tokens: int
) -> list[dict[str, object]]:
    """One editor's rows."""
    requests, plain = asked.requests, asked.plain
    edits = {edit.request: edit for edit in find(list(requests.values()))} if requests else {}
    said = _said(model, requests, edits, batch_tokens)
    failures = asked.refused | {name: edit.failure for name, edit in edits.items() if edit.failure}
    changed = [key for key, one in plain.items() if one.ids and key[0] not in failures]
    updates = [edits[name].updates for name, _ in changed]
    written = _written(model, [plain[key].ids for key in changed], updates, tokens, batch_tokens)
    after = dict(zip(changed, written, strict=True))
    unsaid = {"known": False, "says_before": ""} | dict.fromkeys(PROBABILITIES, np.nan)
    rows = []
    for example in asked.examples.examples:
        same = {"editor": editor, "example": example.name, "edited": example.prompt}
        same |= {name: getattr(example, name) for name in ("shows", "subject", "old", "new")}
        same |= said.get(example.name, unsaid)
        for further in example.continued:
            key = (example.name, further.prompt)
            status = {"status": failures.get(example.name) or plain[key].reason or EDITED, "prompt": further.prompt}
            rows.append(same | status | _continued(further, plain[key], after.get(key)) | _printed(asked, further))
    return rows


def _written(
    model: Model,
    prompts: Sequence[tuple[int, ...]],
    updates: Sequence[Sequence[Update]] | None,
    tokens: int,
    batch_tokens: int,
) -> list[str]:
    """What follows each prompt, greedily."""
    rows = continue_rows(model, prompts, updates, tokens, stop=end_token(model), batch_tokens=batch_tokens)
    return [readable(model.tokenizer, row) for row in rows]


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


def _printed(asked: _Asked, further: Further) -> dict[str, str]:
    """What the file quotes, and which answer that is."""
    source = asked.examples.printed
    found = {"printed_model": "", "printed_editor": "", "printed_source": ""}
    if source is not None:
        found = {f"printed_{name}": getattr(source, name) for name in ("model", "editor", "source")}
    for name, text in (("before", further.before), ("after", further.after)):
        found[f"printed_{name}"] = text
        found[f"printed_answer_{name}"] = answer_of(text, further.old, further.new) if text else ""
    return found
