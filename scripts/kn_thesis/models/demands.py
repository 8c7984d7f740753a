"""Demanded accuracies, and the tasks that a model has not learned.

Results on a task that a model has not learned are no evidence, so `drop_unlearned` removes them from a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kn_thesis.corpora.sampling import SPLITS
from kn_thesis.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


REMEDY = "train longer (`steps`), demand less (`must_learn`), or report it and go on (`on_not_learned: report`)"
Demands = Mapping[str, Any]
NOT_LEARNED = "no"  # in the column `learned`: the accuracy is below the demand


def unlearned_tasks(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of models.csv whose accuracy is below the demand."""
    return summary[summary["learned"] == NOT_LEARNED]


def drop_unlearned(table: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Remove the rows of tasks that a model has not learned.

    Args:
        table: Any table with the columns model and task.
        summary: The table models.csv.
    """
    if table.empty:
        return table
    failed = unlearned_tasks(summary)
    pairs = set(zip(failed["model"], failed["task"], strict=True))
    return table[[pair not in pairs for pair in zip(table["model"], table["task"], strict=True)]]


def demanded_accuracies(task: str, kind: str, split: str, demands: Demands | None) -> float:
    """Return the accuracy that is demanded of a task and split; nan if none is.

    Args:
        task: The task's name.
        kind: "paradigm" or "relation".
        split: The split of the task's prompts.
        demands: Accuracies under the keys determiner_noun (each determiner-noun paradigm), agreement (each other
            paradigm), facts_trained and facts_held_out (each relation, over paraphrases of that split), and the list
            `exempt` of tasks without a demand.
    """
    if demands is None or task in demands.get("exempt", ()):
        return float("nan")
    if kind == "relation":
        return float(demands[f"facts_{split}"])
    return float(demands["determiner_noun" if task.startswith("determiner_noun_") else "agreement"])


def check_learned(model: str, evaluation: pd.DataFrame, must_learn: Demands | None, on_not_learned: str) -> None:
    """Print a model's accuracies beside the demands, a line per task and split.

    Args:
        model: The model's name.
        evaluation: From `evaluate_prompts`.
        must_learn: See `demanded_accuracies`.
        on_not_learned: "stop" or "report".

    Raises:
        UserError: `on_not_learned` is "stop" and an accuracy is below its demand. The message lists all of them.
    """
    table = accuracies(evaluation)
    failures = []
    if table.empty:
        print("no prompt is kept of any task: nothing was asked")
    for row in table.itertuples():
        demanded = demanded_accuracies(row.task, row.kind, row.split, must_learn)
        line = f"{row.task} ({row.split}): {row.correct} of {row.n} right, {row.accuracy:.1%}"
        line += ", nothing demanded" if math.isnan(demanded) else f", {demanded:.1%} demanded"
        print(line)
        if row.accuracy < demanded:
            failures.append(line)
    if failures and on_not_learned == "stop":
        listed = "\n".join(f"  {failure}" for failure in failures)
        raise UserError(
            f"the model {model} has not learned {len(failures)} of {len(table)} tasks and splits; {REMEDY}:\n{listed}"
        )


def accuracies(evaluation: pd.DataFrame) -> pd.DataFrame:
    """Compute counts and means per task and split.

    Args:
        evaluation: From `evaluate_prompts`.

    Returns:
        A row per task and split with n, correct, accuracy, mean probability and foil_probability, and median rank.
        Tasks are in order of appearance, splits in the order of `SPLITS`.
    """
    table = (
        evaluation.groupby(["task", "kind", "split"], sort=False)
        .agg(
            n=("correct", "size"),
            correct=("correct", "sum"),
            probability=("probability", "mean"),
            foil_probability=("foil_probability", "mean"),
            rank=("rank", "median"),
        )
        .reset_index()
    )
    table["accuracy"] = table["correct"] / table["n"]
    tasks = {task: number for number, task in enumerate(dict.fromkeys(table["task"]))}
    splits = {split: number for number, split in enumerate(SPLITS)}
    order = sorted(table.index, key=lambda i: (tasks[table["task"][i]], splits.get(table["split"][i], len(splits))))
    return table.loc[order].reset_index(drop=True)
