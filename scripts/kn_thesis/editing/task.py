"""Jobs of editing: the edits of a task by one editor, and the sweep over layers.

`edit_task` finds all edits of a task and predicts all answers at once; no edit is written into the model.
`sweep_layers` edits in one layer after the other with ROME.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kn_thesis.editing.evaluation import Prediction, predict
from kn_thesis.editing.generation import Sampler, continue_rows, end_token, entropy, readable_text
from kn_thesis.editing.rome import Settings, find_edits
from kn_thesis.editing.tables import COMPLETIONS, EDITED, EDITS, ELSEWHERE, QUESTIONS, Editing, with_dtypes
from kn_thesis.models.memory import EDITS as BLOCK
from kn_thesis.models.memory import blocks, shard_of

if TYPE_CHECKING:
    from kn_thesis.editing.editors import FindEdits
    from kn_thesis.editing.requests import Question, Request
    from kn_thesis.editing.weight_update import Edit
    from kn_thesis.models.load import Model


SWEEP = {
    **dict.fromkeys(("edit", "cluster"), "str"),
    "layer": "int64",
    "criterion": "str",
    **dict.fromkeys(("held", "p_before", "p_after"), "float64"),
}


@dataclass(frozen=True)
class Continued:
    """How texts are continued before and after an edit.

    Attributes:
        tokens: most tokens that are written.
        samples: per edit, for the entropy.
        top: number of most probable tokens that a sample draws from.
        seed: of the samples.
    """

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
    """Edit the requests of a task and ask the edited model its questions.

    The questions of an edit that fails are put to the model as it is.

    Args:
        model: the model; its weights are left as they are.
        find_edits: finds the edits of some requests.
        requests: of the task.
        statuses: one row per fact or pair (requests.make_requests).
        questions: of each request, by its name.
        continued: how texts are continued.
        batch_tokens: most rows × tokens in memory at once.
        together: whether the edits of all requests are found at once, because they depend on each other; else they are
            found block by block.
        item: the shard whose requests are edited, as in `memory.shard_of`; the others have the status ELSEWHERE.
            `tables.concat_edits` joins the shards.

    Returns:
        The tables of the task.
    """
    places = shard_of(len(requests), item, BLOCK)
    parts = [places] if together else list(blocks(places, BLOCK))
    block_results = [
        _edit_block(model, find_edits, [requests[place] for place in part], questions, continued, batch_tokens)
        for part in parts or [range(0)]
    ]
    edits = statuses.set_index("edit").reindex(columns=list(EDITS)[1:])
    edits["steps"], edits["layers"] = 0, ""
    edits.loc[[request.name for n, request in enumerate(requests) if n not in places], "status"] = ELSEWHERE
    for name, row in (entry for rows, _, _ in block_results for entry in rows.items()):
        edits.loc[name, list(row)] = list(row.values())
    tables = (
        pd.concat(frames, ignore_index=True) for frames in zip(*(part[1:] for part in block_results), strict=True)
    )
    return with_dtypes(edits.reset_index(), *tables)


def _edit_block(
    model: Model,
    find_edits: FindEdits,
    requests: Sequence[Request],
    questions: Mapping[str, Sequence[Question]],
    continued: Continued,
    batch_tokens: int,
) -> tuple[dict[str, dict[str, object]], pd.DataFrame, pd.DataFrame]:
    """Outcome of each request of a block, by name, and the tables of questions and completions."""
    edits = find_edits(requests)
    question_lists = [list(questions[request.name]) for request in requests]
    table = evaluate_edits(model, requests, edits, question_lists, batch_tokens)
    rows = _rows(model, requests, edits)
    if model.adapter.objective == "masked":
        return rows, table, pd.DataFrame(columns=list(COMPLETIONS)).astype(COMPLETIONS)
    entropies = _entropies(model, requests, edits, continued, batch_tokens)
    for name, values in zip(("entropy_before", "entropy_after"), entropies, strict=True):
        for request, value in zip(requests, values, strict=True):
            rows[request.name][name] = value
    return rows, table, _completions(model, edits, question_lists, continued, batch_tokens)


def evaluate_edits(
    model: Model,
    requests: Sequence[Request],
    edits: Sequence[Edit],
    questions: Sequence[Sequence[Question]],
    batch_tokens: int = 4096,
) -> pd.DataFrame:
    """Answer the questions about each edit before and after it.

    Args:
        model: the model; its weights are left as they are.
        requests: what is edited.
        edits: of each request.
        questions: of each request.
        batch_tokens: most rows × tokens in memory at once.

    Returns:
        The columns of `tables.Editing.questions`.
    """
    expected = [[question.expected_prompt for question in part] for part in questions]
    rivals = [[question.rival_prompt for question in part if question.rival_prompt] for part in questions]
    targets = [[*first, *second] for first, second in zip(expected, rivals, strict=True)]
    before, after = predict(model, [edit.updates for edit in edits], targets, batch_tokens)
    frames = [_answer_columns(model, *part) for part in zip(requests, questions, before, after, strict=True)]
    frames = [frame for frame in frames if len(frame)]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(QUESTIONS))
    return table[list(QUESTIONS)].astype(QUESTIONS)


def _answer_columns(
    model: Model, request: Request, questions: Sequence[Question], before: Prediction, after: Prediction
) -> pd.DataFrame:
    """Rows of one edit's questions; predictions are of the expected words, then of the rivals."""
    count = len(questions)
    with_rival = np.array([question.rival_prompt is not None for question in questions], dtype=bool)
    table = pd.DataFrame(
        {
            "edit": request.name,
            "criterion": [question.criterion for question in questions],
            "question": [question.text for question in questions],
            "expected": [question.expected for question in questions],
            "rival": [question.rival for question in questions],
            "near": [question.near for question in questions],
        }
    )
    log = {}
    for when, answers in (("before", before), ("after", after)):
        log[when], first = answers.log_probability[:count], answers.first[:count]
        rival, rival_first = np.full(count, np.nan), np.zeros(count, dtype=bool)
        rival[with_rival], rival_first[with_rival] = answers.log_probability[count:], answers.first[count:]
        log[f"rival_{when}"] = rival
        table[f"p_{when}"], table[f"rival_{when}"] = np.exp(log[when]), np.exp(rival)
        table[f"tokens_{when}"], table[f"first_{when}"] = answers.share[:count], first
        table[f"rival_first_{when}"] = rival_first
        table[f"says_{when}"] = [readable_text(model.tokenizer, [int(token)]) for token in answers.says[:count]]
    pairwise = request.kind == "paradigm"
    gone = table["criterion"] == "symmetry_old"
    for when in ("before", "after"):
        table[f"holds_{when}"] = log[when] > log[f"rival_{when}"] if pairwise else table[f"first_{when}"] ^ gone
    unchanged = table["criterion"].isin(("locality", "symmetry_old"))  # `expected` is right before the edit
    right = table["first_before"].where(unchanged, table["rival_first_before"])
    table["known"] = log["rival_before"] > log["before"] if pairwise else right
    return table


def _rows(model: Model, requests: Sequence[Request], edits: Sequence[Edit]) -> dict[str, dict[str, object]]:
    """Columns of `tables.Editing.edits` of each request, without entropies."""
    rows: dict[str, dict[str, object]] = {}
    for request, edit in zip(requests, edits, strict=True):
        layers = sorted(update.layer for update in edit.updates)
        weights = [float(model.adapter.down_projection_weight(layer).float().norm()) for layer in layers]
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
    """Entropy (bits) of each request's sampled continuations, before and after, both with the same random numbers.

    The prompt is continued from its subject: at its end hardly anything but the answer would follow.
    """
    begun = [request.new_prompt.input_ids[: request.subject_token + 1] for request in requests]
    prompts = [ids for ids in begun for _ in range(continued.samples)]
    names = [(request.name, sample) for request in requests for sample in range(continued.samples)]
    entropies = []
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
        entropies.append([entropy(rows[start : start + size]) for start in range(0, len(rows), size)])
    return entropies


def _completions(
    model: Model,
    edits: Sequence[Edit],
    questions: Sequence[Sequence[Question]],
    continued: Continued,
    batch_tokens: int,
) -> pd.DataFrame:
    """The first question of each criterion of each edit, continued greedily before and after."""
    pairs = []
    for edit, part in zip(edits, questions, strict=True):
        firsts = {question.criterion: question for question in reversed(part)}
        pairs += [(edit, firsts[name]) for name in dict.fromkeys(question.criterion for question in part)]
    prompts = [question.expected_prompt.input_ids for _, question in pairs]
    distinct = list(dict.fromkeys(prompts))
    plain = continue_rows(
        model, distinct, [()] * len(distinct), continued.tokens, stop=end_token(model), batch_tokens=batch_tokens
    )
    before = dict(zip(distinct, plain, strict=True))
    after = continue_rows(
        model,
        prompts,
        [edit.updates for edit, _ in pairs],
        continued.tokens,
        stop=end_token(model),
        batch_tokens=batch_tokens,
    )
    return pd.DataFrame(
        {
            "edit": [edit.request for edit, _ in pairs],
            "criterion": [question.criterion for _, question in pairs],
            "question": [question.text for _, question in pairs],
            "before": [readable_text(model.tokenizer, before[prompt]) for prompt in prompts],
            "after": [readable_text(model.tokenizer, row) for row in after],
        },
        columns=list(COMPLETIONS),
    ).astype(COMPLETIONS)


def sweep_layers(
    model: Model,
    requests: Sequence[Request],
    questions: Mapping[str, Sequence[Question]],
    settings: Settings,
    layers: Sequence[int],
    **further: Any,
) -> pd.DataFrame:
    """Edit the same requests with ROME in one layer after the other.

    Args:
        model: a causal model; its weights are left as they are.
        requests: of one task.
        questions: of each request, by its name.
        settings: of ROME; the layer is replaced.
        layers: that are edited.
        **further: contexts and covariance, as in `rome.find_edits`.

    Returns:
        One row per edit, layer and criterion, columns SWEEP. held: share of the questions that hold after the edit;
        p_before, p_after: mean P(expected) over them.
    """
    clusters = {request.name: request.cluster for request in requests}
    question_lists = [questions[request.name] for request in requests]
    frames = []
    for layer in layers:
        edits = find_edits(model, requests, replace(settings, layer=layer), **further)
        table = evaluate_edits(model, requests, edits, question_lists, settings.batch_tokens)
        means = table.groupby(["edit", "criterion"], sort=False)[["holds_after", "p_before", "p_after"]].mean()
        frames.append(means.rename(columns={"holds_after": "held"}).reset_index().assign(layer=layer))
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(SWEEP))
    return table.assign(cluster=table["edit"].map(clusters))[list(SWEEP)].astype(SWEEP)
