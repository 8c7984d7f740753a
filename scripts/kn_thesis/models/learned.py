"""What is demanded of models, and what they have not learned: results on that are no evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kn_thesis.corpora.split import SPLITS
from kn_thesis.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

REMEDY = "train longer (`steps`), demand less (`must_learn`), or report it and go on (`on_not_learned: report`)"
Demands = Mapping[str, Any]
NOT_LEARNED = "no"  # in the column `learned`, where the accuracy is below what is demanded


def not_learned(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of models.csv whose accuracy is below what is demanded."""
    return summary[summary["learned"] == NOT_LEARNED]


def without_unlearned(table: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table with the columns model and task but those of tasks that a model has not learned."""
    if table.empty:
        return table
    failed = not_learned(summary)
    pairs = set(zip(failed["model"], failed["task"], strict=True))
    return table[[pair not in pairs for pair in zip(table["model"], table["task"], strict=True)]]


def demanded(task: str, kind: str, split: str, demands: Demands | None) -> float:
    """The accuracy that `demands` asks for a task and split; nan when nothing is asked.

    `demands` has the keys determiner_noun (each determiner-noun paradigm), agreement (each other paradigm),
    facts_trained and facts_held_out (each relation, over paraphrases of that split); and `exempt`, tasks of which
    nothing is demanded.
    """
    if demands is None or task in demands.get("exempt", ()):
        return float("nan")
    if kind == "relation":
        return float(demands[f"facts_{split}"])
    return float(demands["determiner_noun" if task.startswith("determiner_noun_") else "agreement"])


def check_learned(model: str, evaluation: pd.DataFrame, must_learn: Demands | None, on_not_learned: str) -> None:
    """Print what a model reached against what is demanded of it, a line per task and split.

    Raises UserError that lists every task below its demand, where `on_not_learned` is "stop".
    """
    table = accuracies(evaluation)
    failures = []
    if table.empty:
        print("no prompt is kept of any task: nothing was asked")
    for row in table.itertuples():
        wanted = demanded(row.task, row.kind, row.split, must_learn)
        line = f"{row.task} ({row.split}): {row.correct} of {row.n} right, {row.accuracy:.1%}"
        line += ", nothing demanded" if math.isnan(wanted) else f", {wanted:.1%} demanded"
        print(line)
        if row.accuracy < wanted:
            failures.append(line)
    if failures and on_not_learned == "stop":
        listed = "\n".join(f"  {failure}" for failure in failures)
        raise UserError(
            f"the model {model} has not learned {len(failures)} of {len(table)} tasks and splits; {REMEDY}:\n{listed}"
        )


def accuracies(evaluation: pd.DataFrame) -> pd.DataFrame:
    """Counts and means per task and split of an evaluation, tasks in order of appearance, splits in that of SPLITS."""
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
