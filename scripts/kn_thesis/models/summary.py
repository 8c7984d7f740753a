"""What models have learned: accuracies with intervals, and whether they reach what is demanded of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kn_thesis.corpora.split import SPLITS
from kn_thesis.errors import UserError

COLUMNS = [
    *("model", "family", "task", "kind", "split", "n", "correct", "accuracy", "low", "high"),
    *("probability", "foil_probability", "rank", "demanded", "learned"),
]
REMEDY = "train longer (`steps`), demand less (`must_learn`), or report it and go on (`on_not_learned: report`)"
NOT_LEARNED = "no"
Demands = Mapping[str, Any]


def summarise(
    evaluations: Mapping[str, pd.DataFrame],
    families: Mapping[str, str],
    confidence: float = 0.95,
    demands: Mapping[str, Demands | None] | None = None,
) -> pd.DataFrame:
    """One row per model, task and split, from each model's evaluation (see `evaluate_prompts`).

    n prompts, the number correct, accuracy with Wilson's interval at `confidence` (low, high), the mean probabilities
    of target and foil (nan where there is none), the median rank of the target's first token, the accuracy that is
    demanded (nan: none), and whether it is reached ("yes", "no", "" where nothing is demanded). Models and tasks keep
    the order they come in; trained comes before held_out.
    """
    tables = []
    for model, evaluation in evaluations.items():
        table = accuracies(evaluation)
        wanted = (demands or {}).get(model)
        table["demanded"] = [demanded(row.task, row.kind, row.split, wanted) for row in table.itertuples()]
        reached = np.where(table["accuracy"] < table["demanded"], NOT_LEARNED, "yes")
        table["learned"] = np.where(table["demanded"].isna(), "", reached)
        tables.append(table.assign(model=model, family=families[model]))
    summary = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    summary["low"], summary["high"] = wilson(summary["correct"], summary["n"], confidence)
    return summary[COLUMNS]


def wilson(correct: Sequence[int], n: Sequence[int], confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of proportions: ends, float64, one for each pair of counts."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(np.asarray(correct), np.asarray(n), alpha=1 - confidence, method="wilson")
    # No correct answer gives 0 exactly, all of them 1: rounding leaves a trace of 1e-17 or so.
    return np.where(np.asarray(correct) == 0, 0.0, low), np.where(np.equal(correct, n), 1.0, high)


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
    for row in table.itertuples():
        wanted = demanded(row.task, row.kind, row.split, must_learn)
        line = f"{row.task} ({row.split}): {row.correct} of {row.n} right, {row.accuracy:.1%}"
        line += ", nothing demanded" if np.isnan(wanted) else f", {wanted:.1%} demanded"
        print(line)
        if row.accuracy < wanted:
            failures.append(line)
    if failures and on_not_learned == "stop":
        listed = "\n".join(f"  {failure}" for failure in failures)
        raise UserError(
            f"the model {model} has not learned {len(failures)} of {len(table)} tasks and splits; {REMEDY}:\n{listed}"
        )


def not_learned(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of models.csv whose accuracy is below what is demanded: what rests on them is no evidence."""
    return summary[summary["learned"] == NOT_LEARNED]


def without_unlearned(table: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table with the columns model and task but those of tasks that a model has not learned."""
    if table.empty:
        return table
    failed = not_learned(summary)
    pairs = set(zip(failed["model"], failed["task"], strict=True))
    return table[[pair not in pairs for pair in zip(table["model"], table["task"], strict=True)]]


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
