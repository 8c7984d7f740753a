"""Table models.csv: accuracies of models with Wilson intervals, beside the demanded accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kn_thesis.models.demands import NOT_LEARNED, Demands, accuracies, demanded_accuracies

COLUMNS = [
    *("model", "family", "task", "kind", "split", "n", "correct", "accuracy", "low", "high"),
    *("probability", "foil_probability", "rank", "demanded", "learned"),
]


def summarise(
    evaluations: Mapping[str, pd.DataFrame],
    families: Mapping[str, str],
    confidence: float = 0.95,
    demands: Mapping[str, Demands | None] | None = None,
) -> pd.DataFrame:
    """Summarise evaluations in one row per model, task and split.

    Args:
        evaluations: Of each model, from `evaluate_prompts`.
        families: Each model's family.
        confidence: Of the intervals.
        demands: Of each model, see `demanded_accuracies`.

    Returns:
        A table with `COLUMNS`: n prompts, the number correct, accuracy with its Wilson interval (low, high), mean
        probabilities of target and foil (nan without a foil), the median rank of the target's first token, the
        demanded accuracy (nan: none), and whether it is reached ("yes", "no", "" without a demand). Models and tasks
        keep their order; trained comes before held_out.
    """
    tables = []
    for model, evaluation in evaluations.items():
        table = accuracies(evaluation)
        own = (demands or {}).get(model)
        table["demanded"] = [demanded_accuracies(row.task, row.kind, row.split, own) for row in table.itertuples()]
        reached = np.where(table["accuracy"] < table["demanded"], NOT_LEARNED, "yes")
        table["learned"] = np.where(table["demanded"].isna(), "", reached)
        tables.append(table.assign(model=model, family=families[model]))
    summary = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    summary["low"], summary["high"] = wilson(summary["correct"], summary["n"], confidence)
    return summary[COLUMNS]


def wilson(correct: Sequence[int], n: Sequence[int], confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute Wilson score intervals of proportions.

    Args:
        correct: Numbers of successes.
        n: Numbers of trials, as many.
        confidence: Of the intervals.

    Returns:
        Lower and upper ends, float64.
    """
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(np.asarray(correct), np.asarray(n), alpha=1 - confidence, method="wilson")
    # Make the ends exactly 0 and 1 where they are: rounding is off by 1e-17 or so.
    return np.where(np.asarray(correct) == 0, 0.0, low), np.where(np.equal(correct, n), 1.0, high)
