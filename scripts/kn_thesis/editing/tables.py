"""Tables of a task's edits: statuses, criteria, columns and their types.

`Editing` holds the tables of one model, editor and task. The names here are shared by the chapter's tables, figures and
sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kn_thesis.files import read_task_tables

# Statuses of a request: edited, or why not.
EDITED = "edited"
UNKNOWN = "the model does not know it"
NO_OBJECT = "no other object of the relation fits"
NO_SUBJECT = "its subject has no token before the gap"
NOT_SAMPLED = "more than the study asks"
TOO_LONG = "longer than the model's positions"
NO_NEURONS = "no knowledge neuron was found"
DIVERGED = "the optimisation diverged"
SINGULAR = "the covariance is singular"
ELSEWHERE = "in another shard"
# Criteria of an edited fact and of an edited agreement pair (docs/method.md). Each has questions of its own.
RELATION_CRITERIA = ("reliability", "generality", "locality", "symmetry_new", "symmetry_old", "synonymy")
AGREEMENT_CRITERIA = ("reliability", "other_verb", "other_distractor", "other_subject", "other_both")
CRITERIA = (*RELATION_CRITERIA, *AGREEMENT_CRITERIA[1:])
EDITS = {
    **dict.fromkeys(("edit", "cluster", "subject", "old", "new", "text", "status"), "str"),
    "layers": "str",  # those that were edited, separated by spaces
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
# Columns of the table of example edits (task.edit_examples); in editing_examples.csv the model precedes them.
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

    Attributes:
        edits: one row per request: edit, cluster (the fact, or the noun that a pair is about), subject, old, new, text
            (the prompt, its blank written "___"), status (EDITED or why not), layers, steps, loss (nats), update_norm
            and weight_norm (Frobenius norms over all edited layers), entropy_before and entropy_after (bits, of sampled
            continuations).
        questions: one row per edit and question: edit, criterion (one of CRITERIA), question (its blank written "___"),
            expected, rival and near (see requests.Question).
            p_before, p_after, rival_before, rival_after: probabilities of expected and of rival, over all tokens of the
            word.
            first_*, rival_first_*: whether the word is the first choice at each of its tokens.
            tokens_*: share of expected's tokens that are first choices, teacher-forced (the authors' accuracy).
            says_*: first choice for the first token.
            holds_*: whether the criterion is met. For relations expected must be the first choice (for symmetry_old it
            must not); for agreement P(expected) > P(rival).
            known: whether the model gave the right answer before the edit, without which the question shows nothing.
        completions: one row per edit and question that a causal model continued greedily: edit, criterion, question (as
            in `questions`; the text before its blank was continued), before and after (the continuations alone).
    """

    edits: pd.DataFrame
    questions: pd.DataFrame
    completions: pd.DataFrame


def read_editings(files: Mapping[str, Sequence[str | Path]]) -> dict[str, Editing]:
    """Read the tables of one model and editor by task.

    Args:
        files: the files of "edits", "questions" and "completions", one for each batch of tasks or shard of a task.
    """
    names, parts = ("edits", "questions", "completions"), {}
    for paths in zip(*(files[name] for name in names), strict=True):
        for of_task in zip(*(read_task_tables(path) for path in paths), strict=True):
            parts.setdefault(of_task[0][0], []).append(Editing(*(table for _, table in of_task)))
    return {task: shards[0] if len(shards) == 1 else concat_edits(shards) for task, shards in parts.items()}


def concat_edits(parts: Sequence[Editing]) -> Editing:
    """Join the tables of a task's shards.

    Args:
        parts: tables of all shards of one task. Each has a row in `edits` for every request of the task, with the
            status ELSEWHERE where another shard edits it.
    """
    edits = parts[0].edits.copy()
    for part in parts[1:]:
        own = part.edits["status"] != ELSEWHERE
        edits.loc[own] = part.edits.loc[own]
    rest = ([getattr(part, name) for part in parts] for name in ("questions", "completions"))
    return with_dtypes(edits, *(pd.concat(frames, ignore_index=True) for frames in rest))


def with_dtypes(*tables: pd.DataFrame) -> Editing:
    """Build `Editing` from edits, questions and completions, with its columns and their types."""
    kinds = (EDITS, QUESTIONS, COMPLETIONS)
    return Editing(*(table[list(kind)].astype(kind) for table, kind in zip(tables, kinds, strict=True)))
