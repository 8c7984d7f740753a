"""Tables of the chapter on localization: neurons by layer, cosine similarities of words, published values.

`layer_table` and `layers_by_task` count knowledge neurons by layer, to compare paradigms with relations.
`number_similarity` tells whether words of one grammatical number share neurons. `add_published` puts published values
beside measured ones. All of them read the tables of `statistics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from kn_thesis.localization.tables import MEASURES

DETERMINERS = ("this", "that", "these", "those")
LAYER_COLUMNS = ["model", "task", "kind", "layer", "neurons", "share"]
SIMILARITY_COLUMNS = [
    *("model", "task", "words", "groups", "pairs_within", "pairs_across", "within", "across", "difference"),
]


def layer_table(neurons: pd.DataFrame, kinds: Mapping[str, str], layers: Mapping[str, int]) -> pd.DataFrame:
    """Count knowledge neurons per model, kind of task and layer.

    Args:
        neurons: Rows of `neuron_table` with their model and task. Selected ones count once for each group.
        kinds: Each task's kind, "paradigm" or "relation".
        layers: Each model's number of layers.

    Returns:
        The columns model, kind, layer (from 0), neurons, and share (of the model's neurons of that kind; nan if there
        are none), with a row for every layer.
    """
    selected = neurons[neurons["selected"].astype(bool)]
    of_kind = selected["task"].map(kinds)
    frames = []
    for model, depth in layers.items():
        for kind in ("paradigm", "relation"):
            here = selected.loc[(selected["model"] == model) & (of_kind == kind), "layer"].astype(int)
            counts = np.bincount(here, minlength=depth)
            share = counts / counts.sum() if counts.sum() else np.full(depth, np.nan)
            rows = {"model": model, "kind": kind, "layer": range(depth), "neurons": counts, "share": share}
            frames.append(pd.DataFrame(rows))
    return pd.concat(frames, ignore_index=True)


def layers_by_task(neurons: pd.DataFrame, kinds: Mapping[str, str], layers: Mapping[str, int]) -> pd.DataFrame:
    """Count knowledge neurons per model, task and layer.

    Args:
        neurons: See `layer_table`. A task without any selected neuron has no rows here.
        kinds: See `layer_table`.
        layers: See `layer_table`.

    Returns:
        The columns model, task, kind, layer (from 0), neurons, and share (of the task's neurons; nan if none is
        selected).
    """
    frames = []
    for (model, task), part in neurons.groupby(["model", "task"], sort=False):
        here = part.loc[part["selected"].astype(bool), "layer"].astype(int)
        counts = np.bincount(here, minlength=layers[model])
        share = counts / counts.sum() if counts.sum() else np.full(len(counts), np.nan)
        rows = {"model": model, "task": task, "kind": kinds[task], "layer": range(len(counts)), "neurons": counts}
        frames.append(pd.DataFrame(rows | {"share": share}))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=LAYER_COLUMNS)


def overlap(table: pd.DataFrame) -> pd.Series:
    """Compute how far the distributions of paradigms and relations over layers overlap.

    Args:
        table: From `layer_table`.

    Returns:
        Per model, Σ over layers of min(share of paradigms, share of relations), from 0 to 1.
    """
    shares = table.pivot(index=["model", "layer"], columns="kind", values="share")
    smaller = shares.min(axis=1, skipna=False)
    return smaller.groupby(level="model", sort=False).agg(lambda part: part.sum(skipna=False))


def number_similarity(neurons: pd.DataFrame) -> pd.DataFrame:
    """Compare words of one number with words of both: cosine similarities between their neurons' scores.

    A word is a group of a paradigm. Its scores are the mean_relative_score of the neurons that are selected in any
    group.

    Args:
        neurons: Rows of `neuron_table` with their model and task.

    Returns:
        A row per model and paradigm whose groups are words of both numbers. words is `determiner` if the groups are
        determiners, else `noun`; groups counts them. pairs_within and pairs_across count pairs of words of one number
        and of two, within and across are their mean cosine similarities. difference is within − across; nan unless
        there are pairs of both kinds.
    """
    rows = []
    numbered = neurons[neurons["number"].isin(["singular", "plural"])]
    for (model, task), part in numbered.groupby(["model", "task"], sort=False):
        wide = part.pivot(index="group", columns=["layer", "neuron"], values="mean_relative_score")
        numbers = dict(zip(part["group"], part["number"], strict=True))
        if len(set(numbers.values())) < 2:
            continue
        scores = {group: wide.loc[group].to_numpy(dtype=float) for group in wide.index}
        within, across = similarities(scores, numbers)
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
                "difference": similarity_difference(scores, numbers),
            }
        )
    return pd.DataFrame(rows, columns=SIMILARITY_COLUMNS)


def similarity_difference(scores: Mapping[str, np.ndarray], numbers: Mapping[str, str]) -> float:
    """Subtract the mean cosine similarity of words of two numbers from that of words of one number.

    Args:
        scores: A vector (neurons,) for each word. Words whose scores are all 0 are left out.
        numbers: The grammatical number of each word.

    Returns:
        The difference; nan unless there are pairs of both kinds.
    """
    within, across = similarities(scores, numbers)
    return float(np.mean(within) - np.mean(across)) if within and across else float("nan")


def similarities(scores: Mapping[str, np.ndarray], numbers: Mapping[str, str]) -> tuple[list[float], list[float]]:
    """Return the cosine similarities of pairs of words of one number, and of two; see `similarity_difference`."""
    unit = {word: row / np.linalg.norm(row) for word, row in scores.items() if np.linalg.norm(row) > 0}
    cosines: dict[bool, list[float]] = {True: [], False: []}
    for first, second in combinations(unit, 2):
        cosines[numbers[first] == numbers[second]].append(float(unit[first] @ unit[second]))
    return cosines[True], cosines[False]


def add_published(table: pd.DataFrame, published: Mapping[str, Any]) -> pd.DataFrame:
    """Add the columns published_model, published_KN, published_tau and published_R2_1.

    Args:
        table: Measures with the columns family and task.
        published: The section `localization` of resources/published.yaml. Its values go into the rows of its family
            and tasks; other cells are empty.
    """
    result = table.copy()
    tasks = published["tasks"]
    known = (table["family"] == published["family"]) & table["task"].isin(list(tasks))
    result["published_model"] = pd.Series(published["model"], index=table.index, dtype=object).where(known, "")
    for measure in MEASURES:
        values = table["task"].map({task: entry.get(measure) for task, entry in tasks.items()})
        result[f"published_{measure}"] = pd.to_numeric(values).where(known)
    return result
