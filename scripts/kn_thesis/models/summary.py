"""The table of what models have learned: accuracies with intervals beside what is demanded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kn_thesis.models.learned import NOT_LEARNED, Demands, accuracies, demanded

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
