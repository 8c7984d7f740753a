"""Whether words of one number share neurons: cosines of their scores, within a number and across (claim 4)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

DETERMINERS = ("this", "that", "these", "those")
COLUMNS = ["model", "task", "words", "groups", "pairs_within", "pairs_across", "within", "across", "difference"]


def number_neurons(neurons: pd.DataFrame) -> pd.DataFrame:
    """A row per model and paradigm whose groups are words of both numbers: how alike their neurons' scores are.

    neurons: rows of `neuron_table` with their model and task. words: `determiner` where the groups are determiners,
    else `noun`; groups: with any score; pairs and mean cosines of mean_relative_score over the neurons selected in any
    group, within one number and across numbers; difference: within − across, nan without pairs of both kinds.
    """
    rows = []
    numbered = neurons[neurons["number"].isin(["singular", "plural"])]
    for (model, task), part in numbered.groupby(["model", "task"], sort=False):
        wide = part.pivot(index="group", columns=["layer", "neuron"], values="mean_relative_score")
        numbers = dict(zip(part["group"], part["number"], strict=True))
        if len(set(numbers.values())) < 2:
            continue
        scores = {group: wide.loc[group].to_numpy(dtype=float) for group in wide.index}
        within, across = likenesses(scores, numbers)
        rows.append(
            {
                "model": model,
                "task": task,
                "words": "determiner" if set(numbers) <= set(DETERMINERS) else "noun",
                "groups": len(scores),
                "pairs_within": len(within),
                "pairs_across": len(across),
                "within": np.mean(within) if within else np.nan,
                "across": np.mean(across) if across else np.nan,
                "difference": likeness_of(scores, numbers),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def likeness_of(scores: Mapping[str, np.ndarray], numbers: Mapping[str, str]) -> float:
    """Mean cosine between words of one number less that between words of two; nan without pairs of both kinds.

    scores: a vector (neurons,) for each word, numbers: the number of each; words whose scores are all 0 are left out.
    """
    within, across = likenesses(scores, numbers)
    return float(np.mean(within) - np.mean(across)) if within and across else float("nan")


def likenesses(scores: Mapping[str, np.ndarray], numbers: Mapping[str, str]) -> tuple[list[float], list[float]]:
    """Cosines between words of one number, and between words of two."""
    unit = {word: row / np.linalg.norm(row) for word, row in scores.items() if np.linalg.norm(row) > 0}
    found: dict[bool, list[float]] = {True: [], False: []}
    for first, second in combinations(unit, 2):
        found[numbers[first] == numbers[second]].append(float(unit[first] @ unit[second]))
    return found[True], found[False]
