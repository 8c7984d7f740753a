"""Make each example edit with each editor, and continue its prompts before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.corpora.blanks import GAP
from kn_thesis.editing.api import EditRequest, encode_request, make_request
from kn_thesis.editing.evaluation import predict
from kn_thesis.editing.examples import Examples, Further, answer_of
from kn_thesis.editing.generation import continue_rows, end_token, readable_text
from kn_thesis.editing.tables import EDITED, EXAMPLES
from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from kn_thesis.editing.editors import FindEdits
    from kn_thesis.editing.requests import Request
    from kn_thesis.editing.weight_update import Edit, Update
    from kn_thesis.models.load import Model


PROBABILITIES = ("p_old_before", "p_old_after", "p_new_before", "p_new_after")


@dataclass(frozen=True)
class _PlainTexts:
    """A prompt for the unedited model: tokens and continuation, or why it cannot be continued."""

    ids: tuple[int, ...] = ()
    written: str = ""
    reason: str = ""


@dataclass(frozen=True)
class _ExampleInputs:
    """The examples; by name their requests, or why there is none; by name and prompt what is continued."""

    examples: Examples
    requests: dict[str, Request]
    refused: dict[str, str]
    plain: dict[tuple[str, str], _PlainTexts]


def edit_examples(
    model: Model, examples: Examples, editors: Mapping[str, FindEdits], tokens: int, batch_tokens: int = 4096
) -> pd.DataFrame:
    """Make each example edit with each editor and continue its prompts before and after.

    Args:
        model: a causal model; its weights are left as they are.
        examples: what is edited and continued.
        editors: functions that find the edits of some requests, by the editors' names.
        tokens: most tokens that are written, greedily.
        batch_tokens: most rows × tokens in memory at once.

    Returns:
        One row per editor, example and prompt, in this order, columns EXAMPLES.
        status: EDITED, or why there is no edit or no continuation.
        known: whether `old` is the model's first choice at the edited prompt; says_before: its first choice for the
        first token there.
        p_*: probabilities of old and new there, over all of their tokens (nan without an edit).
        before, after: continuations; answer_*: which answer they give (`examples.answer_of`; "" without one).
        printed_*: the same of what the file quotes.

    Raises:
        UserError: for a masked model.
    """
    if model.adapter.objective != "causal":
        raise UserError(f"{model.adapter.family} is masked and does not continue a text: leave its examples out")
    inputs = _prepare_examples(model, examples, tokens, batch_tokens)
    rows = [
        row for name, find in editors.items() for row in _example_rows(model, name, find, inputs, tokens, batch_tokens)
    ]
    return pd.DataFrame(rows, columns=list(EXAMPLES)).astype(EXAMPLES)


def _prepare_examples(model: Model, examples: Examples, tokens: int, batch_tokens: int) -> _ExampleInputs:
    """The examples in this model's tokens, and its continuations without an edit."""
    requests: dict[str, Request] = {}
    refused: dict[str, str] = {}
    plain: dict[tuple[str, str], _PlainTexts] = {}
    for example in examples.examples:
        edit_request = EditRequest(example.prompt, example.subject, example.new, example.old, require_new=False)
        try:
            requests[example.name] = replace(make_request(model, edit_request), name=example.name)
        except UserError as error:
            refused[example.name] = str(error)
        for further in example.continued:
            try:  # in the tokens that it has when a word follows
                ids = tuple(encode_request(model, f"{further.prompt} {GAP}", example.old).input_ids)
                plain[example.name, further.prompt] = _PlainTexts(ids)
            except UserError as error:
                plain[example.name, further.prompt] = _PlainTexts(reason=str(error))
    known = [key for key, one in plain.items() if one.ids]
    written = _written(model, [plain[key].ids for key in known], None, tokens, batch_tokens)
    plain |= {key: replace(plain[key], written=text) for key, text in zip(known, written, strict=True)}
    return _ExampleInputs(examples, requests, refused, plain)


def _example_rows(
    model: Model, editor: str, find: FindEdits, inputs: _ExampleInputs, tokens: int, batch_tokens: int
) -> list[dict[str, object]]:
    """One editor's rows."""
    requests, plain = inputs.requests, inputs.plain
    edits = {edit.request: edit for edit in find(list(requests.values()))} if requests else {}
    answers = _example_answer(model, requests, edits, batch_tokens)
    failures = inputs.refused | {name: edit.failure for name, edit in edits.items() if edit.failure}
    changed = [key for key, one in plain.items() if one.ids and key[0] not in failures]
    updates = [edits[name].updates for name, _ in changed]
    written = _written(model, [plain[key].ids for key in changed], updates, tokens, batch_tokens)
    after = dict(zip(changed, written, strict=True))
    without_answer = {"known": False, "says_before": ""} | dict.fromkeys(PROBABILITIES, np.nan)
    rows = []
    for example in inputs.examples.examples:
        same = {"editor": editor, "example": example.name, "edited": example.prompt}
        same |= {name: getattr(example, name) for name in ("shows", "subject", "old", "new")}
        same |= answers.get(example.name, without_answer)
        for further in example.continued:
            key = (example.name, further.prompt)
            status = {"status": failures.get(example.name) or plain[key].reason or EDITED, "prompt": further.prompt}
            rows.append(same | status | _continued(further, plain[key], after.get(key)) | _printed(inputs, further))
    return rows


def _written(
    model: Model,
    prompts: Sequence[tuple[int, ...]],
    updates: Sequence[Sequence[Update]] | None,
    tokens: int,
    batch_tokens: int,
) -> list[str]:
    """Greedy continuation of each prompt."""
    rows = continue_rows(model, prompts, updates, tokens, stop=end_token(model), batch_tokens=batch_tokens)
    return [readable_text(model.tokenizer, row) for row in rows]


def _example_answer(
    model: Model, requests: Mapping[str, Request], edits: Mapping[str, Edit], batch_tokens: int
) -> dict[str, dict[str, object]]:
    """The model's answers to the edited prompts, by example."""
    targets = [[request.old_prompt, request.new_prompt] for request in requests.values()]
    before, after = predict(model, [edits[name].updates for name in requests], targets, batch_tokens)
    answers: dict[str, dict[str, object]] = {}
    for name, first, then in zip(requests, before, after, strict=True):
        lasting = np.exp(then.log_probability) if not edits[name].failure else (np.nan, np.nan)
        answers[name] = {
            "known": bool(first.first[0]),
            "says_before": readable_text(model.tokenizer, [int(first.says[0])]),
            **dict(zip(("p_old_before", "p_new_before"), np.exp(first.log_probability), strict=True)),
            **dict(zip(("p_old_after", "p_new_after"), lasting, strict=True)),
        }
    return answers


def _continued(further: Further, plain: _PlainTexts, after: str | None) -> dict[str, str]:
    """Continuations before and after, and which answers they give; empty where nothing was continued."""
    before = None if plain.reason else plain.written
    return {
        f"{column}{name}": "" if text is None else text if not column else answer_of(text, further.old, further.new)
        for name, text in (("before", before), ("after", after))
        for column in ("", "answer_")
    }


def _printed(inputs: _ExampleInputs, further: Further) -> dict[str, str]:
    """Continuations that the file quotes, and which answers they give."""
    source = inputs.examples.printed
    columns = {"printed_model": "", "printed_editor": "", "printed_source": ""}
    if source is not None:
        columns = {f"printed_{name}": getattr(source, name) for name in ("model", "editor", "source")}
    for name, text in (("before", further.before), ("after", further.after)):
        columns[f"printed_{name}"] = text
        columns[f"printed_answer_{name}"] = answer_of(text, further.old, further.new) if text else ""
    return columns
