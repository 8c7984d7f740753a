"""All edits of one task in one model by one editor: found together, asked together, never written into the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.editing.answers import Said, answers
from kn_thesis.editing.continuations import Sampler, continue_rows, end_token, entropy, readable
from kn_thesis.editing.names import EDITED, ELSEWHERE
from kn_thesis.editing.results import COMPLETIONS, EDITS, QUESTIONS, Editing, typed
from kn_thesis.shards import EDITS as BLOCK
from kn_thesis.shards import blocks, shard

if TYPE_CHECKING:
    from kn_thesis.editing.request import Question, Request
    from kn_thesis.editing.update import Edit
    from kn_thesis.models.load import Model

FindEdits = Callable[[Sequence["Request"]], list["Edit"]]


@dataclass(frozen=True)
class Continued:
    """tokens: most that are written. samples: drawn per edit. top: tokens that a sample draws from. seed: of them."""

    tokens: int = 20
    samples: int = 5
    top: int = 5
    seed: int = 1


def edit_task(
    model: Model,
    find_edits: FindEdits,
    requests: Sequence[Request],
    statuses: pd.DataFrame,
    questions: Mapping[str, Sequence[Question]],
    continued: Continued,
    batch_tokens: int = 4096,
    *,
    together: bool = False,
    item: str | None = None,
) -> Editing:
    """The tables of one task; `statuses` has a row per request considered (requests.make_requests).

    questions: of each request, by its name. An edit that fails is asked all the same, of the model as it is.
    together: edits are found for all requests at once, because they depend on each other; else block by block.
    item: only the requests of this shard (`shards`), the others ELSEWHERE; `gathered` makes a whole of all.
    """
    places = shard(len(requests), item, BLOCK)
    parts = [places] if together else list(blocks(places, BLOCK))
    found = [
        _edit_block(model, find_edits, [requests[place] for place in part], questions, continued, batch_tokens)
        for part in parts or [range(0)]
    ]
    edits = statuses.set_index("edit").reindex(columns=list(EDITS)[1:])
    edits["steps"], edits["layers"] = 0, ""
    edits.loc[[request.name for n, request in enumerate(requests) if n not in places], "status"] = ELSEWHERE
    for name, row in (entry for rows, _, _ in found for entry in rows.items()):
        edits.loc[name, list(row)] = list(row.values())
    tables = (pd.concat(frames, ignore_index=True) for frames in zip(*(part[1:] for part in found), strict=True))
    return typed(edits.reset_index(), *tables)


def _edit_block(
    model: Model,
    find_edits: FindEdits,
    requests: Sequence[Request],
    questions: Mapping[str, Sequence[Question]],
    continued: Continued,
    batch_tokens: int,
) -> tuple[dict[str, dict[str, object]], pd.DataFrame, pd.DataFrame]:
    """What became of some requests, by name; their questions and completions."""
    edits = find_edits(requests)
    asked = [list(questions[request.name]) for request in requests]
    table = ask(model, requests, edits, asked, batch_tokens)
    rows = _rows(model, requests, edits)
    if model.adapter.objective == "masked":
        return rows, table, pd.DataFrame(columns=list(COMPLETIONS)).astype(COMPLETIONS)
    entropies = _entropies(model, requests, edits, continued, batch_tokens)
    for name, values in zip(("entropy_before", "entropy_after"), entropies, strict=True):
        for request, value in zip(requests, values, strict=True):
            rows[request.name][name] = value
    return rows, table, _completions(model, edits, asked, continued, batch_tokens)


def ask(
    model: Model,
    requests: Sequence[Request],
    edits: Sequence[Edit],
    asked: Sequence[Sequence[Question]],
    batch_tokens: int = 4096,
) -> pd.DataFrame:
    """Each edit's questions before and after it: the columns of results.Editing.questions."""
    expected = [[question.expected_prompt for question in part] for part in asked]
    rivals = [[question.rival_prompt for question in part if question.rival_prompt] for part in asked]
    targets = [[*first, *second] for first, second in zip(expected, rivals, strict=True)]
    before, after = answers(model, [edit.updates for edit in edits], targets, batch_tokens)
    frames = [_answered(model, *part) for part in zip(requests, asked, before, after, strict=True)]
    frames = [frame for frame in frames if len(frame)]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(QUESTIONS))
    return table[list(QUESTIONS)].astype(QUESTIONS)


def _answered(model: Model, request: Request, asked: Sequence[Question], before: Said, after: Said) -> pd.DataFrame:
    count = len(asked)
    with_rival = np.array([question.rival_prompt is not None for question in asked], dtype=bool)
    table = pd.DataFrame(
        {
            "edit": request.name,
            "criterion": [question.criterion for question in asked],
            "question": [question.text for question in asked],
            "expected": [question.expected for question in asked],
            "rival": [question.rival for question in asked],
            "near": [question.near for question in asked],
        }
    )
    log = {}
    for when, said in (("before", before), ("after", after)):
        log[when], first = said.log_probability[:count], said.first[:count]
        rival, rival_first = np.full(count, np.nan), np.zeros(count, dtype=bool)
        rival[with_rival], rival_first[with_rival] = said.log_probability[count:], said.first[count:]
        log[f"rival_{when}"] = rival
        table[f"p_{when}"], table[f"rival_{when}"] = np.exp(log[when]), np.exp(rival)
        table[f"tokens_{when}"], table[f"first_{when}"] = said.share[:count], first
        table[f"rival_first_{when}"] = rival_first
        table[f"says_{when}"] = [readable(model.tokenizer, [int(token)]) for token in said.says[:count]]
    pairwise = request.kind == "paradigm"
    gone = table["criterion"] == "symmetry_old"
    for when in ("before", "after"):
        table[f"holds_{when}"] = log[when] > log[f"rival_{when}"] if pairwise else table[f"first_{when}"] ^ gone
    kept = table["criterion"].isin(("locality", "symmetry_old"))  # what is right before is `expected` itself
    right = table["first_before"].where(kept, table["rival_first_before"])
    table["known"] = log["rival_before"] > log["before"] if pairwise else right
    return table


def _rows(model: Model, requests: Sequence[Request], edits: Sequence[Edit]) -> dict[str, dict[str, object]]:
    """Columns of results.Editing.edits without entropies: what became of each request."""
    rows: dict[str, dict[str, object]] = {}
    for request, edit in zip(requests, edits, strict=True):
        layers = sorted(update.layer for update in edit.updates)
        weights = [float(model.adapter.value_weight(layer).float().norm()) for layer in layers]
        norms = [update.norm() for update in edit.updates]
        rows[request.name] = {
            "status": edit.failure or EDITED,
            "layers": " ".join(map(str, layers)),
            "steps": edit.steps,
            "loss": edit.loss,
            "update_norm": float(np.linalg.norm(norms)) if norms else np.nan,
            "weight_norm": float(np.linalg.norm(weights)) if weights else np.nan,
        }
    return rows


def _entropies(
    model: Model, requests: Sequence[Request], edits: Sequence[Edit], continued: Continued, batch_tokens: int
) -> list[list[float]]:
    """Entropy (bits) of each request's sampled continuations, before and after; both draw with the same numbers.

    What is continued is the prompt up to its subject: at its end little but one word would follow.
    """
    begun = [request.new_prompt.input_ids[: request.subject_token + 1] for request in requests]
    prompts = [ids for ids in begun for _ in range(continued.samples)]
    names = [(request.name, sample) for request in requests for sample in range(continued.samples)]
    found = []
    for updates in ([()] * len(edits), [edit.updates for edit in edits]):
        rows = continue_rows(
            model,
            prompts,
            [update for update in updates for _ in range(continued.samples)],
            continued.tokens,
            choose=Sampler(names, continued.seed, continued.top),
            stop=end_token(model),
            batch_tokens=batch_tokens,
        )
        size = continued.samples
        found.append([entropy(rows[start : start + size]) for start in range(0, len(rows), size)])
    return found


def _completions(
    model: Model, edits: Sequence[Edit], asked: Sequence[Sequence[Question]], continued: Continued, batch_tokens: int
) -> pd.DataFrame:
    """The first question of each criterion of each edit, continued greedily before and after."""
    chosen = []
    for edit, part in zip(edits, asked, strict=True):
        firsts = {question.criterion: question for question in reversed(part)}
        chosen += [(edit, firsts[name]) for name in dict.fromkeys(question.criterion for question in part)]
    prompts = [question.expected_prompt.input_ids for _, question in chosen]
    distinct = list(dict.fromkeys(prompts))
    plain = continue_rows(
        model, distinct, [()] * len(distinct), continued.tokens, stop=end_token(model), batch_tokens=batch_tokens
    )
    before = dict(zip(distinct, plain, strict=True))
    after = continue_rows(
        model,
        prompts,
        [edit.updates for edit, _ in chosen],
        continued.tokens,
        stop=end_token(model),
        batch_tokens=batch_tokens,
    )
    return pd.DataFrame(
        {
            "edit": [edit.request for edit, _ in chosen],
            "criterion": [question.criterion for _, question in chosen],
            "question": [question.text for _, question in chosen],
            "before": [readable(model.tokenizer, before[prompt]) for prompt in prompts],
            "after": [readable(model.tokenizer, row) for row in after],
        },
        columns=list(COMPLETIONS),
    ).astype(COMPLETIONS)
