"""What the edits of one task leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from kn_thesis.editing.names import ELSEWHERE

EDITS = {
    **dict.fromkeys(("edit", "cluster", "subject", "old", "new", "text", "status"), "str"),
    "layers": "str",  # the edited ones, with spaces between
    "steps": "int64",
    **dict.fromkeys(("loss", "update_norm", "weight_norm", "entropy_before", "entropy_after"), "float64"),
}
QUESTIONS = {
    **dict.fromkeys(("edit", "criterion", "question", "expected", "rival"), "str"),
    "near": "bool",
    **dict.fromkeys(("p_before", "p_after", "rival_before", "rival_after"), "float64"),
    **dict.fromkeys(("tokens_before", "tokens_after"), "float64"),
    **dict.fromkeys(("first_before", "first_after", "rival_first_before", "rival_first_after"), "bool"),
    **dict.fromkeys(("says_before", "says_after"), "str"),
    **dict.fromkeys(("holds_before", "holds_after", "known"), "bool"),
}
COMPLETIONS = dict.fromkeys(("edit", "criterion", "question", "before", "after"), "str")
# Of the table of example edits (example_edits.edit_examples); in front of them stands the model.
EXAMPLES = {
    **dict.fromkeys(("editor", "example", "shows", "edited", "subject", "old", "new", "status"), "str"),
    "known": "bool",
    "says_before": "str",
    **dict.fromkeys(("p_old_before", "p_old_after", "p_new_before", "p_new_after"), "float64"),
    **dict.fromkeys(("prompt", "before", "after", "answer_before", "answer_after"), "str"),
    **dict.fromkeys(("printed_before", "printed_after", "printed_answer_before", "printed_answer_after"), "str"),
    **dict.fromkeys(("printed_model", "printed_editor", "printed_source"), "str"),
}


@dataclass(frozen=True)
class Editing:
    """The tables of one model, editor and task.

    edits: one row per request asked for: edit, cluster (the fact, or the noun a pair is about), subject, old, new, text
        (the prompt, its gap "___"), status (names.EDITED or why not), layers, steps, loss (nats), update_norm and
        weight_norm (Frobenius, over all edited layers), entropy_before, entropy_after (bits, of sampled continuations).
    questions: one row per edit and question: edit, criterion (of names.CRITERIA), question (its gap "___"), expected,
        rival, near (see request.Question); probabilities p_* of expected, rival_* of rival (over all of a word's
        tokens); first_*, rival_first_*: whether the word is the first choice at each of its tokens; tokens_*: the
        share of expected's tokens that are first choices, teacher-forced (the authors' accuracy); says_*: the first
        choice for the first token; holds_*: whether the criterion is met: first choice for relations (for
        symmetry_old: not the first choice), P(expected) > P(rival) for agreement; known: whether the model gave what
        was right before the edit, so that it can be asked at all.
    completions: one row per edit and question that was continued greedily (causal models): edit, criterion, question
        (as in `questions`; what stands before its gap was continued), before, after (the continuations alone).
    """

    edits: pd.DataFrame
    questions: pd.DataFrame
    completions: pd.DataFrame


def gathered(parts: Sequence[Editing]) -> Editing:
    """The shards of a task as one."""
    edits = parts[0].edits.copy()
    for part in parts[1:]:
        own = part.edits["status"] != ELSEWHERE
        edits.loc[own] = part.edits.loc[own]
    rest = ([getattr(part, name) for part in parts] for name in ("questions", "completions"))
    return typed(edits, *(pd.concat(frames, ignore_index=True) for frames in rest))


def typed(*tables: pd.DataFrame) -> Editing:
    """The three tables with their columns and types."""
    kinds = (EDITS, QUESTIONS, COMPLETIONS)
    return Editing(*(table[list(kind)].astype(kind) for table, kind in zip(tables, kinds, strict=True)))
